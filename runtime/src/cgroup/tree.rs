//! The directories of one container's cgroup: made, joined, frozen, emptied, removed.

use super::{
    CgroupError, Layout, Resources, devices,
    directory::{apply, enable_controllers, inherit_cpuset, make, pause_ten_milliseconds, put, remove_tree},
    systemd::{self, Manager},
    v1, v2,
};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long systemd may take to change or stop a container's scope.
const PATIENCE: Duration = Duration::from_secs(30);

/// A container's cgroup; serialised into its record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// v1 directories with the controllers each stands for.
    pub v1: Vec<(PathBuf, Vec<String>)>,
    /// v2 directory.
    pub v2: Option<PathBuf>,
    /// The unit of systemd whose cgroup this is, limits and all; without it systemd does not know the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Box<str>>,
}

impl Cgroup {
    /// Names the directories of `name` (relative, may have several parts) on this host; makes nothing.
    ///
    /// On a hybrid host only v1 is used, unless nothing but v2 can hold a process tree together (`with_v2`): a
    /// container that shares the host's process ids is killed through `cgroup.kill`.
    #[must_use]
    pub fn plan(layout: &Layout, name: &str, with_v2: bool) -> Self {
        let v1 = layout
            .v1
            .iter()
            .map(|one| (one.mount.join(name), one.controllers.clone()))
            .collect::<Vec<_>>();
        let v2 = layout
            .v2
            .as_ref()
            .filter(|_| v1.is_empty() || with_v2)
            .map(|one| one.mount.join(name));
        Self { v1, v2, unit: None }
    }

    /// Makes the directories and writes the limits. On failure nothing is left.
    ///
    /// # Errors
    /// Names the file that could not be made or written.
    pub fn create(&self, limits: &Resources, device_rules: Option<&[String]>) -> Result<(), CgroupError> {
        let result = self.make_directories().and_then(|()| {
            self.write_limits(limits)?;
            match device_rules {
                Some(rules) => self.restrict_devices(rules),
                None => Ok(()),
            }
        });
        if result.is_err() {
            let _ = self.remove();
        }
        result
    }

    fn make_directories(&self) -> Result<(), CgroupError> {
        for (path, controllers) in &self.v1 {
            make(path)?;
            if controllers.iter().any(|name| name == "cpuset") {
                inherit_cpuset(path)?;
            }
        }
        if let Some(path) = &self.v2 {
            if self.v1.is_empty() {
                enable_controllers(path)?;
            }
            make(path)?;
        }
        Ok(())
    }

    /// Changes limits of a container that is there.
    ///
    /// # Errors
    /// Names the file; `EBUSY` when memory in use is above a new limit. `Systemd` when that refuses them.
    pub fn update(&self, limits: &Resources) -> Result<(), CgroupError> {
        if let Some(unit) = &self.unit {
            let properties = systemd::limits(limits);
            if !properties.is_empty() {
                Manager::connect(PATIENCE)?.set_properties(unit, &properties)?;
            }
        }
        self.write_limits(limits)
    }

    /// Writes limits into the files.
    ///
    /// # Errors
    /// Names the file; `EBUSY` when memory in use is above a new limit.
    pub fn write_limits(&self, limits: &Resources) -> Result<(), CgroupError> {
        for (path, controllers) in &self.v1 {
            for controller in controllers {
                let mut writes = v1::writes(controller, limits);
                // Growing both memory and swap needs the other order.
                if apply(path, &writes).is_err() {
                    writes.reverse();
                    apply(path, &writes)?;
                }
            }
        }
        if let (Some(path), true) = (&self.v2, self.v1.is_empty()) {
            apply(path, &v2::writes(limits))?;
        }
        self.check_controllers(limits)
    }

    fn check_controllers(&self, limits: &Resources) -> Result<(), CgroupError> {
        if self.v1.is_empty() {
            return Ok(());
        }
        let has = |name: &str| {
            self.v1
                .iter()
                .any(|(_, controllers)| controllers.iter().any(|one| one == name))
        };
        for (wanted, controller, limit) in [
            (limits.memory.is_some(), "memory", "memory"),
            (limits.cpu_quota.is_some(), "cpu", "cpus"),
            (limits.pids.is_some(), "pids", "pids_limit"),
            (limits.cpuset_cpus.is_some(), "cpuset", "cpuset"),
        ] {
            if wanted && !has(controller) {
                return Err(CgroupError::NoController { controller, limit });
            }
        }
        Ok(())
    }

    fn restrict_devices(&self, rules: &[String]) -> Result<(), CgroupError> {
        for (path, controllers) in &self.v1 {
            if controllers.iter().any(|name| name == "devices") {
                apply(path, &devices::v1_writes(rules))?;
            }
        }
        if let (Some(path), true) = (&self.v2, self.v1.is_empty()) {
            devices::attach(path, rules)?;
        }
        Ok(())
    }

    /// The files through which a process of one thread joins the v1 hierarchies: writing `0` moves the writer.
    ///
    /// `tasks`, not `cgroup.procs`: a thread that moves itself needs no lock over all forks of the machine, and taking that
    /// lock waits for an RCU grace period, 5 to 15 ms (`cgroup_attach_lock` in the kernel's `cgroup.c`). A process of one
    /// thread has moved as a whole all the same.
    pub(crate) fn doors(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.v1.iter().map(|(path, _)| path.join("tasks"))
    }

    /// The directory in a v1 hierarchy, named by its controllers.
    pub(crate) fn v1_directory(&self, hierarchy: &[String]) -> Option<&Path> {
        let found = self.v1.iter().find(|(_, controllers)| controllers == hierarchy);
        found.map(|(path, _)| path.as_path())
    }

    /// The directory of a v1 controller, or the v2 directory.
    pub(super) fn directory(&self, controller: &str) -> Option<&Path> {
        let on_v1 = self
            .v1
            .iter()
            .find(|(_, controllers)| controllers.iter().any(|name| name == controller));
        on_v1
            .map(|(path, _)| path.as_path())
            .or(self.v2.as_deref().filter(|_| self.v1.is_empty()))
    }

    /// All processes in it, as this pid namespace numbers them.
    ///
    /// # Errors
    /// When it is gone.
    pub fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        let Some(path) = self.v1.first().map(|(path, _)| path).or(self.v2.as_ref()) else {
            return Ok(Vec::new());
        };
        let path = path.join("cgroup.procs");
        let text = std::fs::read_to_string(&path).map_err(|cause| CgroupError::Read { path, cause })?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// How many processes the kernel killed in it for memory.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let Some(directory) = self.directory("memory") else {
            return 0;
        };
        let file = if self.v1.is_empty() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.parse().ok())
            .unwrap_or(0)
    }

    /// Stops every process in it until [`thaw`](Self::thaw).
    ///
    /// # Errors
    /// Names the file; `NotFrozen` when a process cannot be stopped within 10 s.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// Names the file.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), CgroupError> {
        let Some(directory) = self.directory("freezer") else {
            return Err(CgroupError::NoController {
                controller: "freezer",
                limit: "pause",
            });
        };
        let unified = self.v1.is_empty();
        let (file, value) = match (unified, frozen) {
            (true, true) => ("cgroup.freeze", "1"),
            (true, false) => ("cgroup.freeze", "0"),
            (false, true) => ("freezer.state", "FROZEN"),
            (false, false) => ("freezer.state", "THAWED"),
        };
        put(&directory.join(file), value)?;
        // Freezing is asynchronous: a process in the middle of a system call stops when it leaves it.
        for _ in 0..1000 {
            if self.is_frozen() == frozen {
                return Ok(());
            }
            // A v1 freezer caught in a fork needs to be asked again (freezer-subsystem.rst).
            put(&directory.join(file), value)?;
            pause_ten_milliseconds();
        }
        Err(CgroupError::NotFrozen(directory.to_path_buf()))
    }

    /// Whether every process in it is stopped.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let Some(directory) = self.directory("freezer") else {
            return false;
        };
        if self.v1.is_empty() {
            let events = std::fs::read_to_string(directory.join("cgroup.events")).unwrap_or_default();
            return events.lines().any(|line| line == "frozen 1");
        }
        std::fs::read_to_string(directory.join("freezer.state")).is_ok_and(|state| state.trim() == "FROZEN")
    }

    /// Kills every process in it (`cgroup.kill`, Linux 5.14, or one by one).
    pub fn kill(&self) {
        if let Some(v2) = &self.v2
            && put(&v2.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for _ in 0..100 {
            let Ok(list) = self.processes() else { return };
            if list.is_empty() {
                return;
            }
            for pid in list.into_iter().filter_map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let _ = self.thaw();
            pause_ten_milliseconds();
        }
    }

    /// Removes the directories with everything below; those already gone are fine.
    ///
    /// # Errors
    /// The first directory that stays; the others are removed all the same.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let mut result = Ok(());
        if let (Some(unit), Some(path)) = (&self.unit, &self.v2)
            && path.exists()
        {
            // systemd removes it by itself when its last process has ended; asked, it has when it answers.
            let stopped = Manager::connect(PATIENCE).and_then(|mut systemd| systemd.stop(unit));
            result = stopped.map_err(Into::into);
        }
        for path in self.v1.iter().map(|(path, _)| path).chain(&self.v2) {
            if let Err(errno) = remove_tree(path) {
                result = Err(CgroupError::Remove {
                    path: path.clone(),
                    cause: errno.into(),
                });
            }
            // Parents of ours that are empty now go too; a parent in use says EBUSY.
            let mut parent = path.parent();
            while let Some(directory) = parent.filter(|directory| is_ours(directory)) {
                if rustix::fs::rmdir(directory).is_err() {
                    break;
                }
                parent = directory.parent();
            }
        }
        result
    }
}

/// A directory this program may remove when empty: named after it, and not a unit of systemd's.
fn is_ours(directory: &Path) -> bool {
    directory
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("banyan") && !is_unit(name))
}

fn is_unit(name: &str) -> bool {
    [".scope", ".slice", ".service"]
        .iter()
        .any(|end| name.ends_with(end))
}
