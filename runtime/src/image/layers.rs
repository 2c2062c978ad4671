//! Layers: archives become directories once, and every image shares them.
//!
//! 1. unpack each archive into a directory under `ingest/`, several at once;
//! 2. settle what an archive left open (directories it did not list, links into lower layers), bottom layer first;
//! 3. sync the file system once;
//! 4. rename each directory to its digest: from here on it exists.

use super::{
    blobs::NewBlob,
    digest::Digest,
    draft::{Draft, publish},
    manifest::Descriptor,
    progress::{Doing, Event, Progress},
    settle::settle,
    store::{LayerRecord, Store, StoreError},
};
use crate::archive::{Limits, compression::Compression, extract::Manner, layer::unpack_outlined};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    path::PathBuf,
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
    /// What is kept of the archive beside its files.
    pub(crate) keep: Keep,
    /// Held until the layer is visible, so that nobody fetches it a second time.
    pub(crate) guard: Option<std::fs::File>,
}

/// What is kept of a layer's archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is a blob of the store already.
    Nothing,
    /// All of it, as a blob: a compressed archive cannot be made again from what was in it.
    Blob,
    /// Its outline, which with the files gives it again; a blob only where it cannot.
    Outline,
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
        let given = source(index)?;
        if let Some((diff_id, blob)) = here(store, &given) {
            return Ok((
                LayerRecord {
                    diff_id,
                    blob: Some(blob),
                },
                None,
            ));
        }
        let keep = given.keep;
        let (draft, blob, guard) = unpack_one(store, given, progress)?;
        let unpacked = draft.unpacked.as_ref().expect("unpack_one sets it");
        let blob = match keep {
            Keep::Outline if unpacked.outlined => None,
            Keep::Outline => Some(copy_blob(store, source(index)?, unpacked.blob)?),
            Keep::Nothing | Keep::Blob => blob,
        };
        let record = LayerRecord {
            diff_id: unpacked.diff_id,
            blob,
        };
        if !unpacked.unsettled.is_empty() {
            return Ok((record, Some((draft, guard))));
        }
        let note = draft.note(record.diff_id);
        publish(store, vec![(draft, note)])?;
        Ok((record, None))
    })?;
    // An archive that leaves nothing open needs no lower layer, so most images skip this.
    let mut stack: Vec<PathBuf> = Vec::new();
    let (mut records, mut drafts, mut guards) = (Vec::with_capacity(count), Vec::new(), Vec::new());
    for (record, draft) in results {
        if let Some((draft, guard)) = draft {
            let unpacked = draft.unpacked.as_ref().expect("unpack_one sets it");
            settle(&draft.files(), &unpacked.unsettled, &stack)?;
            stack.insert(0, draft.files());
            let note = draft.note(record.diff_id);
            drafts.push((draft, note));
            guards.push(guard);
        } else {
            stack.insert(0, store.layer_path(record.diff_id));
        }
        records.push(record);
    }
    publish(store, drafts)?;
    Ok(records)
}

/// Stores an archive that was unpacked without an outline as a blob after all.
fn copy_blob(store: &Store, mut source: Source<'_>, digest: Digest) -> Result<Descriptor, StoreError> {
    let mut hashing = super::digest::Hashing::new(store.new_blob()?);
    io::copy(&mut source.read, &mut hashing).map_err(|cause| StoreError::Io {
        action: "store a blob",
        cause,
    })?;
    let (found, size, blob) = hashing.finish();
    if found != digest {
        return Err(StoreError::WrongBytes {
            expected: digest,
            found,
        });
    }
    blob.finish(digest)?;
    let media_type = media_type(&source.media_type, Compression::None);
    Ok(Descriptor::new(media_type, digest, size))
}

/// The media type to remember: as given, or by the bytes.
fn media_type(given: &str, compression: Compression) -> &str {
    match (given, compression) {
        ("", Compression::Gzip) => super::manifest::media::OCI_LAYER_GZIP,
        ("", Compression::Zstd) => super::manifest::media::OCI_LAYER_ZSTD,
        ("", _) => super::manifest::media::OCI_LAYER,
        (given, _) => given,
    }
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
    let mut copy = match source.keep {
        Keep::Blob => Some(store.new_blob()?),
        Keep::Nothing | Keep::Outline => None,
    };
    let every = Throttle::default();
    let tee = Tee {
        source: source.read,
        copy: copy.as_mut(),
    };
    let outline = Some(draft.outline()?);
    let limits = Limits::default();
    let unpacked = unpack_outlined(tee, root.as_fd(), Manner::Layer, limits, outline, &|done| {
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
    let descriptor = |blob, size| {
        let media_type = media_type(&source.media_type, unpacked.compression);
        Descriptor::new(media_type, blob, size)
    };
    let descriptor = match copy {
        Some(copy) => {
            copy.finish(unpacked.blob)?;
            Some(descriptor(unpacked.blob, unpacked.blob_size))
        }
        None => source.blob.map(|blob| descriptor(blob, unpacked.blob_size)),
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
