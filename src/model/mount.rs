//! What a container sees of the host's and the project's files.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// One mount of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Absolute path in the container.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host.
    Bind {
        /// Absolute.
        source: PathBuf,
        /// Make a missing source as a folder (short syntax).
        create: bool,
        /// How mounts inside it travel.
        propagation: BindPropagation,
        /// Whether mounts below the source come along.
        recursive: bool,
        /// `x-banyan.overlay`: writes go to a discardable layer.
        overlay: bool,
    },
    /// A named volume, by key in the project.
    Volume {
        /// Key in `Project::volumes`.
        source: String,
        /// Do not seed it from the image.
        nocopy: bool,
        /// A folder inside the volume.
        subpath: Option<String>,
    },
    /// A volume of this container alone; survives recreation.
    Anonymous {
        /// Do not seed it from the image.
        nocopy: bool,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; `None`: half of memory.
        size: Option<u64>,
        /// Permission bits; `None`: 1777.
        mode: Option<u32>,
        /// More mount options from the short syntax: `noexec`, `uid=…`.
        options: Vec<String>,
    },
    /// An image's files.
    Image {
        /// Image name.
        source: String,
        /// A folder inside it.
        subpath: Option<String>,
    },
}

/// Mount propagation of a bind (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the kernel's own words")]
pub enum BindPropagation {
    Private,
    Rprivate,
    Shared,
    Rshared,
    Slave,
    Rslave,
}

/// A named volume of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name on this machine: `project_key` unless `name:` is given.
    pub name: String,
    /// Must exist already; never made or removed by the project.
    pub external: bool,
    /// Driver; only `local` is honoured.
    pub driver: String,
    /// Driver options (`type`, `o`, `device` of `local`).
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Where the bytes of a secret or config come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSource {
    /// A file of the host, absolute.
    File(PathBuf),
    /// A variable of the caller's environment, by name; read when granted, never stored.
    Environment(String),
    /// Inline text.
    Content(String),
    /// The output of a command (a password manager).
    Command(Vec<String>),
}

/// A secret or config granted to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileGrant {
    /// Key in the project's `secrets` or `configs`.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Owner, a number or name; `None`: 0.
    pub uid: Option<String>,
    /// Group; `None`: 0.
    pub gid: Option<String>,
    /// Permission bits; `None`: 0444.
    pub mode: Option<u32>,
}
