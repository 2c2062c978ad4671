//! Which controllers this host has, and where.

use super::{CgroupError, CgroupView};
use std::path::PathBuf;

/// The controllers a container's cgroup wants; v1 hierarchies without any of them are left alone.
const WANTED: [&str; 8] = [
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids",
];

/// The cgroup hierarchies of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// v1 hierarchies that have a controller we use.
    pub v1: Vec<Hierarchy>,
    /// The v2 tree, if mounted.
    pub v2: Option<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its mount point.
    pub mount: PathBuf,
    /// Its controllers; on v2, those available at its root.
    pub controllers: Vec<String>,
}

impl Layout {
    /// Reads this process's mounts.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub fn detect() -> Result<Self, CgroupError> {
        let path = PathBuf::from("/proc/self/mountinfo");
        let text = std::fs::read_to_string(&path).map_err(|cause| CgroupError::Read { path, cause })?;
        let mut layout = Self::parse(&text);
        if let Some(v2) = &mut layout.v2 {
            let available = std::fs::read_to_string(v2.mount.join("cgroup.controllers")).unwrap_or_default();
            v2.controllers = available.split_whitespace().map(str::to_owned).collect();
        }
        Ok(layout)
    }

    /// Finds cgroup mounts in the text of a mountinfo file (proc_pid_mountinfo(5)).
    fn parse(mountinfo: &str) -> Self {
        let mut layout = Self {
            v1: Vec::new(),
            v2: None,
        };
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let mount = left
                .split(' ')
                .nth(4)
                .map(unescape)
                .map(PathBuf::from)
                .unwrap_or_default();
            let mut right = right.split(' ');
            let (kind, options) = (right.next().unwrap_or_default(), right.nth(1).unwrap_or_default());
            match kind {
                "cgroup2" if layout.v2.is_none() => {
                    layout.v2 = Some(Hierarchy {
                        mount,
                        controllers: Vec::new(),
                    })
                }
                "cgroup" => {
                    let controllers: Vec<String> = options
                        .split(',')
                        .filter(|word| WANTED.contains(word))
                        .map(str::to_owned)
                        .collect();
                    let known = layout.v1.iter().any(|other| other.controllers == controllers);
                    if !controllers.is_empty() && !known {
                        layout.v1.push(Hierarchy { mount, controllers });
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// What a container of this host sees.
    #[must_use]
    pub fn view(&self) -> CgroupView {
        match (&self.v1[..], &self.v2) {
            ([], None) => CgroupView::Absent,
            ([], Some(_)) => CgroupView::Unified,
            (v1, _) => CgroupView::Split(v1.iter().map(|hierarchy| hierarchy.controllers.clone()).collect()),
        }
    }
}

/// Mountinfo writes space, tab, newline and backslash as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_host_has_both() {
        let layout = Layout::parse(
            "26 18 0:24 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             27 26 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
             28 26 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             29 26 0:27 / /sys/fs/cgroup/net_cls rw,relatime - cgroup cgroup rw,net_cls\n\
             30 26 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
             31 26 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        );
        let found: Vec<_> = layout
            .v1
            .iter()
            .map(|hierarchy| hierarchy.controllers.join(","))
            .collect();
        assert_eq!(found, ["cpu,cpuacct", "memory"]);
        assert_eq!(
            layout.v2.as_ref().unwrap().mount,
            PathBuf::from("/sys/fs/cgroup/unified")
        );
        assert!(matches!(layout.view(), CgroupView::Split(list) if list.len() == 2));
    }

    #[test]
    fn a_unified_host_shows_one_tree() {
        let layout = Layout::parse("31 26 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
        assert_eq!(layout.view(), CgroupView::Unified);
    }
}
