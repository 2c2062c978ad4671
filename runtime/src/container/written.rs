//! What a launch writes before there is a process: the container's directories, settings, first record, and files it sees.

use super::{ContainerDir, LaunchError, Settings, exit::replace, paths, record::Record};
use crate::cgroup::Cgroup;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// Makes its directories; what an earlier run left in them of its end goes.
pub(super) fn prepare(dir: &ContainerDir) -> Result<(), LaunchError> {
    dir.prepare().map_err(|cause| LaunchError::Write {
        path: dir.state.clone(),
        cause,
    })?;
    let _ = std::fs::remove_file(paths::exit(&dir.state));
    let _ = std::fs::remove_file(paths::lifted(&dir.run));
    Ok(())
}

/// What must be there before anything of the container is: should everything be killed, it can be found and removed.
pub(super) fn write_files(
    settings: &Settings,
    dir: &ContainerDir,
    cgroup: &Cgroup,
) -> Result<(), LaunchError> {
    let fail = |path: PathBuf| move |cause| LaunchError::Write { path, cause };
    let text = serde_json::to_vec(settings)
        .map_err(std::io::Error::from)
        .map_err(fail(paths::settings(&dir.state)))?;
    // Whoever reserved the container has written them.
    if !std::fs::read(paths::settings(&dir.state)).is_ok_and(|there| there == text) {
        replace(&paths::settings(&dir.state), &text).map_err(fail(paths::settings(&dir.state)))?;
    }
    let record = Record::planned(&settings.id, cgroup).and_then(|record| record.write(&dir.state));
    record.map_err(fail(paths::record(&dir.state)))?;
    let files = &settings.files;
    for (name, content) in [
        ("hosts", &files.hosts),
        ("resolv.conf", &files.resolv_conf),
        ("hostname", &files.hostname),
    ] {
        let Some(content) = content else { continue };
        let path = paths::file(&dir.state, name);
        write_visible(&path, content).map_err(fail(path.clone()))?;
    }
    Ok(())
}

impl ContainerDir {
    /// Writes the settings only, so that a container can be found by its name before it is created.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn reserve(&self, settings: &Settings) -> Result<(), LaunchError> {
        let fail = |path: PathBuf| move |cause| LaunchError::Write { path, cause };
        self.prepare().map_err(fail(self.state.clone()))?;
        let path = paths::settings(&self.state);
        let text = serde_json::to_vec(settings)
            .map_err(std::io::Error::from)
            .map_err(fail(path.clone()))?;
        replace(&path, &text).map(drop).map_err(fail(path))
    }
}

/// Files a container sees must be readable for all of its users, whatever our umask.
pub(super) fn write_visible(path: &Path, content: &str) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    // In place: a running container has this very file mounted.
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.write_all(content.as_bytes())
}
