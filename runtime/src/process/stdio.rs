//! Standard input, output and error of a container.

use rustix::{
    fs::{Mode, OFlags},
    pipe::PipeFlags,
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

/// The two ends of one pipe of a container.
#[derive(Debug)]
pub(super) struct Ends {
    /// The shim's, non-blocking.
    pub(super) ours: OwnedFd,
    /// The container's.
    pub(super) theirs: OwnedFd,
}

/// A pipe for output. The container's end is opened for reading too, so that the pipe always has a reader: when the
/// shim is killed, the container does not die of SIGPIPE, and what it has written waits for the next reader.
pub(super) fn output() -> io::Result<Ends> {
    let (ours, _) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // Through /proc, because a pipe made by pipe(2) has one-way ends only (fifo(7)).
    let path = format!("/proc/self/fd/{}", ours.as_raw_fd());
    let theirs = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    Ok(Ends { ours, theirs })
}

/// A pipe for input. Non-blocking on our side only.
pub(super) fn input() -> io::Result<Ends> {
    let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok(Ends { ours, theirs })
}

/// Makes the descriptors 0, 1 and 2 of this process.
pub(super) fn install(input: &OwnedFd, output: &OwnedFd, error: &OwnedFd) -> rustix::io::Result<()> {
    rustix::stdio::dup2_stdin(input)?;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(error)
}
