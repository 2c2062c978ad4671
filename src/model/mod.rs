//! The words: a project as banyan understands it, fully resolved.
//!
//! Everything here is plain data. Nothing is optional that has a default, paths are absolute, names are checked,
//! variables are replaced. `project` makes it from files; `plan` and `engine` act on it; it crosses the engine's
//! socket as JSON.

mod build;
mod health;
mod mount;
mod name;
mod network;
mod place;
mod port;
mod project;
mod service;

pub use build::{Build, BuildSecret, SshAgent};
pub use health::{
    Condition, Dependency, HealthCheck, HealthTest, Hook, HttpCheck, Ready, Restart, RestartCondition,
    WatchAction, WatchRule,
};
pub use mount::{BindPropagation, FileGrant, FileSource, Mount, MountKind, Volume};
pub use name::{NameError, ProjectName, ServiceName};
pub use network::{Attachment, IpamPool, Network, NetworkMode};
pub use place::Place;
pub use port::{Exposed, Protocol, PublishVia, PublishedPort};
pub use project::{Dialect, Project};
pub use service::{
    BlkioDevice, BlkioRate, CpuLimits, Device, ImageSource, IoLimits, Link, Logging, MemoryLimits, Namespace,
    PullPolicy, Service, Ulimit, hash_of,
};
