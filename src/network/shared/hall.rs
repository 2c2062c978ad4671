//! Finding the hall of a shared network through whoever holds it.

use super::{Locked, SharedError, member::replace};
use banyan_runtime::{
    container::{self, ContainerDir, Found},
    network::Hall,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// Which namespace it is.
#[derive(Debug, Serialize, Deserialize)]
struct Which {
    /// `net:[INODE]`, as links in `/proc` show it.
    label: String,
    /// Unique since boot.
    id: u64,
}

impl Locked {
    /// The network's hall, while anybody holds it. Asked are the engines of members first, then the shims of containers,
    /// which go on when an engine is killed.
    ///
    /// # Errors
    /// When it is there and cannot be entered.
    pub fn hall(&self) -> Result<Option<Hall>, SharedError> {
        let Some(which) = self.which() else {
            return Ok(None);
        };
        let members = super::member::all(&self.roots, self.name());
        let engines = members
            .iter()
            .filter(|member| member.engine.open().is_some())
            .map(|member| PathBuf::from(format!("/proc/{}/fd/{}", member.engine.pid, member.hall)));
        for path in engines {
            if let Some(hall) = open(&path, &which)? {
                return Ok(Some(hall));
            }
        }
        for path in self.kept_by_shims() {
            if let Some(hall) = open(&path, &which)? {
                return Ok(Some(hall));
            }
        }
        Ok(None)
    }

    /// Remembers a hall that was just made.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn remember_hall(&self, hall: &Hall) -> Result<(), SharedError> {
        let written = hall.label().and_then(|label| {
            let which = Which { label, id: hall.id() };
            replace(&self.file(), &serde_json::to_vec(&which)?)
        });
        written.map_err(SharedError::io("join", self.name()))
    }

    /// What links to the hall in `/proc` show; `None` when there is no hall.
    pub fn hall_label(&self) -> Option<String> {
        self.which().map(|which| which.label)
    }

    fn which(&self) -> Option<Which> {
        serde_json::from_slice(&fs::read(self.file()).ok()?).ok()
    }

    fn file(&self) -> PathBuf {
        self.roots.network_run(self.name()).join("hall.json")
    }

    /// Descriptors that shims of this root hold. Only asked when no engine has the hall.
    fn kept_by_shims(&self) -> Vec<PathBuf> {
        let names = super::names_in(&self.roots.containers()).unwrap_or_default();
        let kept = names.iter().flat_map(|id| {
            let dir = ContainerDir {
                state: self.roots.container(id),
                run: self.roots.container_run(id),
            };
            match container::open(&dir) {
                Ok(Found::Running(running)) => running.kept(),
                Ok(Found::Created(created)) => created.kept(),
                _ => Vec::new(),
            }
        });
        kept.collect()
    }
}

/// Opens a descriptor of another process if it is the hall: looked at before it is opened, since opening a stranger's
/// pipe or device could block or do worse.
fn open(path: &Path, which: &Which) -> Result<Option<Hall>, SharedError> {
    let is_it = fs::read_link(path).is_ok_and(|label| label.to_str() == Some(which.label.as_str()));
    if !is_it {
        return Ok(None);
    }
    // Its holder may have ended in this moment.
    let Ok(file) = File::open(path) else {
        return Ok(None);
    };
    let hall = Hall::from_fd(OwnedFd::from(file))?;
    Ok((hall.id() == which.id).then_some(hall))
}
