//! Which namespaces a container has to itself, and whose it shares.

use crate::sys::clone::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// Its own. A network namespace of its own has `lo` up and nothing else until somebody attaches links.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of a `/proc/PID/ns/*` file (or a bind mount of one).
    Join(PathBuf),
}

/// All namespaces of a container; the mount namespace is always its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network.
    pub net: Namespace,
    /// System V IPC and POSIX message queues.
    pub ipc: Namespace,
    /// Processes.
    pub pid: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// View of the cgroup tree.
    pub cgroup: Namespace,
    /// Users; `None`: the host's.
    pub user: Option<UserNamespace>,
}

/// A user namespace and its id maps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// User ids.
    pub uid_map: Vec<IdRange>,
    /// Group ids.
    pub gid_map: Vec<IdRange>,
}

/// A range of ids (user_namespaces(7), "User and group ID mappings").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl Namespaces {
    /// `CLONE_NEW*` flags for the copy that becomes process 1. The cgroup namespace is not among them: it is made
    /// after the process sits in its cgroup, or its root would be the wrong one.
    pub(crate) fn clone_flags(&self) -> i32 {
        let private =
            |namespace: &Namespace, flag: i32| if *namespace == Namespace::Private { flag } else { 0 };
        CLONE_NEWNS
            | private(&self.net, CLONE_NEWNET)
            | private(&self.ipc, CLONE_NEWIPC)
            | private(&self.pid, CLONE_NEWPID)
            | private(&self.uts, CLONE_NEWUTS)
            | if self.user.is_some() { CLONE_NEWUSER } else { 0 }
    }

    /// Namespaces to enter after the copy: file and kind.
    pub(crate) fn to_join(&self) -> Vec<(&PathBuf, i32)> {
        [
            (&self.net, CLONE_NEWNET),
            (&self.ipc, CLONE_NEWIPC),
            (&self.uts, CLONE_NEWUTS),
            (&self.cgroup, CLONE_NEWCGROUP),
        ]
        .into_iter()
        .filter_map(|(namespace, kind)| match namespace {
            Namespace::Join(path) => Some((path, kind)),
            _ => None,
        })
        .collect()
    }
}

impl std::fmt::Display for IdRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}
