//! The caller's side of an additional process.

use super::{
    enter::{Answer, Order},
    launch::Binary,
    message,
};
use crate::{container::LaunchError, role};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A process in a container that is the caller's child.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// Its terminal's master.
    pub(crate) master: Option<OwnedFd>,
}

/// Starts `order`; returns when it was executed.
pub(crate) fn enter(
    binary: &Binary,
    order: &Order,
    target: BorrowedFd<'_>,
    streams: &[OwnedFd],
) -> Result<Entered, LaunchError> {
    let (ours, theirs) = message::pair().map_err(LaunchError::Talk)?;
    let mut helper = binary
        .spawn(role::ENTER, theirs)
        .map_err(|cause| LaunchError::Spawn {
            program: "exec helper".into(),
            cause,
        })?;
    let mut descriptors = vec![target];
    descriptors.extend(streams.iter().map(AsFd::as_fd));
    let result = message::send(&ours, order, &descriptors)
        .map_err(LaunchError::Talk)
        .and_then(|()| hear(&ours));
    // It ends as soon as it has answered.
    let _ = helper.wait();
    result
}

fn hear(socket: &OwnedFd) -> Result<Entered, LaunchError> {
    let (pid, descriptors) = match message::receive::<Answer>(socket).map_err(LaunchError::Talk)? {
        Some((Answer::Entered { pid }, descriptors)) => (pid, descriptors),
        Some((Answer::Failed(failure), _)) => return Err(LaunchError::Inside(failure)),
        None => return Err(LaunchError::ShimLost),
    };
    let mut descriptors = descriptors.into_iter();
    let pidfd = descriptors.next().ok_or(LaunchError::ShimLost)?;
    let entered = Entered {
        pid,
        pidfd,
        master: descriptors.next(),
    };
    match message::receive::<Answer>(socket).map_err(LaunchError::Talk)? {
        None => Ok(entered),
        Some((Answer::Failed(failure), _)) => {
            let _ = crate::sys::pidfd::reap(entered.pidfd.as_fd(), true);
            Err(LaunchError::Inside(failure))
        }
        Some((Answer::Entered { .. }, _)) => Err(LaunchError::ShimLost),
    }
}
