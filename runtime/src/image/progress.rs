//! What long work tells whoever watches: one small trait, rendered by the command line and the engine.

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// A layer or blob moved on.
    Layer {
        /// Short digest.
        id: &'a str,
        /// What is being done with it.
        doing: Doing,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// A named piece of work moved on ("fetching packages", 12 of 80).
    Work {
        /// What is being done.
        what: &'a str,
        /// Pieces or bytes done.
        done: u64,
        /// Pieces or bytes in all.
        total: u64,
    },
    /// A build step began.
    Step {
        /// From 1.
        number: usize,
        /// Steps in all.
        total: usize,
        /// The stage's name or number.
        stage: &'a str,
        /// The instruction as written.
        text: &'a str,
    },
    /// A build step ended well.
    StepDone {
        /// From 1.
        number: usize,
        /// Steps in all.
        total: usize,
        /// Whether its result was taken from the cache.
        cached: bool,
        /// Seconds it took.
        seconds: f64,
    },
    /// A step's command wrote this (any bytes, not always whole lines).
    Output {
        /// The step, from 1; 0 outside of builds.
        step: usize,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Something the user should know, in one sentence.
    Notice(&'a str),
}

/// What is being done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It is here already.
    Present,
    /// Another process downloads it, or it stands in line.
    Waiting,
    /// It comes from a registry.
    Downloading,
    /// It becomes a directory.
    Unpacking,
    /// It goes to a registry.
    Uploading,
    /// It is complete.
    Done,
}

/// Hears events, from several threads at once.
pub trait Progress: Sync {
    /// Takes one event; must return quickly.
    fn event(&self, event: Event<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}
