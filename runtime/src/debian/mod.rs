//! A minimal Debian out of packages, on a machine that has only its own apt configuration.
//!
//! 1. [`sources`]: which mirrors and keyrings does the host's apt trust for this suite?
//! 2. [`release`]: fetch each suite's `InRelease` and verify its signature;
//! 3. [`index`]: fetch the package indexes it vouches for;
//! 4. [`select`]: the required packages, apt, and what they depend on;
//! 5. [`mirror`]: fetch the packages in parallel, verified, kept in the store;
//! 6. [`package`]: unpack them in parallel and write dpkg's database;
//! 7. [`configure`]: run their scripts in a container of ours;
//! 8. [`assemble`]: all of the above, then times are levelled, so that equal versions give equal layers.
//!
//! Deliberately absent: any program of the host (no debootstrap, dpkg, apt, gpgv).

pub mod assemble;
pub mod configure;
pub mod index;
pub mod mirror;
pub mod package;
pub mod release;
pub mod select;
pub mod sources;
pub mod version;

pub use assemble::{Options, assemble};

use crate::image::StoreError;
use std::{io, path::PathBuf};

/// Why no Debian could be assembled.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// The host has no apt, or apt names no Debian mirror.
    #[error("this machine's apt configuration names no Debian mirror")]
    NoSources,
    /// Not a Debian suite.
    #[error("`{suite}` is not the name of a Debian release")]
    Suite {
        /// As asked for.
        suite: String,
    },
    /// A mirror did not answer.
    #[error("cannot fetch `{what}` from the Debian mirror")]
    Fetch {
        /// The part after the mirror's address.
        what: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A mirror answered with something else than bytes.
    #[error("the Debian mirror answers {status} for `{what}`")]
    Status {
        /// The part after the mirror's address.
        what: String,
        /// HTTP status.
        status: u16,
    },
    /// The signature.
    #[error("the Debian release `{suite}` is not to be trusted: {reason}")]
    Untrusted {
        /// Which.
        suite: String,
        /// Why.
        reason: String,
    },
    /// An index or package differs from what the release or index says.
    #[error("`{what}` from the Debian mirror does not have the announced SHA-256")]
    WrongBytes {
        /// Which.
        what: String,
    },
    /// A package or index that cannot be read.
    #[error("`{what}` from the Debian mirror cannot be read: {reason}")]
    Malformed {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
    /// A package that is needed does not exist.
    #[error("the package `{package}` (needed by {by}) is in no index")]
    MissingPackage {
        /// Which.
        package: String,
        /// Needed by whom.
        by: String,
    },
    /// Unpacking.
    #[error("cannot unpack the package `{package}`")]
    Unpack {
        /// Which.
        package: String,
        /// Why.
        #[source]
        cause: crate::archive::extract::ExtractError,
    },
    /// A maintainer script failed.
    #[error("configuring the packages failed with status {status}; its last output: {output}")]
    Configure {
        /// Exit status.
        status: i32,
        /// The end of what it wrote.
        output: String,
    },
    /// A file of ours.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// The container that configures the packages.
    #[error("cannot run the container that configures the packages")]
    Sandbox(#[from] crate::build::sandbox::SandboxError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DebianError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSources => Some("name a mirror: `banyan image debian <suite> --mirror URL`".into()),
            Self::Suite { .. } => Some("use a release's code name, such as `bookworm` or `trixie`".into()),
            Self::Untrusted { .. } => Some("install or update the package `debian-archive-keyring`".into()),
            _ => None,
        }
    }
}
