//! The only place that renders errors, hints and exit statuses.

use super::{Exit, Global};
use crate::model::Place;
use clap::error::{ContextKind, ContextValue};
use std::{io::Write, process::ExitCode};

/// An error on its way to the user: what, why, where, what to do.
#[derive(Debug)]
pub struct CommandError {
    /// Whose fault; decides the exit status.
    pub exit: Exit,
    /// What commands that stand for their container give instead: 125–127 when its program could not be started.
    pub status: Option<u8>,
    /// What could not be done.
    pub what: String,
    /// Why, outermost first.
    pub because: Vec<String>,
    /// Where in a project file.
    pub at: Option<Place>,
    /// What to do.
    pub hint: Option<String>,
    /// Text already rendered (diagnostics with excerpts, last lines of a log), shown after the message.
    pub details: Option<String>,
}

impl CommandError {
    /// An error with a message only.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            status: None,
            what: what.into(),
            because: Vec::new(),
            at: None,
            hint: None,
            details: None,
        }
    }

    /// What could not be done, and the chain of causes of `error`.
    pub fn caused(exit: Exit, what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut made = Self::new(exit, what);
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            made.because.push(error.to_string());
            next = error.source();
        }
        made
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place in the project file.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.at = place;
        self
    }

    /// Adds text that is already rendered.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// The text shown to the user.
    pub fn render(&self) -> String {
        let mut text = format!("error: {}\n", self.what);
        for cause in &self.because {
            text += &format!("  because: {cause}\n");
        }
        if let Some(place) = &self.at {
            text += &format!("  at {place}\n");
        }
        if let Some(details) = &self.details {
            text += details;
            if !details.ends_with('\n') {
                text.push('\n');
            }
        }
        if let Some(hint) = &self.hint {
            text += &format!("hint: {hint}\n");
        }
        text
    }
}

/// Prints `error` on standard error and gives its exit status.
pub fn print(error: &CommandError, _global: &Global) -> ExitCode {
    // Standard error may be closed; there is nobody left to tell then.
    let _ = std::io::stderr().write_all(error.render().as_bytes());
    error.exit.into()
}

/// What is said of a command that `docker compose` has and banyan has not.
fn absent(error: &clap::Error) -> Option<CommandError> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let (what, hint) = match word.as_str() {
        "publish" => (
            "`publish` is not there yet: banyan puts no project files into registries",
            "`banyan push` sends the images; `banyan config --lock-image-digests -o FILE` writes what pins them",
        ),
        "bridge" => (
            "`bridge` is not there: banyan converts no projects for Kubernetes",
            "`banyan config --format json` prints the project for other tools to read",
        ),
        _ => return None,
    };
    Some(CommandError::new(Exit::Usage, what).hint(hint))
}

/// Prints what the argument parser has to say: help and version to standard output with status 0, mistakes to
/// standard error with the usage status.
pub fn usage(error: &clap::Error) -> ExitCode {
    if let Some(absent) = absent(error) {
        // Standard error may be closed.
        let _ = std::io::stderr().write_all(absent.render().as_bytes());
        return absent.exit.into();
    }
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage.into()
    } else {
        Exit::Success.into()
    }
}
