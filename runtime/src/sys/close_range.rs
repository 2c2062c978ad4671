//! `close_range`: all descriptors from a number on, at once.

use std::io;

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
