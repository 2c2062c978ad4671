//! Containers of an OCI runtime, by id, each in a directory below one root (runtime-spec, runtime.md).

use super::{Manager, Refused, VERSION, resolve, spec::Spec};
use crate::{
    container::{
        Container, ContainerDir, ContainerError, Direct, Handed, Hook, LaunchError, Launcher, Running,
    },
    failure::Failure,
    process::bundled::run_hook,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a killed container may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Why a command on a container failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message is the documentation")]
pub enum OciError {
    #[error("`{0}` cannot be a container's id: use letters, digits, _ . -")]
    BadId(String),
    #[error("container `{0}` exists already")]
    Exists(String),
    #[error("container `{0}` does not exist")]
    Unknown(String),
    #[error("container `{id}` is {status}: cannot {verb} it")]
    WrongStatus {
        id: String,
        status: Status,
        verb: &'static str,
    },
    #[error("config.json cannot be run")]
    Refused(#[from] Refused),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Hook(#[from] Failure),
    #[error("cannot write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("`{path}` is damaged")]
    Damaged {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// The `status` of runtime.md, "State"; `paused` is what every runtime adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the specification's own words")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// A container that was just created: it waits at its barrier and is the caller's child.
#[derive(Debug)]
pub struct Started {
    /// The process and its terminal.
    pub handed: Handed,
    /// Its directory.
    pub dir: ContainerDir,
}

/// What is kept beside the settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    bundle: PathBuf,
    rootfs: PathBuf,
    /// RFC 3339.
    created: String,
    state: Value,
    poststart: Vec<Hook>,
    poststop: Vec<Hook>,
}

/// All containers of one `--root`.
#[derive(Debug, Clone)]
pub struct Containers {
    root: PathBuf,
    manager: Manager,
}

impl Containers {
    /// Containers below `root`; `manager` makes the cgroups of new ones.
    #[must_use]
    pub fn new(root: PathBuf, manager: Manager) -> Self {
        Self { root, manager }
    }

    fn dir(&self, id: &str) -> Result<ContainerDir, OciError> {
        let plain = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
        if id.is_empty() || id.starts_with('.') || !id.chars().all(plain) {
            return Err(OciError::BadId(id.to_owned()));
        }
        let place = self.root.join(id);
        Ok(ContainerDir::new(place.clone(), place))
    }

    /// The directory of a container that exists.
    ///
    /// # Errors
    /// `Unknown`, `BadId`.
    pub fn find(&self, id: &str) -> Result<ContainerDir, OciError> {
        let dir = self.dir(id)?;
        if dir.state.join("state.json").exists() {
            Ok(dir)
        } else {
            Err(OciError::Unknown(id.to_owned()))
        }
    }

    /// Creates container `id` of a bundle up to its barrier, with `prestart` and `createRuntime` hooks run.
    ///
    /// # Errors
    /// Says what is wrong with the bundle or which step failed; nothing is left then.
    pub fn create(
        &self,
        launcher: &Launcher,
        id: &str,
        bundle: &Path,
        spec: &Spec,
        mut direct: Direct,
    ) -> Result<Started, OciError> {
        let dir = self.dir(id)?;
        let mut settings = resolve::resolve(spec, id, bundle, self.manager)?;
        if let Some(exact) = &mut settings.process.exact {
            exact.preserved = u32::try_from(direct.preserved.len()).unwrap_or(u32::MAX);
        }
        let listening = std::env::var("LISTEN_FDS")
            .ok()
            .filter(|_| !direct.preserved.is_empty());
        if let Some(count) = listening {
            settings.process.environment.push(format!("LISTEN_FDS={count}"));
            settings.process.environment.push("LISTEN_PID=1".to_owned());
        }
        self.reserve(id, &dir)?;
        let undo = |error: OciError| {
            let _ = std::fs::remove_dir_all(&dir.state);
            error
        };
        let bundled = settings.bundle.as_ref().map(|bundle| bundle.state.clone());
        let kept = Kept {
            bundle: bundle.to_path_buf(),
            rootfs: spec
                .root
                .as_ref()
                .map(|root| bundle.join(&root.path))
                .unwrap_or_default(),
            created: jiff::Timestamp::now().to_string(),
            state: bundled.unwrap_or_default(),
            poststart: spec.hooks.poststart.clone(),
            poststop: spec.hooks.poststop.clone(),
        };
        write_kept(&dir, &kept).map_err(undo)?;
        let preserved = std::mem::take(&mut direct.preserved);
        let direct = Direct { preserved, ..direct };
        let mut before_root = |pid: i32| {
            let state = told(&kept, Status::Creating, Some(pid)).to_string();
            let hooks = spec.hooks.prestart.iter().chain(&spec.hooks.create_runtime);
            for hook in hooks {
                run_hook(hook, &state).map_err(LaunchError::Inside)?;
            }
            Ok(())
        };
        let handed = launcher.hand_over(&settings, &dir, direct, &mut before_root);
        match handed {
            Ok(handed) => Ok(Started { handed, dir }),
            Err(error) => {
                run_poststop(&kept);
                Err(undo(error.into()))
            }
        }
    }

    fn reserve(&self, id: &str, dir: &ContainerDir) -> Result<(), OciError> {
        use std::os::unix::fs::DirBuilderExt;
        let make = |path: &Path, recursive: bool| {
            std::fs::DirBuilder::new()
                .recursive(recursive)
                .mode(0o700)
                .create(path)
        };
        let fail = |path: &Path, cause: io::Error| OciError::Write {
            path: path.to_path_buf(),
            cause,
        };
        make(&self.root, true).map_err(|cause| fail(&self.root, cause))?;
        match make(&dir.state, false) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(OciError::Exists(id.to_owned()))
            }
            made => made.map_err(|cause| fail(&dir.state, cause)),
        }
    }

    /// Starts the program of a created container, and runs its `poststart` hooks.
    ///
    /// # Errors
    /// `WrongStatus`; the step that failed (the container has ended then).
    pub fn start(&self, id: &str) -> Result<(), OciError> {
        let dir = self.find(id)?;
        let (status, _) = status(&dir)?;
        if status != Status::Created {
            return Err(OciError::WrongStatus {
                id: id.to_owned(),
                status,
                verb: "start",
            });
        }
        dir.lift()?;
        let kept = read_kept(&dir)?;
        let state = told(&kept, Status::Running, dir.without_shim()?.map(|c| c.pid())).to_string();
        for hook in &kept.poststart {
            if let Err(failure) = run_hook(hook, &state) {
                if let Some(container) = dir.without_shim()? {
                    container.kill()?;
                }
                return Err(failure.into());
            }
        }
        Ok(())
    }

    /// The state document of runtime.md, "State", with the fields runc adds.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn state(&self, id: &str) -> Result<Value, OciError> {
        let dir = self.find(id)?;
        let (status, container) = status(&dir)?;
        let kept = read_kept(&dir)?;
        // 0 for a container that has none: tools read the field unconditionally.
        let mut told = told(
            &kept,
            status,
            Some(container.map_or(0, |container| container.pid())),
        );
        told["rootfs"] = kept.rootfs.display().to_string().into();
        told["created"] = kept.created.into();
        told["owner"] = "".into();
        Ok(told)
    }

    /// All ids, sorted.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().join("state.json").exists())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort();
        ids
    }

    /// A container whose process exists, for exec, pause, update and their like; `allowed` are the statuses that will do.
    ///
    /// # Errors
    /// `WrongStatus` otherwise.
    pub fn living(
        &self,
        id: &str,
        allowed: &[Status],
        verb: &'static str,
    ) -> Result<Container<Running>, OciError> {
        let dir = self.find(id)?;
        match status(&dir)? {
            (status, Some(container)) if allowed.contains(&status) => Ok(container),
            (status, _) => Err(OciError::WrongStatus {
                id: id.to_owned(),
                status,
                verb,
            }),
        }
    }

    /// Sends a signal to the container's process, or to all of its processes.
    ///
    /// # Errors
    /// `WrongStatus` when it has stopped.
    pub fn kill(&self, id: &str, signal: i32, all: bool) -> Result<(), OciError> {
        let dir = self.find(id)?;
        if all && signal == libc::SIGKILL {
            dir.cgroup()?.kill();
            return Ok(());
        }
        let allowed = [Status::Created, Status::Running, Status::Paused];
        let container = self.living(id, &allowed, "signal")?;
        if signal == libc::SIGKILL {
            return Ok(container.kill()?);
        }
        container.signal(signal)?;
        if all {
            for pid in container
                .processes()?
                .into_iter()
                .filter(|pid| *pid != container.pid())
            {
                // Those that have ended meanwhile need no signal.
                if let Some(pidfd) =
                    rustix::process::Pid::from_raw(pid).and_then(|pid| crate::sys::pidfd::open(pid).ok())
                {
                    let _ = crate::sys::pidfd::signal(&pidfd, signal);
                }
            }
        }
        Ok(())
    }

    /// Removes a stopped container (or one that was only created) with its cgroups, and runs its `poststop` hooks.
    ///
    /// # Errors
    /// `WrongStatus` when it runs, unless `force`, which kills it. With `force` an unknown container is no error.
    pub fn delete(&self, id: &str, force: bool) -> Result<(), OciError> {
        let dir = match self.find(id) {
            Err(OciError::Unknown(_)) if force => {
                // A create that was killed half-way may have left its directory.
                let _ = std::fs::remove_dir_all(self.dir(id)?.state);
                return Ok(());
            }
            found => found?,
        };
        let (status, container) = status(&dir)?;
        match status {
            Status::Stopped | Status::Creating => {}
            Status::Created => {}
            _ if force => {}
            status => {
                return Err(OciError::WrongStatus {
                    id: id.to_owned(),
                    status,
                    verb: "delete",
                });
            }
        }
        if let Some(container) = container {
            container.kill()?;
            let limit = i32::try_from(GONE_WITHIN.as_millis()).unwrap_or(i32::MAX);
            if !crate::sys::pidfd::wait_end(container.pidfd(), limit).map_err(ContainerError::Wait)? {
                return Err(ContainerError::StillRunning.into());
            }
        }
        if let Ok(cgroup) = dir.cgroup() {
            // In a shared pid namespace its other processes outlive the first.
            if cgroup.processes().is_ok_and(|list| !list.is_empty()) {
                cgroup.kill();
            }
            cgroup.remove().map_err(ContainerError::Cgroup)?;
        }
        if let Ok(kept) = read_kept(&dir) {
            run_poststop(&kept);
        }
        std::fs::remove_dir_all(&dir.state).map_err(|cause| OciError::Write {
            path: dir.state.clone(),
            cause,
        })
    }
}

/// Errors of these hooks are only told (runtime.md, "Lifecycle", 13).
fn run_poststop(kept: &Kept) {
    let state = told(kept, Status::Stopped, None).to_string();
    for hook in &kept.poststop {
        if let Err(failure) = run_hook(hook, &state) {
            tracing::warn!(%failure, "a poststop hook failed");
        }
    }
}

/// Where a container stands, and its process if there is one.
fn status(dir: &ContainerDir) -> Result<(Status, Option<Container<Running>>), OciError> {
    let container = match dir.without_shim() {
        Ok(container) => container,
        // No record yet: its creation is under way, or was killed.
        Err(ContainerError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
            return Ok((Status::Creating, None));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(match container {
        None => (Status::Stopped, None),
        Some(container) if container.is_paused() => (Status::Paused, Some(container)),
        Some(container) if dir.is_waiting() => (Status::Created, Some(container)),
        Some(container) => (Status::Running, Some(container)),
    })
}

fn told(kept: &Kept, status: Status, pid: Option<i32>) -> Value {
    let mut told = kept.state.clone();
    told["ociVersion"] = VERSION.into();
    told["status"] = status.to_string().into();
    if let Some(pid) = pid {
        told["pid"] = pid.into();
    }
    told["bundle"] = kept.bundle.display().to_string().into();
    told
}

fn write_kept(dir: &ContainerDir, kept: &Kept) -> Result<(), OciError> {
    let path = dir.state.join("state.json");
    let written = serde_json::to_vec(kept)
        .map_err(io::Error::from)
        .and_then(|text| std::fs::write(&path, text));
    written.map_err(|cause| OciError::Write { path, cause })
}

fn read_kept(dir: &ContainerDir) -> Result<Kept, OciError> {
    let path = dir.state.join("state.json");
    let kept = std::fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    kept.map_err(|cause| OciError::Damaged { path, cause })
}
