//! The image store: one directory, safe with several processes at once.
//!
//! ```text
//! lock                 flock: shared while working, exclusive while collecting garbage
//! names.json           name → image id, changed under names.lock
//! records/<id>.json    one per image: its layers, where it came from
//! blobs/<digest>       manifests, configurations, compressed layers, as received
//! layers/<diff id>/    fs/ (an overlay lower directory) and layer.json
//! leases/<owner>.json  images in use by a container
//! init/                below every container's layers: empty places for `/proc`, `/dev`, `/etc/hosts`, …
//! ingest/              work in progress; never looked at by readers
//! ```

use super::{
    config::{ConfigFile, ImageConfig},
    digest::Digest,
    durable, init_layer, layers,
    manifest::{DOCUMENT_MAX, Descriptor, Platform},
    reference::Reference,
};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system; the cause names the path.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With the path.
        #[source]
        cause: io::Error,
    },
    /// A file of the store is not what we wrote.
    #[error("the image store's file `{path}` is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A blob is gone.
    #[error("the blob {digest} is missing from the image store")]
    MissingBlob {
        /// Which.
        digest: Digest,
    },
    /// A blob's bytes changed.
    #[error("the blob {digest} is damaged in the image store")]
    DamagedBlob {
        /// Which.
        digest: Digest,
    },
    /// A layer's directory is gone or was never completed.
    #[error("the layer {diff_id} of image {image} is missing from the image store")]
    MissingLayer {
        /// The layer.
        diff_id: Digest,
        /// The image.
        image: String,
    },
    /// A layer's files changed.
    #[error("the layer {diff_id} is damaged in the image store: {reason}")]
    DamagedLayer {
        /// The layer.
        diff_id: Digest,
        /// How that shows.
        reason: String,
    },
    /// Bytes that are not what they were announced as.
    #[error("the bytes have the digest {found} where {expected} was announced")]
    WrongBytes {
        /// Announced.
        expected: Digest,
        /// Found.
        found: Digest,
    },
    /// Nothing of that name or id.
    #[error("there is no image `{name}`")]
    NoSuchImage {
        /// As asked for.
        name: String,
    },
    /// A short id that fits several images.
    #[error("`{name}` fits {count} images")]
    AmbiguousId {
        /// As asked for.
        name: String,
        /// How many.
        count: usize,
    },
    /// The image is in use.
    #[error("the image `{name}` is used by {user}")]
    InUse {
        /// The image.
        name: String,
        /// By whom.
        user: String,
    },
    /// A layer archive.
    #[error("cannot unpack the layer {layer}")]
    Layer {
        /// Which.
        layer: String,
        /// Why.
        #[source]
        cause: crate::archive::layer::LayerError,
    },
    /// A tree could not be packed.
    #[error("cannot pack the layer {layer}")]
    Pack {
        /// Which.
        layer: String,
        /// Why.
        #[source]
        cause: crate::archive::pack::PackError,
    },
}

impl StoreError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MissingBlob { .. }
            | Self::DamagedBlob { .. }
            | Self::MissingLayer { .. }
            | Self::DamagedLayer { .. } => {
                Some("remove the image (`banyan image rm`) and pull, load or build it again".into())
            }
            Self::NoSuchImage { .. } => Some("`banyan image ls` lists the images here".into()),
            Self::AmbiguousId { .. } => Some("give more digits of the id".into()),
            Self::InUse { .. } => Some("remove its containers first, or use `--force`".into()),
            _ => None,
        }
    }
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of the uncompressed archive: the layer's identity.
    pub diff_id: Digest,
    /// The blob it came as. `None`: made here; packing its directory gives `diff_id` again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Descriptor>,
}

/// What the store knows of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The digest of its configuration.
    pub id: Digest,
    /// Bottom first.
    pub layers: Vec<LayerRecord>,
    /// The manifest it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// `repository@digest` under which registries know it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repo_digests: Vec<String>,
    /// Bytes of its files, all layers.
    pub bytes: u64,
    /// When it came here, seconds since 1970.
    pub added: i64,
}

/// An image, ready for a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Digest of its configuration.
    pub id: Digest,
    /// The name it was found by.
    pub reference: Option<Reference>,
    /// How containers start.
    pub config: ImageConfig,
    /// Overlay lower directories, top first.
    pub layers: Vec<PathBuf>,
    /// The whole configuration document.
    pub document: ConfigFile,
}

impl Image {
    /// What it was built for.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.document.os.clone(),
            architecture: self.document.architecture.clone(),
            variant: self.document.variant.clone(),
        }
    }
}

/// The store in one directory.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// Held while adding to the store; garbage collection waits for it.
#[derive(Debug)]
pub struct Working {
    _lock: fs::File,
}

impl Store {
    /// Opens the store in `dir`, making it where it does not exist.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed = |cause| StoreError::Io {
            action: "open the image store",
            cause,
        };
        let store = Self {
            dir: dir.to_path_buf(),
        };
        if !dir.join("names.lock").exists() {
            for name in ["", "records", "blobs", "layers", "leases", "ingest"] {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(dir.join(name))
                    .map_err(failed)?;
            }
            // Other users must not reach set-user-id files of images (CVE-2021-41091).
            fs_err::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed)?;
            open_lock(&dir.join("lock")).map_err(failed)?;
            open_lock(&dir.join("names.lock")).map_err(failed)?;
        }
        init_layer::make(&store).map_err(failed)?;
        Ok(store)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps garbage collection away until the result is dropped.
    pub fn working(&self) -> Result<Working, StoreError> {
        let lock = self.lock("lock", FlockOperation::LockShared)?;
        Ok(Working { _lock: lock })
    }

    /// Takes a lock of the store.
    pub(crate) fn lock(&self, name: &str, how: FlockOperation) -> Result<fs::File, StoreError> {
        let failed = |cause| StoreError::Io {
            action: "lock the image store",
            cause,
        };
        let file = open_lock(&self.dir.join(name)).map_err(failed)?;
        loop {
            match rustix::fs::flock(&file, how) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }

    /// The image of that name, complete on disk, or `None`.
    ///
    /// A name with a digest finds the image that a registry gave under this digest, whatever its tag is now.
    pub fn find(&self, reference: &Reference) -> Result<Option<Image>, StoreError> {
        let id = match reference.digest() {
            None => self.names()?.get(&reference.to_string()).copied(),
            Some(digest) => {
                let wanted = format!("{}@{digest}", reference.repository());
                self.records()?
                    .into_iter()
                    .find(|r| r.repo_digests.contains(&wanted))
                    .map(|record| record.id)
            }
        };
        let Some(id) = id else { return Ok(None) };
        let mut image = self.image(id)?;
        image.reference = Some(reference.clone());
        Ok(Some(image))
    }

    /// The image of a name, an id, or the beginning of an id (at least 4 digits).
    pub fn lookup(&self, text: &str) -> Result<Image, StoreError> {
        if let Ok(reference) = text.parse::<Reference>()
            && let Some(image) = self.find(&reference)?
        {
            return Ok(image);
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let none = || StoreError::NoSuchImage {
            name: text.to_owned(),
        };
        if digits.len() < 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(none());
        }
        let mut fitting: Vec<Digest> = self
            .records()?
            .iter()
            .map(|r| r.id)
            .filter(|id| id.hex().starts_with(digits))
            .collect();
        match (fitting.pop(), fitting.len()) {
            (None, _) => Err(none()),
            (Some(id), 0) => self.image(id),
            (Some(_), more) => Err(StoreError::AmbiguousId {
                name: text.to_owned(),
                count: more + 1,
            }),
        }
    }

    /// The image with this id. Its configuration is verified, and each layer is seen to be complete.
    pub fn image(&self, id: Digest) -> Result<Image, StoreError> {
        let record = self.record(id)?;
        let document = self.document(id)?;
        let mut lower = Vec::with_capacity(record.layers.len());
        for layer in record.layers.iter().rev() {
            if !layers::is_complete(self, layer.diff_id) {
                return Err(StoreError::MissingLayer {
                    diff_id: layer.diff_id,
                    image: id.short(),
                });
            }
            lower.push(self.layer_path(layer.diff_id));
        }
        Ok(Image {
            id,
            reference: None,
            config: document.config.clone(),
            layers: lower,
            document,
        })
    }

    /// An image's configuration document, verified.
    pub fn document(&self, id: Digest) -> Result<ConfigFile, StoreError> {
        let bytes = self.read_blob(id, DOCUMENT_MAX)?;
        serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
            path: self.blob_path(id),
            reason: error.to_string(),
        })
    }

    /// What the store knows of an image.
    pub fn record(&self, id: Digest) -> Result<Record, StoreError> {
        let path = self.record_path(id);
        match fs_err::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
                path,
                reason: error.to_string(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(StoreError::NoSuchImage { name: id.to_string() })
            }
            Err(cause) => Err(StoreError::Io {
                action: "read an image's record",
                cause,
            }),
        }
    }

    /// All images.
    pub fn records(&self) -> Result<Vec<Record>, StoreError> {
        let failed = |cause| StoreError::Io {
            action: "list the images",
            cause,
        };
        let mut records = Vec::new();
        for entry in fs_err::read_dir(self.dir.join("records")).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_suffix(".json"))
                .map(Digest::from_hex);
            if let Some(Ok(id)) = id {
                match self.record(id) {
                    // Removed since the directory was read.
                    Err(StoreError::NoSuchImage { .. }) => {}
                    other => records.push(other?),
                }
            }
        }
        records.sort_by_key(|record| (std::cmp::Reverse(record.added), record.id));
        Ok(records)
    }

    /// Makes an image known: its layers and configuration must be in the store. Must be called while [`Working`].
    pub(crate) fn add_image(
        &self,
        config: &[u8],
        layers: Vec<LayerRecord>,
        manifest: Option<Digest>,
        repo_digest: Option<String>,
    ) -> Result<Digest, StoreError> {
        let id = self.put_blob(config)?;
        let known = self.record(id).ok();
        let mut repo_digests = known
            .as_ref()
            .map(|known| known.repo_digests.clone())
            .unwrap_or_default();
        if let Some(new) = repo_digest
            && !repo_digests.contains(&new)
        {
            repo_digests.push(new);
        }
        let bytes = layers
            .iter()
            .filter_map(|layer| layers::size(self, layer.diff_id))
            .sum();
        let added = jiff::Timestamp::now().as_second();
        let record = Record {
            id,
            layers,
            manifest,
            repo_digests,
            bytes,
            added: known.as_ref().map_or(added, |known| known.added),
        };
        // What is known already is not written again: a build that changes nothing waits for no disk.
        if known.as_ref() != Some(&record) {
            self.put_record(&Record { added, ..record })?;
        }
        Ok(id)
    }

    /// Replaces an image's record.
    pub(crate) fn put_record(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.record_path(record.id);
        let text = serde_json::to_vec_pretty(record).map_err(|error| StoreError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        durable::write(&path, &text).map_err(|cause| StoreError::Io {
            action: "record an image",
            cause,
        })
    }

    pub(crate) fn record_path(&self, id: Digest) -> PathBuf {
        self.dir.join("records").join(format!("{}.json", id.hex()))
    }

    /// Where a layer's files are.
    pub fn layer_path(&self, diff_id: Digest) -> PathBuf {
        self.dir.join("layers").join(diff_id.hex()).join("fs")
    }
}

fn open_lock(path: &Path) -> io::Result<fs::File> {
    fs_err::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map(fs_err::File::into_file)
}
