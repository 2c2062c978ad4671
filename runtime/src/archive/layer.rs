//! One archive into one directory, by three threads.
//!
//! 1. one reads the source, hashes and decodes it where it is compressed, and fills chunks;
//! 2. one hashes the chunks;
//! 3. this one frames them into entries, creates those, and gives the chunks back;
//! 4. what follows the archive's end is still read, because the digests cover it.

use super::{
    Limits,
    compression::{Bomb, Compression, Decoder},
    entries::Entries,
    extract::{ExtractError, Manner, Tally, Unsettled, extract},
    outline::Outline,
};
use crate::image::digest::{Digest, Hashing};
use std::{
    io::{self, BufRead, Read},
    os::fd::BorrowedFd,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
};

const CHUNK: usize = 256 << 10;
/// Chunks in flight: enough to keep all three threads busy, 4 MiB in all. They go round, so memory is touched once.
const CHUNKS: usize = 16;

/// What came out of an archive.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// Digest of the archive's uncompressed bytes.
    pub diff_id: Digest,
    /// Digest of the bytes as they were given.
    pub blob: Digest,
    /// Number of bytes as they were given.
    pub blob_size: u64,
    /// Number of uncompressed bytes.
    pub archive: u64,
    /// How they were compressed.
    pub compression: Compression,
    /// Entries and bytes.
    pub tally: Tally,
    /// What only lower layers can complete.
    pub unsettled: Unsettled,
    /// The outline that was asked for is complete: with the tree it gives the archive again.
    pub outlined: bool,
}

/// Why an archive could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The source or its compression.
    #[error("cannot decode the archive")]
    Decode(#[source] io::Error),
    /// An entry.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The outline's file.
    #[error("cannot write the layer's outline")]
    Outline(#[source] io::Error),
}

/// Unpacks `source` below `root`. `progress` hears how many source bytes were read so far.
pub fn unpack(
    source: impl Read + Send,
    root: BorrowedFd<'_>,
    manner: Manner,
    limits: Limits,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Unpacked, LayerError> {
    unpack_outlined(source, root, manner, limits, None, progress)
}

/// The same, and writes an outline of the archive.
pub fn unpack_outlined(
    source: impl Read + Send,
    root: BorrowedFd<'_>,
    manner: Manner,
    limits: Limits,
    outline: Option<Outline>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Unpacked, LayerError> {
    thread::scope(|scope| {
        let (fill, filled) = sync_channel(CHUNKS);
        let (pass, passed) = sync_channel(CHUNKS);
        let (free, freed) = sync_channel(CHUNKS);
        let spawned = |name: &str| thread::Builder::new().name(name.into());
        let decoder = spawned("decode")
            .spawn_scoped(scope, move || {
                let mut line = Line { fill, freed, made: 0 };
                decode(source, &mut line, limits, progress)
            })
            .map_err(LayerError::Decode)?;
        let hasher = spawned("hash")
            .spawn_scoped(scope, move || hash(&filled, &pass))
            .map_err(LayerError::Decode)?;
        let chunks = Chunks {
            passed,
            free,
            chunk: None,
            at: 0,
        };
        let mut entries = Entries::new(chunks, limits).outlined(outline);
        let extracted = extract(&mut entries, root, manner, &mut |_| Ok(true))
            .and_then(|found| Ok((found, entries.finish()?)));
        // Without a receiver the other threads stop at their next chunk.
        let decoded = decoder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (diff_id, archive) = hasher
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let ((tally, unsettled), outline) = extracted?;
        let Source { blob, compression } = decoded.map_err(LayerError::Decode)?;
        // Where nothing was decoded one hash serves as both: the bytes are the same.
        let (blob, blob_size) = blob.unwrap_or((diff_id, archive));
        let outlined = outline.is_some();
        outline
            .map_or(Ok(()), Outline::finish)
            .map_err(LayerError::Outline)?;
        Ok(Unpacked {
            diff_id,
            archive,
            blob,
            blob_size,
            compression,
            tally,
            unsettled,
            outlined,
        })
    })
}

/// Hashes an archive without unpacking it: the digest of its uncompressed bytes.
pub fn diff_id(source: impl Read + Send, limits: Limits) -> io::Result<Digest> {
    thread::scope(|scope| {
        let (fill, filled) = sync_channel(CHUNKS);
        let (pass, passed) = sync_channel::<io::Result<Chunk>>(CHUNKS);
        let (free, freed) = sync_channel(CHUNKS);
        let hasher = scope.spawn(move || hash(&filled, &pass));
        scope.spawn(move || {
            for chunk in passed.into_iter().flatten() {
                free.send(chunk.bytes).ok();
            }
        });
        let mut line = Line { fill, freed, made: 0 };
        let decoded = decode(source, &mut line, limits, &|_| ());
        drop(line);
        let (digest, _) = hasher
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        decoded.map(|_| digest)
    })
}

/// Decoded bytes on their way.
struct Chunk {
    bytes: Vec<u8>,
    length: usize,
}

/// Where chunks come from and go to.
struct Line {
    fill: SyncSender<io::Result<Chunk>>,
    freed: Receiver<Vec<u8>>,
    /// How many there are.
    made: usize,
}

impl Line {
    /// An empty chunk: one that came back, or a new one while there are few.
    fn empty(&mut self) -> io::Result<Vec<u8>> {
        let stopped = || io::Error::other("unpacking stopped");
        match self.freed.try_recv() {
            Ok(bytes) => Ok(bytes),
            Err(TryRecvError::Empty) if self.made < CHUNKS => {
                self.made += 1;
                Ok(vec![0; CHUNK])
            }
            Err(_) => self.freed.recv().map_err(|_| stopped()),
        }
    }
}

/// What is known of an archive's bytes as they were given; the digest only where they were decoded.
struct Source {
    blob: Option<(Digest, u64)>,
    compression: Compression,
}

fn decode(
    mut source: impl Read + Send,
    line: &mut Line,
    limits: Limits,
    progress: &(dyn Fn(u64) + Sync),
) -> io::Result<Source> {
    let mut start = Vec::with_capacity(8);
    (&mut source).take(8).read_to_end(&mut start)?;
    let compression = Compression::of(&start);
    let read = AtomicU64::new(0);
    let mut counted = Counted {
        inner: io::Cursor::new(start).chain(source),
        read: &read,
        progress,
    };
    let result = if compression == Compression::None {
        pump(&mut counted, line, limits, &read).map(|()| None)
    } else {
        let mut hashing = Hashing::new(&mut counted);
        let pumped =
            Decoder::new(&mut hashing).and_then(|mut decoder| pump(&mut decoder, line, limits, &read));
        pumped.and_then(|()| {
            io::copy(&mut hashing, &mut io::sink())?;
            let (blob, size, _) = hashing.finish();
            Ok(Some((blob, size)))
        })
    };
    match result {
        Ok(blob) => Ok(Source { blob, compression }),
        Err(error) => {
            // The other side must not take a cut stream for a complete archive.
            let copy = io::Error::new(error.kind(), error.to_string());
            line.fill.send(Err(copy)).ok();
            Err(error)
        }
    }
}

fn pump(source: &mut dyn Read, line: &mut Line, limits: Limits, read: &AtomicU64) -> io::Result<()> {
    let mut bomb = Bomb::new(limits);
    loop {
        let mut bytes = line.empty()?;
        let mut length = 0;
        while length < CHUNK {
            match source.read(&mut bytes[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if length == 0 {
            return Ok(());
        }
        bomb.check(length, read.load(Ordering::Relaxed))?;
        if line.fill.send(Ok(Chunk { bytes, length })).is_err() {
            return Err(io::Error::other("unpacking stopped"));
        }
    }
}

/// Hashes what passes. Where nobody wants it any more the digest means nothing, and nobody asks for it.
fn hash(filled: &Receiver<io::Result<Chunk>>, pass: &SyncSender<io::Result<Chunk>>) -> (Digest, u64) {
    let mut hashing = Hashing::new(io::sink());
    for chunk in filled {
        if let Ok(chunk) = &chunk {
            hashing.take(&chunk.bytes[..chunk.length]);
        }
        if pass.send(chunk).is_err() {
            break;
        }
    }
    let (digest, bytes, _) = hashing.finish();
    (digest, bytes)
}

struct Counted<'a, R> {
    inner: R,
    read: &'a AtomicU64,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let all = self.read.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        (self.progress)(all);
        Ok(count)
    }
}

/// The receiving end as a stream.
struct Chunks {
    passed: Receiver<io::Result<Chunk>>,
    free: SyncSender<Vec<u8>>,
    chunk: Option<Chunk>,
    at: usize,
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_none()
            && let Ok(chunk) = self.passed.recv()
        {
            (self.chunk, self.at) = (Some(chunk?), 0);
        }
        Ok(self
            .chunk
            .as_ref()
            .map_or(&[], |chunk| &chunk.bytes[self.at..chunk.length]))
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
        if let Some(chunk) = self.chunk.take_if(|chunk| self.at >= chunk.length) {
            self.free.send(chunk.bytes).ok();
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = buffer.len().min(bytes.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}
