//! What the terminal can do: whether it is one, how wide it is, colours.

use super::{Ansi, Global, Progress};
use std::io::IsTerminal;

/// How a stream is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Colours may be used.
    pub colour: bool,
}

impl Style {
    /// For standard output.
    pub fn stdout(global: &Global) -> Self {
        Self {
            colour: allowed(global, std::io::stdout().is_terminal()),
        }
    }

    /// For standard error.
    pub fn stderr(global: &Global) -> Self {
        Self {
            colour: allowed(global, std::io::stderr().is_terminal()),
        }
    }

    /// `text` in an SGR style (`32`: green), when colours may be used.
    pub fn paint(self, sgr: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{sgr}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn allowed(global: &Global, terminal: bool) -> bool {
    match global.ansi {
        Ansi::Never => false,
        Ansi::Always => true,
        // https://no-color.org
        Ansi::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

/// How progress is shown, `auto` resolved.
pub fn progress(global: &Global) -> Progress {
    match global.progress {
        Progress::Auto if global.ansi == Ansi::Never || !std::io::stderr().is_terminal() => Progress::Plain,
        Progress::Auto => Progress::Tty,
        chosen => chosen,
    }
}

/// Columns of the terminal on standard error; 80 when it cannot be told.
pub fn width() -> usize {
    banyan_runtime::sys::host::terminal_size(std::io::stderr())
        .map_or(80, |(_, columns)| usize::from(columns))
        .max(20)
}
