//! Removal: of names, of images nobody uses, and of the bytes only they used.
//!
//! Reachable is what a name, a lease, or (with `keep_unnamed`) any record reaches. Everything else goes, under the
//! exclusive lock, so never while a pull, load or build runs.

use super::{
    digest::Digest,
    reference::Reference,
    store::{Store, StoreError},
};
use rustix::fs::FlockOperation;
use std::{
    collections::{BTreeMap, HashSet},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// What was removed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Names taken away.
    pub names: Vec<String>,
    /// Images removed.
    pub images: Vec<Digest>,
    /// Layers removed.
    pub layers: Vec<Digest>,
    /// Bytes freed on disk.
    pub bytes: u64,
    /// Garbage stayed, because another process is working in the store; the next removal takes it.
    pub postponed: bool,
}

/// Which images `prune` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Those without a name.
    Unnamed,
    /// All that no container uses.
    Unused,
}

impl Store {
    /// Takes a name away, or with an id the image and all its names. Images without a name and lease are removed.
    pub fn remove(&self, text: &str, force: bool) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        let image = match self.lookup(text) {
            // A damaged image must be removable: that is how it is repaired.
            Err(
                StoreError::MissingLayer { .. }
                | StoreError::MissingBlob { .. }
                | StoreError::DamagedBlob { .. },
            ) => self.id_of(text)?,
            other => other?.id,
        };
        let names = self.names_of(image)?;
        let by_name = text
            .parse::<Reference>()
            .ok()
            .filter(|reference| names.contains(reference));
        let going: Vec<Reference> = match by_name {
            Some(reference) => vec![reference],
            None if names.len() > 1 && !force => {
                return Err(StoreError::InUse {
                    name: text.to_owned(),
                    user: format!("{} names", names.len()),
                });
            }
            None => names.clone(),
        };
        let last = going.len() == names.len();
        let user = self
            .leases()?
            .into_iter()
            .find(|(_, lease)| lease.image == image)
            .map(|(owner, _)| owner);
        if let (true, false, Some(user)) = (last, force, user) {
            return Err(StoreError::InUse {
                name: text.to_owned(),
                user: format!("container {user}"),
            });
        }
        self.change_names(|table| {
            for name in &going {
                if table.remove(&name.to_string()).is_some() {
                    removed.names.push(name.familiar());
                }
            }
        })?;
        if last {
            self.sweep(Some(image), &mut removed)?;
        }
        Ok(removed)
    }

    /// Removes images that are not needed.
    pub fn prune(&self, which: Prune) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        if which == Prune::Unused {
            let leased: HashSet<Digest> = self.leases()?.values().map(|lease| lease.image).collect();
            self.change_names(|names| {
                names.retain(|name, image| {
                    let keep = leased.contains(image);
                    if !keep {
                        removed
                            .names
                            .push(name.parse().map_or(name.clone(), |r: Reference| r.familiar()));
                    }
                    keep
                });
            })?;
        }
        self.sweep(None, &mut removed)?;
        Ok(removed)
    }

    fn id_of(&self, text: &str) -> Result<Digest, StoreError> {
        let by_name = text
            .parse::<Reference>()
            .ok()
            .map(|reference| reference.to_string());
        if let Some(id) = by_name.and_then(|name| self.names().ok()?.get(&name).copied()) {
            return Ok(id);
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let fitting = self
            .records()?
            .into_iter()
            .find(|record| record.id.hex().starts_with(digits));
        fitting
            .map(|record| record.id)
            .ok_or_else(|| StoreError::NoSuchImage {
                name: text.to_owned(),
            })
    }

    /// Removes one image's record (or all unnamed ones) where nothing uses it, then all bytes that no record reaches.
    fn sweep(&self, only: Option<Digest>, removed: &mut Removed) -> Result<(), StoreError> {
        let failed = |cause| StoreError::Io {
            action: "remove from the image store",
            cause,
        };
        let _lock = match self.lock("lock", FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => lock,
            Err(StoreError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::WouldBlock => {
                removed.postponed = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let named: HashSet<Digest> = self.names()?.into_values().collect();
        let leased: HashSet<Digest> = self.leases()?.values().map(|lease| lease.image).collect();
        let mut blobs = HashSet::new();
        let mut layers = HashSet::new();
        for record in self.records()? {
            let is_needed = named.contains(&record.id) || leased.contains(&record.id);
            let is_meant = only.is_none_or(|only| only == record.id);
            if !is_needed && is_meant {
                fs_err::remove_file(self.record_path(record.id)).map_err(failed)?;
                removed.images.push(record.id);
                continue;
            }
            blobs.insert(record.id);
            blobs.extend(record.manifest);
            blobs.extend(
                record
                    .layers
                    .iter()
                    .filter_map(|layer| layer.blob.as_ref())
                    .map(|blob| blob.digest),
            );
            layers.extend(record.layers.iter().map(|layer| layer.diff_id));
        }
        layers.extend(crate::build::cache::layers_in_use(self));
        for (name, digest) in self.children("blobs")? {
            if digest.is_none_or(|digest| !blobs.contains(&digest)) {
                let path = self.dir().join("blobs").join(name);
                removed.bytes += disk_usage(&path);
                fs_err::remove_file(path).map_err(failed)?;
            }
        }
        for (name, digest) in self.children("layers")? {
            if digest.is_none_or(|digest| !layers.contains(&digest)) {
                let path = self.dir().join("layers").join(&name);
                removed.bytes += disk_usage(&path);
                // First out of sight in one step, so that a kill in the middle leaves no half layer.
                let away = self
                    .dir()
                    .join("ingest")
                    .join(format!("gone-{}", super::durable::unique()));
                fs_err::rename(&path, &away).map_err(failed)?;
                fs_err::remove_dir_all(&away).map_err(failed)?;
                removed.layers.extend(digest);
            }
        }
        // Nobody works here now, so whatever is in progress belongs to somebody who died.
        for entry in fs_err::read_dir(self.dir().join("ingest")).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            removed.bytes += disk_usage(&path);
            let gone = if path.is_dir() {
                fs_err::remove_dir_all(&path)
            } else {
                fs_err::remove_file(&path)
            };
            gone.map_err(failed)?;
        }
        Ok(())
    }

    fn children(&self, folder: &str) -> Result<Vec<(String, Option<Digest>)>, StoreError> {
        let failed = |cause| StoreError::Io {
            action: "list the image store",
            cause,
        };
        let mut children = Vec::new();
        for entry in fs_err::read_dir(self.dir().join(folder)).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            let digest = Digest::from_hex(&name).ok();
            children.push((name, digest));
        }
        Ok(children)
    }

    /// Removes the Debian packages and indexes kept for the next image; nothing while another process works here.
    pub fn clear_packages(&self) -> Result<(), StoreError> {
        self.clear_folder("debian")
    }

    /// Removes a folder of what can be had again, unless another process is working in the store.
    pub(crate) fn clear_folder(&self, name: &str) -> Result<(), StoreError> {
        let _lock = match self.lock("lock", FlockOperation::NonBlockingLockExclusive) {
            Err(StoreError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::WouldBlock => {
                return Ok(());
            }
            lock => lock?,
        };
        match fs_err::remove_dir_all(self.dir().join(name)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(StoreError::Io {
                action: "remove from the image store",
                cause,
            }),
            _ => Ok(()),
        }
    }

    /// Bytes on disk by folder: `layers`, `blobs`, `build`, `debian`.
    pub fn usage(&self) -> BTreeMap<&'static str, u64> {
        ["layers", "blobs", "build", "debian", "ingest"]
            .into_iter()
            .map(|folder| (folder, disk_usage(&self.dir().join(folder))))
            .collect()
    }
}

/// Bytes that a file or tree occupies on disk; hard links count once each.
pub fn disk_usage(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else {
        return 0;
    };
    let own = metadata.blocks() * 512;
    if !metadata.is_dir() {
        return own;
    }
    let entries = fs_err::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| disk_usage(&entry.path())).sum::<u64>()
}
