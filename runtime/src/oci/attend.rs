//! A parent in the foreground: signals go to the container, its end comes back. For programs with one thread.

use crate::sys::{host, pidfd, signals};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

/// Blocks all signals of this thread, so that none is lost between the container's creation and [`wait`]. Processes
/// started meanwhile are not concerned.
///
/// # Errors
/// Never on Linux.
pub fn prepare() -> io::Result<()> {
    signals::block_all()
}

/// Waits for our child's end; every other signal that arrives is sent on to it, and a change of our terminal's size goes to
/// `terminal`. Gives the code as a shell has it: 128 + the number for a signal.
///
/// # Errors
/// When it is not our child.
pub fn wait(process: BorrowedFd<'_>, terminal: Option<BorrowedFd<'_>>) -> io::Result<i32> {
    loop {
        if let Some(ended) = pidfd::reap(process, false)? {
            return Ok(match ended {
                pidfd::Ended::Code(code) => code,
                pidfd::Ended::Signal(signal) => 128 + signal,
            });
        }
        match signals::wait_any() {
            Ok(libc::SIGCHLD | libc::SIGURG) | Err(_) => {}
            Ok(libc::SIGWINCH) => {
                if let (Some(terminal), Some((rows, columns))) =
                    (terminal, host::terminal_size(io::stdin().as_fd()))
                {
                    let _ = host::set_terminal_size(terminal, rows, columns);
                }
            }
            // Ended meanwhile: the next look says so.
            Ok(number) => drop(pidfd::signal(process, number)),
        }
    }
}
