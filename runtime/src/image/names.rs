//! The table of names: one small file, replaced whole under a lock.

use super::{
    digest::Digest,
    durable,
    reference::Reference,
    store::{Store, StoreError},
};
use rustix::fs::FlockOperation;
use std::{collections::BTreeMap, io::ErrorKind};

/// Full names and the ids of their images.
pub type Names = BTreeMap<String, Digest>;

impl Store {
    /// All names.
    pub fn names(&self) -> Result<Names, StoreError> {
        let path = self.dir().join("names.json");
        match fs_err::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
                path,
                reason: error.to_string(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Names::new()),
            Err(cause) => Err(StoreError::Io {
                action: "read the image names",
                cause,
            }),
        }
    }

    /// Gives an image a name; the image that had it stays, without.
    pub fn tag(&self, id: Digest, reference: &Reference) -> Result<(), StoreError> {
        self.record(id)?;
        self.change_names(|names| {
            names.insert(reference.to_string(), id);
        })
    }

    /// Takes a name away. `false`: nobody had it.
    pub fn untag(&self, reference: &Reference) -> Result<bool, StoreError> {
        let mut found = false;
        self.change_names(|names| found = names.remove(&reference.to_string()).is_some())?;
        Ok(found)
    }

    /// The names of one image.
    pub fn names_of(&self, id: Digest) -> Result<Vec<Reference>, StoreError> {
        let of_this = self.names()?.into_iter().filter(|(_, image)| *image == id);
        Ok(of_this.filter_map(|(name, _)| name.parse().ok()).collect())
    }

    pub(crate) fn change_names(&self, change: impl FnOnce(&mut Names)) -> Result<(), StoreError> {
        let _lock = self.lock("names.lock", FlockOperation::LockExclusive)?;
        let mut names = self.names()?;
        let before = names.clone();
        change(&mut names);
        if names == before {
            return Ok(());
        }
        let path = self.dir().join("names.json");
        let text = serde_json::to_vec_pretty(&names).map_err(|error| StoreError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        durable::write(&path, &text).map_err(|cause| StoreError::Io {
            action: "write the image names",
            cause,
        })
    }
}
