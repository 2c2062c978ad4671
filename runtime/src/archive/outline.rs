//! An archive without the contents of its files: what an unpacked layer keeps, so that tree and outline together give
//! back the very bytes that were unpacked. Docker keeps the same (vbatts/tar-split) in a form of its own.
//!
//! A zstd stream of records: `R` with bytes of the archive as they were (headers, padding, what follows the end),
//! `F` with the name and length of a file whose content stands here, `E` at the end. Nothing here is trusted when it is
//! read: whoever assembles an archive compares its digest.

use super::{
    extract::inside::{open_in_root, split},
    pack::PackError,
};
use rustix::{
    fs::{self, FileType, Mode, OFlags},
    io::Errno,
};
use std::{
    fmt,
    io::{self, Read, Write},
    os::fd::{BorrowedFd, OwnedFd},
};

const MAGIC: &[u8] = b"banyan outline 1\n";
/// Most bytes of one record; longer runs become several.
const RECORD: usize = 64 << 10;

/// An outline being written.
pub struct Outline {
    out: zstd::stream::write::Encoder<'static, Box<dyn Write + Send>>,
    run: Vec<u8>,
    failed: Option<io::Error>,
}

impl fmt::Debug for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outline").finish_non_exhaustive()
    }
}

impl Outline {
    /// Starts one.
    pub fn new(out: Box<dyn Write + Send>) -> io::Result<Self> {
        // Headers are so alike that the fastest level makes a fiftieth of them.
        let mut out = zstd::stream::write::Encoder::new(out, 1)?;
        out.write_all(MAGIC)?;
        Ok(Self {
            out,
            run: Vec::with_capacity(2 * RECORD),
            failed: None,
        })
    }

    /// Notes bytes as they are.
    pub(super) fn raw(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.len().min(RECORD - self.run.len());
            self.run.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.run.len() == RECORD {
                self.flush();
            }
        }
    }

    /// Notes that `length` bytes follow which are the file `path` of the tree.
    pub(super) fn file(&mut self, path: &[u8], length: u64) {
        self.flush();
        let mut record = Vec::with_capacity(path.len() + 13);
        record.push(b'F');
        record.extend_from_slice(&u32::try_from(path.len()).unwrap_or(u32::MAX).to_le_bytes());
        record.extend_from_slice(path);
        record.extend_from_slice(&length.to_le_bytes());
        self.write(&record);
    }

    /// Ends it; a failure of any write before is told here.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush();
        self.write(b"E");
        match self.failed {
            Some(error) => Err(error),
            None => self.out.finish()?.flush(),
        }
    }

    fn flush(&mut self) {
        if self.run.is_empty() {
            return;
        }
        let run = std::mem::take(&mut self.run);
        let length = u32::try_from(run.len()).expect("a run is shorter than a record");
        self.write(b"R");
        self.write(&length.to_le_bytes());
        self.write(&run);
        self.run = run;
        self.run.clear();
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.out.write_all(bytes).err();
        }
    }
}

/// Writes the archive that `outline` and the tree below `root` are.
///
/// # Errors
/// A damaged outline, and a file of the tree that is missing, no file, or shorter than it was.
pub fn assemble(outline: impl Read, root: BorrowedFd<'_>, mut out: impl Write) -> Result<(), PackError> {
    let damaged = |cause: io::Error| PackError::Read {
        path: "the layer's outline".into(),
        cause,
    };
    let wrong = || damaged(io::ErrorKind::InvalidData.into());
    let mut input = zstd::stream::read::Decoder::new(outline).map_err(damaged)?;
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(damaged)?;
    if magic != MAGIC {
        return Err(wrong());
    }
    let mut buffer = vec![0; 256 << 10];
    let mut parent: Option<(Vec<u8>, OwnedFd)> = None;
    loop {
        let mut kind = [0];
        input.read_exact(&mut kind).map_err(damaged)?;
        if kind == *b"E" {
            return out.flush().map_err(PackError::Write);
        }
        let mut length = [0; 4];
        input.read_exact(&mut length).map_err(damaged)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > RECORD {
            return Err(wrong());
        }
        let bytes = &mut buffer[..length];
        input.read_exact(bytes).map_err(damaged)?;
        match kind[0] {
            b'R' => out.write_all(bytes).map_err(PackError::Write)?,
            b'F' => {
                let path = bytes.to_vec();
                let mut size = [0; 8];
                input.read_exact(&mut size).map_err(damaged)?;
                copy(
                    root,
                    &mut parent,
                    &path,
                    u64::from_le_bytes(size),
                    &mut buffer,
                    &mut out,
                )?;
            }
            _ => return Err(wrong()),
        }
    }
}

fn copy(
    root: BorrowedFd<'_>,
    parent: &mut Option<(Vec<u8>, OwnedFd)>,
    path: &[u8],
    mut left: u64,
    buffer: &mut [u8],
    out: &mut impl Write,
) -> Result<(), PackError> {
    let unreadable = |cause: io::Error| PackError::Read {
        path: String::from_utf8_lossy(path).into_owned(),
        cause,
    };
    let refused = |errno: Errno| unreadable(errno.into());
    let (dir, name) = split(path);
    if parent.as_ref().is_none_or(|(known, _)| known != dir) {
        *parent = Some((dir.to_vec(), open_in_root(root, dir).map_err(refused)?));
    }
    let (_, at) = parent.as_ref().expect("it was set above");
    // Nonblocking, so that a pipe in the file's place cannot hold us up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::openat(at, name, flags, Mode::empty()).map_err(refused)?;
    let stat = fs::fstat(&file).map_err(refused)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(unreadable(io::Error::other("it is no regular file any more")));
    }
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = match rustix::io::read(&file, &mut buffer[..want]) {
            Err(Errno::INTR) => continue,
            other => other.map_err(refused)?,
        };
        if count == 0 {
            return Err(unreadable(io::Error::other("it is shorter than it was")));
        }
        out.write_all(&buffer[..count]).map_err(PackError::Write)?;
        left -= count as u64;
    }
    Ok(())
}
