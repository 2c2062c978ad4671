//! Where a container's files come from, as data.

use crate::namespace::IdRange;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The source of `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Overlay or directory.
    pub kind: RootKind,
    /// Nothing below `/` can be written except mounts.
    pub read_only: bool,
    /// How host mounts that appear later below bind sources travel; `Rslave` in OCI bundles that ask, else private.
    pub propagation: Propagation,
    /// What is written to an overlay's upper directory will be thrown away with the container: it need not reach the disk
    /// (overlayfs.rst, "Volatile mount"). Without it the kernel syncs the whole file system of `upper` when the container
    /// ends, and all other work on it with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub volatile: bool,
    /// Below all layers of an overlay: a directory shared by all containers with the places that every launch mounts
    /// something on ([`crate::image::Store::init_layer`]). An image that lacks them then costs no container any file of
    /// its own. It belongs to no image, so differences and commits do not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_layer: Option<PathBuf>,
}

/// How `/` is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootKind {
    /// Layers under a writable directory (overlayfs).
    Overlay {
        /// Layer directories, the top one first; at least one.
        lower: Vec<PathBuf>,
        /// Takes all writes; made when missing.
        upper: PathBuf,
        /// overlayfs's own, on the filesystem of `upper`; made when missing.
        work: PathBuf,
    },
    /// A directory as it is; the container's writes land in it.
    Directory(PathBuf),
}

impl RootFs {
    /// An overlay.
    #[must_use]
    pub fn overlay(lower: Vec<PathBuf>, upper: PathBuf, work: PathBuf) -> Self {
        Self {
            kind: RootKind::Overlay { lower, upper, work },
            read_only: false,
            propagation: Propagation::Private,
            volatile: false,
            init_layer: None,
        }
    }

    /// A directory.
    #[must_use]
    pub fn directory(path: PathBuf) -> Self {
        Self {
            kind: RootKind::Directory(path),
            read_only: false,
            propagation: Propagation::Private,
            volatile: false,
            init_layer: None,
        }
    }
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub kind: MountKind,
    /// Absolute path in the container; made when missing.
    pub target: String,
    /// Read-only, with everything below it.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute.
        source: PathBuf,
        /// With the mounts below it.
        recursive: bool,
        /// How mounts travel afterwards.
        propagation: Propagation,
    },
    /// Directories of the host under writes that are thrown away (or kept aside) by the caller: an overlay.
    OverlayBind {
        /// What shows through, the top one first; at least one.
        lower: Vec<PathBuf>,
        /// Takes writes.
        upper: PathBuf,
        /// overlayfs's own.
        work: PathBuf,
    },
    /// A volume's directory.
    Volume {
        /// Absolute, on the host.
        source: PathBuf,
        /// When it is empty, copy what the image has at the target into it first, owners and modes included.
        seed: bool,
        /// A directory inside the volume; resolved inside it, made when missing.
        subpath: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; `None`: half of memory.
        size: Option<u64>,
        /// Permission bits.
        mode: u32,
        /// More options, of the mount (`noexec`, `exec`, `ro` …) or of tmpfs (`uid=…`, `nr_inodes=…`).
        options: Vec<String>,
    },
    /// Another image's layers, read-only: lower directories, the top one first.
    Layers(Vec<PathBuf>),
    /// Any filesystem the kernel knows (from project files).
    Filesystem {
        /// Its type.
        kind: String,
        /// Its source, often unused.
        source: String,
        /// Mount options as mount(8) writes them.
        options: Vec<String>,
    },
    /// A mount of an OCI bundle, options already sorted (runtime-spec, config.md, "Linux mount options").
    Bundle(Box<BundleMount>),
}

/// A mount exactly as a bundle writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleMount {
    /// Type; empty with `bind`.
    pub kind: String,
    /// A path for binds, otherwise often unused.
    pub source: String,
    /// Attach `source` itself, with what is mounted below it when `recursive`.
    pub bind: bool,
    /// See `bind`.
    pub recursive: bool,
    /// `MOUNT_ATTR_*` to set on the mount itself.
    pub set: u64,
    /// The same to clear.
    pub clear: u64,
    /// `MOUNT_ATTR_*` to set on all mounts of the tree (`rro` …).
    pub set_all: u64,
    /// The same to clear.
    pub clear_all: u64,
    /// Propagation, in the order given.
    pub propagation: Vec<Propagation>,
    /// Unbindable, and whether recursively.
    pub unbindable: Option<bool>,
    /// Options of the filesystem.
    pub data: Vec<String>,
    /// Fill a new tmpfs with what was at its place.
    pub copy_up: bool,
    /// Id maps of an idmapped mount: of users, of groups; and whether for all mounts of the tree.
    pub id_map: Option<(Vec<IdRange>, Vec<IdRange>, bool)>,
}

/// How mounts travel between namespaces (mount_namespaces(7), "Shared subtrees"); the `r` forms include submounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the kernel's own words")]
pub enum Propagation {
    Private,
    #[default]
    Rprivate,
    Shared,
    Rshared,
    Slave,
    Rslave,
}

/// A device of the host made available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host: a device, or a directory of devices.
    pub source: PathBuf,
    /// Path in the container.
    pub target: String,
    /// Some of `r`, `w`, `m`.
    pub permissions: String,
}
