//! `clone3`: a copy of this process, with new namespaces and in a chosen cgroup.
//!
//! Only for processes that are single-threaded (the hidden roles): after a copy made by a process with threads, the
//! child may find locks held by threads that do not exist in it (fork(2), "Standards and notes on threads").

use rustix::process::Pid;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

pub use libc::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER,
    CLONE_NEWUTS,
};

/// `CLONE_INTO_CGROUP` of linux/sched.h (does not fit libc's integer type).
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of the copy this is.
#[derive(Debug)]
pub enum Copied {
    /// The caller; the child's id as the caller's pid namespace numbers it, and a descriptor that cannot be mistaken
    /// for another process later.
    Parent {
        /// Process id of the child.
        pid: Pid,
        /// Its pidfd, close-on-exec.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// How the copy is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyOptions<'a> {
    /// `CLONE_NEW*` flags.
    pub namespaces: i32,
    /// Make the caller's parent the child's parent (`CLONE_PARENT`).
    pub sibling: bool,
    /// A cgroup v2 directory the child starts in (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The descriptors the child goes on with beside its standard streams; `None`: all. A child that kept our ends of
    /// its channels would never notice our death.
    pub keep: Option<&'a [BorrowedFd<'a>]>,
}

/// Copies this process (clone3(2), Linux 5.3; pidfd since 5.2). For hidden roles only, which [`crate::role::run`] has
/// found single-threaded and which never start a thread; not public for that reason.
///
/// # Errors
/// `EINVAL` when flags do not go together; `EPERM` without the right to make a namespace; `ENOSPC` at a limit of nested
/// namespaces; `EBUSY` when the cgroup has controllers enabled for children.
pub(crate) fn copy_process(options: &CopyOptions<'_>) -> io::Result<Copied> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: `clone_args` is a plain structure of integers, for which all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    let mut flags = u64::from(options.namespaces.cast_unsigned());
    flags |= u64::from(libc::CLONE_PIDFD.cast_unsigned());
    args.pidfd = (&raw mut pidfd).addr() as u64;
    if options.sibling {
        flags |= u64::from(libc::CLONE_PARENT.cast_unsigned());
    } else {
        args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    }
    if let Some(cgroup) = options.cgroup {
        flags |= INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    args.flags = flags;
    // SAFETY: without `CLONE_VM` the child runs on a copy of this memory, so nothing of ours is shared with it, and
    // only single-threaded roles come here, so no other thread's lock can be held in the copy. `args` and `pidfd`
    // outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match i32::try_from(result).unwrap_or(-1) {
        0 => {
            if let Some(keep) = options.keep {
                super::close_range::close_all_but(keep)?;
            }
            Ok(Copied::Child)
        }
        pid if pid > 0 => {
            // SAFETY: the kernel stored a new descriptor in `pidfd` (CLONE_PIDFD), and nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = Pid::from_raw(pid).expect("a positive number is a process id");
            Ok(Copied::Parent { pid, pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// A plain copy (fork(2)) for the reaper, whose seccomp filter answers ENOSYS to clone3. The child's id, or `None` in the
/// child.
///
/// # Errors
/// `EAGAIN` at a limit of processes.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: as for `copy_process`: only single-threaded roles come here.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Leaves namespaces behind for new ones (unshare(2)).
///
/// # Errors
/// As unshare(2): `EPERM` without the right, `ENOSPC` at a limit.
pub fn unshare(namespaces: i32) -> io::Result<()> {
    // SAFETY: unshare takes integers only; callers use it with `CLONE_NEW*` flags, which touch no memory of ours.
    match unsafe { libc::unshare(namespaces) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Enters the namespace(s) that `fd` stands for: an `/proc/PID/ns/*` file, or a pidfd with several flags (setns(2),
/// pidfd since Linux 5.8).
///
/// # Errors
/// `EINVAL` when the kind does not match, `EPERM` without the right, `ESRCH` when the pidfd's process has ended.
pub fn setns(fd: BorrowedFd<'_>, namespaces: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call; the call touches no memory of ours.
    match unsafe { libc::setns(fd.as_raw_fd(), namespaces) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this process has one thread: `/proc/self/task` has one link per thread beside its own two.
///
/// # Errors
/// When `/proc` is not there.
pub fn is_single_threaded() -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs_err::metadata("/proc/self/task")?.nlink() == 3)
}
