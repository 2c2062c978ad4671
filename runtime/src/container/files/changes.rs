//! What a container changed over its image, as `docker diff` lists it.

use crate::{
    container::{ContainerDir, ContainerError, Settings},
    image::commit::{Change, diff},
    rootfs::RootKind,
};
use std::path::PathBuf;

/// Places that every launch mounts something on. Where the image lacks them, the empty file or directory made for the
/// mount is no change of the container's.
const PLACES: [&str; 12] = [
    "/dev",
    "/dev/console",
    "/dev/mqueue",
    "/dev/pts",
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc",
    "/sbin/docker-init",
    "/sys",
    "/sys/fs/cgroup",
];

/// What the container in `dir` changed, sorted by path. The container may run.
///
/// # Errors
/// `NoLayers` when its root is a plain directory; `Read` when its upper directory cannot be read.
pub fn changes(dir: &ContainerDir) -> Result<Vec<(Change, String)>, ContainerError> {
    let settings = dir.settings()?;
    let RootKind::Overlay { lower, upper, .. } = &settings.root.kind else {
        return Err(ContainerError::NoLayers);
    };
    if !upper.exists() {
        return Ok(Vec::new());
    }
    let read = |cause| ContainerError::Read {
        path: PathBuf::from(upper),
        cause,
    };
    let mut list = diff(upper, lower).map_err(read)?;
    list.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(without_places(list, &settings))
}

/// Leaves out what only the launch made: places of mounts, and directories that changed because of nothing else.
fn without_places(list: Vec<(Change, String)>, settings: &Settings) -> Vec<(Change, String)> {
    let is_place = |path: &str| {
        PLACES.contains(&path)
            || settings
                .mounts
                .iter()
                .any(|mount| mount.target.trim_end_matches('/') == path)
    };
    let below = |path: &str, other: &str| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    let mut dropped: Vec<String> = Vec::new();
    let mut kept: Vec<(Change, String)> = Vec::new();
    // From the end, so that everything below a directory is decided before the directory.
    for (change, path) in list.into_iter().rev() {
        let has_kept = kept.iter().rev().any(|(_, other)| below(&path, other));
        let has_dropped = dropped.iter().any(|other| below(&path, other));
        let made_by_launch = change == Change::Added && is_place(&path);
        if !has_kept && (made_by_launch || (has_dropped && change != Change::Deleted)) {
            dropped.push(path);
        } else {
            kept.push((change, path));
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::RootFs;

    fn filtered(list: &[(Change, &str)]) -> Vec<String> {
        let settings = Settings::new("x", RootFs::directory("/".into()), vec!["true".into()]);
        let list = list.iter().map(|(c, p)| (*c, (*p).to_owned())).collect();
        without_places(list, &settings)
            .into_iter()
            .map(|(change, path)| format!("{change} {path}"))
            .collect()
    }

    #[test]
    fn what_the_launch_made_is_no_change() {
        use Change::{Added, Changed};
        let list = [
            (Added, "/dev"),
            (Changed, "/etc"),
            (Added, "/etc/hosts"),
            (Added, "/proc"),
        ];
        assert_eq!(filtered(&list), [""; 0]);
    }

    #[test]
    fn a_real_change_beside_it_stays() {
        use Change::{Added, Changed, Deleted};
        let list = [
            (Changed, "/etc"),
            (Added, "/etc/hosts"),
            (Added, "/etc/own"),
            (Changed, "/tmp"),
            (Deleted, "/tmp/gone"),
        ];
        assert_eq!(filtered(&list), ["C /etc", "A /etc/own", "C /tmp", "D /tmp/gone"]);
    }
}
