//! One archive into one directory: decoding and hashing on a second thread, creating files on this one.
//!
//! 1. the second thread reads the source, hashes it, decodes it, hashes what comes out, and hands over chunks;
//! 2. this thread frames the chunks into entries and creates them;
//! 3. what follows the archive's end is still read, because the digests cover it.

use super::{
    Limits,
    compression::{Bomb, Compression, Decoder},
    entries::Entries,
    extract::{ExtractError, Manner, Tally, Unsettled, extract},
};
use crate::image::digest::{Digest, Hashing};
use std::{
    io::{self, Read},
    os::fd::BorrowedFd,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

const CHUNK: usize = 256 << 10;
/// Chunks in flight: enough to keep both threads busy, 4 MiB in all.
const QUEUE: usize = 16;

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
}

/// Unpacks `source` below `root`. `progress` hears how many source bytes were read so far.
pub fn unpack(
    source: impl Read + Send,
    root: BorrowedFd<'_>,
    manner: Manner,
    limits: Limits,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Unpacked, LayerError> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(QUEUE);
        let decoder = thread::Builder::new()
            .name("decode".into())
            .spawn_scoped(scope, move || decode(source, &sender, limits, progress))
            .map_err(LayerError::Decode)?;
        let mut entries = Entries::new(
            Chunks {
                receiver,
                chunk: Vec::new(),
                at: 0,
            },
            limits,
        );
        let extracted = extract(&mut entries, root, manner, &mut |_| Ok(true));
        let mut rest = entries.into_inner();
        if extracted.is_ok() {
            io::copy(&mut rest, &mut io::sink()).map_err(LayerError::Decode)?;
        }
        // Without a receiver the decoder stops at its next chunk.
        drop(rest);
        let decoded = decoder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (tally, unsettled) = extracted?;
        let Digests {
            diff_id,
            archive,
            blob,
            blob_size,
            compression,
        } = decoded.map_err(LayerError::Decode)?;
        Ok(Unpacked {
            diff_id,
            archive,
            blob,
            blob_size,
            compression,
            tally,
            unsettled,
        })
    })
}

/// Hashes an archive without unpacking it: the digest of its uncompressed bytes.
pub fn diff_id(source: impl Read + Send, limits: Limits) -> io::Result<Digest> {
    let (sender, receiver) = sync_channel::<io::Result<Vec<u8>>>(QUEUE);
    thread::scope(|scope| {
        scope.spawn(move || receiver.into_iter().for_each(drop));
        decode(source, &sender, limits, &|_| ()).map(|digests| digests.diff_id)
    })
}

struct Digests {
    diff_id: Digest,
    archive: u64,
    blob: Digest,
    blob_size: u64,
    compression: Compression,
}

fn decode(
    mut source: impl Read + Send,
    sender: &SyncSender<io::Result<Vec<u8>>>,
    limits: Limits,
    progress: &(dyn Fn(u64) + Sync),
) -> io::Result<Digests> {
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
        // One hash serves as both: the bytes are the same.
        pump(&mut counted, sender, limits, &read).map(|(diff_id, bytes)| (diff_id, bytes, diff_id, bytes))
    } else {
        let mut hashing = Hashing::new(&mut counted);
        let pumped =
            Decoder::new(&mut hashing).and_then(|mut decoder| pump(&mut decoder, sender, limits, &read));
        pumped.and_then(|(diff_id, archive)| {
            io::copy(&mut hashing, &mut io::sink())?;
            let (blob, size, _) = hashing.finish();
            Ok((diff_id, archive, blob, size))
        })
    };
    match result {
        Ok((diff_id, archive, blob, blob_size)) => Ok(Digests {
            diff_id,
            archive,
            blob,
            blob_size,
            compression,
        }),
        Err(error) => {
            // The other side must not take a cut stream for a complete archive.
            let copy = io::Error::new(error.kind(), error.to_string());
            sender.send(Err(copy)).ok();
            Err(error)
        }
    }
}

fn pump(
    source: &mut dyn Read,
    sender: &SyncSender<io::Result<Vec<u8>>>,
    limits: Limits,
    read: &AtomicU64,
) -> io::Result<(Digest, u64)> {
    let mut hashing = Hashing::new(source);
    let mut bomb = Bomb::new(limits);
    loop {
        let mut chunk = vec![0; CHUNK];
        let mut filled = 0;
        while filled < CHUNK {
            match hashing.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            let (digest, bytes, _) = hashing.finish();
            return Ok((digest, bytes));
        }
        bomb.check(filled, read.load(Ordering::Relaxed))?;
        chunk.truncate(filled);
        if sender.send(Ok(chunk)).is_err() {
            return Err(io::Error::other("unpacking stopped"));
        }
    }
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
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => (self.chunk, self.at) = (chunk?, 0),
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
