//! Waiting for a log to grow, without polling and without the writer knowing.

use super::LogError;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
    io::Errno,
};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

/// Tells when a log directory changes (inotify(7)). Level-triggered: readable until [`clear`](Self::clear) is called.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
}

impl Watch {
    /// Watches a log directory.
    ///
    /// # Errors
    /// When it does not exist, or the user's inotify limits are reached.
    pub fn new(directory: &Path) -> Result<Self, LogError> {
        let fail = |errno: Errno| LogError::Open {
            path: directory.to_path_buf(),
            cause: errno.into(),
        };
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).map_err(fail)?;
        let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        inotify::add_watch(&inotify, directory, events).map_err(fail)?;
        Ok(Self { inotify })
    }

    /// Forgets the changes so far; call it, then read until there is nothing, then wait.
    pub fn clear(&self) {
        let mut buffer = [0; 4096];
        while rustix::io::read(&self.inotify, &mut buffer).is_ok_and(|length| length > 0) {}
    }

    /// Waits until something changed or `other` became readable.
    pub fn wait_or(&self, other: BorrowedFd<'_>) {
        let mut list = [
            PollFd::new(&self.inotify, PollFlags::IN),
            PollFd::new(&other, PollFlags::IN),
        ];
        // Interrupted or not: the caller looks at everything anyway.
        let _ = poll(&mut list, None);
    }

    /// Waits until something changed or `timeout` passed; true when something changed.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let mut list = [PollFd::new(&self.inotify, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        matches!(poll(&mut list, Some(&limit)), Ok(count) if count > 0)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
