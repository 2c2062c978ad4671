//! Where a container's files are.

use serde::{Deserialize, Serialize};
use std::{io, path::PathBuf};

/// The two directories of one container; both are its own, nothing else may be in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerDir {
    /// Survives a reboot: settings, record, exit, log, engine files. The caller may put `upper` and `work` here too.
    pub state: PathBuf,
    /// Need not survive: socket, mount point.
    pub run: PathBuf,
}

/// The files in them.
pub(crate) mod paths {
    use std::path::{Path, PathBuf};

    /// Name of the shim's socket in the run directory.
    pub(crate) const SOCKET: &str = "shim.sock";

    pub(crate) fn settings(state: &Path) -> PathBuf {
        state.join("settings.json")
    }
    pub(crate) fn record(state: &Path) -> PathBuf {
        state.join("record.json")
    }
    pub(crate) fn exit(state: &Path) -> PathBuf {
        state.join("exit.json")
    }
    /// Exists from the moment the barrier is lifted; see `open`.
    pub(crate) fn lifted(run: &Path) -> PathBuf {
        run.join("lifted")
    }
    pub(crate) fn log(state: &Path) -> PathBuf {
        state.join("log")
    }
    /// `/etc/NAME` of the container.
    pub(crate) fn file(state: &Path, name: &str) -> PathBuf {
        state.join(format!("etc-{name}"))
    }
    pub(crate) fn socket(run: &Path) -> PathBuf {
        run.join(SOCKET)
    }
    /// `/` is mounted on it, in the container's mount namespace only, where nobody needs the directory itself.
    pub(crate) fn mount_point(run: &Path) -> &Path {
        run
    }
}

impl ContainerDir {
    /// `state/ID` and `run/ID` under two parents.
    #[must_use]
    pub fn new(state: PathBuf, run: PathBuf) -> Self {
        Self { state, run }
    }

    /// The directory of the container's log, for [`crate::log::Reader`].
    #[must_use]
    pub fn log(&self) -> PathBuf {
        paths::log(&self.state)
    }

    /// Makes everything that a launch expects.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let private = |path: &PathBuf| {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
        };
        private(&self.state)?;
        private(&self.log())?;
        private(&self.run)
    }
}
