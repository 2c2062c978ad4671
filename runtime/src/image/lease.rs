//! Leases: a container's claim on its image, so that nobody removes it from under the container.
//!
//! A lease is a file and outlives the process that made it, as the container does. Its owner releases it when the
//! container is removed.

use super::{
    digest::Digest,
    durable,
    store::{Store, StoreError},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io::ErrorKind, path::PathBuf};

/// What a lease file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The image in use.
    pub image: Digest,
}

impl Store {
    /// Claims an image for `owner` (a container id). Fails where the image went away in the meantime.
    pub fn lease(&self, owner: &str, image: Digest) -> Result<(), StoreError> {
        // Shared with garbage collection's exclusive lock: the image cannot vanish between the look and the claim.
        let _working = self.working()?;
        self.image(image)?;
        let path = self.lease_path(owner)?;
        let text = serde_json::to_vec(&Lease { image }).map_err(|error| StoreError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        durable::write(&path, &text).map_err(|cause| StoreError::Io {
            action: "lease an image",
            cause,
        })
    }

    /// Gives `owner`'s claim up; none is no error.
    pub fn release(&self, owner: &str) -> Result<(), StoreError> {
        match fs_err::remove_file(self.lease_path(owner)?) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(StoreError::Io {
                action: "release an image",
                cause,
            }),
            _ => Ok(()),
        }
    }

    /// Removes claims that were being written by processes that were killed.
    pub fn sweep_leases(&self) {
        let entries = std::fs::read_dir(self.dir().join("leases"));
        for entry in entries.into_iter().flatten().flatten() {
            let file = entry.file_name();
            let Some(rest) = file.to_str().and_then(|name| name.strip_prefix('.')) else {
                continue;
            };
            let maker = rest.split('-').next().unwrap_or_default();
            if !crate::sys::host::is_running(maker) {
                // It is only space; the next one tries again.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// All claims, by owner.
    pub fn leases(&self) -> Result<BTreeMap<String, Lease>, StoreError> {
        let failed = |cause| StoreError::Io {
            action: "list the leases",
            cause,
        };
        let mut leases = BTreeMap::new();
        for entry in fs_err::read_dir(self.dir().join("leases")).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(owner) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            match fs_err::read(entry.path()) {
                Ok(bytes) => {
                    let lease = serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
                        path: entry.path(),
                        reason: error.to_string(),
                    })?;
                    leases.insert(owner.to_owned(), lease);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        Ok(leases)
    }

    /// Where a claim is kept: a file that a container which removes itself takes along.
    pub fn lease_path(&self, owner: &str) -> Result<PathBuf, StoreError> {
        let is_name = !owner.is_empty()
            && owner.len() <= 200
            && !owner.starts_with('.')
            && owner
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        let path = self.dir().join("leases").join(format!("{owner}.json"));
        if is_name {
            Ok(path)
        } else {
            Err(StoreError::Damaged {
                path,
                reason: "the owner of a lease must be a plain name".into(),
            })
        }
    }
}
