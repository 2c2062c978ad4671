//! Becoming another program, and ending without ceremony.

use std::{
    ffi::{CStr, CString},
    io,
};

/// Replaces this process's program (execve(2)). Returns only when that failed.
pub fn exec(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    match nix::unistd::execve(path, arguments, environment) {
        Err(errno) => io::Error::from_raw_os_error(errno as i32),
    }
}

/// Ends this process at once (`_exit(2)`): no destructors, no buffers flushed. For copies made by
/// [`clone`](super::clone), whose destructors belong to the parent.
pub fn leave(status: i32) -> ! {
    // SAFETY: `_exit` never returns and runs no code of ours.
    unsafe { libc::_exit(status) }
}
