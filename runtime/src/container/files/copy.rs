//! Copying between trees by the rules of `docker cp` (docs.docker.com, "docker container cp").
//!
//! Inside, everything is a tar stream: one side packs, the other extracts, so that links, owners, modes, times and
//! extended attributes travel alike in both directions and through `-`.

use super::FileTree;
use crate::{
    archive::{
        Limits,
        compression::Decoder,
        entries::{Entries, Entry, Kind},
        extract::{ExtractError, Manner, Tally, extract, normalize},
        pack::{PackError, pack_named},
    },
    container::ContainerError,
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};
use std::{
    ffi::{CString, OsStr},
    io::{self, BufReader, BufWriter, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

/// Symbolic links followed by us where the kernel cannot (path_resolution(7) has 40).
const MOST_LINKS: usize = 40;

/// How to copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyOptions {
    /// Follow a symbolic link that is the source itself (`-L`).
    pub follow_link: bool,
    /// Keep owners (`-a`); otherwise everything becomes the destination's root's (in a container) or ours.
    pub archive: bool,
}

/// Whose the files of an archive become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// As the archive says.
    Archive,
    /// The tree's root's.
    Root,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStatus {
    /// Last component of the path.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Bytes.
    pub size: u64,
    /// Type and permission bits, as stat(2) has them.
    pub mode: u32,
    /// Where it points, when it is a symbolic link.
    pub link: Option<String>,
}

/// Why files could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The container's tree.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The source.
    #[error("there is no `{0}`")]
    Missing(String),
    /// The destination's directory.
    #[error("there is no directory `{0}`")]
    NoDirectory(String),
    /// A `/` at the end says that it is a directory, or a stream wants one.
    #[error("`{0}` is not a directory")]
    NotDirectory(String),
    /// A directory cannot become a file.
    #[error("cannot copy a directory onto the file `{0}`")]
    DirectoryOntoFile(String),
    /// Nothing can be written there.
    #[error("`{0}` is on a read-only file system")]
    ReadOnly(String),
    /// The kernel's answer.
    #[error("cannot open `{path}`")]
    Open {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Reading the source.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Writing the destination.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The stream between.
    #[error("cannot read the archive")]
    Stream(#[source] io::Error),
}

/// A path that was looked up: its parent, held open, and its name there.
struct Found {
    parent: OwnedFd,
    name: CString,
    stat: Stat,
}

impl Found {
    fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }
}

/// A path cut in its meaning: the clean path, and what its end says.
struct Written {
    /// Without `.`, `..`, doubled and trailing slashes; empty for the root.
    clean: String,
    /// Ends in `/` or `/.`: must be a directory.
    directory: bool,
    /// Ends in `/.`: its contents are meant.
    contents: bool,
}

impl Written {
    fn new(path: &str) -> Self {
        let contents = path.ends_with("/.") || path == ".";
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        Self {
            clean: parts.join("/"),
            directory: contents || path.ends_with('/'),
            contents,
        }
    }

    fn name(&self) -> &str {
        self.clean.rsplit('/').next().unwrap_or_default()
    }

    fn above(&self) -> &str {
        self.clean.rsplit_once('/').map_or("", |(above, _)| above)
    }
}

impl FileTree {
    /// What is at `path`; a link at its end is not followed.
    ///
    /// # Errors
    /// `Missing` when there is nothing.
    pub fn look(&self, path: &str) -> Result<PathStatus, CopyError> {
        let written = Written::new(path);
        let found = self.find(path, written.directory)?;
        let link = rustix::fs::readlinkat(&found.parent, &found.name, Vec::new()).ok();
        Ok(PathStatus {
            name: written.name().to_owned(),
            is_directory: found.is_directory(),
            size: u64::try_from(found.stat.st_size).unwrap_or(0),
            mode: found.stat.st_mode,
            link: link.map(|text| text.to_string_lossy().into_owned()),
        })
    }

    /// Makes a directory with the directories above it; one that exists stays as it is.
    ///
    /// # Errors
    /// When something else is there, or nothing can be written.
    pub fn make_directory(&self, path: &str) -> Result<(), CopyError> {
        let made = self
            .tree
            .make(path, crate::rootfs::inside::Kind::Directory(0o755));
        made.map(drop)
            .map_err(ContainerError::from)
            .map_err(CopyError::from)
    }

    /// Removes what is at `path`, with everything below it; a link is removed itself. False when there was nothing.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn remove(&self, path: &str) -> Result<bool, CopyError> {
        let found = match self.find(path, false) {
            Err(CopyError::Missing(_)) => return Ok(false),
            found => found?,
        };
        remove_at(found.parent.as_fd(), &found.name, found.is_directory()).map_err(|errno| {
            CopyError::Open {
                path: path.to_owned(),
                cause: errno.into(),
            }
        })?;
        Ok(true)
    }

    /// Writes the whole tree as a tar stream (`docker export`).
    ///
    /// # Errors
    /// When a file cannot be read, or `out` not be written.
    pub fn export(&self, out: impl Write) -> Result<Tally, CopyError> {
        // The root's own descriptor may be for paths only (fsmount(2)).
        let root = self.open_directory("/").map_err(|errno| CopyError::Open {
            path: "/".to_owned(),
            cause: errno.into(),
        })?;
        Ok(crate::archive::pack::pack(root.as_fd(), out, Manner::Plain)?)
    }

    /// Writes what is at `path` as a tar stream whose names begin with the path's last component (`docker cp PATH -`);
    /// with `/.` at the end they begin with `.`.
    ///
    /// # Errors
    /// `Missing`, `NotDirectory`, or what reading said.
    pub fn read(&self, path: &str, follow_link: bool, out: impl Write) -> Result<Tally, CopyError> {
        let written = Written::new(path);
        let found = self.find(path, follow_link || written.directory)?;
        let name = if written.contents || written.clean.is_empty() {
            "."
        } else {
            written.name()
        };
        Ok(pack_named(
            found.parent.as_fd(),
            &found.name,
            name.as_bytes(),
            out,
            Manner::Plain,
        )?)
    }

    /// Extracts a tar stream, compressed or not, into the existing directory `directory` (`docker cp - PATH`).
    /// Directories and other files do not replace each other.
    ///
    /// # Errors
    /// `NoDirectory`, `NotDirectory`, or what extracting said.
    pub fn write(
        &self,
        directory: &str,
        archive: impl Read + Send,
        owner: Owner,
    ) -> Result<Tally, CopyError> {
        let written = Written::new(directory);
        let found = match self.find(directory, true) {
            Err(CopyError::Missing(path)) => return Err(CopyError::NoDirectory(path)),
            found => found?,
        };
        if !found.is_directory() {
            return Err(CopyError::NotDirectory(directory.to_owned()));
        }
        let decoder = Decoder::new(archive).map_err(CopyError::Stream)?;
        self.extract(decoder, &written.clean, &written.clean, owner)
    }

    /// Entries below `prefix`; the directory `kept` itself stays as it is.
    fn extract(
        &self,
        archive: impl Read,
        prefix: &str,
        kept: &str,
        owner: Owner,
    ) -> Result<Tally, CopyError> {
        let prefixed = |path: &[u8], original: &[u8]| -> Result<Vec<u8>, ExtractError> {
            let clean = normalize(path).map_err(|reason| ExtractError::Refused {
                path: String::from_utf8_lossy(original).into_owned(),
                reason,
            })?;
            Ok([prefix.as_bytes(), b"/", &clean].concat())
        };
        let mut wanted = |entry: &mut Entry| -> Result<bool, ExtractError> {
            entry.path = prefixed(&entry.path, &entry.path)?;
            if let Kind::HardLink(target) = &entry.kind {
                entry.kind = Kind::HardLink(prefixed(target, &entry.path)?);
            }
            if owner == Owner::Root {
                (entry.uid, entry.gid) = self.root_owner;
            }
            let clean = normalize(&entry.path).unwrap_or_default();
            if entry.kind == Kind::Directory && clean == kept.as_bytes() {
                return Ok(false);
            }
            self.check_replacing(entry, &clean)?;
            Ok(true)
        };
        let mut entries = Entries::new(BufReader::with_capacity(256 << 10, archive), Limits::default());
        let result = extract(&mut entries, self.root(), Manner::Plain, &mut wanted);
        match result {
            Ok((tally, _)) => Ok(tally),
            Err(ExtractError::Create { path, cause, .. }) if cause.raw_os_error() == Some(libc::EROFS) => {
                Err(CopyError::ReadOnly(path))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A directory does not replace another file, nor the other way round.
    fn check_replacing(&self, entry: &Entry, clean: &[u8]) -> Result<(), ExtractError> {
        let text = String::from_utf8_lossy(clean).into_owned();
        let written = Written::new(&text);
        let Ok(parent) = self.tree.open(written.above(), OFlags::PATH | OFlags::DIRECTORY) else {
            return Ok(());
        };
        let name = clean.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let Ok(stat) = rustix::fs::statat(&parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(());
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let reason = match (entry.kind == Kind::Directory, is_directory) {
            (true, false) => "a directory cannot replace the file there",
            (false, true) => "it cannot replace the directory there",
            _ => return Ok(()),
        };
        Err(ExtractError::Refused { path: text, reason })
    }

    /// Looks a path up; a link at its end is followed if asked, any number of links before it always.
    fn find(&self, path: &str, follow: bool) -> Result<Found, CopyError> {
        let written = Written::new(path);
        let fail = |errno: Errno| match errno {
            Errno::NOENT => CopyError::Missing(path.to_owned()),
            Errno::NOTDIR => CopyError::NotDirectory(path.to_owned()),
            errno => CopyError::Open {
                path: path.to_owned(),
                cause: errno.into(),
            },
        };
        let mut above = written.above().to_owned();
        let mut name = written.name().to_owned();
        for _ in 0..MOST_LINKS {
            let parent = self.open_directory(&above).map_err(fail)?;
            if name.is_empty() {
                name.push('.');
            }
            let text = CString::new(name.as_str()).map_err(|_| fail(Errno::INVAL))?;
            let stat = rustix::fs::statat(&parent, &text, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
            let found = Found {
                parent,
                name: text,
                stat,
            };
            if FileType::from_raw_mode(found.stat.st_mode) != FileType::Symlink || !follow {
                if written.directory && !found.is_directory() {
                    return Err(CopyError::NotDirectory(path.to_owned()));
                }
                return Ok(found);
            }
            (above, name) = self.follow(&found, &above).map_err(fail)?;
        }
        Err(fail(Errno::LOOP))
    }

    /// Where a link leads, as directory and name.
    fn follow(&self, link: &Found, above: &str) -> rustix::io::Result<(String, String)> {
        let target = rustix::fs::readlinkat(&link.parent, &link.name, Vec::new())?;
        let target = target.to_str().map_err(|_| Errno::ILSEQ)?;
        let target = target.trim_end_matches('/');
        let (directory, name) = target.rsplit_once('/').map_or(("", target), |(directory, name)| {
            (if directory.is_empty() { "/" } else { directory }, name)
        });
        // The kernel resolves the directory, `..` after links included; only the last name is ours.
        let directory = if directory.starts_with('/') {
            directory.to_owned()
        } else {
            format!("/{above}/{directory}")
        };
        match name {
            "" | "." => Ok((directory, String::new())),
            ".." => Ok((format!("{directory}/.."), String::new())),
            name => Ok((directory, name.to_owned())),
        }
    }

    fn open_directory(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { "/" } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loop {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(self.root(), path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }
}

/// Where a copy lands: the directory that exists, the name in it (empty: the directory itself).
struct Landing {
    path: String,
    /// The destination exists and is a directory whose own attributes stay.
    kept: Option<String>,
}

fn remove_at(
    parent: std::os::fd::BorrowedFd<'_>,
    name: &std::ffi::CStr,
    directory: bool,
) -> rustix::io::Result<()> {
    use rustix::fs::{Dir, Mode, OFlags, openat, unlinkat};
    if !directory {
        return unlinkat(parent, name, AtFlags::empty());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&inside)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            let is_directory = entry.file_type() == FileType::Directory;
            remove_at(inside.as_fd(), entry.file_name(), is_directory)?;
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Copies `source` of one tree to `destination` of another, as `cp -a` would: a file onto a file or into a directory; a
/// directory into a directory or to a new name; its contents with `/.` at the end. Gives what was copied.
///
/// # Errors
/// `Missing`, `NoDirectory`, `NotDirectory`, `DirectoryOntoFile`, or what reading or writing said.
pub fn copy(
    from: &FileTree,
    source: &str,
    to: &FileTree,
    destination: &str,
    options: CopyOptions,
) -> Result<Tally, CopyError> {
    let written = Written::new(source);
    let found = from.find(source, options.follow_link || written.directory)?;
    let landing = landing(&found, &written, to, destination)?;
    let owner = if options.archive {
        Owner::Archive
    } else {
        Owner::Root
    };
    let (reader, writer) = io::pipe().map_err(CopyError::Stream)?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| {
            let out = BufWriter::with_capacity(1 << 18, writer);
            let path = if landing.path.is_empty() {
                "."
            } else {
                &landing.path
            };
            pack_named(
                found.parent.as_fd(),
                &found.name,
                path.as_bytes(),
                out,
                Manner::Plain,
            )
        });
        let extracted = to.extract(reader, "", landing.kept.as_deref().unwrap_or("/"), owner);
        let packed = packing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (extracted, packed) {
            // A side that failed breaks the pipe of the other: the pipe's error is not the reason.
            (Err(error), Err(PackError::Write(_)) | Ok(_)) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (Ok(tally), Ok(_)) => Ok(tally),
        }
    })
}

fn landing(found: &Found, source: &Written, to: &FileTree, destination: &str) -> Result<Landing, CopyError> {
    let wanted = Written::new(destination);
    let there = match to.find(destination, true) {
        Ok(there) => Some(there),
        Err(CopyError::Missing(_)) => None,
        Err(error) => return Err(error),
    };
    let join = |directory: &str, name: &str| match directory {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    };
    match there {
        Some(there) if there.is_directory() => {
            let into = resolved(to, &wanted.clean)?;
            if found.is_directory() && (source.contents || source.clean.is_empty()) {
                return Ok(Landing {
                    path: into.clone(),
                    kept: Some(into),
                });
            }
            Ok(Landing {
                path: join(&into, source.name()),
                kept: None,
            })
        }
        Some(_) if found.is_directory() => Err(CopyError::DirectoryOntoFile(destination.to_owned())),
        Some(_) => Ok(Landing {
            path: resolved(to, &wanted.clean)?,
            kept: None,
        }),
        None if wanted.directory && !found.is_directory() => {
            Err(CopyError::NoDirectory(destination.to_owned()))
        }
        None => {
            let path = resolved(to, &wanted.clean)?;
            let above = Written::new(&path);
            match to.find(above.above(), true) {
                Ok(parent) if parent.is_directory() => Ok(Landing { path, kept: None }),
                _ => Err(CopyError::NoDirectory(format!("/{}", above.above()))),
            }
        }
    }
}

/// A path with the links at its end followed, the last one possibly dangling: what is written replaces what the link
/// leads to, not the link.
fn resolved(to: &FileTree, clean: &str) -> Result<String, CopyError> {
    let mut path = Written::new(clean);
    for _ in 0..MOST_LINKS {
        let Ok(found) = to.find(&path.clean, false) else {
            return Ok(path.clean);
        };
        if FileType::from_raw_mode(found.stat.st_mode) != FileType::Symlink {
            return Ok(path.clean);
        }
        let (above, name) = to.follow(&found, path.above()).map_err(|errno| CopyError::Open {
            path: clean.to_owned(),
            cause: errno.into(),
        })?;
        path = Written::new(&format!("{above}/{name}"));
    }
    Err(CopyError::Open {
        path: clean.to_owned(),
        cause: Errno::LOOP.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree(path: &std::path::Path) -> FileTree {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut tree = FileTree::host().unwrap();
        tree.tree = crate::rootfs::inside::Tree::new(rustix::fs::open(path, flags, Mode::empty()).unwrap());
        tree
    }

    #[test]
    fn dockers_table_of_sources_and_destinations() {
        let place = tempfile::tempdir().unwrap();
        let (a, b) = (place.path().join("a"), place.path().join("b"));
        fs::create_dir_all(a.join("dir/sub")).unwrap();
        fs::write(a.join("dir/sub/f"), "f").unwrap();
        fs::write(a.join("file"), "file").unwrap();
        fs::create_dir_all(b.join("there")).unwrap();
        fs::write(b.join("plain"), "old").unwrap();
        let (from, to) = (tree(&a), tree(&b));
        let run = |source: &str, destination: &str| {
            copy(&from, source, &to, destination, CopyOptions::default()).map(drop)
        };
        run("/file", "/new").unwrap();
        assert_eq!(fs::read(b.join("new")).unwrap(), b"file");
        run("/file", "/plain").unwrap();
        assert_eq!(fs::read(b.join("plain")).unwrap(), b"file");
        run("/file", "/there").unwrap();
        assert!(b.join("there/file").is_file());
        run("/dir", "/there").unwrap();
        assert!(b.join("there/dir/sub/f").is_file());
        run("/dir/.", "/there/").unwrap();
        assert!(b.join("there/sub/f").is_file());
        run("/dir", "/copy").unwrap();
        assert!(b.join("copy/sub/f").is_file());
        for (source, destination, text) in [
            ("/file", "/nosuch/", "there is no directory `/nosuch/`"),
            ("/file", "/no/such", "there is no directory `/no`"),
            ("/dir", "/plain", "cannot copy a directory onto the file `/plain`"),
            ("/nosuch", "/x", "there is no `/nosuch`"),
            ("/file/", "/x", "`/file/` is not a directory"),
            ("/file", "/plain/", "`/plain/` is not a directory"),
        ] {
            let error = run(source, destination).unwrap_err().to_string();
            assert_eq!(error, text, "{source} to {destination}");
        }
    }

    #[test]
    fn links_stay_inside_the_tree() {
        let place = tempfile::tempdir().unwrap();
        let (a, b) = (place.path().join("a"), place.path().join("b"));
        for directory in [&a, &b] {
            fs::create_dir_all(directory.join("etc")).unwrap();
        }
        fs::write(a.join("etc/secret"), "inside").unwrap();
        std::os::unix::fs::symlink("/etc/secret", a.join("link")).unwrap();
        std::os::unix::fs::symlink("../../../../../../etc", b.join("out")).unwrap();
        std::os::unix::fs::symlink("/etc/target", b.join("dangling")).unwrap();
        let (from, to) = (tree(&a), tree(&b));
        let follow = CopyOptions {
            follow_link: true,
            archive: false,
        };
        copy(&from, "/link", &to, "/out/landed", follow).unwrap();
        assert_eq!(fs::read(b.join("etc/landed")).unwrap(), b"inside");
        copy(&from, "/link", &to, "/", CopyOptions::default()).unwrap();
        assert!(b.join("link").symlink_metadata().unwrap().is_symlink());
        copy(&from, "/etc/secret", &to, "/dangling", CopyOptions::default()).unwrap();
        assert_eq!(fs::read(b.join("etc/target")).unwrap(), b"inside");
    }
}
