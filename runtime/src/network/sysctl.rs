//! Kernel settings of the calling thread's network namespace: `/proc/sys/net`.
//!
//! `/proc/sys/net` shows the namespace of the thread that opens the file, so nothing needs to be mounted; the
//! thread must have entered the namespace meant (see [`crate::sys::netns::enter`]).

use std::{io, path::PathBuf};

/// A setting that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot set `{path}` to `{value}`")]
pub struct SysctlError {
    /// The file.
    pub path: PathBuf,
    /// The value wanted.
    pub value: String,
    /// What the kernel said.
    #[source]
    pub cause: io::Error,
}

fn path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(key)
}

/// Reads a setting; `None` when this kernel does not have it.
pub(super) fn read(key: &str) -> Option<String> {
    fs_err::read_to_string(path(key))
        .ok()
        .map(|text| text.trim().to_owned())
}

/// Writes a setting.
///
/// # Errors
/// When the kernel refuses, or does not have the setting.
pub(super) fn write(key: &str, value: &str) -> Result<(), SysctlError> {
    let path = path(key);
    // Plain `write`, not truncate-and-write: these are not files.
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(|cause| SysctlError {
            path,
            value: value.to_owned(),
            cause,
        })
}

/// Writes a setting if this kernel has it (IPv6 or bridge filtering may be compiled out).
///
/// # Errors
/// When it exists and the kernel refuses.
pub(super) fn write_if_present(key: &str, value: &str) -> Result<(), SysctlError> {
    match write(key, value) {
        Err(error) if error.cause.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
