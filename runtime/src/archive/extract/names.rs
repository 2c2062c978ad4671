//! Names that are neither directories nor files of their own: links, devices, pipes, whiteouts.

use super::{
    ExtractError, OPAQUE, Tree, failed, gid,
    inside::{normalize, open_directory, open_in_root, remove_at, split, to_path},
    is_optional_xattr, refused, times, uid, wanted_xattrs,
};
use crate::archive::entries::{Entry, Kind};
use rustix::{
    fs::{self, AtFlags, FileType, Mode, XattrFlags},
    io::Errno,
};
use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

impl Tree<'_> {
    pub(super) fn hard_link(&mut self, entry: &Entry, own: &[u8], target: &[u8]) -> Result<(), ExtractError> {
        let target =
            normalize(target).map_err(|_| refused(&entry.path, "its link target leaves the root"))?;
        if target.is_empty() {
            return Err(refused(&entry.path, "its link target is the root directory"));
        }
        if own == target {
            return Ok(());
        }
        let (target_dir, target_name) = split(&target);
        let from = match open_in_root(self.root, target_dir) {
            Ok(from) => Some(from),
            Err(Errno::NOENT | Errno::NOTDIR) => None,
            Err(errno) => return Err(failed("find the link target of", &entry.path, errno)),
        };
        let found = from
            .as_ref()
            .map(|from| fs::statat(from, target_name, AtFlags::SYMLINK_NOFOLLOW));
        match (from, found) {
            (Some(from), Some(Ok(stat))) => {
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    return Err(refused(&entry.path, "its link target is a directory"));
                }
                self.replacing("link", own, |at, name| {
                    fs::linkat(&from, target_name, at, name, AtFlags::empty())
                })
            }
            _ => {
                // Its target may be in a layer below: settled once the layers are stacked.
                self.open_parent(split(own).0)?;
                self.unsettled.links.push((to_path(own), to_path(&target)));
                Ok(())
            }
        }
    }

    pub(super) fn symlink(&mut self, path: &[u8], target: &CStr) -> Result<(), ExtractError> {
        self.replacing("create the symbolic link", path, |at, name| {
            fs::symlinkat(target, at, name)
        })
    }

    pub(super) fn node(
        &mut self,
        path: &[u8],
        kind: FileType,
        mode: u32,
        device: (u32, u32),
    ) -> Result<(), ExtractError> {
        let number = fs::makedev(device.0, device.1);
        self.replacing("create the device", path, |at, name| {
            fs::mknodat(at, name, kind, Mode::from_raw_mode(mode & 0o777), number)
        })
    }

    pub(super) fn whiteout(&mut self, path: &[u8], dir: &[u8], name: &[u8]) -> Result<(), ExtractError> {
        let hidden = &name[b".wh.".len()..];
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(refused(path, "a whiteout without a name"));
        }
        if hidden == b".wh..opq" {
            let at = self.open_parent(dir)?;
            return fs::fsetxattr(&at, OPAQUE, b"y", XattrFlags::empty())
                .map_err(|errno| failed("mark as opaque", path, errno));
        }
        if hidden.starts_with(b".wh.") {
            // Other `.wh..wh.` names are reserved by aufs and mean nothing in an image.
            return Ok(());
        }
        let at = self.open_parent(dir)?;
        match fs::mknodat(&at, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            // This layer itself has the name; only what lies below is hidden, which a directory must say.
            Err(Errno::EXIST) => match open_directory(at.as_fd(), hidden) {
                Ok(existing) => fs::fsetxattr(&existing, OPAQUE, b"y", XattrFlags::empty())
                    .map_err(|errno| failed("mark as opaque", path, errno)),
                Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(errno) => Err(failed("open", path, errno)),
            },
            Err(errno) => Err(failed("create the whiteout", path, errno)),
        }
    }

    /// Runs `make` on the parent and name of `path`; what stands in its place is removed first.
    fn replacing(
        &mut self,
        action: &'static str,
        path: &[u8],
        make: impl Fn(&OwnedFd, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), ExtractError> {
        let (dir, name) = split(path);
        let at = self.open_parent(dir)?;
        match make(&at, name) {
            Err(Errno::EXIST) => {
                self.has_replaced = true;
                remove_at(at.as_fd(), name)
                    .and_then(|()| make(&at, name))
                    .map_err(|errno| failed(action, path, errno))?;
                // What paths mean may have changed, so the parent is looked up again. A name that is new changes no
                // path that could be opened before.
                self.parent = None;
            }
            other => {
                other.map_err(|errno| failed(action, path, errno))?;
                self.keep_parent(dir, at);
            }
        }
        Ok(())
    }

    /// Owner, mode, extended attributes and time of what has no descriptor of its own.
    pub(super) fn attributes(&mut self, entry: &Entry, path: &[u8]) -> Result<(), ExtractError> {
        let failed = |action, errno: Errno| failed(action, &entry.path, errno);
        let (dir, name) = split(path);
        let at = self.open_parent(dir)?;
        fs::chownat(
            &at,
            name,
            Some(uid(entry.uid)),
            Some(gid(entry.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|errno| failed("chown", errno))?;
        if !matches!(entry.kind, Kind::Symlink(_)) {
            fs::chmodat(&at, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(|errno| failed("chmod", errno))?;
        }
        if wanted_xattrs(entry).next().is_some() {
            // There is no call for extended attributes by descriptor and name; the descriptor's own path serves (proc(5)).
            let mut by_descriptor = format!("/proc/self/fd/{}/", at.as_raw_fd()).into_bytes();
            by_descriptor.extend_from_slice(name);
            for (key, value) in wanted_xattrs(entry) {
                match fs::lsetxattr(by_descriptor.as_slice(), key, value, XattrFlags::empty()) {
                    Ok(()) => {}
                    Err(Errno::NOTSUP | Errno::PERM) if is_optional_xattr(key) => {}
                    Err(errno) => return Err(failed("set an extended attribute of", errno)),
                }
            }
        }
        fs::utimensat(&at, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed("set the time of", errno))?;
        self.keep_parent(dir, at);
        Ok(())
    }
}
