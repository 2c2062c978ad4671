//! OCI bundles: `config.json` to settings, and a container's life as an OCI runtime tells it (runtime-spec, runtime.md).
//!
//! 1. [`spec`]: the document. [`resolve`]: document to [`Settings`](crate::container::Settings), refusing by name what is
//!    lacking; [`mounts`] and [`resources`] are parts of it.
//! 2. [`Containers`]: create, start, state, kill, delete and the rest, on the runtime's own launch.
//! 3. [`features`]: what this runtime can do, as runtime-spec's features.md asks.
//! 4. [`example`]: the `config.json` that `spec` writes.
//!
//! Deliberately absent: checkpoints, virtual machines, other systems' fields.

pub mod attend;
pub mod containers;
pub mod example;
pub mod features;
mod mounts;
pub mod resolve;
mod resources;
pub mod spec;

pub use containers::{Containers, OciError, Started, Status};
pub use resolve::{Manager, VERSION, process, resolve};
pub use resources::resources;

use std::path::Path;

/// A bundle that cannot be run, and why, by the specification's name of the property.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Its form.
    #[error("`{path}` is no document of the runtime specification")]
    Form {
        /// Which.
        path: std::path::PathBuf,
        /// Where in it.
        #[source]
        cause: serde_json::Error,
    },
}

/// Reads a JSON document; `null` counts as not written (Go programs write it for empty lists).
///
/// # Errors
/// `Read` and `Form`.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ReadError> {
    let bytes = std::fs::read(path).map_err(|cause| ReadError::Read {
        path: path.to_path_buf(),
        cause,
    })?;
    parse(&bytes).map_err(|cause| ReadError::Form {
        path: path.to_path_buf(),
        cause,
    })
}

/// The same of bytes.
///
/// # Errors
/// Where the document is not of the expected form.
pub fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let mut value: serde_json::Value = serde_json::from_slice(bytes)?;
    drop_nulls(&mut value);
    serde_json::from_value(value)
}

fn drop_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
