//! Why a build failed, with the Dockerfile's line.

use super::{dockerfile::ParseError, remote::RemoteError, sandbox::SandboxError};
use crate::{
    archive::layer::LayerError,
    image::StoreError,
    registry::{ObtainError, RegistryError},
};
use std::{io, path::PathBuf};

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile or another input cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// The Dockerfile.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// No such stage.
    #[error("the Dockerfile has no stage `{name}`")]
    NoSuchStage {
        /// As asked for.
        name: String,
    },
    /// A step.
    #[error("Dockerfile:{line}: `{text}` failed")]
    Step {
        /// From 1.
        line: usize,
        /// The instruction.
        text: String,
        /// Why.
        #[source]
        cause: Box<StepError>,
    },
    /// Whoever asked for it wanted it no more.
    #[error("the build was stopped")]
    Stopped,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why one step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The base image.
    #[error(transparent)]
    Obtain(#[from] ObtainError),
    /// The command ended with another status than 0.
    #[error("the command ended with status {status}; its last output:\n{output}")]
    Command {
        /// Exit status.
        status: i32,
        /// The end of what it wrote.
        output: String,
    },
    /// The container.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Something that whoever builds must grant.
    #[error("the step asks for `{asked}`, which this build does not allow")]
    NotAllowed {
        /// The flag.
        asked: &'static str,
        /// What grants it.
        grant: &'static str,
    },
    /// A value in the Dockerfile that turns out wrong only here.
    #[error("{0}")]
    Value(String),
    /// A program of another processor.
    #[error(
        "`RUN` on {architecture} cannot run here: this machine is {host}, and no interpreter is registered"
    )]
    Foreign {
        /// The image's processor.
        architecture: String,
        /// Ours.
        host: String,
    },
    /// A file to copy.
    #[error("`{path}` is not in the build context or is left out by `.dockerignore`")]
    NoSource {
        /// As written.
        path: String,
    },
    /// A file.
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
    /// A URL of `ADD`.
    #[error("cannot fetch `{url}`: {reason}")]
    Fetch {
        /// Which.
        url: String,
        /// Why.
        reason: String,
    },
    /// An archive of `ADD`.
    #[error("cannot unpack `{path}`")]
    Unpack {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: LayerError,
    },
    /// A repository of `ADD`.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another stage failed, which is reported instead.
    #[error("another stage failed")]
    Elsewhere,
}

impl BuildError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { path, .. } if path.ends_with("Dockerfile") => {
                Some("name the file with `--file` (`build.dockerfile` in a project file)".into())
            }
            Self::Store(error) => error.hint(),
            Self::Step { cause, .. } => match cause.as_ref() {
                StepError::Obtain(error) => error.hint(),
                StepError::Remote(error) => error.hint(),
                StepError::NotAllowed { grant, .. } => Some(format!(
                    "if you trust the Dockerfile, grant it with `--allow {grant}` (`build.entitlements: [{grant}]`)"
                )),
                StepError::Foreign { host, .. } => Some(format!(
                    "run it on this machine's own (`FROM --platform=$BUILDPLATFORM`, which is linux/{host}), or register \
                     qemu with binfmt_misc (Debian's qemu-user-static)"
                )),
                StepError::NoSource { .. } => {
                    Some("paths of COPY and ADD are relative to the build context".into())
                }
                _ => None,
            },
            _ => None,
        }
    }
}
