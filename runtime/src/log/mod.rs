//! A container's output on disk: one directory per container, framed so that a torn record never hides later ones.
//!
//! * Files are numbered (`0000000001.log`, …) and never renamed: rotation starts the next number and deletes the
//!   oldest, so a reader is never surprised.
//! * A file is a sequence of blocks of 32 KiB; no record crosses a block's end, so a reader that meets a damaged record
//!   goes on at the next block ([`frame`]). A writer that finds a file with an unfinished end starts a new block.
//! * A record is one piece of output as it was read from the container, with its time and stream; lines are put
//!   together by the [`Reader`]. The bytes are kept as they are, NULs included.
//! * [`Writer`]: the shim's end. [`Reader`]: anybody's; never waited for, holds no lock.

mod follow;
mod frame;
mod reader;
mod settings;
pub(crate) mod writer;

pub use follow::Watch;
pub use frame::Stream;
pub use reader::{Entry, LogError, Reader, ReaderOptions};
pub use settings::LogSettings;
pub(crate) use writer::{Writer, now};

use std::path::{Path, PathBuf};

/// The file of a number.
fn file_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:010}.log"))
}

/// The numbers of the files there are, ascending.
fn numbers(directory: &Path) -> std::io::Result<Vec<u64>> {
    let mut list = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if let Some(number) = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log")?.parse().ok())
        {
            list.push(number);
        }
    }
    list.sort_unstable();
    Ok(list)
}

#[cfg(test)]
mod tests;
