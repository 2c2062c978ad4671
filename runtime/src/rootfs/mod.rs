//! What a container sees: its root filesystem, `/proc`, `/sys`, `/dev`, and everything mounted into it.
//!
//! All of it happens inside the container's own mount namespace, so nothing is ever left on the host, and every path
//! inside the tree is resolved with `openat2(RESOLVE_IN_ROOT)`, so no symbolic link of an image leads out of it.
//!
//! 1. [`root`]: `/` as an overlay or a directory, made the root of the mount namespace's future.
//! 2. [`standard`]: `/proc`, `/dev` and its nodes, `/dev/pts`, `/dev/shm`, `/dev/mqueue`, `/sys`, the cgroup view.
//! 3. [`user_mount`]: binds, volumes (seeded first: [`seed`]), tmpfs; the engine's files.
//! 4. [`hide`]: masked and read-only paths.
//! 5. [`root::enter`]: `pivot_root`, and the host's tree is gone.
//!
//! Deliberately absent: anything that runs a program of the image, and mounts in the host's namespace.

mod bundle;
mod devices;
mod hide;
pub(crate) mod inside;
mod root;
mod seed;
mod settings;
mod standard;
mod user_mount;

pub(crate) use bundle::{make_bundle_nodes, mount_bundle};
pub(crate) use devices::{HostNodes, default_rules, device_rules, prepare_dev};
pub(crate) use hide::hide;
pub(crate) use root::{cut_off, enter, prepare_root, propagate};
pub use settings::{BundleMount, Device, Mount, MountKind, Propagation, RootFs, RootKind};
pub(crate) use standard::{Standard, mount_standard};
pub(crate) use user_mount::{
    bind_console, mount_binary, mount_grants, mount_user, open_host_sources, open_shared_sources,
};
