//! Why a container could not be launched, or not be dealt with.

use crate::{cgroup::CgroupError, failure::Failure};
use std::{io, path::PathBuf};

/// A launch that failed; nothing of it is left but the container's directory.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Settings that cannot work.
    #[error("{0}")]
    Invalid(String),
    /// Before anything was started.
    #[error("cannot write `{path}`")]
    Write {
        /// A file of the container.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The shim.
    #[error("cannot start `{program}`")]
    Spawn {
        /// Our own binary.
        program: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A step between `clone` and `exec`.
    #[error(transparent)]
    Inside(Failure),
    /// Talking to the shim failed.
    #[error("cannot talk to the container's shim")]
    Talk(#[source] io::Error),
    /// The shim was killed.
    #[error("the container's shim was killed")]
    ShimLost,
    /// It ended before it ran.
    #[error("the container was killed before it ran")]
    Ended,
}

impl LaunchError {
    /// What the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Inside(failure) => failure.hint(),
            Self::Cgroup(error) => error.hint(),
            _ => None,
        }
    }

    /// The exit status `docker run` gives: 125, 126 or 127.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Inside(failure) => failure.exit_status(),
            _ => 125,
        }
    }
}

/// Dealing with an existing container failed.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// One of its files.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// One of its files.
    #[error("cannot write `{path}`")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A record that is no record.
    #[error("`{path}` is damaged")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where in it.
        #[source]
        cause: serde_json::Error,
    },
    /// Signals.
    #[error("cannot send signal {signal} to the container")]
    Signal {
        /// Its number.
        signal: i32,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The shim does not answer.
    #[error("cannot talk to the container's shim")]
    Talk(#[source] io::Error),
    /// The shim was killed; the container may still run.
    #[error("the container's shim was killed")]
    ShimLost,
    /// Waiting.
    #[error("cannot wait for the container")]
    Wait(#[source] io::Error),
    /// It has no standard input that somebody could write to.
    #[error("the container's standard input is not open")]
    NoStdin,
    /// It must be running.
    #[error("the container is not running")]
    NotRunning,
    /// exec into a frozen container would hang.
    #[error("the container is paused")]
    Paused,
    /// Its cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// An additional process.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Removing something of it.
    #[error("cannot remove `{path}`")]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It runs.
    #[error("the container is running")]
    StillRunning,
    /// Reaching its files.
    #[error(transparent)]
    Inside(#[from] Failure),
    /// What it changed cannot be told.
    #[error("the container's root is a plain directory: there is no image to compare it with")]
    NoLayers,
}

impl ContainerError {
    /// What the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Launch(error) => error.hint(),
            Self::Inside(failure) => failure.hint(),
            Self::Cgroup(error) => error.hint(),
            Self::Paused => Some("let it go on first".to_owned()),
            Self::NoStdin => Some("start it with standard input kept open".to_owned()),
            Self::StillRunning => Some("stop it first".to_owned()),
            _ => None,
        }
    }
}
