//! `commit`: an image out of a container as it is now.
//!
//! The parent is the image the container was made from; what the container wrote becomes the top layer, and how the
//! container was started becomes how containers of the new image start.

use super::{
    commit::Commit,
    config::ImageConfig,
    digest::Digest,
    store::{Record, Store, StoreError},
};
use crate::{
    build::{
        apply_changes,
        stack::{Stack, is_opaque},
    },
    container::{ContainerDir, ContainerError, Found, Settings, open},
    rootfs::RootKind,
    sys::host::signal_number,
};
use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What the runtime makes in a container that has none, to mount upon: it belongs to no image.
pub(crate) const STUBS: [&str; 8] = [
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/sbin/docker-init",
    "/run/secrets",
];

/// Labels that say which project a container belongs to. An image inherits none of them, or every container made from
/// it would be taken for that project's.
const PROJECT_LABELS: &str = "com.docker.compose.";

/// What a commit is to say, beside what the container says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRequest {
    /// Instructions applied to the new image's configuration (`CMD …`, `ENV …`), in order.
    pub changes: Vec<String>,
    /// Who.
    pub author: Option<String>,
    /// Why; a remark in the image's history.
    pub message: Option<String>,
    /// Freeze a running container meanwhile, so that its files do not change while they are read.
    pub pause: bool,
}

impl Default for CommitRequest {
    /// As `docker commit` without flags: the container is frozen.
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            author: None,
            message: None,
            pause: true,
        }
    }
}

/// Why a container could not become an image.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Its root is a directory of the host.
    #[error("the container's root filesystem is the directory `{path}`, not an image")]
    NoImage {
        /// The directory.
        path: PathBuf,
    },
    /// No image has its layers any more.
    #[error("the image that the container was made from is gone")]
    ParentGone,
    /// A change is no such instruction.
    #[error("the change cannot be applied: {0}")]
    Change(String),
    /// The container's own files, or freezing it.
    #[error("cannot read the container")]
    Container(#[from] ContainerError),
    /// The store.
    #[error("cannot store the image")]
    Store(#[from] StoreError),
}

impl CommitError {
    /// What the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoImage { .. } => {
                Some("pack the directory and use `banyan image import`, which makes an image of it".into())
            }
            Self::ParentGone => Some("`banyan container export` still gives its files as an archive".into()),
            Self::Change(_) => Some(
                "a change is one of CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD SHELL STOPSIGNAL \
                      USER VOLUME WORKDIR"
                    .into(),
            ),
            Self::Container(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

impl Store {
    /// Makes an image of a container, running or not, and gives its id; it has no name yet (see [`Store::tag`]).
    ///
    /// Volumes and bind mounts are no part of it.
    ///
    /// # Errors
    /// When the container was not made from an image of this store, a change is wrong, or the store cannot be written.
    pub fn commit_container(
        &self,
        dir: &ContainerDir,
        request: &CommitRequest,
    ) -> Result<Digest, CommitError> {
        let settings = dir.settings()?;
        let (lower, upper) = match &settings.root.kind {
            RootKind::Overlay { lower, upper, .. } => (lower, upper),
            RootKind::Directory(path) => return Err(CommitError::NoImage { path: path.clone() }),
        };
        // From here on nobody removes the parent.
        let _working = self.working()?;
        let parent = self
            .made_from(&settings.id, lower)?
            .ok_or(CommitError::ParentGone)?;
        let mut config = as_started(&self.document(parent.id)?.config, &settings);
        apply_changes(&mut config, &request.changes).map_err(|error| CommitError::Change(error.reason))?;
        let commit = Commit {
            config,
            author: request.author.clone(),
            created_by: Some(settings.process.arguments.join(" ")),
            message: request.message.clone(),
        };
        let _still = if request.pause { Frozen::freeze(dir)? } else { None };
        Ok(self.commit_changes(parent.id, upper, &STUBS, commit)?)
    }

    /// The image whose layers a container stands on: the one it leases, or any with exactly these layers.
    fn made_from(&self, container: &str, lower: &[PathBuf]) -> Result<Option<Record>, StoreError> {
        let fits = |record: &Record| {
            let layers = record
                .layers
                .iter()
                .rev()
                .map(|layer| self.layer_path(layer.diff_id));
            layers.eq(lower.iter().map(PathBuf::clone))
        };
        let leased = self.leases()?.get(container).map(|lease| lease.image);
        let mut fitting: Vec<Record> = self.records()?.into_iter().filter(fits).collect();
        let at = fitting.iter().position(|record| Some(record.id) == leased);
        Ok(match at {
            Some(at) => Some(fitting.swap_remove(at)),
            None => fitting.pop(),
        })
    }
}

/// A running container whose processes stand still until this is dropped.
struct Frozen(crate::container::Container<crate::container::Running>);

impl Frozen {
    /// `None` when it does not run, or its owner has frozen it already.
    fn freeze(dir: &ContainerDir) -> Result<Option<Self>, ContainerError> {
        match open(dir)? {
            Found::Running(container) if !container.is_paused() => match container.pause() {
                Ok(()) => Ok(Some(Self(container))),
                // It ended in this moment: nothing changes its files any more.
                Err(ContainerError::NotRunning) => Ok(None),
                Err(error) => Err(error),
            },
            _ => Ok(None),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        match self.0.unpause() {
            Ok(()) | Err(ContainerError::NotRunning) => {}
            Err(error) => tracing::warn!(%error, "a container stays frozen after its commit"),
        }
    }
}

/// The parent's configuration with what the container was started with.
fn as_started(parent: &ImageConfig, settings: &Settings) -> ImageConfig {
    let process = &settings.process;
    let fixed = parent.entrypoint.as_deref().unwrap_or_default();
    // Settings know program and arguments only; where the entry point is still the parent's, what follows is the command.
    let (entrypoint, command) = match process.arguments.strip_prefix(fixed) {
        Some(rest) => (parent.entrypoint.clone(), rest),
        None => (None, process.arguments.as_slice()),
    };
    let is_same_signal = match &parent.stop_signal {
        Some(text) => signal_number(text) == Some(settings.stop_signal),
        None => settings.stop_signal == DEFAULT_STOP_SIGNAL,
    };
    let own_directory = !(parent.working_dir.is_empty() && process.cwd == "/");
    let labels = settings.labels.iter();
    ImageConfig {
        user: process.user.clone(),
        env: process.environment.clone(),
        entrypoint,
        cmd: (!command.is_empty()).then(|| command.to_vec()),
        working_dir: if own_directory {
            process.cwd.clone()
        } else {
            String::new()
        },
        labels: labels
            .filter(|(name, _)| !name.starts_with(PROJECT_LABELS))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        stop_signal: if is_same_signal {
            parent.stop_signal.clone()
        } else {
            Some(settings.stop_signal.to_string())
        },
        ..parent.clone()
    }
}

/// SIGTERM.
const DEFAULT_STOP_SIGNAL: i32 = 15;

/// Removes from a layer in the making the empty places that only mounts needed: those that the layers below lack, and
/// folders that are in it for no other reason.
pub(crate) fn remove_stubs(files: &Path, below: &Stack, stubs: &[&str]) {
    for stub in stubs {
        let mut path = stub.trim_start_matches('/');
        while !path.is_empty() {
            let place = files.join(path);
            let Ok(metadata) = place.symlink_metadata() else {
                break;
            };
            let is_stub = match below.find(path, false).and_then(|node| node.metadata) {
                None => metadata.is_dir() || metadata.is_file() && metadata.len() == 0,
                // Copied up when something was made in it.
                Some(before) => metadata.is_dir() && is_same_folder(&metadata, &before) && !is_opaque(&place),
            };
            // Removing a folder is refused where the container has put something in it.
            let removed = match metadata.is_dir() {
                _ if !is_stub => break,
                true => fs_err::remove_dir(&place),
                false => fs_err::remove_file(&place),
            };
            if removed.is_err() {
                break;
            }
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
}

/// But for the time, which making the stub has changed.
fn is_same_folder(one: &Metadata, other: &Metadata) -> bool {
    let look = |metadata: &Metadata| (metadata.mode(), metadata.uid(), metadata.gid());
    look(one) == look(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::RootFs;

    fn settings(arguments: &[&str]) -> Settings {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Settings::new("c", RootFs::directory("/".into()), arguments)
    }

    fn parent() -> ImageConfig {
        ImageConfig {
            entrypoint: Some(vec!["/entry".into()]),
            cmd: Some(vec!["old".into()]),
            stop_signal: Some("SIGQUIT".into()),
            ..ImageConfig::default()
        }
    }

    #[test]
    fn an_entry_point_stays_one_and_the_rest_is_the_command() {
        let mut container = settings(&["/entry", "new", "words"]);
        container.stop_signal = 3;
        container.labels.insert("mine".into(), "1".into());
        container
            .labels
            .insert("com.docker.compose.project".into(), "p".into());
        let made = as_started(&parent(), &container);
        assert_eq!(made.entrypoint.unwrap(), ["/entry"]);
        assert_eq!(made.cmd.unwrap(), ["new", "words"]);
        assert_eq!(made.stop_signal.as_deref(), Some("SIGQUIT"));
        assert_eq!(made.labels.into_keys().collect::<Vec<_>>(), ["mine"]);
        assert_eq!(made.working_dir, "");
    }

    #[test]
    fn another_program_is_all_command() {
        let made = as_started(&parent(), &settings(&["sh", "-c", "x"]));
        assert_eq!(made.entrypoint, None);
        assert_eq!(made.cmd.unwrap(), ["sh", "-c", "x"]);
        assert_eq!(made.stop_signal.as_deref(), Some("15"));
        let made = as_started(&parent(), &settings(&["/entry"]));
        assert_eq!((made.entrypoint, made.cmd), (parent().entrypoint, None));
    }
}
