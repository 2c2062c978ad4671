//! How a container ended, on disk: written whole or not at all.

use super::paths;
use crate::sys::pidfd::Ended;
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

/// The end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Code or signal of its process 1.
    pub ended: Ended,
    /// The kernel killed something in it for memory.
    pub out_of_memory: bool,
    /// When its program was executed, nanoseconds since 1970; `None`: never.
    pub started: Option<i64>,
    /// When it ended.
    pub at: i64,
}

impl Exit {
    /// As a shell has it: the code, or 128 + the signal's number.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self.ended {
            Ended::Code(code) => code,
            Ended::Signal(signal) => 128 + signal,
        }
    }

    /// Writes the record atomically; syncing the file (given back) is the caller's, when nobody waits any more.
    pub(crate) fn write(&self, state: &Path) -> io::Result<File> {
        replace(&paths::exit(state), &serde_json::to_vec(self)?)
    }

    /// Reads it back; `None` when it has not ended, or nobody could record its end.
    pub(crate) fn read(state: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(paths::exit(state)).ok()?).ok()
    }
}

/// Replaces a file in one step: whoever reads it sees the old content or the new one, never a mixture (rename(2)).
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content)?;
    std::fs::rename(&new, path)?;
    Ok(file)
}
