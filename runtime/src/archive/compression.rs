//! Compressed streams: told apart by their first bytes, decoded in process.

use super::Limits;
use std::{
    fmt,
    io::{self, BufRead, BufReader, Read},
};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz format.
    Xz,
}

impl Compression {
    /// Recognises a format by its magic number; anything else is taken as not compressed.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, as zstd:chunked writes them.
            [b, 0x2a, 0x4d, 0x18, ..] if b & 0xf0 == 0x50 => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// A stream that is decoded as it is read, with its bounds.
pub struct Decoder<'a> {
    inner: Box<dyn Read + Send + 'a>,
    compression: Compression,
}

impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

impl<'a> Decoder<'a> {
    /// Looks at the first bytes of `source` and decodes what follows.
    pub fn new(source: impl Read + Send + 'a) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(256 << 10, source);
        let compression = Compression::of(peek(&mut source)?);
        let inner: Box<dyn Read + Send + 'a> = match compression {
            Compression::None => Box::new(source),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                // 128 MiB of window at most: more is a way to make us allocate (RFC 8878, 3.1.1.1.2).
                decoder.window_log_max(27)?;
                Box::new(decoder)
            }
            Compression::Xz => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(256 << 20, liblzma::stream::CONCATENATED)
                        .map_err(io::Error::other)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
            }
        };
        Ok(Self { inner, compression })
    }

    /// What was recognised.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// The first bytes of a stream (up to 6) without consuming them, even where they arrive one by one.
fn peek<R: Read>(source: &mut BufReader<R>) -> io::Result<&[u8]> {
    // `fill_buf` returns what one read gave; an empty or tiny first read is a short stream for our purpose,
    // because files, pipes and sockets give at least a block before they end.
    source.fill_buf()
}

/// Refuses more than [`Limits`] allows of uncompressed bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bomb {
    limits: Limits,
    out: u64,
}

impl Bomb {
    /// Nothing came out yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, out: 0 }
    }

    /// Counts `more` uncompressed bytes, after `compressed` bytes were read in all.
    pub fn check(&mut self, more: usize, compressed: u64) -> io::Result<()> {
        self.out += more as u64;
        if self.out > self.limits.bytes {
            return Err(io::Error::other(format!(
                "more than {} uncompressed bytes",
                self.limits.bytes
            )));
        }
        if self.out > Limits::RATIO_FROM && self.out / compressed.max(1) > self.limits.ratio {
            return Err(io::Error::other(format!(
                "it expands more than {} times, which no real archive does",
                self.limits.ratio
            )));
        }
        Ok(())
    }
}
