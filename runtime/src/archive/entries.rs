//! Tar framing: a stream becomes entries, and each entry's content can be read once.
//!
//! The `tar` crate decodes the 512-byte headers; the order of blocks, the long names and the pax records are followed
//! here, because here they are bounded (a long name of 4 GiB is a memory bomb) and strict: a record that two readers
//! could understand in two ways is refused rather than guessed (CVE-2025-62518, CVE-2026-33055).

use super::{
    Limits,
    outline::Outline,
    pax::{Extensions, apply_pax, check_global},
};
use std::io::{self, BufRead, Read};

/// What an entry is, with what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; its content follows.
    File,
    /// Another name of an earlier entry.
    HardLink(Vec<u8>),
    /// A symbolic link and its text.
    Symlink(Vec<u8>),
    /// A character device: major, minor.
    Char(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
    /// A directory.
    Directory,
}

/// An extended attribute's name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path as written, without NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes.
    pub xattrs: Vec<Xattr>,
    /// Bytes of the file once written.
    pub size: u64,
    /// For sparse files: where the bytes in the stream go, as (offset, length).
    pub sparse: Option<Vec<(u64, u64)>>,
}

/// Why a tar stream was refused.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream itself failed.
    #[error("cannot read the archive after {at} bytes")]
    Read {
        /// Bytes of the archive so far.
        at: u64,
        /// The stream's error.
        #[source]
        cause: io::Error,
    },
    /// The stream ended inside an entry.
    #[error("the archive ends after {at} bytes, inside an entry")]
    Truncated {
        /// Bytes of the archive so far.
        at: u64,
    },
    /// A header is damaged.
    #[error("the archive's header at byte {at} is damaged: {reason}")]
    Header {
        /// Where the header starts.
        at: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// More than we accept.
    #[error("the archive exceeds a limit: {reason}")]
    Limit {
        /// Which.
        reason: String,
    },
}

/// The entries of a tar stream, one after another.
#[derive(Debug)]
pub struct Entries<R> {
    input: R,
    limits: Limits,
    /// Bytes consumed.
    at: u64,
    /// Where the current header started, for messages.
    header_at: u64,
    /// Content bytes of the current entry that were not read yet.
    left: u64,
    padding: u64,
    count: u64,
    /// Notes what passes, while the tree can still give it back.
    outline: Option<Outline>,
    /// The current entry's content is in the tree, so that the outline need not have it.
    referred: bool,
}

impl<R: Read> Entries<R> {
    /// Starts at the first header.
    pub fn new(input: R, limits: Limits) -> Self {
        Self {
            input,
            limits,
            at: 0,
            header_at: 0,
            left: 0,
            padding: 0,
            count: 0,
            outline: None,
            referred: false,
        }
    }

    /// Notes in an outline what passes from here on.
    #[must_use]
    pub fn outlined(mut self, outline: Option<Outline>) -> Self {
        self.outline = outline;
        self
    }

    /// Says that the current entry's whole content is read now and goes to the file `path` of the tree.
    pub(super) fn refer(&mut self, path: &[u8]) {
        if let Some(outline) = &mut self.outline
            && self.left > 0
        {
            outline.file(path, self.left);
            self.referred = true;
        }
    }

    /// Gives the outline up: the tree no longer has all that it refers to.
    pub(super) fn forget_outline(&mut self) {
        self.outline = None;
    }

    /// Reads what follows the archive's end, which its digest covers too, and gives the outline of everything.
    pub(super) fn finish(mut self) -> Result<Option<Outline>, TarError> {
        let mut scratch = vec![0; 64 << 10];
        while self.read(&mut scratch)? > 0 {}
        Ok(self.outline)
    }

    /// The stream, after the last entry that was asked for.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// Bytes consumed so far; right after [`Self::next_entry`] this is where the content starts.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next entry, or `None` at the end of the archive. Unread content of the one before is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        let mut extended = false;
        loop {
            self.skip_content()?;
            self.header_at = self.at;
            let Some(header) = self.header()? else {
                if extended {
                    return Err(TarError::Truncated { at: self.at });
                }
                return Ok(None);
            };
            self.count += 1;
            if self.count > self.limits.entries {
                return Err(self.limit(format!("more than {} entries", self.limits.entries)));
            }
            let size = header
                .entry_size()
                .map_err(|cause| self.damaged(cause.to_string()))?;
            let kind = header.entry_type();
            extended = true;
            if kind.is_gnu_longname() {
                let name = self.extension(size)?;
                set_once(&mut extensions.path, until_nul(name)).map_err(|r| self.damaged(r))?;
            } else if kind.is_gnu_longlink() {
                let name = self.extension(size)?;
                set_once(&mut extensions.link, until_nul(name)).map_err(|r| self.damaged(r))?;
            } else if kind.is_pax_local_extensions() {
                let records = self.extension(size)?;
                apply_pax(&mut extensions, &records).map_err(|reason| self.damaged(reason))?;
            } else if kind.is_pax_global_extensions() {
                let records = self.extension(size)?;
                check_global(&records).map_err(|reason| self.damaged(reason))?;
                extended = false;
            } else {
                return self.entry(&header, size, extensions).map(Some);
            }
        }
    }

    /// Reads content of the current entry; 0 at its end.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let count = self.read(&mut buffer[..want])?;
        if count == 0 {
            return Err(TarError::Truncated { at: self.at });
        }
        self.left -= count as u64;
        self.referred &= self.left > 0;
        Ok(count)
    }

    /// The whole content of the current entry, if it is not longer than `most` bytes.
    pub fn content(&mut self, most: u64) -> Result<Vec<u8>, TarError> {
        if self.left > most {
            return Err(self.limit(format!(
                "a file of {} bytes where at most {most} are expected",
                self.left
            )));
        }
        let mut bytes = vec![0; usize::try_from(self.left).unwrap_or(usize::MAX)];
        self.exact(&mut bytes)?;
        self.left = 0;
        Ok(bytes)
    }

    fn entry(&mut self, header: &tar::Header, size: u64, mut x: Extensions) -> Result<Entry, TarError> {
        let kind = header.entry_type();
        let size = x.size.unwrap_or(size);
        let has_content = kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse();
        // Links and devices carry no content whatever their size field says (POSIX pax, "size").
        let stored = if has_content || !(kind.is_hard_link() || kind.is_symlink() || is_special(kind)) {
            size
        } else {
            0
        };
        if stored > self.limits.bytes {
            return Err(self.limit(format!("a file of {stored} bytes")));
        }
        self.left = stored;
        self.padding = stored.next_multiple_of(512) - stored;
        let mut path = match x.sparse.name.take().or(x.path.take()) {
            Some(path) => path,
            None => header.path_bytes().into_owned(),
        };
        self.check_path(&path)?;
        let link = match x.link.take() {
            Some(link) => link,
            None => header
                .link_name_bytes()
                .map(std::borrow::Cow::into_owned)
                .unwrap_or_default(),
        };
        if link.len() > self.limits.path || link.contains(&0) {
            return Err(self.damaged("a link's target is too long or contains NUL".into()));
        }
        let mut sparse = None;
        let mut real = size;
        if kind.is_gnu_sparse() {
            let (map, real_size) = self.old_gnu_sparse(header)?;
            (sparse, real) = (Some(map), real_size);
        } else if x.sparse.version_1 || x.sparse.is_map {
            let map = if x.sparse.version_1 {
                self.pax_sparse_1()?
            } else {
                std::mem::take(&mut x.sparse.map)
            };
            real = x
                .sparse
                .real_size
                .ok_or_else(|| self.damaged("a sparse file without its size".into()))?;
            let pairs = map.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            sparse = Some(pairs);
        }
        if let Some(map) = &sparse {
            self.check_sparse(map, real)?;
        }
        let number = |value: io::Result<u64>, what: &str| {
            value.map_err(|cause| self.damaged(format!("its {what} is no number: {cause}")))
        };
        let id = |value: u64, what: &str| {
            // 4294967295 means "leave as it is" to chown(2), so nobody can have it.
            let id = u32::try_from(value).ok().filter(|id| *id != u32::MAX);
            id.ok_or_else(|| self.damaged(format!("its {what} {value} does not fit 32 bits")))
        };
        let device = || -> Result<(u32, u32), TarError> {
            let wrong = |cause: io::Error| self.damaged(format!("its device number is no number: {cause}"));
            Ok((
                header.device_major().map_err(wrong)?.unwrap_or(0),
                header.device_minor().map_err(wrong)?.unwrap_or(0),
            ))
        };
        let is_directory_name = path.ends_with(b"/");
        let kind = if kind.is_dir() || (is_directory_name && kind.is_file()) {
            Kind::Directory
        } else if has_content {
            Kind::File
        } else if kind.is_hard_link() {
            Kind::HardLink(link)
        } else if kind.is_symlink() {
            Kind::Symlink(link)
        } else if kind.is_character_special() {
            let (major, minor) = device()?;
            Kind::Char(major, minor)
        } else if kind.is_block_special() {
            let (major, minor) = device()?;
            Kind::Block(major, minor)
        } else if kind.is_fifo() {
            Kind::Fifo
        } else {
            return Err(self.damaged(format!("entry type {:?} is unknown", char::from(kind.as_byte()))));
        };
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        let mode = or_zero(header, 100, header.mode())
            .map_err(|cause| self.damaged(format!("its mode is no number: {cause}")))?;
        let uid = id(
            x.uid
                .map_or_else(|| number(or_zero(header, 108, header.uid()), "owner"), Ok)?,
            "owner",
        )?;
        let gid = id(
            x.gid
                .map_or_else(|| number(or_zero(header, 116, header.gid()), "group"), Ok)?,
            "group",
        )?;
        let mtime = match x.mtime {
            Some(mtime) => mtime,
            None => (
                header
                    .mtime()
                    .map_or(0, |seconds| i64::try_from(seconds).unwrap_or(0)),
                0,
            ),
        };
        Ok(Entry {
            path,
            kind,
            mode: mode & 0o7777,
            uid,
            gid,
            mtime,
            xattrs: x.xattrs,
            size: real,
            sparse,
        })
    }

    fn check_path(&self, path: &[u8]) -> Result<(), TarError> {
        if path.contains(&0) {
            return Err(self.damaged("a path contains NUL".into()));
        }
        if path.is_empty() {
            return Err(self.damaged("a path is empty".into()));
        }
        if path.len() > self.limits.path {
            return Err(self.limit(format!("a path of {} bytes", path.len())));
        }
        let depth = path.split(|b| *b == b'/').filter(|part| !part.is_empty()).count();
        if depth > self.limits.depth {
            return Err(self.limit(format!("a path of {depth} components")));
        }
        if path.split(|b| *b == b'/').any(|part| part.len() > 255) {
            return Err(self.limit("a file name of more than 255 bytes".into()));
        }
        Ok(())
    }

    fn check_sparse(&self, map: &[(u64, u64)], real: u64) -> Result<(), TarError> {
        let mut end = 0_u64;
        let mut stored = 0_u64;
        for (offset, length) in map {
            if *offset < end {
                return Err(self.damaged("a sparse file's pieces overlap or run backwards".into()));
            }
            end = offset
                .checked_add(*length)
                .ok_or_else(|| self.damaged("a sparse file's map overflows".into()))?;
            stored += length;
        }
        if end > real || stored > self.left {
            return Err(self.damaged("a sparse file's map does not fit its size".into()));
        }
        if real > self.limits.bytes {
            return Err(self.limit(format!("a sparse file of {real} bytes")));
        }
        Ok(())
    }

    /// GNU's old sparse form: four pieces in the header, more in blocks after it.
    fn old_gnu_sparse(&mut self, header: &tar::Header) -> Result<(Vec<(u64, u64)>, u64), TarError> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| self.damaged("a sparse file without a GNU header".into()))?;
        let mut map = Vec::new();
        let real = gnu.real_size().map_err(|cause| self.damaged(cause.to_string()))?;
        let mut more = gnu.is_extended();
        let mut take = |this: &Self, headers: &[tar::GnuSparseHeader]| -> Result<(), TarError> {
            for piece in headers.iter().take_while(|piece| !piece.is_empty()) {
                let wrong = |cause: io::Error| this.damaged(cause.to_string());
                map.push((piece.offset().map_err(wrong)?, piece.length().map_err(wrong)?));
            }
            if map.len() > 1_000_000 {
                return Err(this.limit("a sparse file of more than a million pieces".into()));
            }
            Ok(())
        };
        take(self, &gnu.sparse)?;
        while more {
            let mut block = tar::GnuExtSparseHeader::new();
            self.exact(block.as_mut_bytes())?;
            take(self, &block.sparse)?;
            more = block.is_extended();
        }
        Ok((map, real))
    }

    /// GNU's pax form 1.0: the map stands as decimal lines at the start of the content.
    fn pax_sparse_1(&mut self) -> Result<Vec<u64>, TarError> {
        let mut numbers = Vec::new();
        let mut expected = None;
        let mut digits = String::new();
        while expected.is_none_or(|count: usize| numbers.len() < count) {
            if self.left < 512 {
                return Err(self.damaged("a sparse file's map is cut short".into()));
            }
            let mut block = [0_u8; 512];
            self.exact(&mut block)?;
            self.left -= 512;
            for byte in block {
                match byte {
                    b'0'..=b'9' if digits.len() < 20 => digits.push(char::from(byte)),
                    b'\n' => {
                        let value: u64 = digits
                            .parse()
                            .map_err(|_| self.damaged("a sparse file's map is no number".into()))?;
                        digits.clear();
                        if expected.is_some() {
                            numbers.push(value);
                        } else if value > 1_000_000 {
                            return Err(self.limit("a sparse file of more than a million pieces".into()));
                        } else {
                            expected = Some(usize::try_from(value).unwrap_or(0) * 2);
                        }
                    }
                    0 if expected.is_some_and(|count| numbers.len() >= count) => {}
                    _ => return Err(self.damaged("a sparse file's map is no number".into())),
                }
                if expected.is_some_and(|count| numbers.len() >= count) {
                    break;
                }
            }
        }
        Ok(numbers)
    }

    fn header(&mut self) -> Result<Option<tar::Header>, TarError> {
        let mut header = tar::Header::new_old();
        if !self.block(header.as_mut_bytes())? {
            return Ok(None);
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = header
            .cksum()
            .map_err(|_| self.damaged("its checksum is no number".into()))?;
        let bytes = header.as_bytes();
        let actual: u32 = bytes[..148]
            .iter()
            .chain(&bytes[156..])
            .map(|byte| u32::from(*byte))
            .sum::<u32>()
            + 8 * 32;
        if sum != actual {
            return Err(self.damaged("its checksum is wrong".into()));
        }
        Ok(Some(header))
    }

    /// Reads a block; `false` at a clean end of the stream.
    fn block(&mut self, block: &mut [u8]) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < block.len() {
            let count = self.read(&mut block[filled..])?;
            if count == 0 {
                return if filled == 0 {
                    Ok(false)
                } else {
                    Err(TarError::Truncated { at: self.at })
                };
            }
            filled += count;
        }
        Ok(true)
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        if buffer.is_empty() || self.block(buffer)? {
            Ok(())
        } else {
            Err(TarError::Truncated { at: self.at })
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        loop {
            match self.input.read(buffer) {
                Ok(count) => {
                    self.at += count as u64;
                    if let Some(outline) = self.outline.as_mut().filter(|_| !self.referred) {
                        outline.raw(&buffer[..count]);
                    }
                    return Ok(count);
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(TarError::Read { at: self.at, cause }),
            }
        }
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > self.limits.extension {
            return Err(self.limit(format!("an extension header of {size} bytes")));
        }
        self.left = size;
        self.padding = size.next_multiple_of(512) - size;
        self.content(size)
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        let mut skip = self.left + self.padding;
        (self.left, self.padding, self.referred) = (0, 0, false);
        // Mostly it is an entry's padding.
        let (mut small, mut large) = ([0_u8; 512], Vec::new());
        let scratch = if skip > 512 {
            large.resize(64 << 10, 0);
            large.as_mut_slice()
        } else {
            small.as_mut_slice()
        };
        while skip > 0 {
            let want = usize::try_from(skip).unwrap_or(usize::MAX).min(scratch.len());
            let count = self.read(&mut scratch[..want])?;
            if count == 0 {
                return Err(TarError::Truncated { at: self.at });
            }
            skip -= count as u64;
        }
        Ok(())
    }

    fn damaged(&self, reason: String) -> TarError {
        TarError::Header {
            at: self.header_at,
            reason,
        }
    }

    fn limit(&self, reason: String) -> TarError {
        TarError::Limit { reason }
    }
}

impl<R: BufRead> Entries<R> {
    /// The bytes of the current entry's content that are at hand, without copying them; empty at its end.
    pub(super) fn content_at_hand(&mut self) -> Result<&[u8], TarError> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let at = self.at;
        loop {
            // The borrow checker cannot see that only one arm returns the buffer, so it is asked for twice.
            match self.input.fill_buf() {
                Ok([]) => return Err(TarError::Truncated { at }),
                Ok(_) => break,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(TarError::Read { at, cause }),
            }
        }
        let bytes = self
            .input
            .fill_buf()
            .map_err(|cause| TarError::Read { at, cause })?;
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        Ok(&bytes[..count])
    }

    /// Takes `count` of the bytes at hand.
    pub(super) fn consume_content(&mut self, count: usize) {
        if let Some(outline) = self.outline.as_mut().filter(|_| !self.referred)
            && let Ok(bytes) = self.input.fill_buf()
        {
            outline.raw(&bytes[..count]);
        }
        self.input.consume(count);
        self.at += count as u64;
        self.left -= count as u64;
        self.referred &= self.left > 0;
    }
}

/// Some writers leave a number's eight bytes empty where they mean zero.
fn or_zero<T: Default>(header: &tar::Header, at: usize, parsed: io::Result<T>) -> io::Result<T> {
    let is_empty = header.as_bytes()[at..at + 8]
        .iter()
        .all(|byte| matches!(byte, 0 | b' '));
    if is_empty { Ok(T::default()) } else { parsed }
}

fn is_special(kind: tar::EntryType) -> bool {
    kind.is_character_special() || kind.is_block_special() || kind.is_fifo() || kind.is_dir()
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn set_once(slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> Result<(), String> {
    if slot.replace(value).is_some() {
        Err("two long names for one entry".into())
    } else {
        Ok(())
    }
}
