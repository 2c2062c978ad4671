//! Processor time, I/O priority, processors and execution domain of the calling process.

use crate::container::Scheduler;
use std::io;

/// `struct sched_attr` (sched_setattr(2)), first published size and the two utilisation bounds.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets policy and parameters (sched_setattr(2), Linux 3.14).
///
/// # Errors
/// `EINVAL` for parameters that do not go together, `EPERM` without CAP_SYS_NICE, `EBUSY` when a deadline cannot be kept.
pub fn set(scheduler: &Scheduler) -> io::Result<()> {
    let attributes = Attributes {
        size: 48,
        policy: scheduler.policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    };
    // SAFETY: the structure has the size it says (48 bytes), lives until the call returns, and is only read.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
}

/// Sets the I/O class and priority (ioprio_set(2)).
///
/// # Errors
/// `EPERM` for the real-time class without CAP_SYS_ADMIN, `EINVAL` for a priority above 7.
pub fn set_io_priority(class: u32, priority: u32) -> io::Result<()> {
    const THIS_PROCESS: libc::c_int = 1;
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, THIS_PROCESS, 0, class << 13 | priority) })
}

/// Sets the execution domain (personality(2)).
///
/// # Errors
/// `EINVAL` when the kernel does not know it.
pub fn set_personality(domain: u64) -> io::Result<()> {
    // SAFETY: a plain number.
    check(unsafe { libc::syscall(libc::SYS_personality, domain) })
}

/// Restricts this process to processors, written as a list (`0-3,7`; cpuset(7), "List format").
///
/// # Errors
/// `EINVAL` for a list that is none, or names no processor there is.
pub fn set_affinity(list: &str) -> io::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.parse().map_err(|_| invalid())?;
        let last: usize = last.parse().map_err(|_| invalid())?;
        if last >= nix::sched::CpuSet::count() || first > last {
            return Err(invalid());
        }
        for number in first..=last {
            set.set(number)?;
        }
    }
    Ok(nix::sched::sched_setaffinity(
        nix::unistd::Pid::from_raw(0),
        &set,
    )?)
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
