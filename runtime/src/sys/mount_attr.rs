//! `mount_setattr`: flags of a mount or of a whole tree of mounts, by descriptor.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

pub use libc::{
    MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_SHARED,
    MS_SLAVE, MS_UNBINDABLE,
};

/// What to change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// One of `MS_PRIVATE`, `MS_SHARED`, `MS_SLAVE`, `MS_UNBINDABLE`, or 0.
    pub propagation: u64,
    /// Every mount of the tree instead of its top only.
    pub recursive: bool,
    /// Map ids through this user namespace (`MOUNT_ATTR_IDMAP`).
    pub id_map: Option<BorrowedFd<'a>>,
}

/// Changes the mount that `mount` refers to (mount_setattr(2), Linux 5.12).
///
/// # Errors
/// `EINVAL` when the descriptor is not the root of a mount, `EPERM` for locked flags, `ENOSYS` before Linux 5.12.
pub fn change(mount: BorrowedFd<'_>, change: &Change<'_>) -> io::Result<()> {
    const HERE: &CStr = c"";
    let attributes = libc::mount_attr {
        attr_set: change.set
            | if change.id_map.is_some() {
                libc::MOUNT_ATTR_IDMAP
            } else {
                0
            },
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: change
            .id_map
            .map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    let flags = libc::AT_EMPTY_PATH | if change.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated constant, `attributes` lives until the call returns, and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            HERE.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
