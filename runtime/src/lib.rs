//! The container runtime of banyan: images, layers, builds, namespaces, cgroups, networks of the kernel, containers.
//!
//! It is synchronous (no async runtime), knows nothing of services or project files, and keeps every `unsafe` block
//! in [`sys`].

pub mod archive;
pub mod image;
pub mod network;
pub mod role;
pub mod sys;
