//! Where the cgroups of our own containers are.
//!
//! * Where systemd does not own the tree: at the root of each hierarchy, or below the parent asked for.
//! * Where it does (cgroup v2): in a scope below `banyan.slice`, one per tree of processes that launches containers: an
//!   engine, an attendant, or the shim of a container that has neither. systemd is asked once per scope; containers are
//!   directories in it that we make ourselves.
//!
//! ```text
//! banyan.slice/                   gone when no scope is in it (StopWhenUnneeded=)
//!   banyan-app.scope/             gone when no process is in it; Delegate=yes
//!     supervisor/                 the engine and the shims it starts
//!     <id of a container>/        its processes, its limits
//! ```
//!
//! Processes are in leaves only, or the kernel would hand no controllers down to containers ("no internal processes",
//! cgroup-v2.rst). Whatever of us is killed, the scope stays while a container or a shim lives, and a shim that brings its
//! engine back does so from `supervisor`, where the new engine is at its place already. Limits are safe from systemd: it
//! writes to the scope, never below it.

use super::{
    Cgroup, Layout,
    directory::pause_ten_milliseconds,
    scope::{SLICE, Wanted, is_populated, of_process},
    systemd::{self, Scope, SystemdError},
};
use rustix::io::Errno;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The leaf of a scope that our own processes are in.
const LEAF: &str = "supervisor";
/// How our scopes' names begin.
const PREFIX: &str = "banyan";
/// How often a scope that is about to go is looked at, every 10 ms.
const LEAVING: u32 = 200;
/// How long systemd may take to make a scope before we do without.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a launcher's containers go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// To the root of each hierarchy.
    Root,
    /// Into this scope.
    Scope(PathBuf),
    /// Each into a scope of its own, with its shim.
    Each,
}

/// A container's wishes that decide where its cgroup is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) id: &'a str,
    /// The parent asked for: a path below the root, or a slice where systemd runs.
    pub(crate) parent: Option<&'a str>,
    /// It shares the host's process ids, and is killed by its cgroup.
    pub(crate) shared_pids: bool,
}

impl Place {
    /// Of a process that has not asked for a scope: in the scope it was started in, if that is one of ours.
    pub(crate) fn here(layout: &Layout) -> Self {
        let Some(mount) = owned(layout) else {
            return Self::Root;
        };
        match of_process("self", mount).and_then(|path| our_scope(&path)) {
            Some(scope) => Self::Scope(scope),
            None => Self::Each,
        }
    }

    /// Puts this process, and so everything it starts from now on, into the scope `banyan-<name>.scope`. One that is there
    /// already because containers of a killed process like this one are in it is joined.
    ///
    /// # Errors
    /// When systemd does not make it; [`Place::Root`] is the place then.
    pub(super) fn settle(layout: &Layout, name: &str, description: &str) -> Result<Self, SystemdError> {
        let scope = Scope::new(SLICE, PREFIX, name)?;
        let own = rustix::process::getpid().as_raw_nonzero().get();
        move_in(layout, &scope, description, own).map(Self::Scope)
    }

    /// The cgroup of a container; `shim` gives its shim's process id, if that is needed. systemd is asked for a scope if the
    /// container gets one of its own; if it does not make one, the root is the place, and the error says why.
    pub(super) fn cgroup<E>(
        &self,
        layout: &Layout,
        wish: Wish<'_>,
        shim: impl FnOnce() -> Result<i32, E>,
    ) -> Result<(Cgroup, Option<SystemdError>), E> {
        let at_root = || {
            let name = match wish.parent {
                Some(parent) => format!("{}/{}", parent.trim_matches('/'), wish.id),
                None => format!("banyan-{}", wish.id),
            };
            Cgroup::plan(layout, &name, wish.shared_pids)
        };
        let in_scope = |scope: &Path| Cgroup {
            v2: Some(scope.join(wish.id)),
            ..Cgroup::default()
        };
        let slice = match (self, wish.parent) {
            (Self::Root, _) => return Ok((at_root(), None)),
            (Self::Scope(scope), None) => return Ok((in_scope(scope), None)),
            (Self::Each, None) => SLICE,
            (_, Some(parent)) if parent.ends_with(".slice") && !parent.contains('/') => parent,
            (_, Some(_)) => return Ok((at_root(), None)),
        };
        Ok(match own_scope(layout, slice, wish.id, shim()?) {
            Ok(scope) => (in_scope(&scope), None),
            Err(error) => (at_root(), Some(error)),
        })
    }
}

impl Cgroup {
    /// Puts a new shim of a container where its shims are, if it is in a scope of ours.
    pub(crate) fn take_in(&self, shim: i32) {
        let scope = self.v2.as_deref().and_then(Path::parent);
        if let Some(scope) = scope.filter(|scope| is_our_scope(scope)) {
            // Elsewhere it works all the same; it ends with whatever started it then.
            let _ = enter(scope, shim);
        }
    }
}

fn own_scope(layout: &Layout, slice: &str, id: &str, shim: i32) -> Result<PathBuf, SystemdError> {
    let short = id.get(..12).unwrap_or(id);
    let scope = Scope::new(slice, PREFIX, short)?;
    move_in(layout, &scope, &format!("Container {short} (banyan)"), shim)
}

/// Puts a process into the leaf of a scope, which is made unless containers are in it; gives the scope's directory.
///
/// A scope whose containers have ended goes as soon as their shims have: it is waited for, for if we went in, systemd might
/// give it up with us inside.
fn move_in(layout: &Layout, scope: &Scope, description: &str, pid: i32) -> Result<PathBuf, SystemdError> {
    let mount = &layout.v2.as_ref().ok_or(SystemdError::Absent)?.mount;
    let directory = mount.join(scope.path()?);
    for _ in 0..LEAVING {
        if !is_populated(&directory) || has_containers(&directory) {
            break;
        }
        pause_ten_milliseconds();
    }
    // The second time, what was there when we looked has gone before we were in.
    for _ in 0..2 {
        if is_populated(&directory) && enter(&directory, pid).is_ok() {
            return Ok(directory);
        }
        let wanted = Wanted {
            scope,
            description,
            pid,
            properties: Vec::new(),
        };
        match wanted.make(layout, PATIENCE) {
            Ok(directory) => {
                enter(&directory, pid).map_err(|cause| SystemdError::Enter {
                    path: directory.clone(),
                    cause,
                })?;
                return Ok(directory);
            }
            Err(SystemdError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(SystemdError::Exists(scope.unit.clone()))
}

/// Whether processes of a container are in the scope.
fn has_containers(scope: &Path) -> bool {
    let below = std::fs::read_dir(scope).into_iter().flatten().flatten();
    below
        .filter(|entry| entry.file_name() != LEAF)
        .any(|entry| is_populated(&entry.path()))
}

/// The v2 tree's mount, where systemd owns that tree and there is no other.
fn owned(layout: &Layout) -> Option<&Path> {
    let v2 = layout.v2.as_ref().filter(|_| layout.v1.is_empty())?;
    systemd::runs().then_some(v2.mount.as_path())
}

/// The scope of ours that a process in this cgroup is a supervisor of.
fn our_scope(cgroup: &Path) -> Option<PathBuf> {
    let scope = cgroup.parent().filter(|_| cgroup.ends_with(LEAF))?;
    is_our_scope(scope).then(|| scope.to_path_buf())
}

fn is_our_scope(directory: &Path) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("banyan-") && name.ends_with(".scope"))
}

/// Moves a process into a scope's leaf.
fn enter(scope: &Path, pid: i32) -> io::Result<()> {
    let leaf = scope.join(LEAF);
    match rustix::fs::mkdir(&leaf, rustix::fs::Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    std::fs::write(leaf.join("cgroup.procs"), pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Hierarchy;

    fn unified() -> Layout {
        Layout {
            v1: Vec::new(),
            v2: Some(Hierarchy {
                mount: "/cg".into(),
                controllers: Vec::new(),
            }),
        }
    }

    fn directory(place: &Place, parent: Option<&str>) -> PathBuf {
        let wish = Wish {
            id: "abc",
            parent,
            shared_pids: false,
        };
        let found = place.cgroup(&unified(), wish, || Err("nobody asks for a shim"));
        found.unwrap().0.v2.unwrap()
    }

    #[test]
    fn without_systemd_containers_are_at_the_root() {
        assert_eq!(directory(&Place::Root, None), Path::new("/cg/banyan-abc"));
        assert_eq!(directory(&Place::Root, Some("/a/b")), Path::new("/cg/a/b/abc"));
        assert_eq!(
            directory(&Place::Root, Some("a.slice")),
            Path::new("/cg/a.slice/abc")
        );
    }

    #[test]
    fn in_a_scope_they_are_beside_their_supervisor_unless_a_parent_is_asked_for() {
        let place = Place::Scope("/cg/banyan.slice/banyan-app.scope".into());
        assert_eq!(
            directory(&place, None),
            Path::new("/cg/banyan.slice/banyan-app.scope/abc")
        );
        assert_eq!(directory(&place, Some("group")), Path::new("/cg/group/abc"));
    }

    #[test]
    fn a_supervisor_knows_its_scope_by_its_own_cgroup() {
        for (cgroup, expected) in [
            (
                "/cg/banyan.slice/banyan-app.scope/supervisor",
                Some("/cg/banyan.slice/banyan-app.scope"),
            ),
            ("/cg/banyan.slice/banyan-app.scope", None),
            ("/cg/user.slice/session-1.scope/supervisor", None),
            ("/cg/system.slice/x.service", None),
            ("/cg/banyan-app.scope/other", None),
        ] {
            let found = our_scope(Path::new(cgroup));
            assert_eq!(found.as_deref(), expected.map(Path::new), "{cgroup}");
        }
    }
}
