//! Scopes for our processes: a place in systemd's tree that is ours to use (`Delegate=yes`), and that goes when the last
//! process in it has ended.

use super::{
    Layout,
    systemd::{Begun, Manager, Property, Scope, SystemdError, Value},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The slice of our own scopes.
pub(super) const SLICE: &str = "banyan.slice";

/// How often a unit that is about to go is waited for, 20 ms each.
const TRIES: u32 = 100;

/// A scope to be made.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) scope: &'a Scope,
    /// What `systemctl status` shows of it.
    pub(crate) description: &'a str,
    /// Its first process.
    pub(crate) pid: i32,
    /// More properties.
    pub(crate) properties: Vec<Property>,
}

impl Wanted<'_> {
    /// Has systemd make the scope with the process in it; gives its directory.
    ///
    /// # Errors
    /// `Exists` when a scope of this name has processes.
    pub(crate) fn make(&self, layout: &Layout, patience: Duration) -> Result<PathBuf, SystemdError> {
        let mount = layout.v2.as_ref().ok_or(SystemdError::Absent)?.mount.as_path();
        let directory = mount.join(self.scope.path()?);
        let mut manager = Manager::connect(patience)?;
        let properties = self.properties();
        for _ in 0..TRIES {
            if self.start(&mut manager, &properties)? {
                check_place(self.pid, mount, &directory)?;
                return Ok(directory);
            }
            if is_populated(&directory) {
                break;
            }
            // What was there before has ended; its unit goes now, or when its failure is forgotten.
            manager.stop(&self.scope.unit)?;
            manager.reset_failed(&self.scope.unit)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(SystemdError::Exists(self.scope.unit.clone()))
    }

    /// Whether the unit could be started; it is there already otherwise.
    fn start(&self, manager: &mut Manager, properties: &[Property]) -> Result<bool, SystemdError> {
        if self.scope.slice != SLICE {
            return Ok(manager.start_transient(&self.scope.unit, properties, None)? == Begun::Yes);
        }
        // Described so, the slice goes by itself when no scope needs it. One that is made because a scope names it stays.
        let slice = [
            text("Description", "Containers of banyan"),
            flag("StopWhenUnneeded", true),
            flag("DefaultDependencies", false),
        ];
        let unit = &self.scope.unit;
        if manager.start_transient(unit, properties, Some((SLICE, &slice)))? == Begun::Yes {
            return Ok(true);
        }
        // One of the two is there.
        if manager.start_transient(unit, properties, None)? == Begun::Exists {
            return Ok(false);
        }
        // The slice may have been about to go, and have come back undescribed; else this changes nothing.
        manager.start_transient(SLICE, &slice, None)?;
        Ok(true)
    }

    fn properties(&self) -> Vec<Property> {
        let mut list = vec![
            text("Description", self.description),
            text("Slice", &self.scope.slice),
            flag("Delegate", true),
            // Or it would be stopped, and its processes killed, before other units at shutdown have ended.
            flag("DefaultDependencies", false),
            text("CollectMode", "inactive-or-failed"),
            ("PIDs".to_owned(), Value::Numbers(vec![self.pid.cast_unsigned()])),
        ];
        let accounting = [
            "CPUAccounting",
            "MemoryAccounting",
            "IOAccounting",
            "TasksAccounting",
        ];
        list.extend(accounting.map(|name| flag(name, true)));
        // Without it systemd allows a share of what the machine can have.
        if !self.properties.iter().any(|(name, _)| name == "TasksMax") {
            list.push(("TasksMax".to_owned(), Value::Uint64(u64::MAX)));
        }
        list.extend(self.properties.iter().cloned());
        list
    }
}

fn text(name: &str, value: &str) -> Property {
    (name.to_owned(), Value::Text(value.to_owned()))
}

fn flag(name: &str, value: bool) -> Property {
    (name.to_owned(), Value::Bool(value))
}

/// Whether any process is in the cgroup or below it.
pub(super) fn is_populated(directory: &Path) -> bool {
    std::fs::read_to_string(directory.join("cgroup.events"))
        .is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
}

/// The cgroup of a process, below the mount of the v2 tree; `None` when it has ended.
pub(super) fn of_process(pid: &str, mount: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mount.join(path))
}

/// That systemd meant the same process, and the same tree.
fn check_place(pid: i32, mount: &Path, expected: &Path) -> Result<(), SystemdError> {
    match of_process(&pid.to_string(), mount) {
        Some(found) if found != expected => Err(SystemdError::Elsewhere {
            expected: expected.to_path_buf(),
            found,
        }),
        // One that has ended meanwhile is told by whoever waits for it.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_delegated_and_goes_by_itself() {
        let scope = Scope::new(SLICE, "banyan", "app").unwrap();
        let wanted = Wanted {
            scope: &scope,
            description: "it",
            pid: 7,
            properties: vec![("TasksMax".to_owned(), Value::Uint64(5))],
        };
        let list = wanted.properties();
        for expected in [
            flag("Delegate", true),
            flag("DefaultDependencies", false),
            text("Slice", "banyan.slice"),
            text("CollectMode", "inactive-or-failed"),
            ("PIDs".to_owned(), Value::Numbers(vec![7])),
            ("TasksMax".to_owned(), Value::Uint64(5)),
        ] {
            assert!(list.contains(&expected), "{expected:?}");
        }
        assert_eq!(list.iter().filter(|(name, _)| name == "TasksMax").count(), 1);
    }

    #[test]
    fn our_own_process_is_somewhere() {
        let found = of_process("self", Path::new("/mount"));
        assert!(found.is_none_or(|path| path.starts_with("/mount")));
        assert_eq!(of_process("0", Path::new("/mount")), None);
    }
}
