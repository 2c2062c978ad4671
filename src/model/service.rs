//! One service.

use super::{
    Attachment, Build, Dependency, Exposed, FileGrant, HealthCheck, Hook, Mount, NetworkMode, Place,
    PublishedPort, Ready, Restart, RestartCondition, ServiceName, WatchRule,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

/// A service: everything needed to create its containers.
///
/// Where a field is an `Option`, `None` means "as the image says" or "no limit"; the comment tells which.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    /// Its key in the project file.
    pub name: ServiceName,
    /// The position of its key.
    pub place: Option<Place>,
    /// Positions of its parts for error messages, by path: `image`, `ports[0]`, `volumes[1]`, `environment.FOO`.
    pub places: BTreeMap<String, Place>,

    /// What it runs.
    pub image: ImageSource,
    /// When to pull.
    pub pull_policy: PullPolicy,
    /// `os/arch[/variant]`; `None`: the host's.
    pub platform: Option<String>,
    /// Replaces the image's command; `Some([])` clears it.
    pub command: Option<Vec<String>>,
    /// Replaces the image's entrypoint and drops its command; `Some([])` clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Variables, env files included. `None` as value: removed from the image's environment.
    pub environment: BTreeMap<String, Option<String>>,
    /// Absolute path; `None`: the image's.
    pub working_dir: Option<String>,
    /// `user[:group]`, names or numbers; `None`: the image's.
    pub user: Option<String>,
    /// Additional groups, names or numbers.
    pub group_add: Vec<String>,
    /// Labels of the container, without the `com.docker.compose.*` ones that the engine adds.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// A fixed container name; excludes more than one replica.
    pub container_name: Option<String>,
    /// How many containers (from `scale` or `deploy.replicas`).
    pub replicas: u32,
    /// Profiles that switch it on; empty: always on.
    pub profiles: Vec<String>,
    /// Whether `up` shows its output.
    pub attach: bool,

    /// Start order, explicit and implied (`links`, `volumes_from`, `network_mode: service:` …).
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// What to do when it ends.
    pub restart: Restart,
    /// How its health is probed; `None`: as the image says.
    pub health_check: Option<HealthCheck>,
    /// `x-banyan.ready`: checked by banyan itself, counts as health.
    pub ready: Option<Ready>,
    /// `x-banyan.restart_unhealthy`.
    pub restart_unhealthy: bool,
    /// `x-banyan.here`: `run` gives it the caller's folder, at the same path, and runs as the folder's owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub here: bool,
    /// Init containers, run to completion before the service starts.
    pub pre_start: Vec<Hook>,
    /// Commands in the container after it started.
    pub post_start: Vec<Hook>,
    /// Commands in the container before it is stopped.
    pub pre_stop: Vec<Hook>,
    /// Time between the stop signal and SIGKILL; `None`: 10 s.
    pub stop_grace_period: Option<Duration>,
    /// Signal name or number; `None`: the image's, else SIGTERM.
    pub stop_signal: Option<String>,
    /// Run a reaping init as process 1.
    pub init: bool,
    /// Allocate a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin_open: bool,

    /// Networks joined, or the namespace shared.
    pub network_mode: NetworkMode,
    /// By network key; empty unless `network_mode` is `Networks`.
    pub networks: BTreeMap<String, Attachment>,
    /// Published ports; ranges are already one entry per port.
    pub ports: Vec<PublishedPort>,
    /// Ports announced to links.
    pub expose: Vec<Exposed>,
    /// `SERVICE:ALIAS`.
    pub links: Vec<Link>,
    /// Links to containers outside the project: `CONTAINER:ALIAS`.
    pub external_links: Vec<(String, String)>,
    /// Extra lines of `/etc/hosts`: name and address; `host-gateway` stays text.
    pub extra_hosts: Vec<(String, String)>,
    /// `None`: container's default (first 12 characters of its id).
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Name servers asked for names that are not the project's; empty: the host's.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Resolver options.
    pub dns_opt: Vec<String>,
    /// MAC address of the first interface.
    pub mac_address: Option<String>,

    /// Mounts in declaration order: `volumes`, `tmpfs`.
    pub mounts: Vec<Mount>,
    /// Services or containers whose mounts are taken over: (`service:x` or `container:x`, read only).
    pub volumes_from: Vec<(String, bool)>,
    /// Secrets granted.
    pub secrets: Vec<FileGrant>,
    /// Configs granted.
    pub configs: Vec<FileGrant>,
    /// Root filesystem read-only.
    pub read_only: bool,
    /// Bytes of `/dev/shm`; `None`: 64 MiB.
    pub shm_size: Option<u64>,
    /// Storage driver options.
    pub storage_opt: BTreeMap<String, String>,

    /// All capabilities, devices, no confinement.
    pub privileged: bool,
    /// Capabilities added, without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// `seccomp=…`, `no-new-privileges[:false]`, `apparmor=…`, `label=…`.
    pub security_opt: Vec<String>,
    /// Devices passed in.
    pub devices: Vec<Device>,
    /// Raw device cgroup rules: `c 1:3 rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// `host`, or `None`: as usual.
    pub userns_mode: Option<String>,
    /// IPC namespace.
    pub ipc: Namespace,
    /// PID namespace.
    pub pid: Namespace,
    /// UTS namespace: `host` or private.
    pub uts: Namespace,
    /// cgroup namespace: `host` or private.
    pub cgroup: Namespace,
    /// Parent cgroup.
    pub cgroup_parent: Option<String>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Resource limits of processes, by name without `RLIMIT_`, lower case.
    pub ulimits: BTreeMap<String, Ulimit>,

    /// CPU limits.
    pub cpu: CpuLimits,
    /// Memory limits.
    pub memory: MemoryLimits,
    /// Block I/O limits.
    pub io: IoLimits,
    /// Most processes; `None` or negative: no limit.
    pub pids_limit: Option<i64>,
    /// From −1000 to 1000.
    pub oom_score_adj: i32,
    /// Never kill for memory.
    pub oom_kill_disable: bool,

    /// What happens to output.
    pub logging: Logging,
    /// `develop.watch`.
    pub watch: Vec<WatchRule>,
}

impl Service {
    /// Hash of what a container of this service depends on. What can change without making containers anew (build,
    /// pull policy, number of replicas, order, profiles, positions in the file) does not count, as in docker compose.
    pub fn config_hash(&self) -> String {
        hash_of(&self.counted())
    }

    /// Names of what differs in another version of this service and makes containers anew; parts of mappings one by one
    /// (`environment.A`). Names only: values may be nobody's business.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let value = |service: &Self| serde_json::to_value(service.counted()).unwrap_or_default();
        let (mine, theirs) = (value(self), value(other));
        let mut names = Vec::new();
        for (key, mine) in mine.as_object().into_iter().flatten() {
            let theirs = &theirs[key];
            match (mine.as_object(), theirs.as_object()) {
                _ if mine == theirs => {}
                (Some(mine), Some(theirs)) => {
                    let keys: std::collections::BTreeSet<&String> =
                        mine.keys().chain(theirs.keys()).collect();
                    let changed = keys
                        .into_iter()
                        .filter(|part| mine.get(*part) != theirs.get(*part));
                    names.extend(changed.map(|part| format!("{key}.{part}")));
                }
                _ => names.push(key.clone()),
            }
        }
        names
    }

    /// Itself with everything that does not count at its default.
    fn counted(&self) -> Self {
        Self {
            place: None,
            places: BTreeMap::new(),
            image: ImageSource {
                build: None,
                ..self.image.clone()
            },
            pull_policy: PullPolicy::Missing,
            replicas: 1,
            profiles: Vec::new(),
            attach: true,
            depends_on: BTreeMap::new(),
            watch: Vec::new(),
            ..self.clone()
        }
    }

    /// A service that runs `image` and has the default of every other key.
    pub fn new(name: ServiceName, image: ImageSource) -> Self {
        Self {
            name,
            place: None,
            places: BTreeMap::new(),
            image,
            pull_policy: PullPolicy::Missing,
            platform: None,
            command: None,
            entrypoint: None,
            environment: BTreeMap::new(),
            working_dir: None,
            user: None,
            group_add: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            container_name: None,
            replicas: 1,
            profiles: Vec::new(),
            attach: true,
            depends_on: BTreeMap::new(),
            restart: Restart {
                condition: RestartCondition::No,
                max_attempts: None,
                delay: None,
                window: None,
            },
            health_check: None,
            ready: None,
            restart_unhealthy: false,
            here: false,
            pre_start: Vec::new(),
            post_start: Vec::new(),
            pre_stop: Vec::new(),
            stop_grace_period: None,
            stop_signal: None,
            init: false,
            tty: false,
            stdin_open: false,
            network_mode: NetworkMode::Networks,
            networks: BTreeMap::new(),
            ports: Vec::new(),
            expose: Vec::new(),
            links: Vec::new(),
            external_links: Vec::new(),
            extra_hosts: Vec::new(),
            hostname: None,
            domainname: None,
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_opt: Vec::new(),
            mac_address: None,
            mounts: Vec::new(),
            volumes_from: Vec::new(),
            secrets: Vec::new(),
            configs: Vec::new(),
            read_only: false,
            shm_size: None,
            storage_opt: BTreeMap::new(),
            privileged: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            security_opt: Vec::new(),
            devices: Vec::new(),
            device_cgroup_rules: Vec::new(),
            userns_mode: None,
            ipc: Namespace::Private,
            pid: Namespace::Private,
            uts: Namespace::Private,
            cgroup: Namespace::Private,
            cgroup_parent: None,
            sysctls: BTreeMap::new(),
            ulimits: BTreeMap::new(),
            cpu: CpuLimits::default(),
            memory: MemoryLimits::default(),
            io: IoLimits::default(),
            pids_limit: None,
            oom_score_adj: 0,
            oom_kill_disable: false,
            logging: Logging::default(),
            watch: Vec::new(),
        }
    }
}

/// SHA-256 of a value's JSON, in hexadecimal; maps are ordered, so equal values hash alike.
pub fn hash_of<T: Serialize>(value: &T) -> String {
    // Plain data with text keys always has a JSON form.
    let text = serde_json::to_vec(value).unwrap_or_default();
    Sha256::digest(&text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Where a service's root filesystem comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSource {
    /// The image's name: given, or `project-service` when only `build` is.
    pub name: String,
    /// Whether `image:` was written.
    pub named: bool,
    /// How to build it.
    pub build: Option<Build>,
}

/// `pull_policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Pull when the store does not have it (`missing`, `if_not_present`); with `build`, build instead.
    Missing,
    /// Pull at every `up`.
    Always,
    /// Never pull.
    Never,
    /// Build at every `up`.
    Build,
    /// Pull when the last pull is older than this (`daily`, `weekly`, `every_<duration>`).
    Every(Duration),
}

/// A link to a service of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The service.
    pub service: ServiceName,
    /// The name it gets here.
    pub alias: String,
}

/// A device passed into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub source: PathBuf,
    /// Path in the container.
    pub target: String,
    /// Some of `r`, `w`, `m`.
    pub permissions: String,
}

/// A namespace: the container's own, or whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Its own.
    Private,
    /// Its own, but others may join it (IPC only).
    Shareable,
    /// None at all (IPC: no `/dev/shm`).
    None,
    /// The host's.
    Host,
    /// That of a service's first container.
    Service(ServiceName),
    /// That of a container by name.
    Container(String),
}

/// A resource limit of processes; −1 is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// CPU limits; `None` everywhere: not limited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuLimits {
    /// Billionths of one processor.
    pub nano_cpus: Option<u64>,
    /// Relative weight, 2–262144; default 1024.
    pub shares: Option<u64>,
    /// Microseconds of processor time per period.
    pub quota: Option<i64>,
    /// Microseconds.
    pub period: Option<u64>,
    /// Processors allowed: `0-3,5`.
    pub cpuset: Option<String>,
    /// Microseconds of real-time scheduling per `rt_period`.
    pub rt_runtime: Option<i64>,
    /// Microseconds.
    pub rt_period: Option<u64>,
}

/// Memory limits in bytes; `None`: not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimits {
    /// Hard limit.
    pub limit: Option<u64>,
    /// Soft limit.
    pub reservation: Option<u64>,
    /// Memory plus swap; −1: unlimited swap.
    pub swap_limit: Option<i64>,
    /// 0–100.
    pub swappiness: Option<u8>,
}

/// Block I/O limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoLimits {
    /// 10–1000.
    pub weight: Option<u16>,
    /// Weight of single devices.
    pub weight_device: Vec<BlkioDevice>,
    /// Bytes per second read.
    pub read_bps: Vec<BlkioRate>,
    /// Bytes per second written.
    pub write_bps: Vec<BlkioRate>,
    /// Reads per second.
    pub read_iops: Vec<BlkioRate>,
    /// Writes per second.
    pub write_iops: Vec<BlkioRate>,
}

/// A device's weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlkioDevice {
    /// Device path.
    pub path: PathBuf,
    /// 10–1000.
    pub weight: u16,
}

/// A device's rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlkioRate {
    /// Device path.
    pub path: PathBuf,
    /// Per second.
    pub rate: u64,
}

/// Logging settings: the driver is accepted and its size options honoured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// Driver named in the file; ours is always the same framed file, `none` keeps nothing.
    pub driver: Option<String>,
    /// Driver options; `max-size` and `max-file` count.
    pub options: BTreeMap<String, String>,
}
