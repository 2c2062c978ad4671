//! Processes held by descriptor: signals that cannot reach a stranger, and exit statuses of processes that are not
//! our children.

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It returned this status, 0–255.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// Opens a process (pidfd_open(2), Linux 5.3).
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn open(pid: Pid) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Opens a child that was not waited for yet.
///
/// # Errors
/// When there are too many open files.
pub fn of_child(child: &std::process::Child) -> io::Result<OwnedFd> {
    open(Pid::from_child(child))
}

/// Sends a signal (pidfd_send_signal(2)); any number, real-time signals too.
///
/// # Errors
/// `ESRCH` when it has ended, `EINVAL` for a number that is no signal.
pub fn signal(pidfd: impl AsFd, number: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call, and a null siginfo means "as kill(2) would".
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Waits for our own child to end and reaps it (waitid(2) with `P_PIDFD`); `None` when `block` is false and it runs.
///
/// # Errors
/// `ECHILD` when it is not our child.
pub fn reap(pidfd: BorrowedFd<'_>, block: bool) -> io::Result<Option<Ended>> {
    let options = WaitIdOptions::EXITED
        | if block {
            WaitIdOptions::empty()
        } else {
            WaitIdOptions::NOHANG
        };
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), options) {
            Ok(None) => return Ok(None),
            Ok(Some(status)) => {
                let code = status.exit_status().map(Ended::Code);
                return Ok(code.or_else(|| status.terminating_signal().map(Ended::Signal)));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits until the process has ended, whoever its parent is; false when `timeout` milliseconds passed first
/// (negative: wait for ever).
///
/// # Errors
/// As poll(2).
pub fn wait_end(pidfd: impl AsFd, timeout: i32) -> io::Result<bool> {
    let mut list = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec {
        tv_sec: i64::from(timeout.max(0) / 1000),
        tv_nsec: i64::from(timeout.max(0) % 1000) * 1_000_000,
    };
    loop {
        match rustix::event::poll(&mut list, (timeout >= 0).then_some(&limit)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// `struct pidfd_info` of linux/pidfd.h, first published size (Linux 6.15).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    pid: u32,
    tgid: u32,
    parent: u32,
    ids: [u32; 8],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)` with the first published size.
const PIDFD_GET_INFO: libc::c_ulong = 0xC040_FF0B;

/// How a process ended that is not our child (`PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`, Linux 6.15): the pidfd must
/// have been opened before its parent reaped it. `None`: its parent has not reaped it yet.
///
/// # Errors
/// When the kernel will not tell, later neither: `ENOTTY` before Linux 6.13, `ESRCH` before 6.15.
pub fn status_of_stranger(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the kernel writes at most the size encoded in the request number, 64 bytes, which is what `info` has.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if info.mask & PIDFD_INFO_EXIT == 0 {
        return Ok(None);
    }
    let status = info.exit_code;
    Ok(Some(match status & 0x7f {
        0 => Ended::Code((status >> 8) & 0xff),
        signal => Ended::Signal(signal),
    }))
}
