//! The terminal while the view has it: another screen, raw keys, no cursor. Whatever way out is taken, by a key, an
//! error, a signal or a panic, it is given back as it was.

use banyan_runtime::sys::raw_terminal::RawTerminal;
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor, execute,
        terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen},
    },
};
use std::{
    io::{self, Stdout},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

/// The terminal; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    raw: RawTerminal,
}

impl Screen {
    /// Takes the terminal on standard input and output.
    ///
    /// # Errors
    /// When they are none, or cannot be written to.
    pub(super) fn take() -> io::Result<Self> {
        let raw = RawTerminal::enter(io::stdin())?;
        // From here on `drop` gives everything back, also when what follows fails.
        let mut screen = Self {
            terminal: Terminal::new(CrosstermBackend::new(io::stdout()))?,
            raw,
        };
        screen.begin()?;
        Ok(screen)
    }

    fn begin(&mut self) -> io::Result<()> {
        execute!(
            io::stdout(),
            EnterAlternateScreen,
            cursor::Hide,
            Clear(ClearType::All)
        )?;
        // Nothing drawn is there any more. (`Terminal::clear` would ask the terminal for its cursor, and wait for keys.)
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }

    /// Draws; also follows the terminal's size.
    ///
    /// # Errors
    /// When the terminal went away.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Lends the terminal to `user` as it was before we took it.
    ///
    /// # Errors
    /// When the terminal went away.
    pub(super) fn lend<T>(&mut self, user: impl FnOnce() -> T) -> io::Result<T> {
        execute!(io::stdout(), LeaveAlternateScreen, cursor::Show)?;
        self.raw.lend()?;
        let done = user();
        self.raw.take_back()?;
        self.begin()?;
        Ok(done)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that went away needs nothing. Its modes are restored by `raw`, which is dropped next.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
    }
}

/// Runs something and gives what a panic in it, or in a thread it started, said: shown at once, that would be lost on the
/// other screen.
///
/// # Errors
/// The panic's text with its place.
pub(super) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    let said = Arc::new(Mutex::new(String::new()));
    let heard = said.clone();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let mut said = heard.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_empty() {
            *said = panic.to_string();
        }
    }));
    let done = catch_unwind(AssertUnwindSafe(run));
    std::panic::set_hook(before);
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    match done {
        Ok(done) if said.is_empty() => Ok(done),
        _ => Err(said.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_says_is_kept_for_after() {
        let dropped = Arc::new(Mutex::new(false));
        struct Guard(Arc<Mutex<bool>>);
        impl Drop for Guard {
            fn drop(&mut self) {
                *self.0.lock().unwrap() = true;
            }
        }
        let guard = Guard(dropped.clone());
        let outcome: Result<(), String> = guarded(move || {
            let _guard = guard;
            panic!("of no use");
        });
        assert!(outcome.unwrap_err().contains("of no use"));
        assert!(*dropped.lock().unwrap(), "what restores the terminal ran");
    }
}
