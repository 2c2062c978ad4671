//! Waiting for a container's output without a file system watch: its shim says so.
//!
//! [`crate::log::Watch`] serves whoever follows many logs. It is inotify(7), of which a user has few instances, and closing
//! one waits for the kernel (`fsnotify_destroy_group`, an SRCU grace period: 10 to 20 ms, more than a short container lives).

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::Errno,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Says that output was logged, until [`clear`](Self::clear) is called.
#[derive(Debug)]
pub struct Activity {
    event: OwnedFd,
}

impl Activity {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event })
    }

    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Forgets what happened so far; call it, then read until there is nothing, then wait.
    pub fn clear(&self) {
        // One read takes all of it; nothing to take is fine.
        let _ = rustix::io::read(&self.event, &mut [0_u8; 8]);
    }

    /// Waits until there is output or one of `others` becomes readable.
    pub fn wait_or(&self, others: &[BorrowedFd<'_>]) {
        let mut list = vec![PollFd::new(&self.event, PollFlags::IN)];
        list.extend(
            others
                .iter()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)),
        );
        // Whatever ends it, the caller looks at everything.
        while matches!(poll(&mut list, None), Err(Errno::INTR)) {}
    }
}
