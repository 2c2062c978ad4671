//! Sources of `COPY`: a folder without what is ignored, a stage, or an image; found by pattern, hashed by content.

use super::{
    cache::{Hashes, Mixer},
    error::StepError,
    ignore::{Ignore, glob},
    stack::{Node, Stack},
};
use std::os::unix::fs::MetadataExt;

/// Where a `COPY` reads.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) stack: Stack,
    pub(crate) ignore: &'a Ignore,
    /// `--exclude`.
    pub(crate) exclude: Ignore,
    pub(crate) hashes: &'a Hashes,
    /// Owners mean something (a stage or image), or everything belongs to root (a context).
    pub(crate) keeps_owners: bool,
}

impl Source<'_> {
    /// Nothing is left out, so that no path needs to be written down to be asked about.
    fn takes_all(&self) -> bool {
        self.ignore.is_empty() && self.exclude.is_empty()
    }

    /// Whether a path is left out.
    pub(crate) fn is_left_out(&self, node: &Node) -> bool {
        if self.takes_all() {
            return false;
        }
        let path = node.relative();
        self.ignore.excludes(&path) || self.exclude.excludes(&path)
    }

    /// Whether a folder can be skipped with all that is in it.
    pub(crate) fn is_pruned(&self, node: &Node) -> bool {
        if self.takes_all() {
            return false;
        }
        let path = node.relative();
        self.ignore.excludes_all_below(&path) || self.exclude.excludes_all_below(&path)
    }

    /// Everything a pattern names; links are followed, because the copy is of what they lead to.
    pub(crate) fn matches(&self, pattern: &str) -> Result<Vec<Node>, StepError> {
        let missing = || StepError::NoSource {
            path: pattern.to_owned(),
        };
        let has_wildcard = pattern.contains(['*', '?', '[', '\\']);
        if !has_wildcard {
            let node = self.stack.find(pattern, true).ok_or_else(missing)?;
            if !node.path.is_empty() && !node.is_dir() && self.is_left_out(&node) {
                return Err(missing());
            }
            return Ok(vec![node]);
        }
        let parts: Vec<&str> = pattern
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        let mut found = Vec::new();
        self.walk_pattern(&self.stack.root(), &parts, &mut found);
        if found.is_empty() {
            Err(missing())
        } else {
            Ok(found)
        }
    }

    fn walk_pattern(&self, at: &Node, parts: &[&str], found: &mut Vec<Node>) {
        let Some((part, rest)) = parts.split_first() else {
            found.push(at.clone());
            return;
        };
        if !at.is_dir() {
            return;
        }
        if *part == "**" {
            self.walk_pattern(at, rest, found);
        }
        for (name, node) in self.stack.list(at) {
            if self.is_pruned(&node) {
                continue;
            }
            if *part == "**" {
                self.walk_pattern(&node, parts, found);
            } else if glob(part, &name) {
                let target = self.stack.find(&node.relative(), true).unwrap_or(node);
                if rest.is_empty() && !target.is_dir() && self.is_left_out(&target) {
                    continue;
                }
                self.walk_pattern(&target, rest, found);
            }
        }
    }

    /// Adds a tree's names, modes and contents to a digest.
    pub(crate) fn hash(&self, node: &Node, name: &str, mixer: &mut Mixer) -> Result<(), StepError> {
        let failed = |cause| StepError::Io {
            action: "read",
            path: node.place().to_path_buf(),
            cause,
        };
        let Some(metadata) = &node.metadata else {
            return Ok(());
        };
        mixer.text(name);
        let owner = if self.keeps_owners {
            (metadata.uid(), metadata.gid())
        } else {
            (0, 0)
        };
        mixer.text(&format!(
            "{:o} {} {} {}",
            metadata.mode(),
            owner.0,
            owner.1,
            metadata.rdev()
        ));
        if metadata.is_file() {
            let digest = self.hashes.of(node.place(), metadata).map_err(failed)?;
            mixer.text(&digest.hex());
        } else if metadata.is_symlink() {
            mixer.add(
                fs_err::read_link(node.place())
                    .map_err(failed)?
                    .as_os_str()
                    .as_encoded_bytes(),
            );
        } else if metadata.is_dir() {
            for (child_name, child) in self.stack.list(node) {
                if self.is_pruned(&child) || (!child.is_dir() && self.is_left_out(&child)) {
                    continue;
                }
                self.hash(&child, &child_name, mixer)?;
            }
            mixer.text("/");
        }
        Ok(())
    }
}
