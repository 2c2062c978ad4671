//! Regular files: their bytes, then owner, mode, attributes and time.

use super::{
    Tree, failed, gid,
    inside::{remove_at, split},
    is_optional_xattr, refused, times, uid, wanted_xattrs,
};
use crate::archive::{
    entries::{Entries, Entry},
    extract::ExtractError,
};
use rustix::{
    fs::{self, Mode, OFlags, XattrFlags},
    io::Errno,
};
use std::{
    io::BufRead,
    os::fd::{AsFd, BorrowedFd},
};

impl Tree<'_> {
    pub(super) fn file<R: BufRead>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        content: &mut Entries<R>,
    ) -> Result<(), ExtractError> {
        let failed = |action, errno: Errno| failed(action, &entry.path, errno);
        let (dir, name) = split(path);
        let plain_mode = entry.mode & 0o7000 == 0 && entry.mode & self.umask == 0;
        let at = self.open_parent(dir)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if plain_mode { entry.mode } else { 0o600 });
        let file = match fs::openat(&at, name, flags, mode) {
            Err(Errno::EXIST) => {
                self.has_replaced = true;
                remove_at(at.as_fd(), name).map_err(|errno| failed("replace", errno))?;
                // What was removed may have been a symbolic link on the way to the directory that is kept open.
                self.parent = None;
                fs::openat(&at, name, flags, mode)
            }
            other => {
                self.keep_parent(dir, at);
                other
            }
        }
        .map_err(|errno| failed("create the file", errno))?;
        match &entry.sparse {
            None => {
                content.refer(path);
                let mut ends_in_hole = false;
                loop {
                    let bytes = content.content_at_hand()?;
                    let count = bytes.len();
                    if count == 0 {
                        break;
                    }
                    ends_in_hole =
                        write_sparse(file.as_fd(), bytes).map_err(|errno| failed("write", errno))?;
                    content.consume_content(count);
                }
                if ends_in_hole {
                    fs::ftruncate(&file, entry.size).map_err(|errno| failed("size", errno))?;
                }
            }
            Some(map) => {
                for (offset, length) in map {
                    fs::seek(&file, fs::SeekFrom::Start(*offset))
                        .map_err(|errno| failed("seek in", errno))?;
                    let mut left = *length;
                    while left > 0 {
                        let bytes = content.content_at_hand()?;
                        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                        if count == 0 {
                            return Err(refused(
                                &entry.path,
                                "its sparse map names more bytes than it has",
                            ));
                        }
                        write_all(file.as_fd(), &bytes[..count]).map_err(|errno| failed("write", errno))?;
                        content.consume_content(count);
                        left -= count as u64;
                    }
                }
                fs::ftruncate(&file, entry.size).map_err(|errno| failed("size", errno))?;
            }
        }
        self.tally.bytes += entry.size;
        // Owner first: the kernel clears set-id bits and file capabilities when the owner changes (chown(2)).
        if entry.uid != 0 || entry.gid != 0 || !plain_mode || self.parent_gives_group {
            fs::fchown(&file, Some(uid(entry.uid)), Some(gid(entry.gid)))
                .map_err(|errno| failed("chown", errno))?;
            if !plain_mode {
                fs::fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(|errno| failed("chmod", errno))?;
            }
        }
        for (key, value) in wanted_xattrs(entry) {
            match fs::fsetxattr(&file, key, value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::NOTSUP | Errno::PERM) if is_optional_xattr(key) => {}
                Err(errno) => return Err(failed("set an extended attribute of", errno)),
            }
        }
        fs::futimens(&file, &times(entry)).map_err(|errno| failed("set the time of", errno))
    }
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Writes bytes, but leaves out what is nothing but zeros: a file of a terabyte with nothing in it (`/var/log/lastlog`) was
/// sparse once. `true`: the last ones were left out, so the file must be given its length.
fn write_sparse(file: BorrowedFd<'_>, bytes: &[u8]) -> Result<bool, Errno> {
    const PIECE: usize = 16 << 10;
    // Small ends are written: a hole of less than a block saves nothing.
    let is_hole = |piece: &[u8]| {
        piece.len() >= 4096
            && piece
                .chunks(512)
                .all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
    };
    let after = |at: usize| (at + PIECE).min(bytes.len());
    let (mut at, mut ends_in_hole) = (0, false);
    while at < bytes.len() {
        let mut end = after(at);
        ends_in_hole = is_hole(&bytes[at..end]);
        while end < bytes.len() && is_hole(&bytes[end..after(end)]) == ends_in_hole {
            end = after(end);
        }
        if ends_in_hole {
            let step = i64::try_from(end - at).unwrap_or(0);
            fs::seek(file, fs::SeekFrom::Current(step))?;
        } else {
            write_all(file, &bytes[at..end])?;
        }
        at = end;
    }
    Ok(ends_in_hole)
}
