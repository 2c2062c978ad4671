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
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How often logs are looked at where the kernel's limits leave no inotify instance or watch: seldom enough to cost
/// nothing, often enough that nobody notices.
const LOOK: Duration = Duration::from_millis(20);

/// Tells when log directories change (inotify(7)). Level-triggered: says so until [`clear`](Self::clear) is called.
///
/// A user has few inotify instances (`fs.inotify.max_user_instances`, usually 128, shared with editors and desktops).
/// When there is none left, waiting ends every 20 ms instead: a log is never lost for want of one.
#[derive(Debug)]
pub struct Watch {
    /// Nothing when the limits were reached.
    inotify: Option<OwnedFd>,
    /// A directory could not be watched for want of a watch.
    incomplete: AtomicBool,
}

impl Watch {
    /// Watches a log directory.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn new(directory: &Path) -> Result<Self, LogError> {
        let watch = Self::empty();
        watch.include(directory)?;
        Ok(watch)
    }

    /// Watches nothing yet.
    #[must_use]
    pub fn empty() -> Self {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Self {
            inotify: inotify::init(flags).ok(),
            incomplete: AtomicBool::new(false),
        }
    }

    /// Watches one more log directory.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn include(&self, directory: &Path) -> Result<(), LogError> {
        let fail = |errno: Errno| LogError::Open {
            path: directory.to_path_buf(),
            cause: errno.into(),
        };
        let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        match &self.inotify {
            Some(inotify) => match inotify::add_watch(inotify, directory, events) {
                Ok(_) => {}
                Err(Errno::NOSPC | Errno::NOMEM) => self.incomplete.store(true, Ordering::SeqCst),
                Err(errno) => return Err(fail(errno)),
            },
            None => drop(rustix::fs::stat(directory).map_err(fail)?),
        }
        Ok(())
    }

    /// Forgets the changes so far; call it, then read until there is nothing, then wait.
    pub fn clear(&self) {
        let mut buffer = [0; 4096];
        if let Some(inotify) = &self.inotify {
            while rustix::io::read(inotify, &mut buffer).is_ok_and(|length| length > 0) {}
        }
    }

    /// Waits until something changed or `other` became readable.
    pub fn wait_or(&self, other: BorrowedFd<'_>) {
        self.poll(Some(other), None);
    }

    /// Waits until something changed, `other` became readable, or `timeout` passed.
    pub fn wait_or_for(&self, other: BorrowedFd<'_>, timeout: Duration) {
        self.poll(Some(other), Some(timeout));
    }

    /// Waits until something changed or `timeout` passed; true when something may have changed.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        self.poll(None, Some(timeout))
    }

    /// What becomes readable with a change, for a caller that waits with others; nothing where logs must be polled.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        let complete = !self.incomplete.load(Ordering::SeqCst);
        self.inotify.as_ref().map(AsFd::as_fd).filter(|_| complete)
    }

    fn poll(&self, other: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> bool {
        let blind = self.inotify.is_none() || self.incomplete.load(Ordering::SeqCst);
        let timeout = match timeout {
            _ if !blind => timeout,
            Some(timeout) => Some(timeout.min(LOOK)),
            None => Some(LOOK),
        };
        let fds = [self.inotify.as_ref().map(AsFd::as_fd), other];
        let mut list: Vec<PollFd<'_>> = fds
            .iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        let limit = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        // Interrupted or not: the caller looks at everything anyway.
        let changed = matches!(poll(&mut list, limit.as_ref()), Ok(count) if count > 0);
        changed || blind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn without_an_inotify_instance_waiting_ends_by_itself() {
        let watch = Watch {
            inotify: None,
            incomplete: AtomicBool::new(false),
        };
        watch.include(Path::new("/")).expect("it exists");
        assert!(watch.include(Path::new("/nothing/here")).is_err());
        let begun = Instant::now();
        watch.clear();
        assert!(watch.wait(Duration::from_secs(60)), "something may have changed");
        let (never, _held) = std::os::unix::net::UnixStream::pair().expect("a pair");
        watch.wait_or(never.as_fd());
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn one_watch_tells_of_several_directories() {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let watch = Watch::empty();
        for folder in &folders {
            watch.include(folder.path()).expect("it exists");
        }
        assert!(!watch.wait(Duration::from_millis(1)));
        for folder in &folders {
            std::fs::write(folder.path().join("0"), "x").expect("written");
            assert!(watch.wait(Duration::from_secs(10)));
            watch.clear();
        }
    }
}
