//! Which devices may be opened, and which made.

use crate::facts::name_of;
use std::{ffi::CString, io};

/// `open PATH RESULT` for each, read and write.
pub(crate) fn open(paths: &[&str]) -> io::Result<()> {
    for path in paths {
        println!("open {path} {}", name_of(try_open(path)?));
    }
    Ok(())
}

/// Makes a node and opens it: `made RESULT`, `open PATH RESULT`.
pub(crate) fn node(path: &str, kind: &str, major: u32, minor: u32) -> io::Result<()> {
    let text = CString::new(path).map_err(io::Error::other)?;
    let kind = if kind == "b" { libc::S_IFBLK } else { libc::S_IFCHR };
    // SAFETY: `text` is NUL-terminated and outlives the call.
    let made = unsafe { libc::mknod(text.as_ptr(), kind | 0o600, libc::makedev(major, minor)) };
    println!("made {}", name_of(if made == 0 { 0 } else { errno() }));
    open(&[path])
}

fn try_open(path: &str) -> io::Result<i32> {
    let text = CString::new(path).map_err(io::Error::other)?;
    // SAFETY: `text` is NUL-terminated and outlives the call.
    let fd = unsafe {
        libc::open(
            text.as_ptr(),
            libc::O_RDWR | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        return Ok(errno());
    }
    // SAFETY: `fd` was opened above and is closed once.
    unsafe { libc::close(fd) };
    Ok(0)
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
