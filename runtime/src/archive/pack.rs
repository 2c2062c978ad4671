//! A directory tree as a tar stream: the same tree always gives the same bytes.
//!
//! Names are sorted by bytes; the first name of a hard-linked file carries its content. Pax records are written only
//! where the old header cannot hold a value. Access and change times, and sockets, are left out.

use super::{
    entries::Xattr,
    extract::{Manner, OPAQUE, Tally},
};
use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    collections::HashMap,
    ffi::{CString, OsStr},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

/// Why a tree could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file of the tree.
    #[error("cannot read `{path}` while packing")]
    Read {
        /// The file.
        path: String,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// The place it goes to.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

/// Packs everything below `root`.
///
/// With [`Manner::Layer`], overlayfs's whiteouts and opaque directories become an image layer's (image-spec/layer.md).
pub fn pack(root: BorrowedFd<'_>, out: impl Write, manner: Manner) -> Result<Tally, PackError> {
    let mut packer = Packer::new(out, manner);
    packer.directory(root, &mut Vec::new())?;
    packer.finish()
}

/// Packs what is called `name` in `dir`, with everything below it; in the archive it is called `path`.
pub fn pack_named(
    dir: BorrowedFd<'_>,
    name: &CString,
    path: &[u8],
    out: impl Write,
    manner: Manner,
) -> Result<Tally, PackError> {
    let mut packer = Packer::new(out, manner);
    packer.name(dir, name, &mut path.to_vec())?;
    packer.finish()
}

struct Packer<W> {
    out: W,
    manner: Manner,
    /// Names of files with several links, by device and inode.
    seen: HashMap<(u64, u64), Vec<u8>>,
    tally: Tally,
    buffer: Vec<u8>,
}

impl<W: Write> Packer<W> {
    fn new(out: W, manner: Manner) -> Self {
        Self {
            out,
            manner,
            seen: HashMap::new(),
            tally: Tally::default(),
            buffer: vec![0; 256 << 10],
        }
    }

    fn finish(mut self) -> Result<Tally, PackError> {
        self.write(&[0; 1024])?;
        self.out.flush().map_err(PackError::Write)?;
        Ok(self.tally)
    }

    fn directory(&mut self, dir: BorrowedFd<'_>, path: &mut Vec<u8>) -> Result<(), PackError> {
        let mut names = names(dir).map_err(|errno| unreadable(path, errno))?;
        names.sort_unstable();
        for name in names {
            let length = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            self.name(dir, &name, path)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn name(&mut self, dir: BorrowedFd<'_>, name: &CString, path: &mut Vec<u8>) -> Result<(), PackError> {
        let stat =
            fs::statat(dir, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(|e| unreadable(path, e))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Socket {
            return Ok(());
        }
        self.tally.entries += 1;
        if self.manner == Manner::Layer && kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            let parent = path.len() - name.as_bytes().len();
            let hidden = [&path[..parent], b".wh.", name.as_bytes()].concat();
            return self.header(&Header::empty(&hidden));
        }
        let attributes = xattrs(dir, name, kind).map_err(|errno| unreadable(path, errno))?;
        let is_opaque = attributes
            .iter()
            .any(|(key, value)| key == OPAQUE.as_bytes() && value == b"y");
        let attributes: Vec<_> = attributes
            .into_iter()
            .filter(|(key, _)| !key.starts_with(b"trusted.overlay."))
            .collect();
        let mut header = Header {
            path,
            stat: Some(&stat),
            kind: b'0',
            link: Vec::new(),
            size: 0,
            xattrs: attributes,
        };
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.seen.get(&(stat.st_dev, stat.st_ino)) {
                header.kind = b'1';
                header.link.clone_from(first);
                header.xattrs.clear();
                return self.header(&header);
            }
            self.seen.insert((stat.st_dev, stat.st_ino), path.clone());
        }
        match kind {
            FileType::RegularFile => {
                header.size = u64::try_from(stat.st_size).unwrap_or(0);
                self.header(&header)?;
                let file = open(dir, name, OFlags::empty()).map_err(|errno| unreadable(path, errno))?;
                self.content(file.as_fd(), u64::try_from(stat.st_size).unwrap_or(0), path)
            }
            FileType::Directory => {
                header.kind = b'5';
                self.header(&header)?;
                if is_opaque && self.manner == Manner::Layer {
                    let mark = [path.as_slice(), b"/.wh..wh..opq"].concat();
                    self.header(&Header::empty(&mark))?;
                }
                let inner = open(dir, name, OFlags::DIRECTORY).map_err(|errno| unreadable(path, errno))?;
                self.directory(inner.as_fd(), path)
            }
            FileType::Symlink => {
                header.kind = b'2';
                header.link = fs::readlinkat(dir, name.as_c_str(), Vec::new())
                    .map_err(|errno| unreadable(path, errno))?
                    .into_bytes();
                self.header(&header)
            }
            FileType::CharacterDevice => self.header(&Header { kind: b'3', ..header }),
            FileType::BlockDevice => self.header(&Header { kind: b'4', ..header }),
            FileType::Fifo => self.header(&Header { kind: b'6', ..header }),
            _ => Ok(()),
        }
    }

    fn content(&mut self, file: BorrowedFd<'_>, size: u64, path: &[u8]) -> Result<(), PackError> {
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let count = match rustix::io::read(file, &mut self.buffer[..want]) {
                Err(Errno::INTR) => continue,
                other => other.map_err(|errno| unreadable(path, errno))?,
            };
            if count == 0 {
                let cause = io::Error::other("it became shorter while it was read");
                return Err(PackError::Read {
                    path: lossy(path),
                    cause,
                });
            }
            self.out
                .write_all(&self.buffer[..count])
                .map_err(PackError::Write)?;
            left -= count as u64;
        }
        self.tally.bytes += size;
        self.pad(size)
    }

    fn header(&mut self, header: &Header<'_>) -> Result<(), PackError> {
        let records = header.records();
        if !records.is_empty() {
            let mut extension = tar::Header::new_ustar();
            set_bytes(&mut extension, 0..100, b"././@PaxHeader");
            extension.set_entry_type(tar::EntryType::XHeader);
            extension.set_mode(0o644);
            extension.set_uid(0);
            extension.set_gid(0);
            extension.set_mtime(0);
            extension.set_size(records.len() as u64);
            extension.set_cksum();
            self.write(extension.as_bytes())?;
            self.write(&records)?;
            self.pad(records.len() as u64)?;
        }
        let block = header.block();
        self.write(block.as_bytes())
    }

    fn pad(&mut self, size: u64) -> Result<(), PackError> {
        let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
        self.write(&[0; 512][..padding])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.out.write_all(bytes).map_err(PackError::Write)
    }
}

/// What one entry's header says.
struct Header<'a> {
    path: &'a [u8],
    /// `None` for whiteouts: they have no owner or time.
    stat: Option<&'a Stat>,
    kind: u8,
    link: Vec<u8>,
    size: u64,
    xattrs: Vec<Xattr>,
}

/// Largest owner that 7 octal digits hold.
const OCTAL_7: u32 = 0o777_7777;
/// Largest size or time that 11 octal digits hold.
const OCTAL_11: u64 = 0o777_7777_7777;

impl<'a> Header<'a> {
    fn empty(path: &'a [u8]) -> Self {
        Self {
            path,
            stat: None,
            kind: b'0',
            link: Vec::new(),
            size: 0,
            xattrs: Vec::new(),
        }
    }

    fn name(&self) -> Vec<u8> {
        let mut name = self.path.to_vec();
        if self.kind == b'5' {
            name.push(b'/');
        }
        name
    }

    fn block(&self) -> tar::Header {
        let mut block = tar::Header::new_ustar();
        let name = self.name();
        set_bytes(&mut block, 0..100, &name[..name.len().min(100)]);
        set_bytes(&mut block, 157..257, &self.link[..self.link.len().min(100)]);
        block.set_entry_type(tar::EntryType::new(self.kind));
        block.set_size(self.size.min(OCTAL_11));
        let (mode, uid, gid, mtime, device) = self.stat.map_or((0, 0, 0, 0, 0), |stat| {
            let seconds = u64::try_from(stat.st_mtime).unwrap_or(0).min(OCTAL_11);
            (
                stat.st_mode & 0o7777,
                stat.st_uid,
                stat.st_gid,
                seconds,
                stat.st_rdev,
            )
        });
        block.set_mode(mode);
        block.set_uid(u64::from(uid.min(OCTAL_7)));
        block.set_gid(u64::from(gid.min(OCTAL_7)));
        block.set_mtime(mtime);
        if matches!(self.kind, b'3' | b'4') {
            // A ustar header always has these fields.
            let numbers = (fs::major(device), fs::minor(device));
            block
                .set_device_major(numbers.0)
                .and_then(|()| block.set_device_minor(numbers.1))
                .ok();
        }
        block.set_cksum();
        block
    }

    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        let name = self.name();
        if name.len() > 100 {
            record(&mut records, b"path", &name);
        }
        if self.link.len() > 100 {
            record(&mut records, b"linkpath", &self.link);
        }
        if self.size > OCTAL_11 {
            record(&mut records, b"size", self.size.to_string().as_bytes());
        }
        if let Some(stat) = self.stat {
            if stat.st_uid > OCTAL_7 {
                record(&mut records, b"uid", stat.st_uid.to_string().as_bytes());
            }
            if stat.st_gid > OCTAL_7 {
                record(&mut records, b"gid", stat.st_gid.to_string().as_bytes());
            }
            let is_plain = u64::try_from(stat.st_mtime).is_ok_and(|seconds| seconds <= OCTAL_11);
            if stat.st_mtime_nsec != 0 || !is_plain {
                record(&mut records, b"mtime", time(stat).as_bytes());
            }
        }
        for (key, value) in &self.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", key.as_slice()].concat(), value);
        }
        records
    }
}

/// `[-]seconds[.fraction]`; before 1970 the fraction counts towards minus infinity.
fn time(stat: &Stat) -> String {
    let (seconds, nanos) = (i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec));
    let all = seconds * 1_000_000_000 + nanos;
    let sign = if all < 0 { "-" } else { "" };
    let all = all.unsigned_abs();
    let (whole, fraction) = (all / 1_000_000_000, all % 1_000_000_000);
    let text = format!("{sign}{whole}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `length key=value\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn set_bytes(header: &mut tar::Header, range: std::ops::Range<usize>, value: &[u8]) {
    let start = range.start;
    header.as_mut_bytes()[start..start + value.len()].copy_from_slice(value);
}

fn open(dir: BorrowedFd<'_>, name: &CString, flags: OFlags) -> Result<OwnedFd, Errno> {
    // Nonblocking, so that a pipe put in place of the file cannot hold us up.
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    fs::openat(dir, name.as_c_str(), flags, Mode::empty())
}

/// The names in a directory, unsorted, without `.` and `..`.
pub(crate) fn names(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Extended attributes of a name, sorted.
pub(crate) fn xattrs(dir: BorrowedFd<'_>, name: &CString, kind: FileType) -> Result<Vec<Xattr>, Errno> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    let mut list = vec![0; 1024];
    let length = loop {
        match fs::llistxattr(path.as_slice(), list.as_mut_slice()) {
            Ok(length) => break length,
            Err(Errno::RANGE) => list.resize(list.len() * 4, 0),
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
    };
    let mut found = Vec::new();
    for key in list[..length]
        .split(|byte| *byte == 0)
        .filter(|key| !key.is_empty())
    {
        // A symbolic link has no user attributes, and its security label belongs to the host.
        if key == b"security.selinux" || kind == FileType::Symlink && key.starts_with(b"user.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = match fs::lgetxattr(path.as_slice(), OsStr::from_bytes(key), value.as_mut_slice()) {
            Err(Errno::NODATA) => continue,
            other => other?,
        };
        value.truncate(length);
        found.push((key.to_vec(), value));
    }
    found.sort_unstable();
    Ok(found)
}

fn unreadable(path: &[u8], errno: Errno) -> PackError {
    PackError::Read {
        path: lossy(path),
        cause: errno.into(),
    }
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
