//! Waiting for input on several descriptors at once.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

/// Waits until one of the descriptors can be read, or its other end is gone, at most `timeout` (poll(2)); gives which.
/// A signal ends the wait early: then none is ready.
///
/// # Errors
/// As poll(2), but EINTR.
pub fn readable<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Duration,
) -> io::Result<[bool; N]> {
    let mut list = descriptors
        .each_ref()
        .map(|descriptor| PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN));
    let limit = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match poll(&mut list, Some(&limit)) {
        Ok(_) => Ok(list.map(|one| !one.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok([false; N]),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, os::unix::net::UnixStream};

    #[test]
    fn tells_which_descriptor_has_input_or_lost_its_other_end() {
        let (a, mut to_a) = UnixStream::pair().unwrap();
        let (b, to_b) = UnixStream::pair().unwrap();
        let now = || readable([a.as_fd(), b.as_fd()], Duration::ZERO).unwrap();
        assert_eq!(now(), [false, false]);
        to_a.write_all(b"x").unwrap();
        assert_eq!(now(), [true, false]);
        drop(to_b);
        assert_eq!(now(), [true, true]);
    }
}
