//! Mounts and device nodes of an OCI bundle: all as written, in the order written (runtime-spec, config.md, "Mounts";
//! config-linux.md, "Devices").

use super::{
    BundleMount, Mount, MountKind, Propagation,
    devices::{HostNodes, make_node, standard_links, standard_nodes},
    inside::{Kind, Tree, attach, clone_tree, is_directory},
    standard::{mount_cgroups_at, new_mount},
    user_mount::open_any,
};
use crate::{
    archive::{Limits, entries::Entries, extract::Manner, pack::pack},
    cgroup::{Cgroup, CgroupView},
    container::Node,
    failure::{At, Failure, Step},
    namespace::IdRange,
    sys::{
        clone,
        mount_attr::{self, Change},
        pidfd,
    },
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
    mount::MountAttrFlags,
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

/// Attaches the mounts one after the other. `sources` are binds that were opened before; `cgroups` is what this host has, and
/// the container's own where it has no cgroup namespace.
pub(crate) fn mount_bundle(
    tree: &Tree,
    mounts: &[Mount],
    sources: &[Option<OwnedFd>],
    cgroups: (&CgroupView, Option<&Cgroup>),
) -> Result<(), Failure> {
    for (index, mount) in mounts.iter().enumerate() {
        let MountKind::Bundle(wanted) = &mount.kind else {
            continue;
        };
        let target = mount.target.as_str();
        if matches!(wanted.kind.as_str(), "cgroup" | "cgroup2") && !wanted.bind {
            mount_cgroup_view(tree, target, wanted, cgroups)?;
            continue;
        }
        let opened = sources.get(index).and_then(Option::as_ref);
        let made = match (opened, wanted.bind) {
            (Some(source), _) => source.try_clone().at(Step::Mount, &wanted.source)?,
            (None, true) => open_bind(wanted).at(Step::Mount, &wanted.source)?,
            (None, false) => new_filesystem(wanted).at(Step::Mount, target)?,
        };
        if wanted.copy_up {
            copy_up(tree, target, &made).at(Step::Mount, target)?;
        }
        set_attributes(&made, wanted).at(Step::Mount, target)?;
        attach_at(tree, target, &made)?;
        set_propagation(&made, wanted).at(Step::Propagation, target)?;
    }
    Ok(())
}

impl BundleMount {
    /// Whether what is mounted below it later shall travel.
    pub(super) fn travels(&self) -> bool {
        self.propagation
            .iter()
            .any(|one| !matches!(one, Propagation::Private | Propagation::Rprivate))
    }
}

/// A detached copy of a bind's source.
pub(super) fn open_bind(wanted: &BundleMount) -> io::Result<OwnedFd> {
    let source = open_any(Path::new(&wanted.source))?;
    Ok(clone_tree(source, wanted.recursive)?)
}

fn new_filesystem(wanted: &BundleMount) -> io::Result<OwnedFd> {
    let mut data: Vec<(&str, &str)> = wanted
        .data
        .iter()
        .map(|option| option.split_once('=').unwrap_or((option, "")))
        .collect();
    let source = wanted.source.as_str();
    if !source.is_empty() && source != "none" && source != wanted.kind {
        data.push(("source", source));
    }
    match new_mount(&wanted.kind, &data, MountAttrFlags::empty()) {
        // Not every device group exists in a user namespace.
        Err(Errno::INVAL) if wanted.kind == "devpts" => {
            data.retain(|(key, _)| *key != "gid");
            Ok(new_mount(&wanted.kind, &data, MountAttrFlags::empty())?)
        }
        // Without a network namespace of its own a container may not mount sysfs: the host's is shown instead.
        Err(Errno::PERM) if wanted.kind == "sysfs" => Ok(clone_tree(open_any(Path::new("/sys"))?, true)?),
        made => Ok(made?),
    }
}

fn set_attributes(made: &OwnedFd, wanted: &BundleMount) -> io::Result<()> {
    if wanted.set | wanted.clear != 0 {
        let change = Change {
            set: wanted.set,
            clear: wanted.clear,
            ..Change::default()
        };
        mount_attr::change(made.as_fd(), &change)?;
    }
    if wanted.set_all | wanted.clear_all != 0 {
        let change = Change {
            set: wanted.set_all,
            clear: wanted.clear_all,
            recursive: true,
            ..Change::default()
        };
        mount_attr::change(made.as_fd(), &change)?;
    }
    if let Some((users, groups, recursive)) = &wanted.id_map {
        let namespace = user_namespace(users, groups)?;
        let change = Change {
            id_map: Some(namespace.as_fd()),
            recursive: *recursive,
            ..Change::default()
        };
        mount_attr::change(made.as_fd(), &change)?;
    }
    Ok(())
}

/// A user namespace with these maps, for an idmapped mount: held by a child that lives no longer than this call.
fn user_namespace(users: &[IdRange], groups: &[IdRange]) -> io::Result<OwnedFd> {
    let options = clone::CopyOptions {
        namespaces: clone::CLONE_NEWUSER,
        ..clone::CopyOptions::default()
    };
    match clone::copy_process(&options)? {
        clone::Copied::Child => loop {
            rustix::thread::futex::wait(
                &std::sync::atomic::AtomicU32::new(0),
                rustix::thread::futex::Flags::PRIVATE,
                0,
                None,
            )
            .ok();
        },
        clone::Copied::Parent { pidfd, .. } => {
            let opened = number_of(&pidfd).and_then(|number| {
                let write = |file: &str, ranges: &[IdRange]| {
                    let text: String = ranges.iter().map(|range| format!("{range}\n")).collect();
                    std::fs::write(format!("/proc/{number}/{file}"), text)
                };
                write("uid_map", users)?;
                write("gid_map", groups)?;
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                Ok(rustix::fs::open(
                    format!("/proc/{number}/ns/user"),
                    flags,
                    Mode::empty(),
                )?)
            });
            pidfd::signal(&pidfd, libc::SIGKILL)?;
            pidfd::reap(pidfd.as_fd(), true)?;
            opened
        }
    }
}

/// A process's number as `/proc` shows it: the host's, while clone(2) tells that of our own pid namespace.
fn number_of(pidfd: &OwnedFd) -> io::Result<u32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let number = text
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    number.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn set_propagation(made: &OwnedFd, wanted: &BundleMount) -> io::Result<()> {
    let change = |kind: u64, recursive: bool| {
        let change = Change {
            propagation: kind,
            recursive,
            ..Change::default()
        };
        mount_attr::change(made.as_fd(), &change)
    };
    if wanted.propagation.is_empty() && wanted.unbindable.is_none() {
        return change(mount_attr::MS_PRIVATE, true);
    }
    for one in &wanted.propagation {
        match one {
            Propagation::Private => change(mount_attr::MS_PRIVATE, false)?,
            Propagation::Rprivate => change(mount_attr::MS_PRIVATE, true)?,
            Propagation::Shared => change(mount_attr::MS_SHARED, false)?,
            Propagation::Rshared => change(mount_attr::MS_SHARED, true)?,
            Propagation::Slave => change(mount_attr::MS_SLAVE, false)?,
            Propagation::Rslave => change(mount_attr::MS_SLAVE, true)?,
        }
    }
    match wanted.unbindable {
        Some(recursive) => change(mount_attr::MS_UNBINDABLE, recursive),
        None => Ok(()),
    }
}

/// Attaches at a path, made when missing. `/proc` and `/sys` must not be links, as everywhere.
fn attach_at(tree: &Tree, target: &str, made: &OwnedFd) -> Result<(), Failure> {
    let plain = matches!(target.trim_end_matches('/'), "/proc" | "/sys" | "/dev");
    if plain {
        return super::standard::place(tree, target.trim_end_matches('/'), made);
    }
    let kind = if is_directory(made).at(Step::Mount, target)? {
        Kind::Directory(0o755)
    } else {
        Kind::File(0o644)
    };
    let place = tree.make(target, kind)?;
    attach(made, place).at(Step::Mount, target)
}

fn mount_cgroup_view(
    tree: &Tree,
    target: &str,
    wanted: &BundleMount,
    (view, own): (&CgroupView, Option<&Cgroup>),
) -> Result<(), Failure> {
    let read_only = if wanted.set & mount_attr::MOUNT_ATTR_RDONLY == 0 {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    };
    tree.make(target, Kind::Directory(0o755))?;
    mount_cgroups_at(tree, target, view, own, read_only)
}

/// Fills a new tmpfs with what the root has at its place (`tmpcopyup`).
fn copy_up(tree: &Tree, target: &str, made: &OwnedFd) -> io::Result<()> {
    let readable = OFlags::RDONLY | OFlags::DIRECTORY;
    let from = match tree.open(target, readable) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        opened => opened?,
    };
    let to = rustix::fs::openat(made, c".", readable | OFlags::CLOEXEC, Mode::empty())?;
    let mut stream = Vec::new();
    pack(from.as_fd(), &mut stream, Manner::Plain).map_err(io::Error::other)?;
    let mut entries = Entries::new(stream.as_slice(), Limits::default());
    crate::archive::extract::extract(&mut entries, to.as_fd(), Manner::Plain, &mut |_| Ok(true))
        .map_err(io::Error::other)?;
    let status = rustix::fs::fstat(&from)?;
    rustix::fs::fchmod(&to, Mode::from_raw_mode(status.st_mode & 0o7777))?;
    Ok(())
}

/// Makes the standard nodes and links of `/dev`, then the bundle's own. Where `/dev` is the host's, nothing is made.
pub(crate) fn make_bundle_nodes(
    tree: &Tree,
    nodes: &[Node],
    mounts: &[Mount],
    host: &HostNodes,
) -> Result<(), Failure> {
    let is_hosts = mounts.iter().any(|mount| {
        mount.target.trim_end_matches('/') == "/dev"
            && matches!(&mount.kind, MountKind::Bundle(wanted) if wanted.bind)
    });
    if is_hosts {
        return Ok(());
    }
    for (name, major, minor) in standard_nodes() {
        let path = format!("/dev/{name}");
        if nodes.iter().any(|node| node.path == path) {
            continue;
        }
        let node = Node {
            path,
            kind: 'c',
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        };
        make_one(tree, &node, Some((name, host)))?;
    }
    for node in nodes {
        make_one(tree, node, None)?;
    }
    let dev = tree.make("/dev", Kind::Directory(0o755))?;
    for (name, target) in standard_links() {
        match rustix::fs::symlinkat(target, &dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).at(Step::MakeNode, name),
        }
    }
    Ok(())
}

fn make_one(tree: &Tree, node: &Node, fallback: Option<(&str, &HostNodes)>) -> Result<(), Failure> {
    let path = node.path.as_str();
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let directory = tree.make(if above.is_empty() { "/" } else { above }, Kind::Directory(0o755))?;
    let kind = match node.kind {
        'b' => FileType::BlockDevice,
        'p' => FileType::Fifo,
        _ => FileType::CharacterDevice,
    };
    let number = rustix::fs::makedev(node.major, node.minor);
    let mode = Mode::from_raw_mode(node.mode & 0o7777);
    match make_node(&directory, name, kind, mode, number) {
        Ok(()) => {}
        Err(Errno::PERM) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place =
                rustix::fs::openat(&directory, name, flags, Mode::empty()).at(Step::MakeNode, path)?;
            let copy = match fallback {
                Some((name, host)) => host.copy(name).at(Step::MakeNode, path)?,
                None => {
                    let source = open_any(Path::new(path)).at(Step::MakeNode, path)?;
                    clone_tree(source, false).at(Step::MakeNode, path)?
                }
            };
            return attach(&copy, &place).at(Step::MakeNode, path);
        }
        Err(errno) => return Err(errno).at(Step::MakeNode, path),
    }
    let (owner, group) = (
        rustix::fs::Uid::from_raw(node.uid),
        rustix::fs::Gid::from_raw(node.gid),
    );
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(&directory, name, Some(owner), Some(group), flags).at(Step::MakeNode, path)?;
    // A node that the image had may have other bits.
    rustix::fs::chmodat(&directory, name, mode, AtFlags::empty()).at(Step::MakeNode, path)
}
