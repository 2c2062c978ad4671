//! Everything one container needs, resolved: nothing here is looked up again, and nothing is a default to be guessed.
//!
//! [`Settings::new`] fills in what Docker gives a container that asks for nothing; change fields from there.

use super::{Bundle, Exact};
use crate::{
    cgroup::Resources,
    confine::{Capabilities, SeccompProfile},
    log::LogSettings,
    namespace::Namespaces,
    rootfs::{Device, Mount, RootFs},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// One container, fully resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// 64 hexadecimal digits, or any name of letters, digits, `_`, `.`, `-` (the cgroup is named after it).
    pub id: String,
    /// What the user calls it.
    pub name: String,
    /// Host name; `None`: the first 12 characters of the id. Ignored with the host's UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Where `/` comes from.
    pub root: RootFs,
    /// Mounts beyond the usual ones, in order of depth (see [`rootfs`](crate::rootfs)).
    pub mounts: Vec<Mount>,
    /// Bytes of `/dev/shm`; `None`: no `/dev/shm`.
    pub shm_size: Option<u64>,
    /// What runs.
    pub process: Process,
    /// What it shares with whom.
    pub namespaces: Namespaces,
    /// What it may use.
    pub resources: Resources,
    /// Parent cgroup under the hierarchy's root (`/` separated), or where systemd runs a slice of it (`NAME.slice`); `None`:
    /// `banyan-<id>` at the root itself, or in our scope.
    pub cgroup_parent: Option<String>,
    /// What it is not allowed.
    pub confinement: Confinement,
    /// Devices passed in.
    pub devices: Vec<Device>,
    /// Raw device rules in cgroup v1's notation (`c 1:3 rwm`), allowed on top of the defaults.
    pub device_rules: Vec<String>,
    /// Kernel parameters of its namespaces, by dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// Contents of the files the engine keeps for it.
    pub files: Files,
    /// Run our reaper as process 1 (`/sbin/docker-init`).
    pub init: bool,
    /// Asks it to stop; 15 (SIGTERM) unless the image or user says otherwise.
    pub stop_signal: i32,
    /// Where output goes.
    pub log: LogSettings,
    /// The caller's, opaque here.
    pub labels: BTreeMap<String, String>,
    /// The caller's, opaque here.
    pub annotations: BTreeMap<String, String>,
    /// How to bring the engine back when it dies.
    pub revive: Option<Revive>,
    /// Removed with everything of it when it ends, by its shim; these files go too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_at_end: Option<Vec<PathBuf>>,
    /// What only an OCI bundle asks for. With it everything is as written: nothing is mounted, set or added by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Box<Bundle>>,
}

/// The process of a container, or an additional one (`exec`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; the program is looked up in the `PATH` of `environment`.
    pub arguments: Vec<String>,
    /// `NAME=value` each. `PATH`, `HOME`, `HOSTNAME` and (with a terminal) `TERM` are added when missing.
    pub environment: Vec<String>,
    /// Absolute path in the container; made when missing (not for `exec`).
    pub cwd: String,
    /// `user[:group]`, names (looked up in the container's own files) or numbers; empty: 0:0.
    pub user: String,
    /// Additional groups, names or numbers.
    pub groups: Vec<String>,
    /// File mode creation mask.
    pub umask: u32,
    /// Limits by name without `RLIMIT_`, lower case (`nofile`); `u64::MAX` is unlimited: (soft, hard).
    pub rlimits: BTreeMap<String, (u64, u64)>,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// Set no-new-privileges (prctl(2)).
    pub no_new_privileges: bool,
    /// Give it a terminal.
    pub terminal: Option<TerminalSize>,
    /// Keep its standard input open and writable through [`stdin`](crate::container::Container::stdin); otherwise
    /// it reads `/dev/null`.
    pub stdin: bool,
    /// `/proc/self/oom_score_adj`, −1000 to 1000; `None`: as inherited.
    pub oom_score_adj: Option<i32>,
    /// What only an OCI bundle asks for; `user` and `groups` are not looked at then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Box<Exact>>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
}

/// What a container is not allowed, beyond capabilities (see [`Process`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confinement {
    /// No device rules, everything of `/sys` and `/proc` visible and writable, all host devices.
    pub privileged: bool,
    /// System calls.
    pub seccomp: SeccompProfile,
    /// Paths that look empty.
    pub masked_paths: Vec<String>,
    /// Paths that cannot be written.
    pub readonly_paths: Vec<String>,
}

/// Contents of the files bind-mounted over the container's own; `None`: the image's file stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// `/etc/hosts`.
    pub hosts: Option<String>,
    /// `/etc/resolv.conf`.
    pub resolv_conf: Option<String>,
    /// `/etc/hostname`.
    pub hostname: Option<String>,
}

/// How the shim brings its engine back: it watches the engine's pidfd (passed at launch) and starts this command
/// when the engine dies. Many shims may try at once; one wins the lock, the others wait until an engine connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revive {
    /// Program (absolute) and arguments.
    pub command: Vec<String>,
    /// A file locked (flock(2)) while the command starts; the started process inherits the lock's descriptor as its
    /// standard input and drops the lock by closing it.
    pub lock: PathBuf,
}

/// Paths Docker hides (moby `oci/defaults.go`).
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths Docker makes read-only.
pub const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The search path of a container whose image names none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's default size of `/dev/shm`: 64 MiB.
pub const DEFAULT_SHM_SIZE: u64 = 64 << 20;

impl Settings {
    /// A container with Docker's defaults (and no-new-privileges, which Docker leaves off).
    #[must_use]
    pub fn new(id: &str, root: RootFs, arguments: Vec<String>) -> Self {
        let text = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            hostname: None,
            domainname: None,
            root,
            mounts: Vec::new(),
            shm_size: Some(DEFAULT_SHM_SIZE),
            process: Process::new(arguments),
            namespaces: Namespaces::default(),
            resources: Resources::default(),
            cgroup_parent: None,
            confinement: Confinement {
                privileged: false,
                seccomp: SeccompProfile::Default,
                masked_paths: text(&MASKED_PATHS),
                readonly_paths: text(&READONLY_PATHS),
            },
            devices: Vec::new(),
            device_rules: Vec::new(),
            sysctls: BTreeMap::new(),
            files: Files::default(),
            init: false,
            stop_signal: 15,
            log: LogSettings::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            revive: None,
            remove_at_end: None,
            bundle: None,
        }
    }

    /// Turns on what `--privileged` means: all capabilities and devices, no seccomp, nothing masked or read-only.
    pub fn make_privileged(&mut self) {
        self.confinement = Confinement {
            privileged: true,
            seccomp: SeccompProfile::Unconfined,
            masked_paths: Vec::new(),
            readonly_paths: Vec::new(),
        };
        self.process.capabilities = Capabilities::all();
        self.process.no_new_privileges = false;
    }

    /// The bundle's part, where there is one.
    pub(crate) fn literal(&self) -> Option<&Bundle> {
        self.bundle.as_deref()
    }

    /// The host name the container gets.
    #[must_use]
    pub fn host_name(&self) -> &str {
        self.hostname
            .as_deref()
            .unwrap_or_else(|| self.id.get(..12).unwrap_or(&self.id))
    }
}

impl Process {
    /// A process as root with Docker's capabilities.
    #[must_use]
    pub fn new(arguments: Vec<String>) -> Self {
        Self {
            arguments,
            environment: Vec::new(),
            cwd: "/".to_owned(),
            user: String::new(),
            groups: Vec::new(),
            umask: 0o022,
            rlimits: BTreeMap::new(),
            capabilities: Capabilities::default(),
            no_new_privileges: true,
            terminal: None,
            stdin: false,
            oom_score_adj: None,
            exact: None,
        }
    }
}
