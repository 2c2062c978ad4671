//! Paths inside a container's tree: every one is resolved by the kernel with the tree as its root (openat2(2),
//! `RESOLVE_IN_ROOT`), so neither `..` nor a symbolic link nor a race leads out of it.

use crate::failure::{At, Failure, Step};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags},
};
use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

/// Dangling links followed before giving up, as many as the kernel follows (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// A tree, held by its root directory.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
}

/// What [`Tree::make`] makes when nothing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory with these permission bits.
    Directory(u32),
    /// An empty file with these permission bits.
    File(u32),
}

impl Tree {
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Opens a path that must exist, with symbolic links inside the tree followed.
    pub(crate) fn open(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.open_with(Path::new(path), flags, ResolveFlags::empty())
    }

    /// Opens a path that must exist and be no symbolic link anywhere.
    pub(crate) fn open_plain(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.open_with(Path::new(path), flags, ResolveFlags::NO_SYMLINKS)
    }

    fn open_with(&self, path: &Path, flags: OFlags, more: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        let path = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        loop {
            match rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // A rename somewhere raced with the walk: the manual says to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// Opens (`O_PATH`) what is at `path`, making it and the directories above when missing. Follows symbolic links
    /// inside the tree, dangling ones too: what they point to is made.
    pub(crate) fn make(&self, path: &str, kind: Kind) -> Result<OwnedFd, Failure> {
        self.make_counted(Path::new(path), kind, MOST_LINKS)
            .at(Step::Resolve, path)
    }

    fn make_counted(&self, path: &Path, kind: Kind, links: u32) -> rustix::io::Result<OwnedFd> {
        match self.open_with(path, OFlags::PATH, ResolveFlags::empty()) {
            Err(Errno::NOENT) => {}
            result => return result,
        }
        let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
        let Some(Component::Normal(name)) = path.components().next_back() else {
            return Err(Errno::NOENT);
        };
        let above = path.parent().unwrap_or(Path::new("/"));
        let parent = self.make_counted(above, Kind::Directory(0o755), links)?;
        let made = match kind {
            Kind::Directory(mode) => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode)),
            Kind::File(mode) => {
                rustix::fs::mknodat(&parent, name, FileType::RegularFile, Mode::from_raw_mode(mode), 0)
            }
        };
        match made {
            Ok(()) => open_child(&parent, name),
            Err(Errno::EXIST) => match rustix::fs::readlinkat(&parent, name, Vec::new()) {
                // A dangling link: make what it names, read from the directory that holds it.
                Ok(target) => {
                    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                    let joined: PathBuf = above.join(target);
                    self.make_counted(&joined, kind, links)
                }
                // Somebody made it meanwhile.
                Err(_) => self.open_with(path, OFlags::PATH, ResolveFlags::empty()),
            },
            Err(errno) => Err(errno),
        }
    }
}

fn open_child(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(
        parent,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Attaches a detached mount on the directory or file `target`.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

/// A detached copy of the mount that `place` is on, with `place` as its root.
pub(crate) fn clone_tree(place: impl AsFd, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(place, c"", flags)
}

/// Whether the descriptor refers to a directory.
pub(crate) fn is_directory(fd: impl AsFd) -> rustix::io::Result<bool> {
    let status = rustix::fs::statat(fd, c"", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

#[cfg(test)]
mod tests;
