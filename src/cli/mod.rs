//! The voice: what may be typed, and everything the user reads.

use std::process::ExitCode;

/// Runs the command line of this process and gives its exit status.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
