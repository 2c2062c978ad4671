//! `COPY` and `ADD`: files into a layer of their own.
//!
//! The target is found in the layers below without mounting them; folders on the way get the attributes they have
//! there, so that stacking the new layer changes nothing but what was copied.

use super::{
    context::Source,
    error::StepError,
    metadata::absolute,
    stack::{Node, Stack},
};
use crate::{
    archive::{Limits, compression::Compression, extract::Manner, layer, pack::xattrs},
    fetch::{Paced, Patience, agent},
    image::{Digest, digest::Hashing},
};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use std::{
    fs::Metadata,
    io::{self, Read, Seek},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// Bytes of the largest file that `ADD` fetches.
const LARGEST: u64 = 16 << 30;

/// Where files go.
pub(crate) struct Target<'a> {
    /// The new layer's files.
    pub(crate) root: PathBuf,
    /// The layers below.
    pub(crate) below: &'a Stack,
    /// `--chown`, as numbers.
    pub(crate) owner: Option<(u32, u32)>,
    /// `--chmod`.
    pub(crate) mode: Option<String>,
}

impl Target<'_> {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StepError {
        let path = path.to_path_buf();
        move |cause| StepError::Io { action, path, cause }
    }

    /// Makes a directory of the image and all above it; gives its place in the layer.
    pub(crate) fn directory(&self, path: &str) -> Result<PathBuf, StepError> {
        let mut done = String::new();
        let mut place = self.root.clone();
        for name in absolute("/", path).split('/').filter(|part| !part.is_empty()) {
            // What was made by this copy already is found first; links below lead on inside the image.
            let here = Stack {
                layers: [vec![self.root.clone()], self.below.layers.clone()].concat(),
            };
            let wanted = format!("{done}/{name}");
            let node = here.find(&wanted, true);
            done = match &node {
                Some(node) if node.is_dir() => format!("/{}", node.relative()),
                Some(_) => return Err(StepError::Value(format!("`{wanted}` is not a directory"))),
                None => wanted,
            };
            place = self.root.join(&done[1..]);
            if place.symlink_metadata().is_err() {
                // Its own parents exist: a link may have led elsewhere in the tree.
                if let Some((parent, _)) = done.rsplit_once('/')
                    && !self.root.join(parent.trim_start_matches('/')).exists()
                {
                    self.directory(parent)?;
                }
                fs_err::create_dir(&place).map_err(Self::io("create", &place))?;
                match node
                    .as_ref()
                    .and_then(|node| node.metadata.as_ref().map(|metadata| (node, metadata)))
                {
                    Some((node, metadata)) => {
                        attributes(&place, metadata, (metadata.uid(), metadata.gid()), None)?;
                        copy_xattrs(node.place(), &place)?;
                        set_times(&place, metadata)?;
                    }
                    None => {
                        let (uid, gid) = self.owner.unwrap_or((0, 0));
                        chown(&place, uid, gid)?;
                        fs_err::set_permissions(&place, std::fs::Permissions::from_mode(0o755))
                            .map_err(Self::io("chmod", &place))?;
                    }
                }
            }
        }
        Ok(place)
    }

    /// Whether the image has a directory there.
    fn is_directory(&self, path: &str) -> bool {
        let here = Stack {
            layers: [vec![self.root.clone()], self.below.layers.clone()].concat(),
        };
        here.find(path, true).is_some_and(|node| node.is_dir())
    }

    /// Copies one source to `target` by Docker's rules for files and folders.
    pub(crate) fn copy(
        &self,
        source: &Source<'_>,
        node: &Node,
        target: &str,
        unpack: bool,
    ) -> Result<(), StepError> {
        if node.is_dir() {
            // A folder that is named in full and new looks as the source does; `x/` is made plain.
            let looks = !target.ends_with('/') && !self.is_directory(target);
            let place = self.directory(target)?;
            self.tree(source, node, &place)?;
            return match &node.metadata {
                Some(metadata) if looks => {
                    attributes(
                        &place,
                        metadata,
                        self.owner_of(source, metadata),
                        self.mode.as_deref(),
                    )?;
                    set_times(&place, metadata)
                }
                _ => Ok(()),
            };
        }
        if unpack && let Some(result) = self.unpack(node.place(), target) {
            return result;
        }
        let name = node.path.last().cloned().unwrap_or_default();
        let place = self.file_place(target, &name)?;
        self.node(source, node, &place)
    }

    /// Where a file named `name` lands for a target as written.
    fn file_place(&self, target: &str, name: &str) -> Result<PathBuf, StepError> {
        let path = if target.ends_with('/') || target.ends_with("/.") || self.is_directory(target) {
            absolute(target, name)
        } else {
            absolute("/", target)
        };
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name.is_empty() {
            return Err(StepError::Value(format!("`{target}` is no place for a file")));
        }
        Ok(self.directory(folder)?.join(name))
    }

    fn tree(&self, source: &Source<'_>, dir: &Node, place: &Path) -> Result<(), StepError> {
        for (name, node) in source.stack.list(dir) {
            if source.is_pruned(&node) {
                continue;
            }
            if !node.is_dir() {
                if !source.is_left_out(&node) {
                    self.node(source, &node, &place.join(name))?;
                }
                continue;
            }
            let inner = place.join(name);
            if source.is_left_out(&node) {
                // Something in it may come back by a `!` rule; the folder exists only then.
                let is_needed = source
                    .stack
                    .list(&node)
                    .iter()
                    .any(|(_, child)| !source.is_left_out(child));
                if !is_needed {
                    continue;
                }
            }
            if inner.symlink_metadata().is_err() {
                fs_err::create_dir(&inner).map_err(Self::io("create", &inner))?;
            }
            self.tree(source, &node, &inner)?;
            if let Some(metadata) = &node.metadata {
                attributes(
                    &inner,
                    metadata,
                    self.owner_of(source, metadata),
                    self.mode.as_deref(),
                )?;
                set_times(&inner, metadata)?;
            }
        }
        Ok(())
    }

    fn owner_of(&self, source: &Source<'_>, metadata: &Metadata) -> (u32, u32) {
        let kept = if source.keeps_owners {
            (metadata.uid(), metadata.gid())
        } else {
            (0, 0)
        };
        self.owner.unwrap_or(kept)
    }

    /// Copies what is no directory.
    fn node(&self, source: &Source<'_>, node: &Node, place: &Path) -> Result<(), StepError> {
        let from = node.place();
        let Some(metadata) = &node.metadata else {
            return Ok(());
        };
        if place.symlink_metadata().is_ok() {
            fs_err::remove_file(place).map_err(Self::io("replace", place))?;
        }
        let owner = self.owner_of(source, metadata);
        let kind = FileType::from_raw_mode(metadata.mode());
        match kind {
            FileType::RegularFile => {
                let mut input = fs_err::File::open(from).map_err(Self::io("read", from))?;
                let mut output = fs_err::File::create_new(place).map_err(Self::io("create", place))?;
                io::copy(&mut input, &mut output).map_err(Self::io("copy", from))?;
            }
            FileType::Symlink => {
                let target = fs_err::read_link(from).map_err(Self::io("read", from))?;
                fs_err::os::unix::fs::symlink(target, place).map_err(Self::io("create", place))?;
                chown(place, owner.0, owner.1)?;
                return set_times(place, metadata);
            }
            FileType::Socket | FileType::Unknown | FileType::Directory => return Ok(()),
            special => {
                let mode = Mode::from_raw_mode(metadata.mode() & 0o7777);
                rustix::fs::mknodat(CWD, place, special, mode, metadata.rdev())
                    .map_err(|errno| Self::io("create", place)(errno.into()))?;
            }
        }
        attributes(place, metadata, owner, self.mode.as_deref())?;
        if source.keeps_owners {
            copy_xattrs(from, place)?;
        }
        set_times(place, metadata)
    }

    /// Unpacks a tar archive; `None`: the file is none.
    pub(crate) fn unpack(&self, file: &Path, target: &str) -> Option<Result<(), StepError>> {
        let mut start = vec![0; 512];
        let mut reader = fs_err::File::open(file).ok()?;
        let count = reader.read(&mut start).ok()?;
        let is_tar = start.get(257..262) == Some(b"ustar");
        if !is_tar && Compression::of(&start[..count]) == Compression::None {
            return None;
        }
        reader.rewind().ok()?;
        if !is_tar {
            // A compressed file that is no tar archive is copied as it is (Dockerfile reference, "ADD").
            let mut inner = [0; 512];
            let decoder = crate::archive::compression::Decoder::new(fs_err::File::open(file).ok()?).ok()?;
            let is_archive = { decoder }.read_exact(&mut inner).is_ok() && &inner[257..262] == b"ustar";
            if !is_archive {
                return None;
            }
        }
        Some(self.directory(target).and_then(|place| {
            let root = fs_err::File::open(&place).map_err(Self::io("open", &place))?;
            layer::unpack(reader, root.as_fd(), Manner::Plain, Limits::default(), &|_| ())
                .map(drop)
                .map_err(|cause| StepError::Unpack {
                    path: file.display().to_string(),
                    cause,
                })
        }))
    }

    /// Writes a here-document or download as a file.
    pub(crate) fn write(
        &self,
        target: &str,
        name: &str,
        content: &mut dyn Read,
        mode: u32,
    ) -> Result<(), StepError> {
        let place = self.file_place(target, name)?;
        let mut file = fs_err::File::create(&place).map_err(Self::io("create", &place))?;
        io::copy(content, &mut file).map_err(Self::io("write", &place))?;
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        chown(&place, uid, gid)?;
        let mode = self
            .mode
            .as_deref()
            .map_or(Ok(mode), |text| new_mode(text, mode, false))?;
        fs_err::set_permissions(&place, std::fs::Permissions::from_mode(mode))
            .map_err(Self::io("chmod", &place))
    }
}

fn attributes(
    place: &Path,
    metadata: &Metadata,
    owner: (u32, u32),
    mode: Option<&str>,
) -> Result<(), StepError> {
    chown(place, owner.0, owner.1)?;
    let old = metadata.mode() & 0o7777;
    let mode = mode.map_or(Ok(old), |text| new_mode(text, old, metadata.is_dir()))?;
    let failed = |cause| StepError::Io {
        action: "chmod",
        path: place.to_path_buf(),
        cause,
    };
    fs_err::set_permissions(place, std::fs::Permissions::from_mode(mode)).map_err(failed)
}

fn chown(place: &Path, uid: u32, gid: u32) -> Result<(), StepError> {
    rustix::fs::chownat(
        CWD,
        place,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(|errno| StepError::Io {
        action: "chown",
        path: place.to_path_buf(),
        cause: errno.into(),
    })
}

fn set_times(place: &Path, metadata: &Metadata) -> Result<(), StepError> {
    let time = Timespec {
        tv_sec: metadata.mtime(),
        tv_nsec: metadata.mtime_nsec(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| StepError::Io {
        action: "set the time of",
        path: place.to_path_buf(),
        cause: errno.into(),
    })
}

fn copy_xattrs(from: &Path, to: &Path) -> Result<(), StepError> {
    let failed = |cause: io::Error| StepError::Io {
        action: "copy the attributes of",
        path: from.to_path_buf(),
        cause,
    };
    let (Some(parent), Some(name)) = (from.parent(), from.file_name()) else {
        return Ok(());
    };
    let dir = fs_err::File::open(parent).map_err(failed)?;
    let name = std::ffi::CString::new(name.as_encoded_bytes())
        .map_err(io::Error::other)
        .map_err(failed)?;
    let found = xattrs(dir.as_fd(), &name, FileType::RegularFile).map_err(|errno| failed(errno.into()))?;
    for (key, value) in found
        .iter()
        .filter(|(key, _)| !key.starts_with(b"trusted.overlay."))
    {
        rustix::fs::lsetxattr(to, key.as_slice(), value, XattrFlags::empty())
            .map_err(|errno| failed(errno.into()))?;
    }
    Ok(())
}

/// Octal, or symbolic as chmod(1): `u+x,go-w,a=rX`.
pub(crate) fn new_mode(text: &str, old: u32, is_dir: bool) -> Result<u32, StepError> {
    let wrong = || {
        StepError::Value(format!(
            "`--chmod={text}` is no mode (such as `755` or `u+x,go-w`)"
        ))
    };
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .ok_or_else(wrong);
    }
    let mut mode = old;
    for clause in text.split(',') {
        let at = clause.find(['+', '-', '=']).ok_or_else(wrong)?;
        let (who, action) = clause.split_at(at);
        let mut reach = 0;
        for c in who.chars() {
            reach |= match c {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                'a' => 0o7777,
                _ => return Err(wrong()),
            };
        }
        if who.is_empty() {
            reach = 0o7777;
        }
        let mut bits = 0;
        for c in action[1..].chars() {
            bits |= match c {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if is_dir || old & 0o111 != 0 => 0o111,
                'X' => 0,
                's' => 0o6000,
                't' => 0o1000,
                _ => return Err(wrong()),
            };
        }
        mode = match &action[..1] {
            "+" => mode | (bits & reach),
            "-" => mode & !(bits & reach),
            _ => (mode & !(reach & 0o777)) | (bits & reach),
        };
    }
    Ok(mode)
}

/// Fetches a URL of `ADD` into the file `to`, compares its checksum, and gives its digest.
pub(crate) fn download(url: &str, checksum: Option<&str>, to: &Path) -> Result<Digest, StepError> {
    let failed = |reason: String| StepError::Fetch {
        url: url.to_owned(),
        reason,
    };
    let agent = agent(Patience::default(), &[], None);
    let mut address = url.to_owned();
    for _ in 0..10 {
        let mut response = agent
            .get(&address)
            .call()
            .map_err(|error| failed(error.to_string()))?;
        let location = response
            .headers()
            .get("location")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        match (response.status().as_u16(), location) {
            (200, _) => {
                let reader = response.body_mut().with_config().limit(LARGEST).reader();
                let file = fs_err::File::create(to).map_err(Target::io("create", to))?;
                let mut hashing = Hashing::new(file);
                io::copy(&mut Paced::new(reader, Patience::default()), &mut hashing)
                    .map_err(|error| failed(error.to_string()))?;
                let (found, ..) = hashing.finish();
                return match checksum {
                    Some(wanted) if wanted != found.to_string() => {
                        Err(failed(format!("its checksum is {found}")))
                    }
                    _ => Ok(found),
                };
            }
            (301 | 302 | 303 | 307 | 308, Some(location)) if location.starts_with("http") => {
                address = location
            }
            (status, _) => return Err(failed(format!("HTTP {status}"))),
        }
    }
    Err(failed("too many redirects".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_or_symbolic() {
        for (text, old, is_dir, new) in [
            ("755", 0o600, false, 0o755),
            ("u+x", 0o644, false, 0o744),
            ("go-rwx", 0o755, false, 0o700),
            ("a=rX", 0o700, false, 0o555),
            ("a+X", 0o644, true, 0o755),
            ("a+X", 0o644, false, 0o644),
            ("u=rwx,go=rx", 0o600, false, 0o755),
            ("+x", 0o644, false, 0o755),
        ] {
            assert_eq!(new_mode(text, old, is_dir).ok(), Some(new), "{text}");
        }
        for wrong in ["8", "77777", "u", "z+x", "u+q", ""] {
            assert!(new_mode(wrong, 0, false).is_err(), "{wrong}");
        }
    }
}
