//! What a shim that was made ahead does until it is asked for something: the kernel's slowest part of a container, its
//! network namespace.

use crate::sys::{
    clone::{CLONE_NEWNET, CLONE_NEWUSER},
    link_up::loopback_up,
    netns,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

/// A network namespace that belongs to nobody yet, its loopback up.
#[derive(Debug)]
pub(super) struct Ahead {
    network: OwnedFd,
    /// Ours, to come back to.
    own: OwnedFd,
}

impl Ahead {
    /// Makes one, unless somebody waits already: not every container wants it. `None` where none can be made.
    ///
    /// # Errors
    /// When this process is left in the wrong namespace: it must end.
    pub(super) fn prepare(launcher: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        if is_asked(launcher) {
            return Ok(None);
        }
        let Ok(own) = netns::current() else {
            return Ok(None);
        };
        if netns::unshare().is_err() {
            return Ok(None);
        }
        let network = netns::current().and_then(|network| loopback_up().map(|()| network));
        netns::enter(&own)?;
        Ok(network.ok().map(|network| Self { network, own }))
    }

    /// Whether a container made with these flags may have it. A user namespace owns the namespaces made with it.
    pub(super) fn fits(&self, clone_flags: i32) -> bool {
        clone_flags & CLONE_NEWNET != 0 && clone_flags & CLONE_NEWUSER == 0
    }

    /// Enters it, for a copy of this process to be born there.
    ///
    /// # Errors
    /// As setns(2).
    pub(super) fn enter(&self) -> io::Result<()> {
        netns::enter(&self.network)
    }

    /// Comes back. The copies keep it.
    ///
    /// # Errors
    /// As setns(2).
    pub(super) fn leave(self) -> io::Result<()> {
        netns::enter(&self.own)
    }
}

/// Whether a message is there, or the other end is closed.
fn is_asked(launcher: BorrowedFd<'_>) -> bool {
    let mut list = [PollFd::from_borrowed_fd(launcher, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    !matches!(poll(&mut list, Some(&now)), Ok(0))
}
