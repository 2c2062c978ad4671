//! Which processes a container has, on disk: enough to find it again, and never to mistake a stranger for it.

use super::{exit::replace, paths};
use crate::{
    cgroup::Cgroup,
    process::message::{Hello, Plan},
};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::{io, os::fd::OwnedFd, path::Path, sync::OnceLock};

/// A process, named so that a later process with the same number is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identified {
    /// Its number.
    pub pid: i32,
    /// Clock ticks between boot and its start (`/proc/PID/stat`, field 22).
    pub start: u64,
}

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    /// `/proc/sys/kernel/random/boot_id`: after a reboot nothing of it can be there.
    pub(crate) boot: String,
    /// `None`: being launched.
    pub(crate) processes: Option<(Identified, Identified)>,
    pub(crate) cgroup: Cgroup,
    /// Kept descriptors, by number in the shim.
    pub(crate) keep: Vec<i32>,
    /// Inode numbers of the pipes it writes to, by which a new shim finds them again; stdout first.
    #[serde(default)]
    pub(crate) pipes: Vec<u64>,
    /// When it was created, nanoseconds since 1970.
    pub(crate) created: i64,
}

impl Record {
    /// Before anything is started: what to clean up should everything be killed now.
    pub(crate) fn planned(id: &str, cgroup: &Cgroup) -> io::Result<Self> {
        Ok(Self {
            id: id.to_owned(),
            boot: boot_id()?.to_owned(),
            processes: None,
            cgroup: cgroup.clone(),
            keep: Vec::new(),
            pipes: Vec::new(),
            created: crate::log::now(),
        })
    }

    /// Of a container at the barrier. The first process is the container's, the second its shim.
    pub(crate) fn of(hello: &Hello, plan: &Plan, pipes: Vec<u64>) -> io::Result<Self> {
        let mut record = Self::planned(&plan.id, &plan.cgroup)?;
        record.processes = Some((Identified::of(hello.pid)?, Identified::of(hello.shim)?));
        record.keep.clone_from(&hello.keep);
        record.pipes = pipes;
        Ok(record)
    }

    pub(crate) fn write(&self, state: &Path) -> io::Result<()> {
        // Not synced: after a power cut no container runs, and settings alone say all that is left to know.
        replace(&paths::record(state), &serde_json::to_vec(self)?).map(drop)
    }
}

impl Identified {
    /// The process that has this number now.
    ///
    /// # Errors
    /// When there is none, or it is a zombie.
    pub fn of(pid: i32) -> io::Result<Self> {
        Ok(Self {
            pid,
            start: start_time(pid)?,
        })
    }

    /// A pidfd of exactly this process; `None` when it has ended. The descriptor is opened first and the start time
    /// compared then, so the number cannot be recycled in between.
    #[must_use]
    pub fn open(self) -> Option<OwnedFd> {
        let pidfd = crate::sys::pidfd::open(Pid::from_raw(self.pid)?).ok()?;
        (start_time(self.pid).ok()? == self.start).then_some(pidfd)
    }
}

/// Field 22 of `/proc/PID/stat`; the command's name in field 2 may contain anything, so fields count from its end.
fn start_time(pid: i32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = text.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    // A zombie is over, even if nobody has reaped it.
    if rest.starts_with('Z') || rest.starts_with('X') {
        return Err(io::ErrorKind::NotFound.into());
    }
    rest.split(' ')
        .nth(19)
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Which boot of this machine this is. Read once: no process sees two.
pub(crate) fn boot_id() -> io::Result<&'static str> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT.get() {
        return Ok(known);
    }
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT.get_or_init(|| text.trim().to_owned()))
}
