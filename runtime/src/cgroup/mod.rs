//! What a container may use: one cgroup per container, on whatever mixture of hierarchies the host has.
//!
//! 1. [`Layout`]: which controllers live where (v1, v2, or both at once: a *hybrid* host).
//! 2. [`Resources`]: limits, as data; [`v1`] and [`v2`] turn them into (file, value) pairs.
//! 3. [`Cgroup`]: made, joined, frozen, measured ([`stats`]), removed.
//! 4. `place`: where it is; [`systemd`] is asked for a scope where that owns the tree.
//!
//! v1 is a first-class path: each controller has a directory of its own, and joining means writing to each. On v2 the
//! process is born inside (`CLONE_INTO_CGROUP`). Reference: kernel documentation, cgroup-v1/ and cgroup-v2.rst.
//!
//! Deliberately absent: threaded cgroups, real-time group scheduling on v2 (the kernel has none).

mod devices;
mod directory;
mod error;
mod layout;
mod place;
mod resources;
mod scope;
mod seat;
mod stats;
pub mod systemd;
mod tree;
mod v1;
mod v2;

pub use error::CgroupError;
pub use layout::{Hierarchy, Layout};
pub(crate) use place::Wish;
pub use resources::{BlockDevice, Resources, Weight};
pub(crate) use scope::Wanted;
pub(crate) use seat::Seat;
pub use stats::Stats;
pub use tree::Cgroup;

use serde::{Deserialize, Serialize};

/// What a container sees below `/sys/fs/cgroup`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupView {
    /// Nothing.
    #[default]
    Absent,
    /// The v2 tree.
    Unified,
    /// One directory per v1 hierarchy; each is a list of co-mounted controllers.
    Split(Vec<Vec<String>>),
}
