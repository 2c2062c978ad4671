//! What every container has mounted: `/proc`, `/dev`, `/sys` and what lies below them.

use super::{
    devices::{HostNodes, bind_missing, make_dev},
    inside::{Kind, Tree, attach},
};
use crate::{
    cgroup::{Cgroup, CgroupView},
    failure::{At, Failure, Step},
    namespace::Namespace,
    rootfs::Device,
    sys::mount_attr,
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// What the usual mounts depend on.
#[derive(Debug)]
pub(crate) struct Standard<'a> {
    pub(crate) privileged: bool,
    pub(crate) shm_size: Option<u64>,
    pub(crate) ipc: &'a Namespace,
    pub(crate) cgroups: &'a CgroupView,
    pub(crate) devices: &'a [Device],
    /// `/dev` and `/dev/shm`, … that a user mount replaces: not mounted here.
    pub(crate) replaced: &'a [&'a str],
    /// Nodes of the host, where none can be made.
    pub(crate) host: &'a HostNodes,
}

const QUIET: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Mounts them, in Docker's order (moby `oci/defaults.go`).
pub(crate) fn mount_standard(tree: &Tree, wanted: &Standard<'_>) -> Result<(), Failure> {
    let replaced = |path: &str| wanted.replaced.contains(&path);
    let read_only = if wanted.privileged {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    };
    if !replaced("/proc") {
        place(
            tree,
            "/proc",
            &new_mount("proc", &[], QUIET).at(Step::Mount, "/proc")?,
        )?;
    }
    if !replaced("/dev") {
        let (dev, missing) = make_dev(wanted.devices, wanted.privileged)?;
        place(tree, "/dev", &dev)?;
        bind_missing(&dev, &missing, wanted.host)?;
        mount_below_dev(tree, wanted, &replaced)?;
    }
    if !replaced("/sys") {
        place(
            tree,
            "/sys",
            &new_mount("sysfs", &[], QUIET | read_only).at(Step::Mount, "/sys")?,
        )?;
        if !replaced("/sys/fs/cgroup") {
            mount_cgroups_at(tree, "/sys/fs/cgroup", wanted.cgroups, None, read_only)?;
        }
    }
    Ok(())
}

fn mount_below_dev(
    tree: &Tree,
    wanted: &Standard<'_>,
    replaced: &dyn Fn(&str) -> bool,
) -> Result<(), Failure> {
    let pts = [
        ("newinstance", ""),
        ("ptmxmode", "0666"),
        ("mode", "0620"),
        ("gid", "5"),
    ];
    let quiet_nodes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    if !replaced("/dev/pts") {
        let mount = match new_mount("devpts", &pts, quiet_nodes) {
            // gid 5 is not mapped in every user namespace.
            Err(Errno::INVAL) => new_mount("devpts", &pts[..3], quiet_nodes),
            result => result,
        };
        place(tree, "/dev/pts", &mount.at(Step::Mount, "/dev/pts")?)?;
    }
    if !replaced("/dev/mqueue") {
        place(
            tree,
            "/dev/mqueue",
            &new_mount("mqueue", &[], QUIET).at(Step::Mount, "/dev/mqueue")?,
        )?;
    }
    let Some(size) = wanted.shm_size else {
        return Ok(());
    };
    if replaced("/dev/shm") {
        return Ok(());
    }
    let shm = match wanted.ipc {
        // Shared memory files belong to whoever owns the IPC namespace.
        Namespace::Host => clone_of("/dev/shm"),
        Namespace::Join(path) => match path.parent().and_then(|ns| ns.parent()) {
            Some(process) => clone_of(&format!("{}/root/dev/shm", process.display())),
            None => Err(Errno::NOENT),
        },
        Namespace::Private => new_mount("tmpfs", &[("mode", "1777"), ("size", &size.to_string())], QUIET),
    };
    place(tree, "/dev/shm", &shm.at(Step::Mount, "/dev/shm")?)
}

fn clone_of(path: &str) -> rustix::io::Result<OwnedFd> {
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    super::inside::clone_tree(place, false)
}

/// `/sys/fs/cgroup`: the v2 tree, or a tmpfs with one directory per v1 hierarchy and links for co-mounted names. With a
/// cgroup namespace of its own the container's cgroup is the root of each.
pub(super) fn mount_cgroups_at(
    tree: &Tree,
    at: &str,
    view: &CgroupView,
    own: Option<&Cgroup>,
    read_only: MountAttrFlags,
) -> Result<(), Failure> {
    match view {
        CgroupView::Absent => Ok(()),
        CgroupView::Unified => {
            let mount = match own.and_then(|own| own.v2.as_deref()) {
                Some(directory) => own_cgroup(directory, read_only),
                None => new_mount("cgroup2", &[], QUIET | read_only).map_err(Into::into),
            };
            place(tree, at, &mount.at(Step::Mount, at)?)
        }
        CgroupView::Split(hierarchies) => {
            let top = new_mount("tmpfs", &[("mode", "755")], QUIET).at(Step::Mount, at)?;
            for hierarchy in hierarchies {
                let name = hierarchy.join(",");
                rustix::fs::mkdirat(&top, &name, Mode::from_raw_mode(0o755)).at(Step::Resolve, &name)?;
                for controller in hierarchy.iter().filter(|_| hierarchy.len() > 1) {
                    rustix::fs::symlinkat(&name, &top, controller).at(Step::Resolve, controller)?;
                }
            }
            place(tree, at, &top)?;
            for hierarchy in hierarchies {
                let path = format!("{at}/{}", hierarchy.join(","));
                let options: Vec<(&str, &str)> = hierarchy.iter().map(|name| (name.as_str(), "")).collect();
                let mount = match own.and_then(|own| own.v1_directory(hierarchy)) {
                    Some(directory) => own_cgroup(directory, read_only),
                    None => new_mount("cgroup", &options, QUIET | read_only).map_err(Into::into),
                };
                place(tree, &path, &mount.at(Step::Mount, &path)?)?;
            }
            let seal = mount_attr::Change {
                set: if read_only.is_empty() {
                    0
                } else {
                    mount_attr::MOUNT_ATTR_RDONLY
                },
                ..Default::default()
            };
            mount_attr::change(top.as_fd(), &seal).at(Step::ReadOnly, at)
        }
    }
}

/// The container's own cgroup as the top of what it sees, where it has no cgroup namespace to do that.
fn own_cgroup(directory: &Path, read_only: MountAttrFlags) -> std::io::Result<OwnedFd> {
    let place = rustix::fs::open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let copy = super::inside::clone_tree(place, false)?;
    let change = mount_attr::Change {
        set: u64::from((QUIET | read_only).bits()),
        propagation: mount_attr::MS_PRIVATE,
        ..mount_attr::Change::default()
    };
    mount_attr::change(copy.as_fd(), &change)?;
    Ok(copy)
}

/// A new filesystem, not yet attached (fsopen(2)). An empty value stands for an option without one.
pub(super) fn new_mount(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let filesystem = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&filesystem, *key)?;
        } else {
            rustix::mount::fsconfig_set_string(&filesystem, *key, *value)?;
        }
    }
    rustix::mount::fsconfig_create(&filesystem)?;
    rustix::mount::fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Attaches a system mount at a path that must not be, or go through, a symbolic link: an image that makes `/proc` a
/// link elsewhere is refused (CVE-2019-19921), not obeyed.
pub(super) fn place(tree: &Tree, path: &str, mount: &OwnedFd) -> Result<(), Failure> {
    let target = match tree.open_plain(path, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => {
            tree.make(path, Kind::Directory(0o755))?;
            tree.open_plain(path, OFlags::PATH | OFlags::DIRECTORY)
        }
        result => result,
    };
    attach(mount, target.at(Step::Mount, path)?).at(Step::Mount, path)
}
