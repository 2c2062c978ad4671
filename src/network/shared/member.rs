//! What each project has on a shared network now, for all others to read.
//!
//! One file per project, written by its engine alone, replaced whole. After a reboot or a crash these say nothing by
//! themselves: every process in them is recognised by its number and its start time, and what is dead does not count.

use super::{Locked, SharedError, names_in, remove_if_there};
use crate::state::Roots;
use banyan_runtime::{container::Identified, network::FORWARDED_DNS_PORTS};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// One project on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The project.
    pub project: String,
    /// Its engine.
    pub engine: Identified,
    /// The hall, by its descriptor in the engine.
    pub hall: i32,
    /// The port at the gateway where the engine hears its own containers' queries.
    pub port: u16,
    /// Its containers there, by id.
    pub containers: BTreeMap<String, MemberContainer>,
}

/// A container on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberContainer {
    /// Its name.
    pub name: String,
    /// Its process 1.
    pub process: Identified,
    /// Its Ethernet address there.
    pub mac: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its names: service, container name, aliases.
    pub names: Vec<String>,
}

impl Member {
    /// Whether anything of it lives. An engine that was killed comes back while its containers run.
    pub fn lives(&self) -> bool {
        self.engine.open().is_some()
            || self
                .containers
                .values()
                .any(|container| container.process.open().is_some())
    }
}

pub(super) fn file(roots: &Roots, name: &str, project: &str) -> PathBuf {
    roots.network_run(name).join(format!("member-{project}.json"))
}

/// All members, living or not.
pub(super) fn all(roots: &Roots, name: &str) -> Vec<Member> {
    let folder = roots.network_run(name);
    let files = names_in(&folder).unwrap_or_default();
    files
        .iter()
        .filter(|file| file.starts_with("member-"))
        .filter_map(|file| serde_json::from_slice(&fs::read(folder.join(file)).ok()?).ok())
        .collect()
}

/// The number that grows with every change; `None` while nobody is there.
pub(super) fn version(folder: &Path) -> Option<u64> {
    fs::read_link(folder.join("version")).ok()?.to_str()?.parse().ok()
}

impl Locked {
    /// Members of which something lives.
    pub fn living_members(&self) -> Vec<Member> {
        all(&self.roots, self.name())
            .into_iter()
            .filter(Member::lives)
            .collect()
    }

    /// The port for a project's name server: the one that its containers know, or one that nobody has.
    ///
    /// # Errors
    /// When all are taken.
    pub fn name_port(&self, project: &str) -> Result<u16, SharedError> {
        let members = self.living_members();
        if let Some(own) = members.iter().find(|member| member.project == project) {
            return Ok(own.port);
        }
        let free = FORWARDED_DNS_PORTS
            .into_iter()
            .find(|port| members.iter().all(|member| member.port != *port));
        free.ok_or_else(|| SharedError::Crowded {
            name: self.name().into(),
        })
    }

    /// Writes what a project has; every reader sees it from now on.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn write_member(&self, member: &Member) -> Result<(), SharedError> {
        let path = file(&self.roots, self.name(), &member.project);
        let written = serde_json::to_vec(member)
            .map_err(io::Error::other)
            .and_then(|text| replace(&path, &text))
            .and_then(|()| self.count());
        written.map_err(SharedError::io("join", self.name()))
    }

    /// Takes a project off the network; true when nobody is left there.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn remove_member(&self, project: &str) -> Result<bool, SharedError> {
        let failed = || SharedError::io("leave", self.name());
        let folder = self.roots.network_run(self.name());
        match fs::remove_file(file(&self.roots, self.name(), project)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
            _ => {}
        }
        if self.living_members().is_empty() {
            remove_if_there(&folder).map_err(failed())?;
            // Empty when this was the only network in use.
            let _ = folder.parent().map(fs::remove_dir);
            return Ok(true);
        }
        self.count().map_err(failed())?;
        Ok(false)
    }

    fn count(&self) -> io::Result<()> {
        let folder = self.roots.network_run(self.name());
        let next = version(&folder).unwrap_or_default().wrapping_add(1);
        let beside = folder.join(".version.new");
        // What a killed writer left.
        let _ = fs::remove_file(&beside);
        symlink(next.to_string(), &beside)?;
        fs::rename(&beside, folder.join("version"))
    }
}

/// Replaces a file whole. Not synced: after a power cut nothing in the run folder means anything.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs_err::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.new"));
    fs_err::write(&beside, text)?;
    fs_err::rename(&beside, path)
}
