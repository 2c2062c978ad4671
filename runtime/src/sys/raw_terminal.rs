//! A terminal in raw mode for as long as a value lives.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// Puts the terminal into raw mode (termios(3), `cfmakeraw`); dropping it restores what was before.
#[derive(Debug)]
pub struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
    raw: Termios,
}

impl RawTerminal {
    /// Enters raw mode.
    ///
    /// # Errors
    /// When the descriptor is not a terminal.
    pub fn enter(terminal: impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self {
            terminal,
            before,
            raw,
        })
    }

    /// Lends the terminal to somebody else, as it was before.
    ///
    /// # Errors
    /// When the terminal went away.
    pub fn lend(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &self.before)?)
    }

    /// Takes it back, raw.
    ///
    /// # Errors
    /// When the terminal went away.
    pub fn take_back(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &self.raw)?)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that went away needs no restoring.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
