//! Why something about a cgroup failed, and what can be done.

use super::systemd::SystemdError;
use std::{io, path::PathBuf};

/// Why something about a cgroup failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message is the documentation")]
pub enum CgroupError {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot make the cgroup `{path}`")]
    Make {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot write `{value}` to `{path}`")]
    Write {
        path: PathBuf,
        value: String,
        #[source]
        cause: io::Error,
    },
    #[error("cannot remove the cgroup `{path}`")]
    Remove {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("this host has no `{controller}` controller to limit `{limit}` with")]
    NoController {
        controller: &'static str,
        limit: &'static str,
    },
    #[error("`{0}` did not freeze within 10 seconds")]
    NotFrozen(PathBuf),
    #[error(transparent)]
    Systemd(#[from] SystemdError),
}

impl CgroupError {
    /// A way out, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoController { limit, .. } => Some(format!("leave out `{limit}`, or mount the controller")),
            Self::Write { cause, .. } if cause.raw_os_error() == Some(libc::EBUSY) => {
                Some("the container already uses more than this limit".to_owned())
            }
            Self::Systemd(error) => error.hint(),
            _ => None,
        }
    }
}
