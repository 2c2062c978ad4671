//! Layers seen as one tree, without mounting them: what overlayfs would show (overlayfs.rst, "Upper and Lower").
//!
//! A folder of the host is a stack of one layer, so `COPY` reads contexts, stages and images in one way.

use crate::archive::extract::OPAQUE;
use std::{
    collections::BTreeMap,
    fs::Metadata,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Most symbolic links followed for one path (path_resolution(7)).
const LINKS: usize = 40;

/// Layer directories, top first.
#[derive(Debug, Clone, Default)]
pub struct Stack {
    /// Top first.
    pub layers: Vec<PathBuf>,
}

/// Something in the tree.
#[derive(Debug, Clone)]
pub struct Node {
    /// Components from the root, links worked out.
    pub path: Vec<String>,
    /// Where it is on disk; a directory may be in several layers, top first.
    pub places: Vec<PathBuf>,
    /// Of the topmost place; `None` for the root of an empty stack.
    pub metadata: Option<Metadata>,
}

impl Node {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.metadata.as_ref().is_none_or(Metadata::is_dir)
    }

    /// Its path relative to the root, with `/`.
    pub fn relative(&self) -> String {
        self.path.join("/")
    }

    /// Where its content is.
    pub fn place(&self) -> &Path {
        self.places
            .first()
            .map_or(Path::new("/nonexistent"), PathBuf::as_path)
    }
}

impl Stack {
    /// One folder.
    pub fn folder(path: PathBuf) -> Self {
        Self { layers: vec![path] }
    }

    /// The root.
    pub fn root(&self) -> Node {
        let metadata = self
            .layers
            .first()
            .and_then(|layer| layer.symlink_metadata().ok());
        Node {
            path: Vec::new(),
            places: self.layers.clone(),
            metadata,
        }
    }

    /// Finds a path; links on the way are followed inside the tree, the last one if `follow`.
    pub fn find(&self, path: &str, follow: bool) -> Option<Node> {
        let mut waiting: Vec<String> = components(path).rev().map(str::to_owned).collect();
        let mut at = vec![self.root()];
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == ".." {
                if at.len() > 1 {
                    at.pop();
                }
                continue;
            }
            let node = child(at.last()?, &name)?;
            let is_link = node.metadata.as_ref().is_some_and(Metadata::is_symlink);
            if is_link && (follow || !waiting.is_empty()) {
                links += 1;
                if links > LINKS {
                    return None;
                }
                let target = std::fs::read_link(node.place()).ok()?;
                let target = target.to_string_lossy().into_owned();
                if target.starts_with('/') {
                    at.truncate(1);
                }
                waiting.extend(components(&target).rev().map(str::to_owned));
                continue;
            }
            if !node.is_dir() && !waiting.is_empty() {
                return None;
            }
            at.push(node);
        }
        at.pop()
    }

    /// The names in a directory, sorted, with what they are.
    pub fn list(&self, dir: &Node) -> Vec<(String, Node)> {
        let mut names = BTreeMap::new();
        for place in &dir.places {
            for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
                if let Ok(name) = entry.file_name().into_string() {
                    names.entry(name).or_insert(());
                }
            }
        }
        names
            .into_keys()
            .filter_map(|name| child(dir, &name).map(|node| (name, node)))
            .collect()
    }
}

/// `.` and empty components are dropped; `..` stays.
fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}

fn child(dir: &Node, name: &str) -> Option<Node> {
    let mut path = dir.path.clone();
    path.push(name.to_owned());
    let mut places = Vec::new();
    let mut top = None;
    for place in &dir.places {
        let candidate = place.join(name);
        let Ok(metadata) = candidate.symlink_metadata() else {
            continue;
        };
        let is_whiteout = metadata.file_type().is_char_device() && metadata.rdev() == 0;
        if is_whiteout || (!metadata.is_dir() && !places.is_empty()) {
            break;
        }
        let ends_here = !metadata.is_dir() || is_opaque(&candidate);
        top.get_or_insert(metadata);
        places.push(candidate);
        if ends_here {
            break;
        }
    }
    top.map(|metadata| Node {
        path,
        places,
        metadata: Some(metadata),
    })
}

pub(crate) fn is_opaque(dir: &Path) -> bool {
    let mut value = [0; 2];
    rustix::fs::lgetxattr(dir, OPAQUE, &mut value).is_ok_and(|length| &value[..length] == b"y")
}
