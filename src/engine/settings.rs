//! From a service, an image and a place to what the runtime is told. Pure: everything looked up is an argument.

use super::record::Endpoint;
use crate::{
    model::{BindPropagation, MountKind, Namespace, NetworkMode, Project, Service},
    plan::Slot,
};
use banyan_runtime::{
    cgroup::{BlockDevice, Resources, Weight},
    confine::{Capabilities, SeccompProfile, capabilities::UnknownCapability},
    container::{ContainerDir, DEFAULT_SHM_SIZE, Settings, TerminalSize},
    image::ImageConfig,
    log::LogSettings,
    namespace,
    rootfs::{self, Propagation, RootFs},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// What of a service cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Neither the service nor the image says what to run.
    #[error("neither the service nor its image `{image}` says what to run")]
    NoCommand {
        /// The image.
        image: String,
    },
    /// A capability that does not exist.
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    /// A `security_opt` that does not exist.
    #[error("`{option}` is not a security option")]
    SecurityOption {
        /// As written.
        option: String,
    },
    /// A seccomp profile that cannot be read.
    #[error("cannot read the seccomp profile `{path}`", path = path.display())]
    SeccompProfile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A signal that does not exist.
    #[error("`{signal}` is not a signal")]
    Signal {
        /// As written.
        signal: String,
    },
    /// A device that does not exist.
    #[error("there is no block device `{path}`", path = path.display())]
    BlockDevice {
        /// The path.
        path: PathBuf,
    },
    /// A container whose namespace is to be shared does not run.
    #[error("`{name}`, whose namespace it shares, does not run")]
    NoParent {
        /// Service or container.
        name: String,
    },
    /// Limits of a kind the kernel does not know.
    #[error("`{name}` is not a resource limit")]
    Ulimit {
        /// As written.
        name: String,
    },
}

impl SettingsError {
    /// The key of the service that is wrong, for the place in the project file.
    pub fn key(&self) -> &'static str {
        match self {
            Self::NoCommand { .. } => "image",
            Self::Capability(_) => "cap_add",
            Self::SecurityOption { .. } | Self::SeccompProfile { .. } => "security_opt",
            Self::Signal { .. } => "stop_signal",
            Self::BlockDevice { .. } => "blkio_config",
            Self::NoParent { .. } => "network_mode",
            Self::Ulimit { .. } => "ulimits",
        }
    }
}

/// Resource limits the kernel knows (getrlimit(2)).
const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Everything that was looked up for one container.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The project.
    pub project: &'a Project,
    /// The service.
    pub service: &'a Service,
    /// The place.
    pub slot: &'a Slot,
    /// The container's id.
    pub id: &'a str,
    /// The container's name.
    pub name: &'a str,
    /// The container's folder.
    pub folder: &'a Path,
    /// The image's configuration.
    pub image: &'a ImageConfig,
    /// The image's layers, the top one first.
    pub layers: &'a [PathBuf],
    /// The layer below all images.
    pub init_layer: &'a Path,
    /// Variables of its links.
    pub links: &'a [(String, String)],
    /// Its endpoints by network key.
    pub endpoints: &'a BTreeMap<String, Endpoint>,
    /// The gateway that `host-gateway` means.
    pub host_gateway: Option<std::net::IpAddr>,
    /// `/etc/resolv.conf`.
    pub resolv_conf: &'a str,
    /// The host's `/etc/hosts`, for those that share its network.
    pub host_hosts: &'a str,
    /// Mounts, already resolved to folders of the host.
    pub mounts: Vec<rootfs::Mount>,
    /// Process 1 of the containers whose namespaces are shared, by what the file says (`service:x`, `container:x`).
    pub parents: &'a BTreeMap<String, i32>,
    /// Labels, the `com.docker.compose.*` ones included.
    pub labels: &'a BTreeMap<String, String>,
}

/// Entrypoint and command of a container, as docker combines them: an entrypoint of the service drops the image's
/// command.
pub fn command(service: &Service, image: &ImageConfig) -> Vec<String> {
    let entrypoint = service
        .entrypoint
        .clone()
        .or_else(|| image.entrypoint.clone())
        .unwrap_or_default();
    let command = match (&service.command, &service.entrypoint) {
        (Some(command), _) => command.clone(),
        (None, Some(_)) => Vec::new(),
        (None, None) => image.cmd.clone().unwrap_or_default(),
    };
    entrypoint.into_iter().chain(command).collect()
}

/// The environment: the image's, the links', the service's, each over the one before.
pub fn environment(
    service: &Service,
    image: &ImageConfig,
    links: &[(String, String)],
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = image
        .env
        .iter()
        .map(|pair| {
            pair.split_once('=')
                .map_or((pair.clone(), String::new()), |(k, v)| {
                    (k.to_owned(), v.to_owned())
                })
        })
        .collect();
    all.extend(links.iter().cloned());
    for (name, value) in &service.environment {
        match value {
            Some(value) => all.insert(name.clone(), value.clone()),
            None => all.remove(name),
        };
    }
    all
}

/// What the runtime is told.
///
/// # Errors
/// The first thing that cannot be had.
pub fn settings(inputs: Inputs<'_>) -> Result<Settings, SettingsError> {
    let (service, image) = (inputs.service, inputs.image);
    let arguments = command(service, image);
    if arguments.is_empty() {
        return Err(SettingsError::NoCommand {
            image: service.image.name.clone(),
        });
    }
    let root = RootFs {
        read_only: service.read_only,
        init_layer: Some(inputs.init_layer.to_owned()),
        ..RootFs::overlay(
            inputs.layers.to_vec(),
            inputs.folder.join("upper"),
            inputs.folder.join("work"),
        )
    };
    let mut made = Settings::new(inputs.id, root, arguments);
    inputs.name.clone_into(&mut made.name);
    made.hostname.clone_from(&service.hostname);
    made.domainname.clone_from(&service.domainname);
    made.labels = inputs.labels.clone();
    made.annotations = service.annotations.clone();
    made.init = service.init;
    made.stop_signal = stop_signal(service, image)?;
    made.shm_size = match service.ipc {
        Namespace::None => None,
        _ => Some(service.shm_size.unwrap_or(DEFAULT_SHM_SIZE)),
    };
    made.sysctls = service.sysctls.clone();
    made.cgroup_parent.clone_from(&service.cgroup_parent);
    made.device_rules.clone_from(&service.device_cgroup_rules);
    made.devices = service
        .devices
        .iter()
        .map(|device| rootfs::Device {
            source: device.source.clone(),
            target: device.target.clone(),
            permissions: device.permissions.clone(),
        })
        .collect();
    process(&mut made, service, image, inputs.links)?;
    confine(&mut made, service)?;
    made.resources = resources(service)?;
    namespaces(&mut made, service, inputs.parents)?;
    made.files.hosts = Some(hosts(&inputs, made.host_name()));
    made.files.resolv_conf = Some(inputs.resolv_conf.to_owned());
    made.files.hostname = Some(format!("{}\n", made.host_name()));
    made.log = log_settings(service);
    made.mounts = inputs.mounts;
    Ok(made)
}

/// The signal that asks it to stop.
fn stop_signal(service: &Service, image: &ImageConfig) -> Result<i32, SettingsError> {
    let Some(name) = service.stop_signal.as_ref().or(image.stop_signal.as_ref()) else {
        return Ok(15);
    };
    banyan_runtime::sys::host::signal_number(name)
        .ok_or_else(|| SettingsError::Signal { signal: name.clone() })
}

fn process(
    made: &mut Settings,
    service: &Service,
    image: &ImageConfig,
    links: &[(String, String)],
) -> Result<(), SettingsError> {
    let process = &mut made.process;
    process.environment = environment(service, image, links)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let cwd = service
        .working_dir
        .clone()
        .unwrap_or_else(|| image.working_dir.clone());
    process.cwd = if cwd.is_empty() { "/".into() } else { cwd };
    process.user = service.user.clone().unwrap_or_else(|| image.user.clone());
    process.groups.clone_from(&service.group_add);
    process.stdin = service.stdin_open;
    process.terminal = service.tty.then_some(TerminalSize {
        rows: 24,
        columns: 80,
    });
    process.oom_score_adj = (service.oom_score_adj != 0).then_some(service.oom_score_adj);
    for (name, limit) in &service.ulimits {
        let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
        if !RLIMITS.contains(&name.as_str()) {
            return Err(SettingsError::Ulimit { name: name.clone() });
        }
        process
            .rlimits
            .insert(name.clone(), (value(limit.soft), value(limit.hard)));
    }
    Ok(())
}

fn confine(made: &mut Settings, service: &Service) -> Result<(), SettingsError> {
    if service.privileged {
        made.make_privileged();
    } else {
        made.process.capabilities = Capabilities::adjusted(&service.cap_add, &service.cap_drop)?;
    }
    for option in &service.security_opt {
        let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => made.process.no_new_privileges = true,
            ("no-new-privileges", "false") => made.process.no_new_privileges = false,
            ("seccomp", "unconfined") => made.confinement.seccomp = SeccompProfile::Unconfined,
            ("seccomp", path) => {
                let path = PathBuf::from(path);
                let text = std::fs::read_to_string(&path)
                    .map_err(|cause| SettingsError::SeccompProfile { path, cause })?;
                made.confinement.seccomp = SeccompProfile::Custom(text);
            }
            ("systempaths", "unconfined") => {
                made.confinement.masked_paths.clear();
                made.confinement.readonly_paths.clear();
            }
            // Labels of security modules are the host's business; the project's validation has warned of them.
            ("apparmor" | "label", _) => {}
            _ => {
                return Err(SettingsError::SecurityOption {
                    option: option.clone(),
                });
            }
        }
    }
    Ok(())
}

fn resources(service: &Service) -> Result<Resources, SettingsError> {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut made = Resources {
        memory: service.memory.limit.map(signed),
        memory_reservation: service.memory.reservation.map(signed),
        memory_swap: service.memory.swap_limit,
        swappiness: service.memory.swappiness.map(u64::from),
        oom_kill_disable: service.oom_kill_disable,
        cpu_shares: service.cpu.shares,
        cpu_quota: service.cpu.quota,
        cpu_period: service.cpu.period,
        cpu_rt_runtime: service.cpu.rt_runtime,
        cpu_rt_period: service.cpu.rt_period,
        cpuset_cpus: service.cpu.cpuset.clone(),
        pids: service.pids_limit,
        io_weight: service.io.weight.map(u64::from),
        ..Resources::default()
    };
    if let Some(nano) = service.cpu.nano_cpus {
        made.set_nano_cpus(nano);
    }
    let number = |path: &Path| {
        banyan_runtime::sys::host::block_device(path).map_err(|_| SettingsError::BlockDevice {
            path: path.to_owned(),
        })
    };
    let rates = |rates: &[crate::model::BlkioRate]| -> Result<Vec<BlockDevice>, SettingsError> {
        let made = rates.iter().map(|rate| {
            let (major, minor) = number(&rate.path)?;
            Ok(BlockDevice {
                major,
                minor,
                rate: rate.rate,
            })
        });
        made.collect()
    };
    made.read_bps = rates(&service.io.read_bps)?;
    made.write_bps = rates(&service.io.write_bps)?;
    made.read_iops = rates(&service.io.read_iops)?;
    made.write_iops = rates(&service.io.write_iops)?;
    for device in &service.io.weight_device {
        let (major, minor) = number(&device.path)?;
        made.io_weight_device.push(Weight {
            major,
            minor,
            weight: u64::from(device.weight),
        });
    }
    Ok(made)
}

fn namespaces(
    made: &mut Settings,
    service: &Service,
    parents: &BTreeMap<String, i32>,
) -> Result<(), SettingsError> {
    let join = |whose: String, kind: &str| -> Result<_, SettingsError> {
        let pid = parents
            .get(&whose)
            .ok_or(SettingsError::NoParent { name: whose })?;
        Ok(namespace::Namespace::Join(
            format!("/proc/{pid}/ns/{kind}").into(),
        ))
    };
    let shared = |whose: &Namespace, kind: &str| match whose {
        Namespace::Private | Namespace::Shareable | Namespace::None => Ok(namespace::Namespace::Private),
        Namespace::Host => Ok(namespace::Namespace::Host),
        Namespace::Service(name) => join(format!("service:{name}"), kind),
        Namespace::Container(name) => join(format!("container:{name}"), kind),
    };
    made.namespaces.net = match &service.network_mode {
        NetworkMode::Networks | NetworkMode::None => namespace::Namespace::Private,
        NetworkMode::Host => namespace::Namespace::Host,
        NetworkMode::Service(name) => join(format!("service:{name}"), "net")?,
        NetworkMode::Container(name) => join(format!("container:{name}"), "net")?,
    };
    made.namespaces.ipc = shared(&service.ipc, "ipc")?;
    made.namespaces.pid = shared(&service.pid, "pid")?;
    made.namespaces.uts = shared(&service.uts, "uts")?;
    made.namespaces.cgroup = shared(&service.cgroup, "cgroup")?;
    Ok(())
}

/// `/etc/hosts`: loopback, the container itself, `extra_hosts`. Other containers are the name server's business.
fn hosts(inputs: &Inputs<'_>, host_name: &str) -> String {
    let service = inputs.service;
    let mut text = if service.network_mode == NetworkMode::Host {
        inputs.host_hosts.to_owned()
    } else {
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
            .to_owned()
    };
    let name = match &service.domainname {
        Some(domain) if !host_name.contains('.') => format!("{host_name}.{domain} {host_name}"),
        _ => host_name.to_owned(),
    };
    for endpoint in inputs.endpoints.values() {
        let addresses = endpoint
            .ipv4
            .map(|ip| ip.to_string())
            .into_iter()
            .chain(endpoint.ipv6.map(|ip| ip.to_string()));
        for address in addresses {
            text += &format!("{address}\t{name}\n");
        }
    }
    for (host, address) in &service.extra_hosts {
        match (address.as_str(), inputs.host_gateway) {
            ("host-gateway", Some(gateway)) => text += &format!("{gateway}\t{host}\n"),
            ("host-gateway", None) => text += &format!("127.0.0.1\t{host}\n"),
            _ => text += &format!("{address}\t{host}\n"),
        }
    }
    text
}

/// How much output is kept: `max-size` and `max-file` of the logging options, else 20 MB in 5 files (docker's `local`
/// driver), because a log without bound fills the disk.
fn log_settings(service: &Service) -> LogSettings {
    let option = |name: &str| service.logging.options.get(name);
    let size = option("max-size")
        .and_then(|text| size_of(text))
        .unwrap_or(20 << 20);
    let files = option("max-file").and_then(|text| text.parse().ok()).unwrap_or(5);
    LogSettings {
        max_size: Some(size),
        max_files: Some(files),
    }
}

/// Bytes from `10m`, `1g`, `500k`.
fn size_of(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Where the output of a container is kept, by its folder.
pub fn log_directory(folder: &Path) -> PathBuf {
    ContainerDir::new(folder.to_owned(), PathBuf::new()).log()
}

/// The runtime's word for a bind's propagation.
pub fn propagation(propagation: BindPropagation) -> Propagation {
    match propagation {
        BindPropagation::Private => Propagation::Private,
        BindPropagation::Rprivate => Propagation::Rprivate,
        BindPropagation::Shared => Propagation::Shared,
        BindPropagation::Rshared => Propagation::Rshared,
        BindPropagation::Slave => Propagation::Slave,
        BindPropagation::Rslave => Propagation::Rslave,
    }
}

/// Paths of the image's `VOLUME`s that nothing is mounted on: they become anonymous volumes.
pub fn uncovered_volumes(service: &Service, image: &ImageConfig) -> Vec<String> {
    let covered: BTreeSet<&str> = service
        .mounts
        .iter()
        .map(|mount| mount.target.trim_end_matches('/'))
        .collect();
    let mut paths: Vec<String> = image
        .volumes
        .keys()
        .map(|path| path.trim_end_matches('/').to_owned())
        .collect();
    let declared = service
        .mounts
        .iter()
        .filter(|mount| matches!(mount.kind, MountKind::Anonymous { .. }));
    paths.retain(|path| !path.is_empty() && !covered.contains(path.as_str()));
    paths.extend(declared.map(|mount| mount.target.clone()));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ImageSource, ServiceName};

    fn service() -> Service {
        let image = ImageSource {
            name: "i".into(),
            named: true,
            build: None,
        };
        Service::new(ServiceName::new("web").unwrap(), image)
    }

    #[test]
    fn an_entrypoint_of_the_service_drops_the_images_command() {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let image = ImageConfig {
            entrypoint: Some(list("ie")),
            cmd: Some(list("ic")),
            ..ImageConfig::default()
        };
        let table = [
            (None, None, "ie ic"),
            (None, Some("c"), "ie c"),
            (Some("e"), None, "e"),
            (Some("e"), Some("c"), "e c"),
            (Some(""), Some("c"), "c"),
            (None, Some(""), "ie"),
        ];
        for (entrypoint, cmd, expected) in table {
            let service = Service {
                entrypoint: entrypoint.map(list),
                command: cmd.map(list),
                ..service()
            };
            assert_eq!(
                command(&service, &image),
                list(expected),
                "{entrypoint:?} {cmd:?}"
            );
        }
    }

    #[test]
    fn the_services_environment_wins_and_null_removes() {
        let image = ImageConfig {
            env: vec!["A=1".into(), "B=2".into(), "C=3".into()],
            ..ImageConfig::default()
        };
        let mut service = service();
        service.environment = [("A".into(), Some("x".into())), ("B".into(), None)].into();
        let made = environment(
            &service,
            &image,
            &[("C".into(), "link".into()), ("D".into(), "link".into())],
        );
        let text: Vec<_> = made
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(text, ["A=x", "C=link", "D=link"]);
    }
}
