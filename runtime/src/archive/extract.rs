//! Entries become files below one directory descriptor, and nowhere else.
//!
//! Every parent is opened with `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)` (openat2(2), Linux 5.6), so symbolic
//! links inside the tree are followed as a container would follow them and can never leave it; the last component is
//! never followed. Names with `..` are refused outright: no image builder writes them.

use super::entries::{Entries, Entry, Kind, TarError};
use rustix::{
    fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};
use std::{
    ffi::{CString, OsStr},
    io::Read,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
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
pub fn extract<R: Read>(
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
        buffer: vec![0; 256 << 10],
    };
    while let Some(mut entry) = entries.next_entry()? {
        if wanted(&mut entry)? {
            tree.create(&entry, entries)?;
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
    buffer: Vec<u8>,
}

impl Tree<'_> {
    fn create<R: Read>(&mut self, entry: &Entry, content: &mut Entries<R>) -> Result<(), ExtractError> {
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
            Kind::File => self.file(entry, dir, name, content)?,
            Kind::HardLink(target) => return self.hard_link(entry, dir, name, target),
            Kind::Symlink(target) => {
                let target = CString::new(target.as_slice())
                    .map_err(|_| refused(&entry.path, "its target has NUL"))?;
                if target.is_empty() {
                    return Err(refused(&entry.path, "its target is empty"));
                }
                self.replacing("create the symbolic link", &path, |at, name| {
                    fs::symlinkat(&target, at, name)
                })?;
            }
            Kind::Char(major, minor) => {
                self.node(&path, FileType::CharacterDevice, entry.mode, (*major, *minor))?
            }
            Kind::Block(major, minor) => {
                self.node(&path, FileType::BlockDevice, entry.mode, (*major, *minor))?
            }
            Kind::Fifo => self.node(&path, FileType::Fifo, entry.mode, (0, 0))?,
        }
        if !matches!(entry.kind, Kind::File) {
            self.attributes(entry, &path)?;
        }
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        dir: &[u8],
        name: &[u8],
        content: &mut Entries<R>,
    ) -> Result<(), ExtractError> {
        let failed = |action, errno: Errno| failed(action, &entry.path, errno);
        let plain_mode = entry.mode & 0o7000 == 0 && entry.mode & self.umask == 0;
        let at = self.open_parent(dir)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if plain_mode { entry.mode } else { 0o600 });
        let file = match fs::openat(&at, name, flags, mode) {
            Err(Errno::EXIST) => {
                remove_at(at.as_fd(), name).map_err(|errno| failed("replace", errno))?;
                fs::openat(&at, name, flags, mode)
            }
            other => other,
        }
        .map_err(|errno| failed("create the file", errno))?;
        self.parent = Some((dir.to_vec(), at));
        match &entry.sparse {
            None => {
                let mut ends_in_hole = false;
                loop {
                    let count = content.read_content(&mut self.buffer)?;
                    if count == 0 {
                        break;
                    }
                    ends_in_hole = write_sparse(file.as_fd(), &self.buffer[..count])
                        .map_err(|errno| failed("write", errno))?;
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
                        let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                        let count = content.read_content(&mut self.buffer[..want])?;
                        if count == 0 {
                            return Err(refused(
                                &entry.path,
                                "its sparse map names more bytes than it has",
                            ));
                        }
                        write_all(file.as_fd(), &self.buffer[..count])
                            .map_err(|errno| failed("write", errno))?;
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

    fn directory(&mut self, entry: &Entry, path: &[u8]) -> Result<(), ExtractError> {
        let failed = |action, errno: Errno| failed(action, &entry.path, errno);
        if !path.is_empty() {
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
            self.parent = None;
        }
        let made = self.open_parent(path)?;
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

    fn hard_link(
        &mut self,
        entry: &Entry,
        dir: &[u8],
        name: &[u8],
        target: &[u8],
    ) -> Result<(), ExtractError> {
        let target =
            normalize(target).map_err(|_| refused(&entry.path, "its link target leaves the root"))?;
        if target.is_empty() {
            return Err(refused(&entry.path, "its link target is the root directory"));
        }
        let own = join(dir, name);
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
                self.replacing("link", &own, |at, name| {
                    fs::linkat(&from, target_name, at, name, AtFlags::empty())
                })
            }
            _ => {
                // Its target may be in a layer below: settled once the layers are stacked.
                self.open_parent(dir)?;
                self.unsettled.links.push((to_path(&own), to_path(&target)));
                Ok(())
            }
        }
    }

    fn node(
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

    fn whiteout(&mut self, path: &[u8], dir: &[u8], name: &[u8]) -> Result<(), ExtractError> {
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
        let made = match make(&at, name) {
            Err(Errno::EXIST) => remove_at(at.as_fd(), name).and_then(|()| make(&at, name)),
            other => other,
        };
        made.map_err(|errno| failed(action, path, errno))?;
        // A new symbolic link may change what a path means, so the cached parent is looked up again.
        self.parent = None;
        Ok(())
    }

    fn attributes(&mut self, entry: &Entry, path: &[u8]) -> Result<(), ExtractError> {
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
        fs::utimensat(&at, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed("set the time of", errno))?;
        self.parent = Some((dir.to_vec(), at));
        Ok(())
    }

    /// Opens a directory of the tree, creating it and its parents where the archive did not list them.
    fn open_parent(&mut self, dir: &[u8]) -> Result<Rc<OwnedFd>, ExtractError> {
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

    fn finish(mut self) -> Result<(Tally, Unsettled), ExtractError> {
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

/// Opens a directory inside `root`; symbolic links are followed as if `root` were `/`.
pub fn open_in_root(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b".".as_slice() } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        // EAGAIN: a rename raced with the look-up and the kernel could not prove that it stayed inside (openat2(2)).
        match fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::LOOP) => return Err(Errno::NOTDIR),
            other => return other,
        }
    }
}

fn open_directory(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(at, name, flags, Mode::empty())
}

/// Removes a name, with everything below it where it is a directory. Symbolic links are not followed.
pub fn remove_at(at: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match fs::unlinkat(at, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return other,
    }
    let dir = open_directory(at, name)?;
    let names: Vec<CString> = {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&dir)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        names
    };
    for child in names {
        remove_at(dir.as_fd(), child.as_bytes())?;
    }
    fs::unlinkat(at, name, AtFlags::REMOVEDIR)
}

/// A path without leading `/`, empty and `.` components. `..` is an error.
pub fn normalize(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its path contains `..`"),
            part => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(part);
            }
        }
    }
    Ok(out)
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        name.to_vec()
    } else {
        [dir, b"/", name].concat()
    }
}

fn to_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
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

/// Overlayfs's own attributes would redirect look-ups outside the layer, so an archive never gets to set them.
fn wanted_xattrs(entry: &Entry) -> impl Iterator<Item = (&OsStr, &[u8])> {
    entry
        .xattrs
        .iter()
        .filter(|(key, _)| !key.starts_with(b"trusted.overlay.") && !key.starts_with(b"user.overlay."))
        .map(|(key, value)| (OsStr::from_bytes(key), value.as_slice()))
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

/// This process's file mode mask. Read from proc(5), because umask(2) can only be read by changing it.
fn umask() -> u32 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .unwrap_or(0o777)
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
