//! systemd as the owner of the cgroup tree: what it is asked for, and how its units are called.
//!
//! 1. [`unit`]: names of slices and scopes, the paths they have, `slice:prefix:name` of OCI bundles.
//! 2. [`properties`]: limits as properties of a unit; [`annotation`]: properties that a bundle asks for.
//! 3. [`Manager`]: units started and stopped over D-Bus; [`connection`], [`message`] and [`wire`] are how that is said.
//!
//! A tree that systemd owns has one writer: others ask it for a unit with `Delegate=yes` and write below that one only
//! (systemd's CGROUP_DELEGATION). Made by hand here, because all we say is five calls: the D-Bus libraries that exist
//! bring an async runtime, or are older than their dependencies.
//!
//! Deliberately absent: systemd of a user, and `Delegate=` of single controllers.

mod annotation;
mod connection;
mod manager;
mod message;
mod properties;
mod unit;
mod wire;

pub use annotation::asked_properties;
pub use manager::{Begun, Manager};
pub(crate) use properties::limits;
pub use unit::{BadName, Scope, expand_slice};
pub use wire::{Property, Value};

use super::Layout;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Why systemd did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message is the documentation")]
pub enum SystemdError {
    #[error("systemd does not run here, so nobody makes scopes: use the cgroup manager `cgroupfs`")]
    Absent,
    #[error(
        "this host has hierarchies of cgroup v1, and scopes of systemd are used on cgroup v2 alone: use the cgroup manager \
         `cgroupfs`"
    )]
    NotUnified,
    #[error("cannot reach systemd at `{path}`")]
    Unreachable {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("systemd at `{path}` does not accept who we are: {answer}")]
    Rejected { path: PathBuf, answer: String },
    #[error("systemd at `{path}` did not answer within {seconds} seconds")]
    Silent { path: PathBuf, seconds: u64 },
    #[error("the connection to systemd at `{path}` broke")]
    Lost {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("systemd refuses {method} of `{unit}`: {text} ({name})")]
    Refused {
        method: &'static str,
        unit: String,
        name: String,
        text: String,
    },
    #[error("systemd could not {verb} `{unit}`: its job ended as `{result}`")]
    Job {
        verb: &'static str,
        unit: String,
        result: String,
    },
    #[error("the unit `{0}` is there already")]
    Exists(String),
    #[error("systemd put our process into `{found}` instead of `{expected}`")]
    Elsewhere { expected: PathBuf, found: PathBuf },
    #[error("cannot put our process into `{path}`")]
    Enter {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(transparent)]
    Name(#[from] BadName),
}

impl SystemdError {
    /// A way out, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Job { unit, .. } | Self::Exists(unit) => {
                Some(format!("`systemctl status {unit}` tells more"))
            }
            Self::Silent { .. } => Some("`systemctl is-system-running` tells how it is".to_owned()),
            _ => None,
        }
    }
}

/// Whether this machine was booted with systemd (sd_booted(3)) and that is our process 1: in a container that shows the
/// host's `/run` it is not, and process ids would mean other processes to it.
#[must_use]
pub fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir() && first_is_systemd()
}

/// Whether systemd makes scopes for us: on cgroup v2 alone, where it is process 1. `None`: nobody asks it. Asks it for
/// nothing but an answer, at most two seconds.
///
/// # Errors
/// Why it does not.
pub fn check(layout: &Layout) -> Option<Result<(), SystemdError>> {
    if !layout.v1.is_empty() || layout.v2.is_none() || !runs() {
        return None;
    }
    Some(Manager::connect(Duration::from_secs(2)).map(drop))
}

/// systemd puts itself into `init.scope` of each hierarchy it uses.
fn first_is_systemd() -> bool {
    std::fs::read_to_string("/proc/1/cgroup").is_ok_and(|text| {
        text.lines()
            .filter(|line| line.starts_with("0::") || line.contains(":name=systemd:"))
            .any(|line| line.ends_with("/init.scope"))
    })
}
