//! What was done before: results of steps by a digest of everything they depend on, and digests of files by their stat.

use crate::image::{Digest, Store, StoreError, durable, layers};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    fs::Metadata,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// A step's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// The layer it made.
    pub(crate) layer: Digest,
}

fn folder(store: &Store) -> PathBuf {
    store.dir().join("build/steps")
}

/// A step's result, if its layer is still here.
pub(crate) fn find(store: &Store, key: Digest) -> Option<Known> {
    let bytes = fs_err::read(folder(store).join(key.hex())).ok()?;
    let known: Known = serde_json::from_slice(&bytes).ok()?;
    layers::is_complete(store, known.layer).then_some(known)
}

/// Remembers a step's result.
pub(crate) fn remember(store: &Store, key: Digest, layer: Digest) -> io::Result<()> {
    fs_err::create_dir_all(folder(store))?;
    let text = serde_json::to_vec(&Known { layer }).map_err(io::Error::other)?;
    durable::write(&folder(store).join(key.hex()), &text)
}

/// Layers that remembered steps need.
pub(crate) fn layers_in_use(store: &Store) -> Vec<Digest> {
    let entries = fs_err::read_dir(folder(store)).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| serde_json::from_slice::<Known>(&fs_err::read(entry.path()).ok()?).ok())
        .map(|known| known.layer)
        .collect()
}

/// Forgets all steps and cache mounts, unless a build is running; the steps' layers go with the next garbage collection.
pub fn clear(store: &Store) -> Result<(), StoreError> {
    store.clear_folder("build")
}

/// A digest of parts, each with its length, so that parts cannot run into each other.
#[derive(Clone)]
pub(crate) struct Mixer(Sha256);

impl Mixer {
    pub(crate) fn new(kind: &str) -> Self {
        let mut mixer = Self(Sha256::new());
        mixer.add(kind.as_bytes());
        mixer
    }

    pub(crate) fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    pub(crate) fn text(&mut self, part: &str) {
        self.add(part.as_bytes());
    }

    pub(crate) fn finish(self) -> Digest {
        let bytes: [u8; 32] = self.0.finalize().into();
        Digest::from_bytes(bytes)
    }
}

/// What identifies a file's content without reading it.
type Stat = (u64, u64, u64, i64, i64);

fn stat(metadata: &Metadata) -> Stat {
    let nanos = |seconds: i64, part: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(part);
    (
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        nanos(metadata.mtime(), metadata.mtime_nsec()),
        nanos(metadata.ctime(), metadata.ctime_nsec()),
    )
}

/// Digests of files, remembered by device, inode, size and times (git's index does the same).
#[derive(Debug)]
pub(crate) struct Hashes {
    path: PathBuf,
    known: Mutex<(HashMap<Stat, Digest>, bool)>,
    /// Files changed after this moment are not trusted by their times: a second change could look the same.
    since: i64,
}

impl Hashes {
    /// The memory for one folder.
    pub(crate) fn open(store: &Store, folder: &Path) -> Self {
        let name = Digest::of(folder.as_os_str().as_encoded_bytes()).hex();
        let path = store.dir().join("build/hashes").join(name);
        let text = fs_err::read_to_string(&path).unwrap_or_default();
        let mut known = HashMap::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            let mut number = || words.next()?.parse::<i128>().ok();
            let numbers = (number(), number(), number(), number(), number());
            let (Some(dev), Some(ino), Some(len), Some(mtime), Some(ctime)) = numbers else {
                continue;
            };
            let digest = words.next().and_then(|hex| Digest::from_hex(hex).ok());
            let fits = (
                u64::try_from(dev),
                u64::try_from(ino),
                u64::try_from(len),
                i64::try_from(mtime),
                i64::try_from(ctime),
            );
            if let ((Ok(dev), Ok(ino), Ok(len), Ok(mtime), Ok(ctime)), Some(digest)) = (fits, digest) {
                known.insert((dev, ino, len, mtime, ctime), digest);
            }
        }
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        Self {
            path,
            known: Mutex::new((known, false)),
            since: now - 100_000_000,
        }
    }

    /// A file's digest.
    pub(crate) fn of(&self, path: &Path, metadata: &Metadata) -> io::Result<Digest> {
        let stat = stat(metadata);
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = lock().0.get(&stat) {
            return Ok(*digest);
        }
        let mut file = fs_err::File::open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        let bytes: [u8; 32] = hasher.finalize().into();
        let digest = Digest::from_bytes(bytes);
        if stat.4 < self.since {
            let mut known = lock();
            known.0.insert(stat, digest);
            known.1 = true;
        }
        Ok(digest)
    }

    /// Writes what was learnt; losing it costs time only.
    pub(crate) fn save(&self) {
        use std::fmt::Write as _;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.1 {
            return;
        }
        let mut text = String::new();
        for ((dev, ino, len, mtime, ctime), digest) in &known.0 {
            writeln!(text, "{dev} {ino} {len} {mtime} {ctime} {}", digest.hex())
                .expect("a string takes any text");
        }
        if let Some(parent) = self.path.parent() {
            let written =
                fs_err::create_dir_all(parent).and_then(|()| durable::write(&self.path, text.as_bytes()));
            if let Err(error) = written {
                tracing::debug!(%error, "file digests were not saved");
            }
        }
    }
}
