//! Network namespaces: network_namespaces(7), unshare(2), setns(2).
//!
//! A namespace is entered by a *thread*. Whoever calls [`enter`] or [`unshare`] does so on a thread that ends soon
//! after, so that no pooled thread is ever left in the wrong place.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

/// Puts the calling thread into a new, empty network namespace.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOSPC` past `user.max_net_namespaces`.
pub fn unshare() -> io::Result<()> {
    Ok(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?)
}

/// Puts the calling thread into the network namespace `namespace`.
///
/// # Errors
/// `EINVAL` when the descriptor is something else; `EPERM` without `CAP_SYS_ADMIN` over the namespace's owner.
pub fn enter(namespace: impl AsFd) -> io::Result<()> {
    Ok(nix::sched::setns(
        namespace,
        nix::sched::CloneFlags::CLONE_NEWNET,
    )?)
}

/// A descriptor of the calling thread's network namespace; the namespace lives as long as the descriptor is open.
///
/// # Errors
/// What open(2) reports when `/proc` is missing.
pub fn current() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}
