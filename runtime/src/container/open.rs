//! Finding a container again, and removing it.

use super::{
    ContainerDir, ContainerError, Exit, Settings,
    handle::{Container, Created, Running, connect},
    paths,
    record::{Record, boot_id},
};
use crate::{
    cgroup::Cgroup,
    process::message::{self, Reply},
    sys::pidfd,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How folders of containers begin that are being made or removed; the maker's process id and a dash follow.
const NEW: &str = ".new-";
const GONE: &str = ".gone-";

/// What is left of a container on disk and in the kernel.
#[derive(Debug)]
pub enum Found {
    /// At the barrier.
    Created(Container<Created>),
    /// Its program runs.
    Running(Container<Running>),
    /// Its processes run, but its shim was killed: what it writes waits in its pipes, and nobody will record its end
    /// unless [`super::Launcher::adopt`] gives it a new shim.
    Orphaned {
        /// Process id of its process 1.
        pid: i32,
    },
    /// Its shim was killed before the start: its process waits at the barrier for nobody. [`give_up`] ends it.
    Abandoned {
        /// Process id of its process 1.
        pid: i32,
    },
    /// It has ended.
    Stopped(Exit),
    /// It has ended, and nobody could record how: the machine or its shim went down with it.
    Lost,
    /// It was never started (or not since it was last recorded).
    Never,
}

/// Reads a container back. The recorded process is verified by its start time, so a stranger with its number is never
/// taken for it.
///
/// # Errors
/// When its record is unreadable.
pub fn open(dir: &ContainerDir) -> Result<Found, ContainerError> {
    let Some(record) = read_record(dir)? else {
        return Ok(Found::Never);
    };
    if let Some(exit) = Exit::read(&dir.state) {
        return Ok(Found::Stopped(exit));
    }
    let same_boot = boot_id().is_ok_and(|boot| boot == record.boot);
    let Some((container, _)) = record.processes else {
        // The launch was cut off before there was a process.
        return Ok(Found::Never);
    };
    // What never came past the barrier has nothing to lose.
    let gone = if same_boot && !paths::lifted(&dir.run).exists() {
        Found::Never
    } else {
        Found::Lost
    };
    let ended = |gone| Exit::read(&dir.state).map_or(gone, Found::Stopped);
    let Some(pidfd) = container.open().filter(|_| same_boot) else {
        // Ended between our two looks?
        return Ok(ended(gone));
    };
    match connect(&dir.run) {
        Ok((socket, hello)) => {
            let cgroup = record.cgroup;
            Ok(match hello.started {
                Some(_) => Found::Running(Container::assemble(dir.clone(), cgroup, hello, pidfd, socket)),
                None => Found::Created(Container::assemble(dir.clone(), cgroup, hello, pidfd, socket)),
            })
        }
        Err(_) => Ok(match ended(gone) {
            // It ends by itself as soon as it notices that nobody is left to lift the barrier.
            Found::Never => Found::Abandoned { pid: container.pid },
            Found::Lost if !pidfd::wait_end(&pidfd, 0).unwrap_or(true) => {
                Found::Orphaned { pid: container.pid }
            }
            found => found,
        }),
    }
}

/// Ends a container whose shim was killed before the start ([`Found::Abandoned`]); it counts as never launched then.
///
/// # Errors
/// When its process cannot be killed, or its cgroup stays.
pub fn give_up(dir: &ContainerDir) -> Result<(), ContainerError> {
    let Some(mut record) = read_record(dir)? else {
        return Ok(());
    };
    if let Some(shim) = end_processes(dir, &record, true)? {
        wait_gone(&shim)?;
    }
    record.cgroup.remove()?;
    record.processes = None;
    record.write(&dir.state).map_err(ContainerError::Wait)
}

/// Removes everything of a container: its cgroups, sockets, log, records, `upper` and `work` when they are in its
/// directory. Volumes are not touched: nothing is mounted here.
///
/// # Errors
/// `StillRunning` unless `force`, which kills it first. All parts are tried; the first failure is told.
pub fn remove(dir: &ContainerDir, force: bool) -> Result<(), ContainerError> {
    let record = read_record(dir).unwrap_or(None);
    let mut dying = None;
    if let Some(record) = &record {
        dying = end_processes(dir, record, force)?;
        record.cgroup.remove()?;
    }
    let run = remove_directory(&dir.run);
    let state = remove_directory(&dir.state);
    if let Some(shim) = dying {
        wait_gone(&shim)?;
    }
    run.and(state)
}

/// Makes sure that the container is not left, and that its shim is not or does nothing more: it is dying then.
fn end_processes(
    dir: &ContainerDir,
    record: &Record,
    force: bool,
) -> Result<Option<OwnedFd>, ContainerError> {
    let Some((container, shim)) = record.processes else {
        return Ok(None);
    };
    if boot_id().is_ok_and(|boot| boot != record.boot) {
        return Ok(None);
    }
    if let Some(pidfd) = container.open() {
        if !force {
            return Err(ContainerError::StillRunning);
        }
        let told = connect(&dir.run).ok();
        let _ = pidfd::signal(&pidfd, libc::SIGKILL);
        let _ = record.cgroup.thaw();
        // A killed process can be held up by the kernel (a dead network filesystem): not for ever.
        if !pidfd::wait_end(&pidfd, 10_000).map_err(ContainerError::Wait)? {
            return Err(ContainerError::StillRunning);
        }
        if let Some((socket, _)) = told {
            wait_until_recorded(&socket);
        }
    }
    let Some(shim) = shim.open() else {
        return Ok(None);
    };
    if Exit::read(&dir.state).is_some() {
        // The end is recorded and told: what is left to it is to write the record to the disk, for nobody.
        let _ = pidfd::signal(&shim, libc::SIGKILL);
        return Ok(Some(shim));
    }
    wait_gone(&shim)?;
    Ok(None)
}

/// Waits for the end of a process that is ending.
fn wait_gone(process: &OwnedFd) -> Result<(), ContainerError> {
    if pidfd::wait_end(process, 10_000).map_err(ContainerError::Wait)? {
        Ok(())
    } else {
        Err(ContainerError::StillRunning)
    }
}

/// Waits until a shim has recorded its container's end, or is gone, at most ten seconds.
fn wait_until_recorded(socket: &OwnedFd) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match message::try_receive::<Reply>(socket) {
            Ok(Some((Reply::Exited(_), _)) | None) => return,
            Ok(Some(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = deadline.saturating_duration_since(Instant::now());
                let limit = Timespec {
                    tv_sec: i64::try_from(left.as_secs()).unwrap_or(10),
                    tv_nsec: left.subsec_nanos().into(),
                };
                let mut list = [PollFd::new(socket, PollFlags::IN)];
                if left.is_zero() || poll(&mut list, Some(&limit)).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// The process 1 of a container that has one now: its number and pidfd.
pub(super) fn live_process(dir: &ContainerDir) -> Result<Option<(i32, OwnedFd)>, ContainerError> {
    let Some(record) = read_record(dir)? else {
        return Ok(None);
    };
    let same_boot = boot_id().is_ok_and(|boot| boot == record.boot);
    let process = record.processes.filter(|_| same_boot);
    Ok(process.and_then(|(container, _)| Some((container.pid, container.open()?))))
}

/// Where a recorded container's cgroups are.
pub(super) fn recorded_cgroup(dir: &ContainerDir) -> Result<Cgroup, ContainerError> {
    let path = paths::record(&dir.state);
    read_record(dir)?
        .map(|record| record.cgroup)
        .ok_or_else(|| ContainerError::Read {
            path,
            cause: io::ErrorKind::NotFound.into(),
        })
}

fn read_record(dir: &ContainerDir) -> Result<Option<Record>, ContainerError> {
    read(&paths::record(&dir.state))
}

/// The settings a container was created with.
pub(super) fn read_settings(dir: &ContainerDir) -> Result<Settings, ContainerError> {
    let path = paths::settings(&dir.state);
    read(&path)?.ok_or_else(|| ContainerError::Read {
        path,
        cause: io::ErrorKind::NotFound.into(),
    })
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, ContainerError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|cause| ContainerError::Damaged {
                path: path.to_path_buf(),
                cause,
            }),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ContainerError::Read {
            path: path.to_path_buf(),
            cause,
        }),
    }
}

/// Removes a directory as one step for everybody else: it gets another name first, so that a kill leaves all of it or
/// something that [`sweep`] knows for rubbish.
fn remove_directory(path: &Path) -> Result<(), ContainerError> {
    let fail = |cause| ContainerError::Remove {
        path: path.to_path_buf(),
        cause,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let away = path.with_file_name(format!("{GONE}{}-{name}", std::process::id()));
    match std::fs::rename(path, &away) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(fail)?,
    }
    std::fs::remove_dir_all(&away).map_err(fail)
}

/// Where the folder of a container that is being made may be, below the folder of all: it gets its name when it is
/// complete, and [`sweep`] removes it if its maker dies before.
#[must_use]
pub fn unfinished(parent: &Path, id: &str) -> PathBuf {
    parent.join(format!("{NEW}{}-{id}", std::process::id()))
}

/// Removes what processes that were killed left of containers below `parent`, half made or half removed. What a living
/// process works on stays.
pub fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some(name) = file.to_str() else { continue };
        let rest = name.strip_prefix(NEW).or_else(|| name.strip_prefix(GONE));
        let maker = rest.and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid);
        if maker.is_some_and(|pid| !crate::sys::host::is_running(pid)) {
            // It is only space; the next one tries again.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl ContainerDir {
    /// The settings the container in this directory was last created with.
    ///
    /// # Errors
    /// When they are missing or damaged.
    pub fn settings(&self) -> Result<Settings, ContainerError> {
        read_settings(self)
    }
}
