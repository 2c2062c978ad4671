//! Directories of the cgroup trees, and their files: made, told, written, removed.

use super::{CgroupError, v1};
use rustix::io::Errno;
use std::{io, path::Path};

pub(super) fn make(path: &Path) -> Result<(), CgroupError> {
    for _ in 0..100 {
        match rustix::fs::mkdir(path, rustix::fs::Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => return Ok(()),
            Err(Errno::NOENT) => {
                let Some(parent) = path.parent() else { break };
                make(parent)?;
            }
            Err(errno) => {
                return Err(CgroupError::Make {
                    path: path.to_path_buf(),
                    cause: errno.into(),
                });
            }
        }
    }
    Err(CgroupError::Make {
        path: path.to_path_buf(),
        cause: Errno::NOENT.into(),
    })
}

/// A new v1 cpuset allows nothing until it is told (cpusets.rst, 2.1); it gets what its parent has, and parents that
/// nobody told either get theirs first. One that was told keeps what it has.
pub(super) fn inherit_cpuset(path: &Path) -> Result<(), CgroupError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        inherit(path, file)?;
    }
    Ok(())
}

/// What the file of this cgroup says, after its parents told it if nobody had; empty above the top.
fn inherit(path: &Path, file: &str) -> Result<String, CgroupError> {
    let own = path.join(file);
    let text = match std::fs::read_to_string(&own) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        result => result.map_err(|cause| CgroupError::Read {
            path: own.clone(),
            cause,
        })?,
    };
    if !text.trim().is_empty() {
        return Ok(text.trim().to_owned());
    }
    let above = match path.parent() {
        Some(parent) => inherit(parent, file)?,
        None => String::new(),
    };
    if !above.is_empty() {
        put(&own, &above)?;
    }
    Ok(above)
}

/// Hands the controllers down to `path`'s level on v2: `+name` in every `cgroup.subtree_control` above it, but for what lies
/// above a scope: that is systemd's, which has handed down to the scope what there is.
pub(super) fn enable_controllers(path: &Path) -> Result<(), CgroupError> {
    if is_scope(path) {
        return Ok(());
    }
    let mut above: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|up| up.join("cgroup.controllers").exists())
        .collect();
    if let Some(scope) = above.iter().position(|up| is_scope(up)) {
        above.truncate(scope + 1);
    }
    above.reverse();
    if above.is_empty() {
        // Parents do not exist yet: make them first.
        if let Some(parent) = path.parent() {
            make(parent)?;
            return enable_controllers(path);
        }
    }
    for directory in above {
        let available = std::fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
        let enabled = std::fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
        for name in ["cpu", "cpuset", "io", "memory", "pids"] {
            let has = |text: &str| text.split_whitespace().any(|word| word == name);
            if has(&available) && !has(&enabled) {
                // Refused in a cgroup that has processes itself; the limit's own write then says what is missing.
                let _ = put(&directory.join("cgroup.subtree_control"), &format!("+{name}"));
            }
        }
    }
    Ok(())
}

fn is_scope(directory: &Path) -> bool {
    directory.extension().is_some_and(|end| end == "scope")
}

pub(super) fn apply(directory: &Path, writes: &[v1::Write]) -> Result<(), CgroupError> {
    // Lists take one entry a write, and come one after the other: each file is opened once.
    let mut last: Option<(&str, std::fs::File)> = None;
    for write in writes {
        let path = directory.join(&write.file);
        let file = match last.take().filter(|(name, _)| *name == write.file) {
            Some((_, file)) => Ok(file),
            None => open(&path),
        };
        let written = file.and_then(|mut file| {
            io::Write::write_all(&mut file, write.value.as_bytes())?;
            last = Some((&write.file, file));
            Ok(())
        });
        match written {
            Err(cause)
                if write.optional
                    && matches!(
                        cause.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                    ) => {}
            result => result.map_err(|cause| CgroupError::Write {
                path,
                value: write.value.clone(),
                cause,
            })?,
        }
    }
    Ok(())
}

pub(super) fn put(path: &Path, value: &str) -> Result<(), CgroupError> {
    let written = open(path).and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|cause| CgroupError::Write {
        path: path.to_path_buf(),
        value: value.to_owned(),
        cause,
    })
}

/// No `O_CREAT`: in a cgroup directory a missing file is a missing feature.
fn open(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).open(path)
}

pub(super) fn remove_tree(path: &Path) -> rustix::io::Result<()> {
    // Processes that were just killed leave their cgroup a moment later; 2 s is ages for that.
    for _ in 0..200 {
        match rustix::fs::rmdir(path) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {
                let below = std::fs::read_dir(path).into_iter().flatten().flatten();
                for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                    let _ = remove_tree_once(&entry.path());
                }
                if rustix::fs::rmdir(path).is_ok() {
                    return Ok(());
                }
                pause_ten_milliseconds();
            }
            Err(errno) => return Err(errno),
        }
    }
    rustix::fs::rmdir(path)
}

/// Removes what a container made below its cgroup, deepest first.
fn remove_tree_once(path: &Path) -> rustix::io::Result<()> {
    let below = std::fs::read_dir(path).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let _ = remove_tree_once(&entry.path());
    }
    rustix::fs::rmdir(path)
}

/// The kernel offers no event for "the last dying process has left" on v1, and systemd none that costs less.
pub(super) fn pause_ten_milliseconds() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}
