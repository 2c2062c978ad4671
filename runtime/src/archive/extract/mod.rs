//! Entries become files below one directory descriptor, and nowhere else.
//!
//! Every parent is opened with `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)` (openat2(2), Linux 5.6), so symbolic
//! links inside the tree are followed as a container would follow them and can never leave it; the last component is
//! never followed. Names with `..` are refused outright: no image builder writes them.
//!
//! [`inside`] has the look-ups, `content` regular files, `folders` directories and what becomes of them at the end,
//! `names` everything else that a name can be.

mod content;
mod folders;
pub mod inside;
mod names;

pub use inside::{normalize, open_in_root, remove_at};

use super::entries::{Entries, Entry, Kind, TarError};
use inside::{split, umask};
use rustix::{
    fs::{FileType, Gid, Timespec, Timestamps, Uid},
    io::Errno,
};
use std::{
    ffi::{CString, OsStr},
    io::BufRead,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
    rc::Rc,
};

/// What marks a directory that hides everything below it in lower layers (overlayfs.rst, "whiteouts and opaque directories").
pub const OPAQUE: &str = "trusted.overlay.opaque";

/// What kind of tree an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// An image layer: `.wh.` names are whiteouts (image-spec/layer.md, "Whiteouts"), written in overlayfs's form.
    Layer,
    /// A plain tree: all names are ordinary.
    Plain,
    /// A Debian package: like a plain tree, but a directory may land on a symbolic link to one and leaves it in place,
    /// as dpkg does it (`/bin` → `usr/bin`).
    Package,
}

/// Why an entry could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The archive itself.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The entry would leave the tree, or is none a tree may have.
    #[error("the archive's entry `{path}` is refused: {reason}")]
    Refused {
        /// Its path.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// The file system said no.
    #[error("cannot {action} `{path}` from the archive")]
    Create {
        /// What was tried.
        action: &'static str,
        /// The entry.
        path: String,
        /// The kernel's answer.
        #[source]
        cause: std::io::Error,
    },
}

/// What an archive left open because it speaks of files that are not in it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// Directories that were made because an entry below them needed them; their owner and mode are unknown.
    pub directories: Vec<PathBuf>,
    /// Hard links (name, target) whose target is not in this archive.
    pub links: Vec<(PathBuf, PathBuf)>,
}

impl Unsettled {
    /// Whether the tree is complete by itself.
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty() && self.links.is_empty()
    }
}

/// Counts of one extraction.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Entries created.
    pub entries: u64,
    /// Bytes of regular files.
    pub bytes: u64,
}

/// Creates the entries of an archive that `wanted` says yes to below `root`. It hears all of them, may change them
/// (their path, their owner), and may end the extraction.
///
/// An outline that the entries carry refers to the files made here, and is dropped where the tree cannot give the
/// archive again because a later entry took an earlier one's place.
pub fn extract<R: BufRead>(
    entries: &mut Entries<R>,
    root: BorrowedFd<'_>,
    manner: Manner,
    wanted: &mut dyn FnMut(&mut Entry) -> Result<bool, ExtractError>,
) -> Result<(Tally, Unsettled), ExtractError> {
    let mut tree = Tree {
        root,
        parent: None,
        parent_gives_group: false,
        umask: umask(),
        manner,
        default_acls: Vec::new(),
        times: Vec::new(),
        unsettled: Unsettled::default(),
        tally: Tally::default(),
        has_replaced: false,
    };
    while let Some(mut entry) = entries.next_entry()? {
        if wanted(&mut entry)? {
            tree.create(&entry, entries)?;
        }
        if tree.has_replaced {
            entries.forget_outline();
        }
    }
    tree.finish()
}

struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// The directory of the last entry, kept open: archives list a directory's files together.
    parent: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// The directory opened last has its set-group-id bit: what is made in it gets its group (inode(7)).
    parent_gives_group: bool,
    /// Default ACLs of directories, set at the end: what is made in them would inherit.
    default_acls: Vec<(Vec<u8>, Vec<u8>)>,
    umask: u32,
    manner: Manner,
    /// Directories' times, set last because every new name in them changes them.
    times: Vec<(Vec<u8>, Timestamps)>,
    unsettled: Unsettled,
    tally: Tally,
    /// Something that an entry made was removed for a later one.
    has_replaced: bool,
}

impl Tree<'_> {
    fn create<R: BufRead>(&mut self, entry: &Entry, content: &mut Entries<R>) -> Result<(), ExtractError> {
        let path = normalize(&entry.path).map_err(|reason| refused(&entry.path, reason))?;
        self.tally.entries += 1;
        if path.is_empty() {
            return match entry.kind {
                Kind::Directory => self.directory(entry, &[]),
                _ => Err(refused(&entry.path, "it would replace the root directory")),
            };
        }
        let (dir, name) = split(&path);
        if self.manner == Manner::Layer && name.starts_with(b".wh.") {
            return self.whiteout(&path, dir, name);
        }
        if matches!(entry.kind, Kind::Char(0, 0)) {
            return Err(refused(
                &entry.path,
                "a character device 0:0 is overlayfs's own whiteout",
            ));
        }
        match &entry.kind {
            Kind::Directory => return self.directory(entry, &path),
            Kind::File => return self.file(entry, &path, content),
            Kind::HardLink(target) => return self.hard_link(entry, &path, target),
            Kind::Symlink(target) => {
                let target = CString::new(target.as_slice())
                    .map_err(|_| refused(&entry.path, "its target has NUL"))?;
                if target.is_empty() {
                    return Err(refused(&entry.path, "its target is empty"));
                }
                self.symlink(&path, &target)?;
            }
            Kind::Char(major, minor) => {
                self.node(&path, FileType::CharacterDevice, entry.mode, (*major, *minor))?;
            }
            Kind::Block(major, minor) => {
                self.node(&path, FileType::BlockDevice, entry.mode, (*major, *minor))?;
            }
            Kind::Fifo => self.node(&path, FileType::Fifo, entry.mode, (0, 0))?,
        }
        self.attributes(entry, &path)
    }

    /// Keeps a directory open for the entries that follow.
    fn keep_parent(&mut self, dir: &[u8], at: Rc<OwnedFd>) {
        if self.parent.as_ref().is_none_or(|(known, _)| known != dir) {
            self.parent = Some((dir.to_vec(), at));
        }
    }
}

/// Overlayfs's own attributes would redirect look-ups outside the layer, so an archive never gets to set them.
fn wanted_xattrs(entry: &Entry) -> impl Iterator<Item = (&OsStr, &[u8])> {
    entry
        .xattrs
        .iter()
        .filter(|(key, _)| !key.starts_with(b"trusted.overlay.") && !key.starts_with(b"user.overlay."))
        .map(|(key, value)| (OsStr::from_bytes(key), value.as_slice()))
}

/// Attributes that a file system or kernel may not know; file capabilities and ACLs are not among them.
fn is_optional_xattr(key: &OsStr) -> bool {
    let key = key.as_bytes();
    key.starts_with(b"user.") || key.starts_with(b"security.selinux") || key.starts_with(b"trusted.")
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec {
        tv_sec: entry.mtime.0,
        tv_nsec: i64::from(entry.mtime.1),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn uid(id: u32) -> Uid {
    Uid::from_raw(id)
}

fn gid(id: u32) -> Gid {
    Gid::from_raw(id)
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn refused(path: &[u8], reason: &'static str) -> ExtractError {
    ExtractError::Refused {
        path: lossy(path),
        reason,
    }
}

fn failed(action: &'static str, path: &[u8], errno: Errno) -> ExtractError {
    ExtractError::Create {
        action,
        path: lossy(path),
        cause: errno.into(),
    }
}
