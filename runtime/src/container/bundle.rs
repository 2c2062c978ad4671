//! What only OCI bundles ask for, resolved: the part of the settings that Docker has no words for (runtime-spec, config.md,
//! config-linux.md).

use crate::{
    cgroup::systemd::{Property, Scope},
    namespace::Namespace,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The bundle's part of a container's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// Device nodes to make beside the standard ones.
    pub nodes: Vec<Node>,
    /// A user namespace to join instead of a new one.
    pub join_user: Option<PathBuf>,
    /// Clocks.
    pub time: TimeNamespace,
    /// The cgroup's exact path under each hierarchy.
    pub cgroup_path: String,
    /// The scope of systemd's that the cgroup is instead, with properties asked for beside those of limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<(Scope, Vec<Property>)>,
    /// How the container's own `/` propagates in the end; `None`: private.
    pub propagation: Option<crate::rootfs::Propagation>,
    /// The host name to set; `None`: leave it.
    pub hostname: Option<String>,
    /// Hooks run by the container itself, in its namespaces: before its root is entered.
    pub create_container: Vec<Hook>,
    /// The same right before its program.
    pub start_container: Vec<Hook>,
    /// The state hooks get on standard input, without status and pid.
    pub state: serde_json::Value,
    /// Who decides on calls that the seccomp profile passes on.
    pub listener: Option<Listener>,
}

/// A supervisor of system calls (seccomp_unotify(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its socket on the host.
    pub path: PathBuf,
    /// Told to it.
    pub metadata: String,
}

/// The clocks of a container (time_namespaces(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeNamespace {
    /// Whose.
    pub namespace: Namespace,
    /// Clock (`monotonic`, `boottime`), seconds, nanoseconds; for a private one.
    pub offsets: Vec<(String, i64, u32)>,
}

impl Default for TimeNamespace {
    fn default() -> Self {
        Self {
            namespace: Namespace::Host,
            offsets: Vec::new(),
        }
    }
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Path in the container.
    pub path: String,
    /// `c`, `b` or `p`.
    pub kind: char,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A program to run at a point of the container's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments, the name first; empty: the path alone.
    #[serde(default)]
    pub args: Vec<String>,
    /// `NAME=value` each.
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds until it is killed.
    #[serde(default)]
    pub timeout: Option<i64>,
}

/// What a process is exactly.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Exact {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// How many descriptors from 3 on it keeps.
    pub preserved: u32,
    /// Scheduling policy (sched_setattr(2)).
    pub scheduler: Option<Scheduler>,
    /// Class (1 real time, 2 best effort, 3 idle) and priority (ioprio_set(2)).
    pub io_priority: Option<(u32, u32)>,
    /// Execution domain (personality(2)).
    pub personality: Option<u64>,
    /// Processors it may run on at the end (sched_setaffinity(2)), as a list: `0-3,7`.
    pub affinity: Option<String>,
}

/// `struct sched_attr`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of sched_setattr(2)")]
pub struct Scheduler {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}
