//! A new, empty volume gets what the image has at its target: names, contents, owners, modes, times, links.

use super::{inside::Tree, root::open_directory};
use crate::failure::{At, Failure, Step};
use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, XattrFlags},
    io::Errno,
};
use std::{ffi::CStr, os::fd::OwnedFd, path::Path};

/// Fills `volume` from `target` inside `tree` if the volume is empty and the target is a directory. The volume's
/// directory is locked meanwhile: of two containers starting with one new volume, the second waits and finds it
/// filled.
pub(super) fn seed(tree: &Tree, target: &str, volume: &Path) -> Result<(), Failure> {
    let blame = volume.display();
    let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let to = open_directory(volume).at(Step::SeedVolume, blame)?;
    let to = rustix::fs::openat(&to, c".", readable, Mode::empty()).at(Step::SeedVolume, volume.display())?;
    rustix::fs::flock(&to, rustix::fs::FlockOperation::LockExclusive)
        .at(Step::SeedVolume, volume.display())?;
    if !is_empty(&to).at(Step::SeedVolume, volume.display())? {
        return Ok(());
    }
    let from = match tree.open(target, readable) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        result => result.at(Step::SeedVolume, volume.display())?,
    };
    let result = copy_children(&from, &to).and_then(|()| {
        let status = rustix::fs::fstat(&from)?;
        copy_attributes(&from, &to, &status)?;
        // A filled volume must survive a power cut as a whole: it is never filled again.
        rustix::fs::syncfs(&to)
    });
    if result.is_err() {
        // Half-filled would pass for filled next time.
        let _ = empty(&to);
    }
    result.at(Step::SeedVolume, volume.display())
}

fn is_empty(directory: &OwnedFd) -> rustix::io::Result<bool> {
    for entry in Dir::read_from(directory)? {
        // A volume on a filesystem of its own has this from the start.
        if !matches!(entry?.file_name().to_bytes(), b"." | b".." | b"lost+found") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn copy_children(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let status = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
                let child_from = rustix::fs::openat(from, name, flags, Mode::empty())?;
                let child_to = rustix::fs::openat(to, name, flags, Mode::empty())?;
                copy_children(&child_from, &child_to)?;
                copy_attributes(&child_from, &child_to, &status)?;
            }
            FileType::RegularFile => copy_file(from, to, name, &status)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(target, to, name)?;
                own(to, name, &status)?;
            }
            kind => {
                rustix::fs::mknodat(to, name, kind, mode, status.st_rdev)?;
                own(to, name, &status)?;
                rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
            }
        }
    }
    Ok(())
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr, status: &Stat) -> rustix::io::Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, read, Mode::empty())?;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, write, Mode::from_raw_mode(0o600))?;
    let mut left = u64::try_from(status.st_size).unwrap_or_default();
    while left > 0 {
        let piece = usize::try_from(left.min(1 << 30)).unwrap_or(1 << 30);
        match rustix::fs::sendfile(&target, &source, None, piece)? {
            0 => break,
            copied => left -= (copied as u64).min(left),
        }
    }
    copy_attributes(&source, &target, status)
}

fn copy_attributes(from: &OwnedFd, to: &OwnedFd, status: &Stat) -> rustix::io::Result<()> {
    rustix::fs::fchown(
        to,
        Some(Uid::from_raw(status.st_uid)),
        Some(Gid::from_raw(status.st_gid)),
    )?;
    // After the owner: changing it clears the set-id bits.
    rustix::fs::fchmod(to, Mode::from_raw_mode(status.st_mode & 0o7777))?;
    copy_extended(from, to)?;
    rustix::fs::futimens(to, &times(status))
}

/// Extended attributes (file capabilities above all); overlayfs's own are not content.
fn copy_extended(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    let mut names = vec![0_u8; 64 << 10];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Err(Errno::NOTSUP) => return Ok(()),
        result => result?,
    };
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        match rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Err(Errno::NOTSUP) => {}
            result => result?,
        }
    }
    Ok(())
}

fn own(to: &OwnedFd, name: &CStr, status: &Stat) -> rustix::io::Result<()> {
    let (owner, group) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    rustix::fs::chownat(to, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(to, name, &times(status), AtFlags::SYMLINK_NOFOLLOW)
}

#[expect(clippy::cast_possible_wrap, reason = "nanoseconds are below 10^9")]
fn times(status: &Stat) -> Timestamps {
    let time = |tv_sec: i64, nanoseconds: u64| rustix::fs::Timespec {
        tv_sec,
        tv_nsec: nanoseconds as i64,
    };
    Timestamps {
        last_access: time(status.st_atime, status.st_atime_nsec),
        last_modification: time(status.st_mtime, status.st_mtime_nsec),
    }
}

fn empty(directory: &OwnedFd) -> rustix::io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b".." | b"lost+found") {
            continue;
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                empty(&rustix::fs::openat(directory, name, flags, Mode::empty())?)?;
                rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
            }
            result => result?,
        }
    }
    Ok(())
}
