//! Failures of operations, on their way to the reader.

use crate::{
    api::wire::{Failure, Fault},
    model::Place,
};
use std::error::Error;

impl Failure {
    /// What could not be done, and whose fault it is.
    pub fn new(fault: Fault, what: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            fault,
            what: what.into(),
            because: Vec::new(),
            at: None,
            hint: None,
            details: None,
            cleanup: Vec::new(),
            status: None,
        })
    }

    /// The same with the chain of causes of `error`.
    pub fn caused(fault: Fault, what: impl Into<String>, error: &(dyn Error + 'static)) -> Box<Self> {
        let mut failure = Self::new(fault, what);
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            // fs_err and io repeat themselves; one line says it.
            if failure.because.last() != Some(&text) {
                failure.because.push(text);
            }
            next = error.source();
        }
        failure
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place in the project file.
    #[must_use]
    pub fn at(mut self: Box<Self>, place: Option<&Place>) -> Box<Self> {
        self.at = place.cloned();
        self
    }

    /// Adds text that explains: last lines of a log, a probe's output.
    #[must_use]
    pub fn details(mut self: Box<Self>, details: impl Into<String>) -> Box<Self> {
        let details = details.into();
        self.details = (!details.is_empty()).then_some(details);
        self
    }
}

/// What an operation gives.
pub type Outcome<T = ()> = Result<T, Box<Failure>>;

/// Everything that went wrong on a way that does not stop at the first error.
pub type Failures = Vec<Box<Failure>>;
