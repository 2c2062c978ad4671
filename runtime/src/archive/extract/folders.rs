//! Directories: those an archive lists, those it only implies, and the times they get when nothing follows.

use super::{
    ExtractError, Manner, OPAQUE, Tally, Tree, Unsettled, failed, gid,
    inside::{open_directory, open_in_root, remove_at, split, to_path},
    is_optional_xattr, refused, times, uid, wanted_xattrs,
};
use crate::archive::entries::Entry;
use rustix::{
    fs::{self, AtFlags, FileType, Mode, Timespec, Timestamps, XattrFlags},
    io::Errno,
};
use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    rc::Rc,
};

impl Tree<'_> {
    pub(super) fn directory(&mut self, entry: &Entry, path: &[u8]) -> Result<(), ExtractError> {
        let failed = |action, errno: Errno| failed(action, &entry.path, errno);
        let made = if path.is_empty() {
            self.open_parent(path)?
        } else {
            let (dir, name) = split(path);
            let at = self.open_parent(dir)?;
            let mode = Mode::from_raw_mode(0o700);
            match fs::mkdirat(&at, name, mode) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    let stat = fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)
                        .map_err(|errno| failed("look at", errno))?;
                    match FileType::from_raw_mode(stat.st_mode) {
                        FileType::Directory => {
                            self.unsettled
                                .directories
                                .retain(|known| known.as_os_str().as_bytes() != path);
                        }
                        FileType::Symlink
                            if self.manner == Manner::Package && open_in_root(self.root, path).is_ok() =>
                        {
                            self.parent = None;
                            return Ok(());
                        }
                        kind => {
                            let was_whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
                            self.has_replaced = true;
                            remove_at(at.as_fd(), name).map_err(|errno| failed("replace", errno))?;
                            fs::mkdirat(&at, name, mode)
                                .map_err(|errno| failed("create the directory", errno))?;
                            if was_whiteout {
                                let made = open_directory(at.as_fd(), name)
                                    .map_err(|errno| failed("open the directory", errno))?;
                                fs::fsetxattr(&made, OPAQUE, b"y", XattrFlags::empty())
                                    .map_err(|errno| failed("mark as opaque", errno))?;
                            }
                        }
                    }
                }
                Err(errno) => return Err(failed("create the directory", errno)),
            }
            let made = open_directory(at.as_fd(), name);
            Rc::new(made.map_err(|errno| failed("open the directory", errno))?)
        };
        fs::fchown(&made, Some(uid(entry.uid)), Some(gid(entry.gid)))
            .map_err(|errno| failed("chown", errno))?;
        fs::fchmod(&made, Mode::from_raw_mode(entry.mode)).map_err(|errno| failed("chmod", errno))?;
        for (key, value) in wanted_xattrs(entry) {
            if key == "system.posix_acl_default" {
                self.default_acls.push((path.to_vec(), value.to_vec()));
                continue;
            }
            match fs::fsetxattr(&made, key, value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::NOTSUP | Errno::PERM) if is_optional_xattr(key) => {}
                Err(errno) => return Err(failed("set an extended attribute of", errno)),
            }
        }
        self.times.push((path.to_vec(), times(entry)));
        self.parent = Some((path.to_vec(), made));
        self.parent_gives_group = entry.mode & 0o2000 != 0;
        Ok(())
    }

    /// Opens a directory of the tree, creating it and its parents where the archive did not list them.
    pub(super) fn open_parent(&mut self, dir: &[u8]) -> Result<Rc<OwnedFd>, ExtractError> {
        if let Some((known, at)) = &self.parent
            && known == dir
        {
            return Ok(Rc::clone(at));
        }
        match open_in_root(self.root, dir) {
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR) => return Err(refused(dir, "a file stands where it needs a directory")),
            other => {
                let at = other.map_err(|errno| failed("open the directory", dir, errno))?;
                let stat = fs::fstat(&at).map_err(|errno| failed("look at", dir, errno))?;
                self.parent_gives_group = stat.st_mode & 0o2000 != 0;
                return Ok(Rc::new(at));
            }
        }
        let (above, name) = split(dir);
        self.parent = None;
        let at = self.open_parent(above)?;
        match fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => self.unsettled.directories.push(to_path(dir)),
            // It exists but leads nowhere: a dangling link, or one that loops.
            Err(Errno::EXIST) => {
                return Err(refused(dir, "a symbolic link stands where it needs a directory"));
            }
            Err(errno) => return Err(failed("create the directory", dir, errno)),
        }
        let made =
            open_directory(at.as_fd(), name).map_err(|errno| failed("open the directory", dir, errno))?;
        fs::fchown(&made, Some(uid(0)), Some(gid(0))).map_err(|errno| failed("chown", dir, errno))?;
        fs::fchmod(&made, Mode::from_raw_mode(0o755)).map_err(|errno| failed("chmod", dir, errno))?;
        self.parent_gives_group = false;
        Ok(Rc::new(made))
    }

    pub(super) fn finish(mut self) -> Result<(Tally, Unsettled), ExtractError> {
        for (path, acl) in &self.default_acls {
            let made = match open_in_root(self.root, path) {
                Ok(made) => made,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(errno) => return Err(failed("open the directory", path, errno)),
            };
            match fs::fsetxattr(&made, "system.posix_acl_default", acl, XattrFlags::empty()) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                Err(errno) => return Err(failed("set the access list of", path, errno)),
            }
        }
        for (path, times) in self.times.iter().rev() {
            let made = match open_in_root(self.root, path) {
                Ok(made) => made,
                // A later entry replaced it.
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(errno) => return Err(failed("open the directory", path, errno)),
            };
            fs::futimens(&made, times).map_err(|errno| failed("set the time of", path, errno))?;
        }
        // Implicit directories get one fixed time, so that equal archives give equal trees.
        for path in &self.unsettled.directories {
            if let Ok(made) = open_in_root(self.root, path.as_os_str().as_bytes()) {
                let epoch = Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                fs::futimens(
                    &made,
                    &Timestamps {
                        last_access: epoch,
                        last_modification: epoch,
                    },
                )
                .map_err(|errno| failed("set the time of", path.as_os_str().as_bytes(), errno))?;
            }
        }
        Ok((self.tally, std::mem::take(&mut self.unsettled)))
    }
}
