//! Exit statuses: whose fault it was.

use std::process::ExitCode;

/// How a command ended. The table is documented in `docs/cli.md`, and a test compares the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done: 0.
    Success,
    /// Something the user asked for failed (a service, a build, a pull): 1.
    Failed,
    /// The command line is wrong: 64 (`EX_USAGE` of sysexits.h).
    Usage,
    /// The project file is wrong: 65 (`EX_DATAERR`).
    ProjectFile,
    /// The host lacks something: a permission, a kernel feature, disk space: 69 (`EX_UNAVAILABLE`).
    Host,
    /// Our fault: 70 (`EX_SOFTWARE`).
    Internal,
    /// Interrupted by Ctrl-C: 130, as shells report it.
    Interrupted,
    /// The status of a container (`run`, `exec`, `up --exit-code-from`), or 125–127 as Docker gives them.
    Status(u8),
}

impl Exit {
    /// The number given to the caller.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 64,
            Self::ProjectFile => 65,
            Self::Host => 69,
            Self::Internal => 70,
            Self::Interrupted => 130,
            Self::Status(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
