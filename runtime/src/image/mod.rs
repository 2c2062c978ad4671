//! Images: their names, their parts, and the store that keeps them.
//!
//! The main path, from a name to directories an overlay can be mounted from:
//! 1. [`reference`] parses the name and fills in defaults; [`digest`] names bytes;
//! 2. [`store`] finds the image in its table of names, or
//! 3. [`load`] takes it from an archive (`load`, `import`), `crate::registry` from a registry, `crate::debian` from
//!    Debian packages, `crate::build` from a Dockerfile, [`commit`] from a container;
//! 4. each layer is unpacked once, by the digest of its uncompressed bytes ([`layers`]), and becomes visible by one
//!    rename after everything in it reached the disk;
//! 5. [`collect`] removes what no name, container ([`lease`]) or running work uses.
//!
//! [`config`] and [`manifest`] are the JSON documents (OCI image-spec 1.1 and Docker's image manifest v2).
//! Deliberately absent: whatever turns an image into a running container.

pub mod blobs;
pub mod collect;
pub mod commit;
pub mod config;
pub mod digest;
pub(crate) mod draft;
pub(crate) mod durable;
pub mod from_container;
pub mod init_layer;
pub mod layers;
pub mod lease;
pub mod load;
pub mod manifest;
pub mod names;
pub mod progress;
pub mod reference;
pub mod restore;
pub mod save;
mod settle;
pub mod store;

pub use config::{ConfigFile, Healthcheck, ImageConfig};
pub use digest::Digest;
pub use from_container::{CommitError, CommitRequest};
pub use manifest::Platform;
pub use progress::{Event, Progress, Silent};
pub use reference::Reference;
pub use store::{Image, Store, StoreError};
