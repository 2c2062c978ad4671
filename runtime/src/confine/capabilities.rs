//! Capabilities: names, Docker's default set, and dropping to a set.

use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, io};

/// Names by number (linux/capability.h), without `CAP_`.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Docker's default (moby `oci/caps/defaults.go`).
pub const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The capability sets of a process; bit N is capability N.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The most it can ever get.
    pub bounding: u64,
    /// In force for root.
    pub effective: u64,
    /// May be made effective.
    pub permitted: u64,
    /// Kept across exec by files that say so; empty since CVE-2022-24769.
    pub inheritable: u64,
    /// Kept across exec by anybody.
    pub ambient: u64,
}

/// A name that is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a capability")]
pub struct UnknownCapability(pub String);

impl Default for Capabilities {
    fn default() -> Self {
        Self::same(
            DEFAULT
                .iter()
                .filter_map(|name| bit(name))
                .fold(0, |set, bit| set | bit),
        )
    }
}

impl Capabilities {
    /// Bounding, effective and permitted the same; inheritable and ambient empty.
    #[must_use]
    pub fn same(set: u64) -> Self {
        Self {
            bounding: set,
            effective: set,
            permitted: set,
            inheritable: 0,
            ambient: 0,
        }
    }

    /// Every capability there is.
    #[must_use]
    pub fn all() -> Self {
        Self::same((1 << NAMES.len()) - 1)
    }

    /// Docker's default with `add` and `drop` applied as Docker does: `ALL` in `drop` clears the default first, `ALL`
    /// in `add` gives everything but what is dropped by name. With or without `CAP_`, any case.
    ///
    /// # Errors
    /// Names the first word that is no capability.
    pub fn adjusted(add: &[String], drop: &[String]) -> Result<Self, UnknownCapability> {
        let add = parse_all(add)?;
        let drop = parse_all(drop)?;
        let everything = Self::all().bounding;
        let start = match (add.contains(&everything), drop.contains(&everything)) {
            (true, _) => everything,
            (false, true) => 0,
            (false, false) => Self::default().bounding,
        };
        let dropped = drop
            .iter()
            .filter(|bits| **bits != everything)
            .fold(0, |set, bits| set | bits);
        let added = add
            .iter()
            .filter(|bits| **bits != everything)
            .fold(0, |set, bits| set | bits);
        Ok(Self::same((start & !dropped) | added))
    }

    /// The same sets without what this process itself cannot give (its bounding set): a host that lacks a capability
    /// makes containers lack it, as Docker in Docker does.
    #[must_use]
    pub fn limited_to(self, possible: u64) -> Self {
        Self {
            bounding: self.bounding & possible,
            effective: self.effective & possible,
            permitted: self.permitted & possible,
            inheritable: self.inheritable & possible,
            ambient: self.ambient & possible,
        }
    }
}

/// The set `1 << number` of a capability's name.
#[must_use]
pub fn bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES
        .iter()
        .position(|known| *known == short)
        .map(|number| 1 << number)
}

fn parse_all(names: &[String]) -> Result<BTreeSet<u64>, UnknownCapability> {
    names
        .iter()
        .map(|name| {
            if name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL") {
                return Ok(Capabilities::all().bounding);
            }
            bit(name).ok_or_else(|| UnknownCapability(name.clone()))
        })
        .collect()
}

/// Which of these this process may give: they are in its bounding set.
///
/// # Errors
/// As prctl(2).
pub(crate) fn possible(wanted: &Capabilities) -> io::Result<u64> {
    let wanted = wanted.bounding | wanted.permitted | wanted.inheritable | wanted.effective | wanted.ambient;
    let mut set = 0;
    for number in (0..NAMES.len()).filter(|number| wanted & (1 << number) != 0) {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) => set |= 1 << number,
            // EINVAL: a kernel older than the capability.
            Ok(false) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(set)
}

/// First half, while still root: shrinks the bounding set, and asks the kernel to keep permitted capabilities across
/// the change of user (which would clear them).
///
/// # Errors
/// `EPERM` without CAP_SETPCAP.
pub(crate) fn before_changing_user(sets: &Capabilities) -> io::Result<()> {
    for number in 0..NAMES.len() {
        if sets.bounding & (1 << number) != 0 {
            continue;
        }
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(rustix::thread::set_keep_capabilities(true)?)
}

/// Second half, as the new user: the sets themselves. A user other than root keeps effective and permitted
/// capabilities only when they are ambient: exec(2) takes them away, as it does under Docker.
///
/// # Errors
/// `EPERM` when a set asks for more than this process has.
pub(crate) fn after_changing_user(sets: &Capabilities) -> io::Result<()> {
    rustix::thread::set_keep_capabilities(false)?;
    let set = CapabilitySet::from_bits_retain;
    let wanted = CapabilitySets {
        effective: set(sets.effective),
        permitted: set(sets.permitted),
        inheritable: set(sets.inheritable),
    };
    rustix::thread::set_capabilities(None, wanted)?;
    rustix::thread::clear_ambient_capability_set()?;
    // The kernel lets no other be ambient (capabilities(7)). Bundles ask for more all the same (runc's own `spec` once wrote
    // such), and runc and crun leave them out too.
    let possible = sets.ambient & sets.inheritable & sets.permitted;
    for number in (0..NAMES.len()).filter(|number| possible & (1 << number) != 0) {
        rustix::thread::configure_capability_in_ambient_set(set(1 << number), true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adjusted(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let set = Capabilities::adjusted(&words(add), &words(drop))
            .unwrap()
            .bounding;
        NAMES
            .iter()
            .enumerate()
            .filter(|(number, _)| set & (1 << number) != 0)
            .map(|(_, name)| *name)
            .collect()
    }

    #[test]
    fn add_and_drop_mean_what_docker_means() {
        assert_eq!(adjusted(&[], &[]).len(), 14);
        assert_eq!(adjusted(&["cap_net_admin"], &["ALL"]), ["NET_ADMIN"]);
        assert_eq!(adjusted(&[], &["ALL"]), [""; 0]);
        assert_eq!(adjusted(&["ALL"], &[]).len(), 41);
        assert_eq!(adjusted(&["ALL"], &["SYS_ADMIN"]).len(), 40);
        assert!(!adjusted(&[], &["NET_RAW"]).contains(&"NET_RAW"));
        assert!(adjusted(&["SYS_PTRACE"], &["CHOWN"]).contains(&"SYS_PTRACE"));
    }

    #[test]
    fn an_unknown_name_is_named() {
        let error = Capabilities::adjusted(&["NET_ADMN".into()], &[]).unwrap_err();
        assert_eq!(error.to_string(), "`NET_ADMN` is not a capability");
    }
}
