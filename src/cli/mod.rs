//! The voice: what may be typed, and everything the user reads.
//!
//! 1. [`args`] says what may be typed (one file per command below it).
//! 2. [`main`] parses, starts tracing, runs one command.
//! 3. [`report`] renders every error; [`exit`] is the table of exit statuses.

pub mod args;
mod attach;
mod attached;
pub mod config;
pub mod container;
pub mod context;
mod detach_keys;
mod down;
mod drive;
mod enable;
mod engine;
mod events;
mod exec;
pub mod exit;
mod files;
mod format;
pub mod graph;
mod graph_svg;
mod image;
mod images;
mod init;
mod interrupt;
mod lifecycle;
mod log_lines;
mod logs;
mod network;
pub mod oci;
mod overlay;
mod pin;
mod progress;
mod ps;
mod push;
mod recipe;
pub mod reference;
pub mod report;
mod run;
mod scale;
mod session;
mod small;
mod stats;
mod system;
pub mod table;
pub mod terminal;
pub mod terminal_session;
mod top;
mod ui;
mod up;
mod usage;
mod volume;
mod wait;
mod watch;
mod why;

pub use args::{Ansi, Cli, Global, Progress};
pub use exit::Exit;
pub use report::CommandError;

use clap::Parser;
use std::process::ExitCode;

/// What a command hands back: the exit status, or an error that [`report`] renders.
pub type Outcome = Result<Exit, CommandError>;

/// Runs the command line of this process and gives its exit status.
pub fn main() -> ExitCode {
    // Parsed apart: its flags are another program's, and engines start it often.
    if let Some(words) = oci_words() {
        start_tracing();
        return ExitCode::from(oci::main(words, None));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report::usage(&error),
    };
    start_tracing();
    let outcome = args::run(&cli);
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => report::print(&error, &cli.global),
    }
}

/// Data for whoever reads us; a reader that went away wants no more.
fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The words after `oci`, when that is the command, or all of them when the program's name says so.
fn oci_words() -> Option<Vec<std::ffi::OsString>> {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    let named = std::path::Path::new(&name)
        .file_name()
        .is_some_and(|name| name == oci::NAME);
    if named {
        return Some(words.collect());
    }
    (words.next()? == "oci").then(|| words.collect())
}

/// `BANYAN_LOG=debug` turns tracing on; without it nothing is even formatted.
fn start_tracing() {
    let Some(filter) = std::env::var_os("BANYAN_LOG") else {
        return;
    };
    let filter = tracing_subscriber::EnvFilter::new(filter.to_string_lossy());
    // A second subscriber in one process can only mean a test harness; its own settings win.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
