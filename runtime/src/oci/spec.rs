//! `config.json` as the OCI runtime specification 1.2 and 1.3 write it (config.md, config-linux.md). Properties it does not
//! know are ignored, as the specification demands ("Extensibility"); those it knows and this runtime lacks are refused by
//! [`super::resolve`].

use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf};

/// The whole document.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Spec {
    pub oci_version: String,
    pub root: Option<Root>,
    pub mounts: Vec<Mount>,
    pub process: Option<Process>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub hooks: Hooks,
    pub annotations: BTreeMap<String, String>,
    pub linux: Linux,
    pub solaris: Option<Value>,
    pub windows: Option<Value>,
    pub vm: Option<Value>,
    pub zos: Option<Value>,
}

/// `root`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Root {
    pub path: PathBuf,
    pub readonly: bool,
}

/// One of `mounts`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Mount {
    pub destination: String,
    pub source: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub options: Vec<String>,
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
}

/// `process`, of `config.json` or given to `exec --process`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Process {
    pub terminal: bool,
    pub console_size: Option<ConsoleSize>,
    pub cwd: String,
    pub env: Vec<String>,
    pub args: Vec<String>,
    pub command_line: Option<String>,
    pub rlimits: Vec<Rlimit>,
    pub apparmor_profile: Option<String>,
    pub capabilities: Option<Capabilities>,
    pub no_new_privileges: bool,
    pub oom_score_adj: Option<i32>,
    pub scheduler: Option<Scheduler>,
    pub selinux_label: Option<String>,
    #[serde(rename = "ioPriority")]
    pub io_priority: Option<IoPriority>,
    #[serde(rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<Affinity>,
    pub user: User,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct ConsoleSize {
    pub height: u16,
    pub width: u16,
}

#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Rlimit {
    #[serde(rename = "type")]
    pub kind: String,
    pub soft: u64,
    pub hard: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Capabilities {
    pub bounding: Vec<String>,
    pub effective: Vec<String>,
    pub inheritable: Vec<String>,
    pub permitted: Vec<String>,
    pub ambient: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Scheduler {
    pub policy: String,
    pub nice: i32,
    pub priority: i32,
    pub flags: Vec<String>,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct IoPriority {
    pub class: String,
    pub priority: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Affinity {
    pub initial: Option<String>,
    #[serde(rename = "final")]
    pub last: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub umask: Option<u32>,
    pub additional_gids: Vec<u32>,
    pub username: Option<String>,
}

/// `hooks`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Hooks {
    pub prestart: Vec<crate::container::Hook>,
    pub create_runtime: Vec<crate::container::Hook>,
    pub create_container: Vec<crate::container::Hook>,
    pub start_container: Vec<crate::container::Hook>,
    pub poststart: Vec<crate::container::Hook>,
    pub poststop: Vec<crate::container::Hook>,
}

/// `linux`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Linux {
    pub namespaces: Vec<Namespace>,
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
    pub time_offsets: BTreeMap<String, TimeOffset>,
    pub devices: Vec<Device>,
    pub net_devices: BTreeMap<String, Value>,
    pub cgroups_path: Option<String>,
    pub resources: Option<Resources>,
    pub intel_rdt: Option<Value>,
    pub memory_policy: Option<Value>,
    pub sysctl: BTreeMap<String, String>,
    pub seccomp: Option<Value>,
    pub rootfs_propagation: Option<String>,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    pub mount_label: Option<String>,
    pub personality: Option<Personality>,
}

#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: String,
    pub path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct TimeOffset {
    pub secs: i64,
    pub nanosecs: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Device {
    #[serde(rename = "type")]
    pub kind: String,
    pub path: String,
    #[serde(default)]
    pub major: i64,
    #[serde(default)]
    pub minor: i64,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Personality {
    pub domain: String,
    pub flags: Vec<String>,
}

/// `linux.resources`, of `config.json` or given to `update --resources`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Resources {
    pub devices: Vec<DeviceRule>,
    pub memory: Option<Memory>,
    pub cpu: Option<Cpu>,
    pub pids: Option<Pids>,
    #[serde(rename = "blockIO")]
    pub block_io: Option<BlockIo>,
    pub hugepage_limits: Vec<HugepageLimit>,
    pub network: Option<Network>,
    pub rdma: BTreeMap<String, Value>,
    pub unified: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct DeviceRule {
    pub allow: bool,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub major: Option<i64>,
    pub minor: Option<i64>,
    pub access: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Memory {
    pub limit: Option<i64>,
    pub reservation: Option<i64>,
    pub swap: Option<i64>,
    pub kernel: Option<i64>,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    pub swappiness: Option<u64>,
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: bool,
    pub use_hierarchy: Option<bool>,
    pub check_before_update: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Cpu {
    pub shares: Option<u64>,
    pub quota: Option<i64>,
    pub burst: Option<u64>,
    pub period: Option<u64>,
    pub realtime_runtime: Option<i64>,
    pub realtime_period: Option<u64>,
    pub cpus: Option<String>,
    pub mems: Option<String>,
    pub idle: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Pids {
    pub limit: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct BlockIo {
    pub weight: Option<u64>,
    pub leaf_weight: Option<u64>,
    pub weight_device: Vec<WeightDevice>,
    pub throttle_read_bps_device: Vec<Throttle>,
    pub throttle_write_bps_device: Vec<Throttle>,
    #[serde(rename = "throttleReadIOPSDevice")]
    pub throttle_read_iops_device: Vec<Throttle>,
    #[serde(rename = "throttleWriteIOPSDevice")]
    pub throttle_write_iops_device: Vec<Throttle>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct WeightDevice {
    pub major: u32,
    pub minor: u32,
    pub weight: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Throttle {
    pub major: u32,
    pub minor: u32,
    pub rate: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct HugepageLimit {
    pub page_size: String,
    pub limit: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the specification's own words")]
pub struct Network {
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    pub priorities: Vec<Value>,
}
