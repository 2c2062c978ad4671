//! Users and groups, from the container's own `/etc/passwd` and `/etc/group`.
//!
//! Both files are the image's, so hostile: only regular files are read, at most 10 MiB of them (CVE-2026-47262), without
//! blocking on a FIFO, and numbers out of range are refused instead of becoming root (CVE-2026-46680).

use crate::{
    container::Exact,
    failure::{At, Failure, Step},
    rootfs::inside::Tree,
};
use rustix::{
    fs::{FileType, OFlags},
    io::Errno,
};
use std::{fs::File, io::Read};

const LARGEST_FILE: u64 = 10 << 20;

/// Whom a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups; the primary one is among them, as Docker has it (CVE-2022-36109).
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

impl Identity {
    /// Numbers that are not looked up; the home directory is, since nobody else knows it.
    pub(crate) fn exact(tree: &Tree, exact: &Exact) -> Self {
        let passwd = read(tree, "/etc/passwd");
        let home = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.len() >= 6 && number(fields[2]) == Some(exact.uid))
            .map_or("/", |fields| fields[5]);
        Self {
            uid: exact.uid,
            gid: exact.gid,
            groups: exact.groups.clone(),
            home: home.to_owned(),
        }
    }
}

/// Looks up `user[:group]` and additional groups in the container's files.
pub(crate) fn look_up(tree: &Tree, user: &str, additional: &[String]) -> Result<Identity, Failure> {
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let numeric_group = group.is_none_or(|group| number(group).is_some());
    let needs_files = !(number(user).is_some_and(|id| id != 0)
        && group.is_some()
        && numeric_group
        && additional.is_empty());
    let (passwd, groups) = if needs_files {
        (read(tree, "/etc/passwd"), read(tree, "/etc/group"))
    } else {
        (String::new(), String::new())
    };
    resolve(&passwd, &groups, user, group, additional)
}

/// The same on the files' texts.
fn resolve(
    passwd: &str,
    groups: &str,
    user: &str,
    group: Option<&str>,
    additional: &[String],
) -> Result<Identity, Failure> {
    let user = if user.is_empty() { "0" } else { user };
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| {
            fields.len() >= 6
                && (fields[0] == user || number(user).is_some_and(|id| number(fields[2]) == Some(id)))
        });
    let (uid, own_group) = match (&entry, number(user)) {
        // A name made of digits is a number only when no user is called so.
        (Some(fields), _) => (
            number(fields[2]).ok_or(Errno::RANGE).at(Step::User, user)?,
            number(fields[3]),
        ),
        (None, Some(id)) => (id, None),
        (None, None) if user.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(Errno::RANGE).at(Step::User, user);
        }
        (None, None) => return Err(Errno::NOENT).at(Step::User, user),
    };
    let gid = match group {
        Some(name) => group_id(groups, name)?,
        None => own_group.unwrap_or(0),
    };
    let mut list = vec![gid];
    if let (Some(fields), None) = (&entry, group) {
        list.extend(memberships(groups, fields[0]));
    }
    for name in additional {
        list.push(group_id(groups, name)?);
    }
    let mut unique = Vec::new();
    list.retain(|id| {
        let new = !unique.contains(id);
        unique.push(*id);
        new
    });
    let home = entry.as_ref().map_or("/", |fields| fields[5]);
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    Ok(Identity {
        uid,
        gid,
        groups: list,
        home,
    })
}

fn group_id(groups: &str, name: &str) -> Result<u32, Failure> {
    let named = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields[0] == name);
    match named
        .and_then(|fields| number(fields.get(2)?))
        .or_else(|| number(name))
    {
        Some(id) => Ok(id),
        None if name.bytes().all(|byte| byte.is_ascii_digit()) => Err(Errno::RANGE).at(Step::Group, name),
        None => Err(Errno::NOENT).at(Step::Group, name),
    }
}

fn memberships<'a>(groups: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    groups.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split(':').collect();
        let members = fields.get(3)?;
        members
            .split(',')
            .any(|member| member == user)
            .then(|| number(fields[2]))?
    })
}

/// A valid id: decimal, and not −1 in disguise (setuid(2) takes `u32::MAX` for "unchanged").
fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id <= i32::MAX.cast_unsigned())
}

/// The text of a file of the image; empty when it is missing, no regular file, or not text.
pub(crate) fn read(tree: &Tree, path: &str) -> String {
    let Ok(fd) = tree.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) else {
        return String::new();
    };
    let regular =
        rustix::fs::fstat(&fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
    if !regular {
        return String::new();
    }
    let mut bytes = Vec::new();
    match File::from(fd).take(LARGEST_FILE).read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www:/var/www:/bin/false\n1001:x:5:5::/odd:\n";
    const GROUP: &str = "root:x:0:\nwww-data:x:33:\nssl:x:104:www-data,postgres\nadm:x:4:root\n";

    fn find(user: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        let (user, group) = user
            .split_once(':')
            .map_or((user, None), |(user, group)| (user, Some(group)));
        resolve(PASSWD, GROUP, user, group, &[])
            .map(|found| (found.uid, found.gid, found.groups, found.home))
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn names_numbers_and_groups() {
        assert_eq!(find("").unwrap(), (0, 0, vec![0, 4], "/root".into()));
        assert_eq!(
            find("www-data").unwrap(),
            (33, 33, vec![33, 104], "/var/www".into())
        );
        assert_eq!(find("33:ssl").unwrap(), (33, 104, vec![104], "/var/www".into()));
        assert_eq!(find("5000").unwrap(), (5000, 0, vec![0], "/".into()));
        assert_eq!(find("5000:6000").unwrap(), (5000, 6000, vec![6000], "/".into()));
        assert_eq!(find("1001").unwrap().0, 5, "a user called 1001");
    }

    #[test]
    fn nothing_out_of_range_becomes_root() {
        for user in [
            "4294967296",
            "4294967295",
            "99999999999999999999",
            "-1",
            "nobody",
            "0x0",
        ] {
            assert!(find(user).is_err(), "{user} must be refused");
        }
        assert!(find("0:4294967295").is_err());
        assert_eq!(
            find("nobody").unwrap_err(),
            "cannot become the user `nobody`: no such file or directory"
        );
    }
}
