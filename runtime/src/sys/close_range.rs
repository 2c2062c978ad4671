//! `close_range`: all descriptors from a number on, at once.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

/// Marks every descriptor from `first` on close-on-exec (close_range(2) with `CLOSE_RANGE_CLOEXEC`, Linux 5.11).
///
/// Marking is safe where closing would not be: owned descriptors stay valid until `exec`.
///
/// # Errors
/// `ENOSYS` and `EINVAL` on kernels before 5.11.
pub fn cloexec_from(first: u32) -> io::Result<()> {
    // SAFETY: the flag only changes what happens at exec; no descriptor is closed here.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes `number` a copy of `descriptor` that stays open across exec (dup3(2)); what had the number is closed.
///
/// The caller must know that nothing it still uses has this number.
///
/// # Errors
/// `EBADF` for a number beyond the limit.
pub(crate) fn replace(descriptor: &OwnedFd, number: i32) -> io::Result<()> {
    if descriptor.as_raw_fd() == number {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: both are plain numbers; the caller promises that nobody owns the one that is replaced.
    match unsafe { libc::dup3(descriptor.as_raw_fd(), number, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Copies of the descriptors `first`, `first + 1`, … that this process was started with.
///
/// # Errors
/// `EBADF` when one of them is not open.
pub fn inherited(first: i32, count: i32) -> io::Result<Vec<OwnedFd>> {
    (first..first + count)
        .map(|number| {
            // SAFETY: the descriptor is only copied, during this call; when nothing has this number the kernel says so.
            let given = unsafe { BorrowedFd::borrow_raw(number) };
            Ok(rustix::io::fcntl_dupfd_cloexec(given, 3)?)
        })
        .collect()
}
