//! Paths of `/proc` and `/sys` that a container must not read, or not write.

use super::{
    devices::HostNodes,
    inside::{Tree, attach, clone_tree, is_directory},
    standard::new_mount,
};
use crate::{
    failure::{At, Failure, Step},
    sys::mount_attr,
};
use rustix::{fs::OFlags, io::Errno, mount::MountAttrFlags};
use std::os::fd::{AsFd, OwnedFd};

/// Covers `masked` (files by an empty read-only node, directories by one shared empty tmpfs: a superblock each would
/// be slow to take down) and makes `readonly` read-only. Paths that do not exist are skipped.
///
/// The node over files is the null device of the `/dev` that we made, reached through a descriptor that is checked
/// (CVE-2025-31133 replaced it by a link).
pub(crate) fn hide(
    tree: &Tree,
    masked: &[String],
    readonly: &[String],
    host: &HostNodes,
) -> Result<(), Failure> {
    let mut empty_directory: Option<OwnedFd> = None;
    for path in masked {
        let target = match tree.open(path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            result => result.at(Step::Mask, path)?,
        };
        let cover = if is_directory(&target).at(Step::Mask, path)? {
            match &empty_directory {
                // From where it is attached: kernels before 6.15 do not copy detached mounts.
                Some(attached) => clone_tree(attached, false).at(Step::Mask, path)?,
                None => {
                    let empty = new_mount(
                        "tmpfs",
                        &[("nr_blocks", "1"), ("nr_inodes", "1")],
                        everything_off(),
                    )
                    .at(Step::Mask, path)?;
                    empty_directory = Some(empty.try_clone().at(Step::Mask, path)?);
                    empty
                }
            }
        } else {
            null_device(tree)
                .or_else(|_| host.copy("null"))
                .at(Step::Mask, path)?
        };
        attach(cover, target).at(Step::Mask, path)?;
    }
    for path in readonly {
        let target = match tree.open(path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            result => result.at(Step::ReadOnly, path)?,
        };
        let copy = clone_tree(&target, true).at(Step::ReadOnly, path)?;
        let change = mount_attr::Change {
            set: mount_attr::MOUNT_ATTR_RDONLY,
            propagation: mount_attr::MS_PRIVATE,
            recursive: true,
            ..mount_attr::Change::default()
        };
        mount_attr::change(copy.as_fd(), &change).at(Step::ReadOnly, path)?;
        attach(copy, target).at(Step::ReadOnly, path)?;
    }
    Ok(())
}

fn everything_off() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

fn null_device(tree: &Tree) -> rustix::io::Result<OwnedFd> {
    let node = tree.open_plain("/dev/null", OFlags::PATH)?;
    let status = rustix::fs::statat(&node, c"", rustix::fs::AtFlags::EMPTY_PATH)?;
    if status.st_rdev != rustix::fs::makedev(1, 3) {
        return Err(Errno::NXIO);
    }
    clone_tree(node, false)
}
