//! How much of a container's output is kept.

use serde::{Deserialize, Serialize};

/// Bounds of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// Bytes of one file before the next is begun; `None`: one file without bound. At least one block (32 KiB).
    pub max_size: Option<u64>,
    /// Files kept, the one being written included; at least 1; `None`: all.
    pub max_files: Option<u32>,
}
