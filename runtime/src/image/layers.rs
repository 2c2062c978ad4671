//! Layers: archives become directories once, and every image shares them.
//!
//! 1. unpack each archive into a directory under `ingest/`, several at once;
//! 2. settle what an archive left open (directories it did not list, links into lower layers), bottom layer first;
//! 3. sync the file system once;
//! 4. rename each directory to its digest: from here on it exists.

use super::{
    blobs::NewBlob,
    digest::Digest,
    durable,
    manifest::Descriptor,
    progress::{Doing, Event, Progress},
    store::{LayerRecord, Store, StoreError},
};
use crate::archive::{
    Limits,
    compression::Compression,
    extract::{Manner, OPAQUE, Unsettled},
    layer::{Unpacked, unpack},
    pack,
};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid, XattrFlags};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// What a complete layer's `layer.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerNote {
    /// The layer.
    pub diff_id: Digest,
    /// Bytes of its files.
    pub bytes: u64,
    /// Files, directories, links.
    pub entries: u64,
    /// Bytes of the uncompressed archive.
    pub archive: u64,
}

/// Where a layer's archive comes from.
pub(crate) struct Source<'a> {
    /// The bytes, compressed or not.
    pub(crate) read: Box<dyn Read + Send + 'a>,
    /// Their number, where known.
    pub(crate) size: Option<u64>,
    /// What they must hash to.
    pub(crate) blob: Option<Digest>,
    /// What they must hash to once uncompressed.
    pub(crate) diff_id: Option<Digest>,
    /// The media type to remember.
    pub(crate) media_type: String,
    /// Whether the archive's bytes are to be kept as a blob.
    pub(crate) keep: bool,
    /// Held until the layer is visible, so that nobody fetches it a second time.
    pub(crate) guard: Option<std::fs::File>,
}

/// A layer that is not visible yet; removed when dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    dir: PathBuf,
    pub(crate) unpacked: Option<Unpacked>,
    published: bool,
}

impl Draft {
    /// An empty directory for a layer.
    pub(crate) fn new(store: &Store) -> Result<Self, StoreError> {
        let dir = store
            .dir()
            .join("ingest")
            .join(format!("layer-{}", durable::unique()));
        let failed = |cause| StoreError::Io {
            action: "create a layer",
            cause,
        };
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .map_err(failed)?;
        let draft = Self {
            dir,
            unpacked: None,
            published: false,
        };
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(draft.files())
            .map_err(failed)?;
        // The umask must not decide what `/` looks like.
        fs_err::set_permissions(draft.files(), std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(draft)
    }

    /// The directory with the layer's files.
    pub(crate) fn files(&self) -> PathBuf {
        self.dir.join("fs")
    }

    /// A directory beside the files, on the same file system: overlayfs wants one for its work.
    pub(crate) fn work(&self) -> Result<PathBuf, StoreError> {
        let work = self.dir.join("work");
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&work);
        made.map_err(|cause| StoreError::Io {
            action: "create a layer",
            cause,
        })?;
        Ok(work)
    }

    /// The note for an archive that was unpacked here.
    fn note(&self, diff_id: Digest) -> LayerNote {
        let unpacked = self.unpacked.as_ref();
        let tally = unpacked.map(|unpacked| unpacked.tally).unwrap_or_default();
        let archive = unpacked.map_or(0, |unpacked| unpacked.archive);
        LayerNote {
            diff_id,
            bytes: tally.bytes,
            entries: tally.entries,
            archive,
        }
    }

    /// Hashes the tree as a layer archive.
    pub(crate) fn measure(&self) -> Result<LayerNote, StoreError> {
        measure(&self.files())
    }

    /// Makes the layer visible. Everything in it must be on disk already, see [`sync`].
    pub(crate) fn publish(mut self, store: &Store, note: &LayerNote) -> Result<(), StoreError> {
        let failed = |cause| StoreError::Io {
            action: "publish a layer",
            cause,
        };
        let work = self.dir.join("work");
        if work.exists() {
            fs_err::remove_dir_all(&work).map_err(failed)?;
        }
        let text = serde_json::to_vec(note).map_err(|error| StoreError::Damaged {
            path: self.dir.clone(),
            reason: error.to_string(),
        })?;
        let mut file = fs_err::File::create(self.dir.join("layer.json")).map_err(failed)?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        let layers = store.dir().join("layers");
        match fs_err::rename(&self.dir, layers.join(note.diff_id.hex())) {
            Ok(()) => self.published = true,
            // Somebody else was faster; theirs is the same, and ours goes when `self` is dropped.
            Err(_) if is_complete(store, note.diff_id) => return Ok(()),
            Err(cause) => return Err(failed(cause)),
        }
        durable::sync_directory(&layers).map_err(failed)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            fs_err::remove_dir_all(&self.dir).ok();
        }
    }
}

/// Whether a layer is here, whole.
pub(crate) fn is_complete(store: &Store, diff_id: Digest) -> bool {
    store.layer_path(diff_id).with_file_name("layer.json").exists() && store.layer_path(diff_id).exists()
}

/// Bytes of a layer's files, if it is here.
pub(crate) fn size(store: &Store, diff_id: Digest) -> Option<u64> {
    note(store, diff_id).map(|note| note.bytes)
}

/// When a layer became visible here, RFC 3339.
pub(crate) fn created(store: &Store, diff_id: Digest) -> Option<String> {
    let metadata = fs_err::metadata(store.layer_path(diff_id).with_file_name("layer.json")).ok()?;
    jiff::Timestamp::try_from(metadata.modified().ok()?)
        .ok()
        .map(|time| time.to_string())
}

/// What was noted when the layer became visible.
pub fn note(store: &Store, diff_id: Digest) -> Option<LayerNote> {
    let bytes = fs_err::read(store.layer_path(diff_id).with_file_name("layer.json")).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Makes everything written to the store durable (syncfs(2)).
pub(crate) fn sync(store: &Store) -> Result<(), StoreError> {
    let failed = |cause| StoreError::Io {
        action: "sync the image store",
        cause,
    };
    let dir = fs_err::File::open(store.dir()).map_err(failed)?;
    rustix::fs::syncfs(dir.as_fd()).map_err(|errno| failed(errno.into()))
}

/// Packs a tree into nothing, for its digest and size.
pub(crate) fn measure(files: &Path) -> Result<LayerNote, StoreError> {
    let mut hashing = super::digest::Hashing::new(io::sink());
    let root = fs_err::File::open(files).map_err(|cause| StoreError::Io {
        action: "open a layer",
        cause,
    })?;
    let tally = pack::pack(root.as_fd(), &mut hashing, Manner::Layer).map_err(|cause| StoreError::Pack {
        layer: files.display().to_string(),
        cause,
    })?;
    let (diff_id, archive, _) = hashing.finish();
    Ok(LayerNote {
        diff_id,
        bytes: tally.bytes,
        entries: tally.entries,
        archive,
    })
}

/// Unpacks the layers of one image, bottom first, and makes them visible together.
///
/// `sources` is asked for a layer's archive only where the layer is not here yet.
pub(crate) fn add<'a>(
    store: &Store,
    count: usize,
    known: &dyn Fn(usize) -> Option<LayerRecord>,
    source: &(dyn Fn(usize) -> Result<Source<'a>, StoreError> + Sync),
    progress: &dyn Progress,
) -> Result<Vec<LayerRecord>, StoreError> {
    let known: Vec<Option<LayerRecord>> = (0..count)
        .map(|index| known(index).filter(|record| is_complete(store, record.diff_id)))
        .collect();
    let results = parallel(count, |index| {
        if let Some(record) = &known[index] {
            return Ok((record.clone(), None));
        }
        let source = source(index)?;
        if let Some((diff_id, blob)) = here(store, &source) {
            return Ok((
                LayerRecord {
                    diff_id,
                    blob: Some(blob),
                },
                None,
            ));
        }
        let (draft, blob, _guard) = unpack_one(store, source, progress)?;
        let unpacked = draft.unpacked.as_ref().expect("unpack_one sets it");
        let record = LayerRecord {
            diff_id: unpacked.diff_id,
            blob,
        };
        if !unpacked.unsettled.is_empty() {
            return Ok((record, Some(draft)));
        }
        let note = draft.note(record.diff_id);
        sync(store)?;
        draft.publish(store, &note)?;
        Ok((record, None))
    })?;
    // An archive that leaves nothing open needs no lower layer, so most images skip this.
    let mut stack: Vec<PathBuf> = Vec::new();
    for (record, draft) in &results {
        if let Some(draft) = draft {
            let unpacked = draft.unpacked.as_ref().expect("unpack_one sets it");
            settle(&draft.files(), &unpacked.unsettled, &stack)?;
            stack.insert(0, draft.files());
        } else {
            stack.insert(0, store.layer_path(record.diff_id));
        }
    }
    if results.iter().any(|(_, draft)| draft.is_some()) {
        sync(store)?;
    }
    let mut records = Vec::with_capacity(count);
    for (record, draft) in results {
        if let Some(draft) = draft {
            let note = draft.note(record.diff_id);
            draft.publish(store, &note)?;
        }
        records.push(record);
    }
    Ok(records)
}

/// Whether a layer became visible while we waited for its guard.
fn here(store: &Store, source: &Source<'_>) -> Option<(Digest, Descriptor)> {
    source.guard.as_ref()?;
    let (diff_id, blob) = (source.diff_id?, source.blob?);
    let is_here = is_complete(store, diff_id) && store.has_blob(blob);
    is_here.then(|| {
        (
            diff_id,
            Descriptor::new(&source.media_type, blob, source.size.unwrap_or(0)),
        )
    })
}

fn unpack_one(
    store: &Store,
    source: Source<'_>,
    progress: &dyn Progress,
) -> Result<(Draft, Option<Descriptor>, Option<std::fs::File>), StoreError> {
    let label = source
        .blob
        .or(source.diff_id)
        .map_or_else(|| "layer".to_owned(), |digest| digest.short());
    let mut draft = Draft::new(store)?;
    let root = fs_err::File::open(draft.files()).map_err(|cause| StoreError::Io {
        action: "open a layer",
        cause,
    })?;
    let event = |doing, done| {
        progress.event(Event::Layer {
            id: &label,
            doing,
            done,
            total: source.size,
        })
    };
    let mut copy = if source.keep {
        Some(store.new_blob()?)
    } else {
        None
    };
    let every = Throttle::default();
    let tee = Tee {
        source: source.read,
        copy: copy.as_mut(),
    };
    let unpacked = unpack(tee, root.as_fd(), Manner::Layer, Limits::default(), &|done| {
        if every.is_due(done) {
            event(Doing::Unpacking, done);
        }
    })
    .map_err(|cause| StoreError::Layer {
        layer: label.clone(),
        cause,
    })?;
    for (expected, found) in [(source.blob, unpacked.blob), (source.diff_id, unpacked.diff_id)] {
        if let Some(expected) = expected
            && expected != found
        {
            return Err(StoreError::WrongBytes { expected, found });
        }
    }
    let media_type = match (source.media_type.as_str(), unpacked.compression) {
        ("", Compression::Gzip) => super::manifest::media::OCI_LAYER_GZIP,
        ("", Compression::Zstd) => super::manifest::media::OCI_LAYER_ZSTD,
        ("", _) => super::manifest::media::OCI_LAYER,
        (given, _) => given,
    };
    let descriptor = match copy {
        Some(copy) => {
            let (digest, size) = copy.finish(Some(unpacked.blob))?;
            Some(Descriptor::new(media_type, digest, size))
        }
        None => source
            .blob
            .map(|blob| Descriptor::new(media_type, blob, unpacked.blob_size)),
    };
    event(Doing::Done, unpacked.blob_size);
    draft.unpacked = Some(unpacked);
    Ok((draft, descriptor, source.guard))
}

/// Reads, and writes what it read to a blob in the making.
struct Tee<'a, R> {
    source: R,
    copy: Option<&'a mut NewBlob>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        if let Some(copy) = &mut self.copy {
            copy.write_all(&buffer[..count])?;
        }
        Ok(count)
    }
}

/// Lets through one report per mebibyte.
#[derive(Debug, Default)]
struct Throttle {
    reported: std::sync::atomic::AtomicU64,
}

impl Throttle {
    fn is_due(&self, done: u64) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        let is_due = done >= self.reported.load(Relaxed) + (1 << 20);
        if is_due {
            self.reported.store(done, Relaxed);
        }
        is_due
    }
}

/// Runs `work` for 0..count on a few threads; the first error stops the rest from starting.
pub(crate) fn parallel<T: Send, E: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };
    let workers = std::thread::available_parallelism()
        .map_or(2, |n| n.get() + 1)
        .min(8)
        .min(count.max(1));
    let next = AtomicUsize::new(0);
    let slots: Vec<Mutex<Option<Result<T, E>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let result = work(index);
                    if result.is_err() {
                        next.store(count, Ordering::Relaxed);
                    }
                    *slots[index]
                        .lock()
                        .expect("no worker panics while it holds the slot") = Some(result);
                }
            });
        }
    });
    let mut done = Vec::with_capacity(count);
    for slot in slots {
        match slot
            .into_inner()
            .expect("no worker panics while it holds the slot")
        {
            Some(Ok(value)) => done.push(value),
            Some(Err(error)) => return Err(error),
            // Not started, because a later one failed: its error follows in a later slot.
            None => {}
        }
    }
    Ok(done)
}

/// Completes a layer from the layers below it (`below`, top first).
fn settle(files: &Path, unsettled: &Unsettled, below: &[PathBuf]) -> Result<(), StoreError> {
    if unsettled.is_empty() {
        return Ok(());
    }
    let failed = |cause| StoreError::Io {
        action: "complete a layer from those below",
        cause,
    };
    for relative in &unsettled.directories {
        let found = below.iter().find_map(|layer| {
            let path = layer.join(relative);
            let metadata = path.symlink_metadata().ok()?;
            metadata.is_dir().then_some((path, metadata))
        });
        let Some((from, metadata)) = found else { continue };
        let to = files.join(relative);
        let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
        rustix::fs::chownat(CWD, &to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|()| rustix::fs::chmod(&to, Mode::from_raw_mode(metadata.mode() & 0o7777)))
            .map_err(|errno| failed(errno.into()))?;
        copy_xattrs(&from, &to).map_err(|errno| failed(errno.into()))?;
        let modified = metadata.modified().map_err(failed)?;
        fs_err::File::open(&to)
            .and_then(|dir| dir.file().set_modified(modified))
            .map_err(failed)?;
    }
    for (name, target) in &unsettled.links {
        let found = below
            .iter()
            .map(|layer| layer.join(target))
            .find(|path| path.symlink_metadata().is_ok());
        let Some(from) = found.filter(|path| path.symlink_metadata().is_ok_and(|m| m.is_file())) else {
            let reason = format!(
                "`{}` is a hard link to `{}`, which no layer has",
                name.display(),
                target.display()
            );
            return Err(StoreError::Damaged {
                path: files.to_path_buf(),
                reason,
            });
        };
        // Overlayfs cannot link across layers either; it copies up, and so do we.
        let to = files.join(name);
        fs_err::copy(&from, &to).map_err(failed)?;
        let metadata = from.symlink_metadata().map_err(failed)?;
        let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
        rustix::fs::chownat(CWD, &to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|()| rustix::fs::chmod(&to, Mode::from_raw_mode(metadata.mode() & 0o7777)))
            .map_err(|errno| failed(errno.into()))?;
        copy_xattrs(&from, &to).map_err(|errno| failed(errno.into()))?;
        let modified = metadata.modified().map_err(failed)?;
        fs_err::File::options()
            .write(true)
            .open(&to)
            .and_then(|f| f.file().set_modified(modified))
            .map_err(failed)?;
    }
    Ok(())
}

fn copy_xattrs(from: &Path, to: &Path) -> rustix::io::Result<()> {
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(from, list.as_mut_slice())?;
    for key in list[..length]
        .split(|byte| *byte == 0)
        .filter(|key| !key.is_empty())
    {
        let key = std::ffi::CString::new(key).expect("split at NUL");
        if key.as_bytes() == OPAQUE.as_bytes() || key.as_bytes() == b"security.selinux" {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(from, key.as_c_str(), value.as_mut_slice())?;
        rustix::fs::lsetxattr(to, key.as_c_str(), &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}
