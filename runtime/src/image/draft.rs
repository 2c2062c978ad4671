//! A layer in the making: a directory that nobody looks at until it is complete, on disk, and renamed.

use super::{
    digest::Digest,
    durable,
    layers::{LayerNote, is_complete},
    store::{Store, StoreError},
};
use crate::archive::{extract::Manner, layer::Unpacked, outline::Outline, pack};
use std::{
    io,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// The outline's file beside a layer's files.
pub(super) const OUTLINE: &str = "outline";

/// A layer that is not visible yet; removed when dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    dir: PathBuf,
    pub(crate) unpacked: Option<Unpacked>,
    published: bool,
}

impl Draft {
    /// An empty directory for a layer.
    pub(crate) fn new(store: &Store) -> Result<Self, StoreError> {
        let dir = store
            .dir()
            .join("ingest")
            .join(format!("layer-{}", durable::unique()));
        let failed = |cause| StoreError::Io {
            action: "create a layer",
            cause,
        };
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .map_err(failed)?;
        let draft = Self {
            dir,
            unpacked: None,
            published: false,
        };
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(draft.files())
            .map_err(failed)?;
        // The umask must not decide what `/` looks like.
        fs_err::set_permissions(draft.files(), std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(draft)
    }

    /// The directory with the layer's files.
    pub(crate) fn files(&self) -> PathBuf {
        self.dir.join("fs")
    }

    /// A directory beside the files, on the same file system: overlayfs wants one for its work.
    pub(crate) fn work(&self) -> Result<PathBuf, StoreError> {
        let work = self.dir.join("work");
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&work);
        made.map_err(|cause| StoreError::Io {
            action: "create a layer",
            cause,
        })?;
        Ok(work)
    }

    /// The note for an archive that was unpacked here.
    pub(super) fn note(&self, diff_id: Digest) -> LayerNote {
        let unpacked = self.unpacked.as_ref();
        let tally = unpacked.map(|unpacked| unpacked.tally).unwrap_or_default();
        let archive = unpacked.map_or(0, |unpacked| unpacked.archive);
        LayerNote {
            diff_id,
            bytes: tally.bytes,
            entries: tally.entries,
            archive,
        }
    }

    /// Hashes the tree as a layer archive.
    pub(crate) fn measure(&self) -> Result<LayerNote, StoreError> {
        measure(&self.files())
    }

    /// A file beside the files, for the outline of the archive they come from.
    pub(crate) fn outline(&self) -> Result<Outline, StoreError> {
        fs_err::File::create(self.dir.join(OUTLINE))
            .and_then(|file| Outline::new(Box::new(file)))
            .map_err(|cause| StoreError::Io {
                action: "create a layer",
                cause,
            })
    }

    /// Writes the note and leaves nothing but what a visible layer has.
    fn seal(&self, note: &LayerNote) -> Result<(), StoreError> {
        let failed = |cause| StoreError::Io {
            action: "publish a layer",
            cause,
        };
        let work = self.dir.join("work");
        if work.exists() {
            fs_err::remove_dir_all(&work).map_err(failed)?;
        }
        if self.unpacked.as_ref().is_some_and(|unpacked| !unpacked.outlined) {
            fs_err::remove_file(self.dir.join(OUTLINE)).map_err(failed)?;
        }
        let text = serde_json::to_vec(note).map_err(|error| StoreError::Damaged {
            path: self.dir.clone(),
            reason: error.to_string(),
        })?;
        fs_err::write(self.dir.join("layer.json"), text).map_err(failed)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            fs_err::remove_dir_all(&self.dir).ok();
        }
    }
}

/// Packs a tree into nothing, for its digest and size.
pub(crate) fn measure(files: &Path) -> Result<LayerNote, StoreError> {
    let mut hashing = super::digest::Hashing::new(io::sink());
    let root = fs_err::File::open(files).map_err(|cause| StoreError::Io {
        action: "open a layer",
        cause,
    })?;
    let tally = pack::pack(root.as_fd(), &mut hashing, Manner::Layer).map_err(|cause| StoreError::Pack {
        layer: files.display().to_string(),
        cause,
    })?;
    let (diff_id, archive, _) = hashing.finish();
    Ok(LayerNote {
        diff_id,
        bytes: tally.bytes,
        entries: tally.entries,
        archive,
    })
}

/// Makes layers visible: everything in them goes to the disk at once, then each gets its name by a rename.
pub(crate) fn publish(store: &Store, drafts: Vec<(Draft, LayerNote)>) -> Result<(), StoreError> {
    if drafts.is_empty() {
        return Ok(());
    }
    let failed = |cause| StoreError::Io {
        action: "publish a layer",
        cause,
    };
    for (draft, note) in &drafts {
        draft.seal(note)?;
    }
    sync(store)?;
    let layers = store.dir().join("layers");
    for (mut draft, note) in drafts {
        match fs_err::rename(&draft.dir, layers.join(note.diff_id.hex())) {
            Ok(()) => draft.published = true,
            // Somebody else was faster; theirs is the same, and ours goes when it is dropped.
            Err(_) if is_complete(store, note.diff_id) => {}
            Err(cause) => return Err(failed(cause)),
        }
    }
    durable::sync_directory(&layers).map_err(failed)
}

/// Makes everything written to the store durable (syncfs(2)).
fn sync(store: &Store) -> Result<(), StoreError> {
    let failed = |cause| StoreError::Io {
        action: "sync the image store",
        cause,
    };
    let dir = fs_err::File::open(store.dir()).map_err(failed)?;
    rustix::fs::syncfs(dir.as_fd()).map_err(|errno| failed(errno.into()))
}
