//! Moving bytes between sockets without copying them to user space: splice(2), pipe(7).

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// What a pipe should hold, in bytes. The default of 64 KiB has sixteen slots, which small packets use up quickly.
const CAPACITY: usize = 256 * 1024;

/// A pipe that bytes pass through on their way from one descriptor to another.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// Makes an empty pipe.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`: no descriptors left.
    pub fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused to unprivileged users past `fs.pipe-user-pages-soft`; the default size works as well.
        let _ = fcntl_setpipe_size(&write, CAPACITY);
        Ok(Self { read, write })
    }

    /// Moves what `from` has into the pipe and gives the number of bytes; zero: `from` is at its end.
    ///
    /// # Errors
    /// `EAGAIN`: nothing there, or the pipe is full; `ECONNRESET` and the like from `from`.
    pub fn fill(&self, from: impl AsFd) -> io::Result<usize> {
        Ok(splice(
            from,
            None,
            &self.write,
            None,
            CAPACITY,
            SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
        )?)
    }

    /// Moves at most `length` bytes from the pipe to `to` and gives their number.
    ///
    /// # Errors
    /// `EAGAIN`: `to` takes nothing now; `EPIPE`, `ECONNRESET` from `to`.
    pub fn drain(&self, to: impl AsFd, length: usize) -> io::Result<usize> {
        Ok(splice(
            &self.read,
            None,
            to,
            None,
            length,
            SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
        )?)
    }
}
