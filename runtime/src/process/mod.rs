//! The launch, in kernel order, and the small processes it takes.
//!
//! 1. [`launch`]: the caller's side. Starts the shim (never by fork: the caller may have threads), sends the plan.
//! 2. [`shim`]: single-threaded parent of the container. Clones it, records it, then moves output to the log, keeps
//!    standard input open, answers its socket, and records the end.
//!    Launchers of many containers have it copied from a [`zygote`] instead of started.
//! 3. [`init`]: the child. Namespaces, mounts, root, then waits at the barrier; then confinement and exec.
//!    [`cloner`] does the cloning alone, for callers who are to be the container's parent themselves (OCI).
//! 4. [`exec`]: the caller's side of an additional process; [`enter`]: the helper that joins the container for it.
//! 5. [`reaper`]: process 1 of containers that asked for an init.
//!
//! [`message`] is what they say to each other; the order of system calls and its reasons are in
//! `docs/container-launch.md`.

pub(crate) mod bundled;
pub(crate) mod cloner;
pub(crate) mod confinement;
pub(crate) mod enter;
pub(crate) mod exec;
pub(crate) mod init;
pub(crate) mod launch;
pub(crate) mod message;
pub(crate) mod nursery;
pub(crate) mod reaper;
pub(crate) mod shim;
mod stdio;
pub(crate) mod user;
mod zygote;

pub(crate) use launch::LaunchMaterial;
