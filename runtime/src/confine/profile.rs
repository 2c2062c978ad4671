//! Which seccomp profile a container asks for.

use serde::{Deserialize, Serialize};

/// A choice of allowed system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeccompProfile {
    /// Docker's default list.
    #[default]
    Default,
    /// Everything.
    Unconfined,
    /// A profile in Docker's or the OCI runtime specification's JSON form.
    Custom(String),
}
