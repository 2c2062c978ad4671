//! A container's changes: as a new image, or as a list.

use super::{
    config::{ConfigFile, History, ImageConfig},
    digest::Digest,
    draft::Draft,
    from_container::remove_stubs,
    store::{Store, StoreError},
};
use crate::{
    archive::{Limits, extract::Manner, layer::unpack, pack::pack},
    build::stack::{Node, Stack},
};
use std::{
    fmt,
    io::{self, BufWriter},
    os::{fd::AsFd, unix::fs::FileTypeExt, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

/// What a commit says beside the files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// How containers of the new image start; usually the parent's, changed.
    pub config: ImageConfig,
    /// Who.
    pub author: Option<String>,
    /// What the container ran.
    pub created_by: Option<String>,
    /// Why.
    pub message: Option<String>,
}

impl Store {
    /// Makes an image of `parent` and the changes in a container's overlay upper directory.
    pub fn commit(&self, parent: Digest, upper: &Path, commit: Commit) -> Result<Digest, StoreError> {
        self.commit_changes(parent, upper, &[], commit)
    }

    /// The same, without the empty places at `stubs` that the parent does not have.
    pub(super) fn commit_changes(
        &self,
        parent: Digest,
        upper: &Path,
        stubs: &[&str],
        commit: Commit,
    ) -> Result<Digest, StoreError> {
        let _working = self.working()?;
        let parent_document = self.document(parent)?;
        let draft = Draft::new(self)?;
        let failed = |cause| StoreError::Io {
            action: "copy the container's changes",
            cause,
        };
        let from = fs_err::File::open(upper).map_err(failed)?;
        let root = fs_err::File::open(draft.files()).map_err(failed)?;
        let (reader, writer) = io::pipe().map_err(failed)?;
        let layer = || upper.display().to_string();
        std::thread::scope(|scope| {
            let packing = scope.spawn(move || {
                pack(
                    from.as_fd(),
                    BufWriter::with_capacity(1 << 18, writer),
                    Manner::Layer,
                )
            });
            let unpacked = unpack(reader, root.as_fd(), Manner::Layer, Limits::default(), &|_| ());
            let packed = packing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            packed.map_err(|cause| StoreError::Pack {
                layer: layer(),
                cause,
            })?;
            unpacked.map_err(|cause| StoreError::Layer {
                layer: layer(),
                cause,
            })
        })?;
        let below = Stack {
            layers: self.image(parent)?.layers,
        };
        remove_stubs(&draft.files(), &below, stubs);
        let created = Some(jiff::Timestamp::now().to_string());
        let mut history = parent_document.history.clone();
        history.push(History {
            created: created.clone(),
            author: commit.author.clone(),
            created_by: commit.created_by,
            comment: commit.message,
            ..History::default()
        });
        let document = ConfigFile {
            created,
            author: commit.author,
            config: commit.config,
            history,
            ..parent_document
        };
        self.adopt(draft, Some(parent), document)
    }
}

/// How a path differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// New: `A`.
    Added,
    /// Different: `C`.
    Changed,
    /// Gone: `D`.
    Deleted,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "A",
            Self::Changed => "C",
            Self::Deleted => "D",
        })
    }
}

/// What an overlay upper directory changes over `lower` (top first), as `docker diff` lists it, sorted.
pub fn diff(upper: &Path, lower: &[PathBuf]) -> io::Result<Vec<(Change, String)>> {
    let below = Stack {
        layers: lower.to_vec(),
    };
    let mut changes = Vec::new();
    walk(upper, "", &below, &mut changes)?;
    Ok(changes)
}

fn walk(dir: &Path, path: &str, below: &Stack, changes: &mut Vec<(Change, String)>) -> io::Result<()> {
    let mut entries: Vec<_> = fs_err::read_dir(dir)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let path = format!("{path}/{}", entry.file_name().to_string_lossy());
        let metadata = entry.path().symlink_metadata()?;
        let was_there: Option<Node> = below.find(&path, false);
        if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
            changes.push((Change::Deleted, path));
            continue;
        }
        let change = if was_there.is_some() {
            Change::Changed
        } else {
            Change::Added
        };
        changes.push((change, path.clone()));
        if metadata.is_dir() {
            walk(&entry.path(), &path, below, changes)?;
        }
    }
    Ok(())
}
