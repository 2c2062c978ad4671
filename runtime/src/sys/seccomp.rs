//! Installing a seccomp filter on this thread.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

/// One instruction of classic BPF (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when true.
    pub jump_true: u8,
    /// Instructions to skip when false.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// Puts `program` in force for this thread and what it starts (seccomp(2), `SECCOMP_SET_MODE_FILTER`).
///
/// # Errors
/// `EACCES` without CAP_SYS_ADMIN or no-new-privileges, `EINVAL` for a program the kernel refuses (at most 4096
/// instructions, jumps inside the program).
pub fn install(program: &[Instruction], flags: u64) -> io::Result<i32> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `Instruction` has the layout of `sock_filter` (same fields, repr(C)); the kernel copies the program
    // before the call returns and never writes to it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(i32::try_from(result).unwrap_or_default())
    }
}

/// The same, and gives the descriptor on which a supervisor hears of the calls that the filter passes on
/// (seccomp_unotify(2), Linux 5.0).
///
/// # Errors
/// As [`install`]; `EBUSY` when a filter with a listener is in force already.
pub fn install_listening(program: &[Instruction], flags: u64) -> io::Result<OwnedFd> {
    const NEW_LISTENER: u64 = 1 << 3;
    // Together with TSYNC the kernel wants to be told how to report a failure (linux/seccomp.h, TSYNC_ESRCH).
    let tsync = if flags & 1 == 0 { 0 } else { 1 << 4 };
    let descriptor = install(program, flags | NEW_LISTENER | tsync)?;
    // SAFETY: the kernel has just made this descriptor (close-on-exec) for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
