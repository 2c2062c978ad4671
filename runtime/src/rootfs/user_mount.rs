//! Mounts that somebody asked for: binds, volumes, tmpfs, layers, any filesystem.

use super::{
    Mount, MountKind, Propagation,
    inside::{Kind, Tree, attach, clone_tree, is_directory},
    root::{Writes, open_directory, overlay},
    seed::seed,
    standard::new_mount,
};
use crate::{
    container::Grant,
    failure::{At, Failure, Step},
    sys::mount_attr::{self, Change},
};
use rustix::{
    fs::{CWD, Mode, OFlags},
    mount::{MountAttrFlags, UnmountFlags},
};
use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

/// A mount made and not yet attached: sources are opened while the host's tree is still there and shared.
#[derive(Debug)]
pub(crate) struct Detached<'a> {
    mount: &'a Mount,
    tree: OwnedFd,
}

/// Attaches user mounts in order of depth, so that `/a/b` lands in the mount at `/a`.
///
/// `sources` are those of [`open_shared_sources`], or empty.
pub(crate) fn mount_user(tree: &Tree, mounts: &[Mount], sources: &[Option<OwnedFd>]) -> Result<(), Failure> {
    let mut ordered: Vec<(usize, &Mount)> = mounts.iter().enumerate().collect();
    ordered.sort_by_key(|(_, mount)| depth(&mount.target));
    for (index, mount) in ordered {
        let opened = sources
            .get(index)
            .and_then(Option::as_ref)
            .map(OwnedFd::try_clone)
            .transpose();
        let source = match opened.at(Step::Mount, &mount.target)? {
            Some(source) => source,
            None => make(tree, mount)?,
        };
        Detached { mount, tree: source }.attach(tree)?;
    }
    Ok(())
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

impl Detached<'_> {
    fn attach(self, tree: &Tree) -> Result<(), Failure> {
        let target = &self.mount.target;
        let kind = if is_directory(&self.tree).at(Step::Mount, target)? {
            Kind::Directory(0o755)
        } else {
            Kind::File(0o644)
        };
        let place = tree.make(target, kind)?;
        if self.mount.read_only {
            let change = Change {
                set: mount_attr::MOUNT_ATTR_RDONLY,
                recursive: true,
                ..Change::default()
            };
            mount_attr::change(self.tree.as_fd(), &change).at(Step::ReadOnly, target)?;
        }
        attach(&self.tree, place).at(Step::Mount, target)
    }
}

fn make(tree: &Tree, mount: &Mount) -> Result<OwnedFd, Failure> {
    let target = &mount.target;
    match &mount.kind {
        MountKind::Bind {
            source,
            recursive,
            propagation,
        } => {
            let source_fd = open_any(source).at(Step::Mount, source.display())?;
            bind(source_fd, *recursive, *propagation).at(Step::Mount, source.display())
        }
        MountKind::OverlayBind { lower, upper, work } => {
            let writes = Writes {
                upper,
                work,
                volatile: false,
            };
            overlay(lower, Some(writes))
        }
        MountKind::Volume {
            source,
            seed: wanted,
            subpath,
        } => {
            if *wanted {
                seed(tree, target, source)?;
            }
            let volume = open_directory(source).at(Step::Mount, source.display())?;
            let place = match subpath {
                None => volume,
                Some(subpath) => Tree::new(volume).make(subpath, Kind::Directory(0o755))?,
            };
            bind(place, false, Propagation::Private).at(Step::Mount, source.display())
        }
        MountKind::Tmpfs { size, mode, options } => tmpfs(*size, *mode, options).at(Step::Mount, target),
        MountKind::Layers(layers) => overlay(layers, None),
        MountKind::Filesystem {
            kind,
            source,
            options,
        } => filesystem(kind, source, options).at(Step::Mount, target),
        // Mounted by `mount_bundle`, in its own order.
        MountKind::Bundle(_) => Err(rustix::io::Errno::INVAL).at(Step::Mount, target),
    }
}

fn bind(source: OwnedFd, recursive: bool, propagation: Propagation) -> std::io::Result<OwnedFd> {
    let copy = clone_tree(source, recursive)?;
    let (kind, all) = match propagation {
        Propagation::Private => (mount_attr::MS_PRIVATE, false),
        Propagation::Rprivate => (mount_attr::MS_PRIVATE, true),
        Propagation::Shared => (mount_attr::MS_SHARED, false),
        Propagation::Rshared => (mount_attr::MS_SHARED, true),
        Propagation::Slave => (mount_attr::MS_SLAVE, false),
        Propagation::Rslave => (mount_attr::MS_SLAVE, true),
    };
    mount_attr::change(
        copy.as_fd(),
        &Change {
            propagation: kind,
            recursive: all || recursive,
            ..Change::default()
        },
    )?;
    Ok(copy)
}

fn tmpfs(size: Option<u64>, mode: u32, options: &[String]) -> std::io::Result<OwnedFd> {
    let (attributes, mut rest) = split_options(options);
    rest.retain(|(key, _)| *key != "mode" || mode == 0o1777);
    let mode = format!("{mode:o}");
    let size = size.map(|bytes| bytes.to_string());
    if !rest.iter().any(|(key, _)| *key == "mode") {
        rest.push(("mode", &mode));
    }
    if let Some(size) = &size {
        rest.retain(|(key, _)| *key != "size");
        rest.push(("size", size));
    }
    // Docker's defaults for --tmpfs; `exec`, `suid` and `dev` among the options take them back.
    let mut defaults =
        mount_attr::MOUNT_ATTR_NOEXEC | mount_attr::MOUNT_ATTR_NOSUID | mount_attr::MOUNT_ATTR_NODEV;
    defaults &= !attributes.clear;
    let mount = new_mount("tmpfs", &rest, MountAttrFlags::empty())?;
    mount_attr::change(
        mount.as_fd(),
        &Change {
            set: defaults | attributes.set,
            ..Change::default()
        },
    )?;
    Ok(mount)
}

fn filesystem(kind: &str, source: &str, options: &[String]) -> std::io::Result<OwnedFd> {
    let (attributes, mut rest) = split_options(options);
    if !source.is_empty() && source != "none" && source != kind {
        rest.push(("source", source));
    }
    let mount = new_mount(kind, &rest, MountAttrFlags::empty())?;
    mount_attr::change(
        mount.as_fd(),
        &Change {
            set: attributes.set,
            ..Change::default()
        },
    )?;
    Ok(mount)
}

/// Splits mount(8) options into flags of the mount and options of the filesystem.
fn split_options(options: &[String]) -> (Change<'static>, Vec<(&str, &str)>) {
    let mut change = Change::default();
    let mut rest = Vec::new();
    for option in options {
        let flag = match option.as_str() {
            "ro" => (mount_attr::MOUNT_ATTR_RDONLY, true),
            "rw" => (mount_attr::MOUNT_ATTR_RDONLY, false),
            "nosuid" => (mount_attr::MOUNT_ATTR_NOSUID, true),
            "suid" => (mount_attr::MOUNT_ATTR_NOSUID, false),
            "nodev" => (mount_attr::MOUNT_ATTR_NODEV, true),
            "dev" => (mount_attr::MOUNT_ATTR_NODEV, false),
            "noexec" => (mount_attr::MOUNT_ATTR_NOEXEC, true),
            "exec" => (mount_attr::MOUNT_ATTR_NOEXEC, false),
            "noatime" => (libc::MOUNT_ATTR_NOATIME, true),
            "strictatime" => (libc::MOUNT_ATTR_STRICTATIME, true),
            "nodiratime" => (libc::MOUNT_ATTR_NODIRATIME, true),
            "defaults" | "relatime" | "atime" | "rprivate" | "private" => continue,
            other => {
                rest.push(other.split_once('=').unwrap_or((other, "")));
                continue;
            }
        };
        if flag.1 {
            change.set |= flag.0;
            change.clear &= !flag.0;
        } else {
            change.clear |= flag.0;
            change.set &= !flag.0;
        }
    }
    (change, rest)
}

pub(super) fn open_any(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Sources of binds whose mounts shall keep travelling: copied before the namespace is cut off from the host's, in
/// the order of `mounts`; `None` for all others.
pub(crate) fn open_shared_sources(mounts: &[Mount]) -> Result<Vec<Option<OwnedFd>>, Failure> {
    mounts
        .iter()
        .map(|mount| match &mount.kind {
            MountKind::Bind {
                source,
                recursive,
                propagation,
            } if !matches!(propagation, Propagation::Private | Propagation::Rprivate) => {
                let fd = open_any(source).at(Step::Mount, source.display())?;
                bind(fd, *recursive, *propagation)
                    .at(Step::Mount, source.display())
                    .map(Some)
            }
            MountKind::Bundle(wanted) if wanted.bind && wanted.travels() => super::bundle::open_bind(wanted)
                .at(Step::Mount, &wanted.source)
                .map(Some),
            _ => Ok(None),
        })
        .collect()
}

/// Sources on the host of all other mounts, opened while this process may still read them (a user namespace takes that
/// away); `sources` is filled up to the order of `mounts`.
pub(crate) fn open_host_sources(mounts: &[Mount], sources: &mut Vec<Option<OwnedFd>>) -> Result<(), Failure> {
    sources.resize_with(mounts.len(), || None);
    for (mount, place) in mounts.iter().zip(sources.iter_mut()) {
        if place.is_some() {
            continue;
        }
        *place = match &mount.kind {
            MountKind::Bind {
                source,
                recursive,
                propagation,
            } => {
                let fd = open_any(source).at(Step::Mount, source.display())?;
                Some(bind(fd, *recursive, *propagation).at(Step::Mount, source.display())?)
            }
            MountKind::Volume {
                source,
                subpath: None,
                ..
            } => {
                let fd = open_any(source).at(Step::Mount, source.display())?;
                Some(bind(fd, false, Propagation::Private).at(Step::Mount, source.display())?)
            }
            MountKind::Bundle(wanted) if wanted.bind => {
                Some(super::bundle::open_bind(wanted).at(Step::Mount, &wanted.source)?)
            }
            _ => None,
        };
    }
    Ok(())
}

/// Files handed over by content: on one small tmpfs that nothing on disk ever sees, each bound to its place.
pub(crate) fn mount_grants(tree: &Tree, grants: &[Grant]) -> Result<(), Failure> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    // `noswap` keeps the bytes out of swap space (Linux 6.4).
    let store = new_mount("tmpfs", &[("mode", "700"), ("noswap", "")], attributes)
        .or_else(|_| new_mount("tmpfs", &[("mode", "700")], attributes))
        .at(Step::Mount, "grants")?;
    // Kernels before 6.15 copy attached mounts only: on top of the root it is in nobody's way, and gone at the end.
    attach(&store, tree.root()).at(Step::Mount, "grants")?;
    let result = bind_grants(tree, grants, &store);
    let place = format!("/proc/self/fd/{}", store.as_raw_fd());
    rustix::mount::unmount(place, UnmountFlags::DETACH).at(Step::Mount, "grants")?;
    result
}

fn bind_grants(tree: &Tree, grants: &[Grant], store: &OwnedFd) -> Result<(), Failure> {
    for (number, grant) in grants.iter().enumerate() {
        let name = number.to_string();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(store, &name, flags, Mode::from_raw_mode(0o600))
            .at(Step::WriteFile, &grant.target)?;
        std::io::Write::write_all(
            &mut std::fs::File::from(file.try_clone().at(Step::WriteFile, &grant.target)?),
            &grant.content,
        )
        .at(Step::WriteFile, &grant.target)?;
        let (owner, group) = (
            rustix::fs::Uid::from_raw(grant.uid),
            rustix::fs::Gid::from_raw(grant.gid),
        );
        rustix::fs::fchown(&file, Some(owner), Some(group)).at(Step::WriteFile, &grant.target)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(grant.mode)).at(Step::WriteFile, &grant.target)?;
        let copy = clone_tree(&file, false).at(Step::Mount, &grant.target)?;
        let change = Change {
            set: mount_attr::MOUNT_ATTR_RDONLY,
            propagation: mount_attr::MS_PRIVATE,
            ..Change::default()
        };
        mount_attr::change(copy.as_fd(), &change).at(Step::ReadOnly, &grant.target)?;
        let place = tree.make(&grant.target, Kind::File(0o644))?;
        attach(&copy, place).at(Step::Mount, &grant.target)?;
    }
    Ok(())
}

/// Binds our own binary, read-only, to `target`. By its path: the running image may lie on a detached mount (see
/// [`crate::process`]), which cannot be copied from another process.
pub(crate) fn mount_binary(tree: &Tree, binary: &Path, target: &str) -> Result<(), Failure> {
    let binary = open_any(binary).at(Step::Mount, binary.display())?;
    let copy = clone_tree(&binary, false).at(Step::Mount, target)?;
    let change = Change {
        set: mount_attr::MOUNT_ATTR_RDONLY,
        propagation: mount_attr::MS_PRIVATE,
        ..Change::default()
    };
    mount_attr::change(copy.as_fd(), &change).at(Step::ReadOnly, target)?;
    let place = tree.make(target, Kind::File(0o755))?;
    attach(&copy, place).at(Step::Mount, target)
}

/// Binds a terminal's slave to `/dev/console` of the root this process has entered.
pub(crate) fn bind_console(slave: &OwnedFd) -> Result<(), Failure> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    let place = rustix::fs::open("/dev/console", flags, Mode::from_raw_mode(0o600))
        .at(Step::Terminal, "/dev/console")?;
    let copy = clone_tree(slave, false).at(Step::Terminal, "/dev/console")?;
    attach(&copy, &place).at(Step::Terminal, "/dev/console")
}
