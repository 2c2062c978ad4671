//! Flags to settings.

use super::{
    flags::Flags,
    network::{Mode, mode, remember},
    refuse,
    registry::{Registry, short},
    value,
};
use crate::cli::{CommandError, Exit};
use banyan_runtime::{
    cgroup::Resources,
    confine::{Capabilities, SeccompProfile},
    container::{Files, Found, Settings, TerminalSize},
    image::{ImageConfig, Store},
    namespace::Namespace,
    rootfs::{Device, Mount, MountKind, Propagation, RootFs},
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Read,
    path::{Path, PathBuf},
};

/// Label under which `stop` finds its default grace period.
pub(super) const STOP_TIMEOUT: &str = "banyan.stop-timeout";
/// Annotation with the id of a container's image; none for a root directory.
pub(super) const IMAGE_ID: &str = "banyan.image-id";
/// Label that marks containers removed when they end.
pub(super) const AUTO_REMOVE: &str = "banyan.auto-remove";

/// What an image or a directory gives: lower layers or a root, and defaults.
struct Base {
    root: RootFs,
    config: ImageConfig,
    /// Words after the image.
    command: Vec<String>,
    image: String,
    /// `None` for a directory.
    image_id: Option<String>,
}

/// Makes settings out of flags, for a new id.
pub(super) fn resolve(flags: &Flags, registry: &Registry) -> Result<Settings, CommandError> {
    let id = new_id()?;
    let base = base(flags, registry, &id)?;
    let arguments = arguments(flags, &base)?;
    let mut settings = Settings::new(&id, base.root, arguments);
    settings.name = flags
        .name
        .clone()
        .unwrap_or_else(|| format!("banyan-{}", short(&id)));
    if !settings
        .name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        || settings.name.starts_with('.')
    {
        return Err(refuse(format!(
            "`{}` cannot be a container's name: use letters, digits, _ . -",
            settings.name
        )));
    }
    settings.labels = base.config.labels.clone();
    settings.labels.extend(flags.label.iter().cloned());
    settings.annotations.insert("banyan.image".to_owned(), base.image);
    if let Some(id) = base.image_id {
        settings.annotations.insert(IMAGE_ID.to_owned(), id);
    }
    if let Some(seconds) = flags.stop_timeout {
        settings
            .annotations
            .insert(STOP_TIMEOUT.to_owned(), seconds.to_string());
    }
    settings.hostname.clone_from(&flags.hostname);
    settings.domainname.clone_from(&flags.domainname);
    settings.root.read_only = flags.read_only;
    settings.init = flags.init;
    settings.cgroup_parent.clone_from(&flags.cgroup_parent);
    settings.sysctls = flags.sysctl.iter().cloned().collect();
    settings.stop_signal = match (flags.stop_signal, &base.config.stop_signal) {
        (Some(signal), _) => signal,
        (None, Some(text)) => value::signal(text).map_err(refuse)?,
        (None, None) => 15,
    };
    settings.shm_size = flags.shm_size.or(settings.shm_size);
    process(flags, &base.config, &mut settings)?;
    let network = mode(flags, &base.config, registry)?;
    namespaces(flags, &network, registry, &mut settings)?;
    security(flags, &mut settings)?;
    settings.resources = resources(flags);
    settings.mounts = mounts(flags, &base.config, registry, &id)?;
    settings.devices = flags
        .device
        .iter()
        .map(|text| device(text))
        .collect::<Result<_, _>>()?;
    settings.device_rules.clone_from(&flags.device_cgroup_rule);
    let host_names;
    (settings.files, host_names) = files(flags, &settings)?;
    match network {
        Mode::Networks(wish) => remember(wish, host_names, &mut settings)?,
        Mode::Namespace(_) if host_names.is_empty() => {}
        Mode::Namespace(word) => {
            return Err(refuse(format!(
                "`host-gateway` means nothing with --network {word}"
            )));
        }
    }
    for (key, text) in &flags.log_opt {
        match key.as_str() {
            "max-size" => settings.log.max_size = Some(value::bytes(text).map_err(refuse)?),
            "max-file" => {
                let count = text
                    .parse()
                    .map_err(|_| refuse(format!("`{text}` is no number of log files")))?;
                settings.log.max_files = Some(count);
            }
            _ => {
                return Err(refuse(format!(
                    "the log option `{key}` is not known: use max-size or max-file"
                )));
            }
        }
    }
    Ok(settings)
}

/// 64 random hexadecimal digits.
fn new_id() -> Result<String, CommandError> {
    let mut bytes = [0; 32];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| CommandError::caused(Exit::Host, "cannot make an id", &error))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn base(flags: &Flags, registry: &Registry, id: &str) -> Result<Base, CommandError> {
    if let Some(directory) = &flags.rootfs {
        let path = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
        if !path.is_dir() {
            return Err(refuse(format!(
                "the root filesystem `{}` is not a directory",
                path.display()
            )));
        }
        return Ok(Base {
            image: path.display().to_string(),
            image_id: None,
            root: RootFs::directory(path),
            config: ImageConfig::default(),
            command: flags.words.clone(),
        });
    }
    let Some((name, command)) = flags.words.split_first() else {
        return Err(refuse("no image is given").hint("name an image, or a directory with --rootfs"));
    };
    let failed = |error: &dyn Fn() -> CommandError| error();
    let store = Store::open(&registry.roots.images())
        .map_err(|error| CommandError::caused(Exit::Status(125), "cannot open the image store", &error))?;
    let image = store.lookup(name).map_err(|error| {
        failed(&|| {
            CommandError::caused(Exit::Status(125), format!("cannot use image `{name}`"), &error)
                .hint(format!("`banyan image pull {name}` fetches it"))
        })
    })?;
    let state = registry.roots.container(id);
    Ok(Base {
        root: RootFs {
            init_layer: Some(store.init_layer()),
            ..RootFs::overlay(image.layers, state.join("upper"), state.join("work"))
        },
        config: image.config,
        command: command.to_vec(),
        image: name.clone(),
        image_id: Some(image.id.to_string()),
    })
}

/// Program and arguments: the entrypoint (typed, else the image's), then the command (typed, else the image's unless an
/// entrypoint was typed).
fn arguments(flags: &Flags, base: &Base) -> Result<Vec<String>, CommandError> {
    let mut list = match &flags.entrypoint {
        Some(program) if program.is_empty() => Vec::new(),
        Some(program) => vec![program.clone()],
        None => base.config.entrypoint.clone().unwrap_or_default(),
    };
    if base.command.is_empty() && flags.entrypoint.is_none() {
        list.extend(base.config.cmd.clone().unwrap_or_default());
    } else {
        list.extend(base.command.iter().cloned());
    }
    if list.is_empty() {
        return Err(
            refuse("no command is given, and the image names none").hint("write a command after the image")
        );
    }
    Ok(list)
}

fn process(flags: &Flags, config: &ImageConfig, settings: &mut Settings) -> Result<(), CommandError> {
    let process = &mut settings.process;
    process.environment.clone_from(&config.env);
    for path in &flags.env_file {
        let text = fs_err::read_to_string(path).map_err(|error| {
            CommandError::caused(Exit::Status(125), "cannot read an environment file", &error)
        })?;
        for line in text
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            set_variable(&mut process.environment, line);
        }
    }
    for text in &flags.env {
        set_variable(&mut process.environment, text);
    }
    let cwd = flags
        .workdir
        .clone()
        .filter(|dir| !dir.is_empty())
        .unwrap_or_else(|| config.working_dir.clone());
    process.cwd = if cwd.is_empty() { "/".to_owned() } else { cwd };
    process.user = flags.user.clone().unwrap_or_else(|| config.user.clone());
    process.groups.clone_from(&flags.group_add);
    process.rlimits = flags.ulimit.iter().cloned().collect::<BTreeMap<_, _>>();
    process.oom_score_adj = flags.oom_score_adj;
    process.stdin = flags.interactive;
    if flags.tty {
        let fallback = TerminalSize {
            rows: 24,
            columns: 80,
        };
        process.terminal = Some(banyan_runtime::terminal::size().unwrap_or(fallback));
    }
    process.capabilities = Capabilities::adjusted(&flags.cap_add, &flags.cap_drop)
        .map_err(|error| refuse(error.to_string()).hint("capabilities(7) lists them"))?;
    Ok(())
}

/// `NAME=VALUE` sets, `NAME` takes this command's own value (or removes the image's).
fn set_variable(list: &mut Vec<String>, text: &str) {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    list.retain(|entry| entry.split_once('=').is_none_or(|(known, _)| known != name));
    if text.contains('=') {
        list.push(text.to_owned());
    } else if let Ok(own) = std::env::var(name) {
        list.push(format!("{name}={own}"));
    }
}

fn namespaces(
    flags: &Flags,
    network: &Mode,
    registry: &Registry,
    settings: &mut Settings,
) -> Result<(), CommandError> {
    let choose = |flag: &str, word: &str, kind: &str| -> Result<Namespace, CommandError> {
        match word {
            "host" => Ok(Namespace::Host),
            "private" | "none" | "shareable" | "" => Ok(Namespace::Private),
            _ => match word.strip_prefix("container:") {
                Some(name) => Ok(Namespace::Join(other_namespace(registry, name, kind)?)),
                None => Err(refuse(format!(
                    "--{flag} cannot be `{word}`: use private, host or container:NAME"
                ))),
            },
        }
    };
    let namespaces = &mut settings.namespaces;
    namespaces.net = match network {
        Mode::Namespace(word) => choose("network", word, "net")?,
        Mode::Networks(_) => Namespace::Private,
    };
    namespaces.pid = choose("pid", &flags.pid, "pid")?;
    namespaces.ipc = choose("ipc", &flags.ipc, "ipc")?;
    namespaces.uts = choose("uts", &flags.uts, "uts")?;
    namespaces.cgroup = choose("cgroupns", &flags.cgroupns, "cgroup")?;
    if flags.ipc == "none" {
        settings.shm_size = None;
    }
    Ok(())
}

fn other_namespace(registry: &Registry, name: &str, kind: &str) -> Result<PathBuf, CommandError> {
    let entry = registry.find(name)?;
    match entry.found()? {
        Found::Running(container) => Ok(container.namespace(kind)),
        Found::Created(container) => Ok(container.namespace(kind)),
        _ => Err(refuse(format!(
            "container `{name}` is not running, so its namespaces cannot be joined"
        ))),
    }
}

fn security(flags: &Flags, settings: &mut Settings) -> Result<(), CommandError> {
    if flags.privileged {
        settings.make_privileged();
    }
    for option in &flags.security_opt {
        let (key, text) = option.split_once(['=', ':']).unwrap_or((option, "true"));
        match (key, text) {
            ("no-new-privileges", "true") => settings.process.no_new_privileges = true,
            ("no-new-privileges", "false") => settings.process.no_new_privileges = false,
            ("seccomp", "unconfined") => settings.confinement.seccomp = SeccompProfile::Unconfined,
            ("seccomp", "builtin") => settings.confinement.seccomp = SeccompProfile::Default,
            ("seccomp", path) => {
                let text = fs_err::read_to_string(path).map_err(|error| {
                    CommandError::caused(Exit::Status(125), "cannot read the seccomp profile", &error)
                })?;
                settings.confinement.seccomp = SeccompProfile::Custom(text);
            }
            ("systempaths", "unconfined") => {
                settings.confinement.masked_paths.clear();
                settings.confinement.readonly_paths.clear();
            }
            // Not in force on this program's hosts; asking for none is granted.
            ("apparmor" | "label", "unconfined" | "disable") => {}
            _ => return Err(refuse(format!("the security option `{option}` is not supported"))),
        }
    }
    Ok(())
}

fn resources(flags: &Flags) -> Resources {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut limits = Resources {
        memory: flags.memory.map(signed),
        memory_reservation: flags.memory_reservation.map(signed),
        memory_swap: flags.memory_swap,
        oom_kill_disable: flags.oom_kill_disable,
        cpu_shares: flags.cpu_shares,
        cpuset_cpus: flags.cpuset_cpus.clone(),
        cpuset_mems: flags.cpuset_mems.clone(),
        pids: flags.pids_limit,
        ..Resources::default()
    };
    if let Some(nano) = flags.cpus {
        limits.set_nano_cpus(nano);
    }
    limits.cpu_quota = flags.cpu_quota.or(limits.cpu_quota);
    limits.cpu_period = flags.cpu_period.or(limits.cpu_period);
    limits
}

fn mounts(
    flags: &Flags,
    config: &ImageConfig,
    registry: &Registry,
    id: &str,
) -> Result<Vec<Mount>, CommandError> {
    let mut list = Vec::new();
    for text in &flags.volume {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts[..] {
            [target] => ("", target, ""),
            [source, target] => (source, target, ""),
            [source, target, options] => (source, target, options),
            _ => return Err(refuse(format!("`{text}` is no mount: write SOURCE:TARGET[:ro]"))),
        };
        let mut mount = source_mount(registry, id, source, target, list.len())?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match (option, &mut mount.kind) {
                ("ro", _) => mount.read_only = true,
                ("rw" | "z" | "Z" | "cached" | "delegated" | "consistent", _) => {}
                ("nocopy", MountKind::Volume { seed, .. }) => *seed = false,
                (
                    word,
                    MountKind::Bind {
                        propagation: kind, ..
                    },
                ) if propagation(word).is_some() => {
                    *kind = propagation(word).unwrap_or_default();
                }
                _ => return Err(refuse(format!("`{option}` is no option of the mount `{text}`"))),
            }
        }
        list.push(mount);
    }
    for text in &flags.mount {
        list.push(long_mount(registry, id, text, list.len())?);
    }
    for text in &flags.tmpfs {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        list.push(tmpfs(target, options)?);
    }
    for target in config.volumes.keys() {
        if !list
            .iter()
            .any(|mount: &Mount| mount.target.trim_end_matches('/') == target.trim_end_matches('/'))
        {
            list.push(source_mount(registry, id, "", target, list.len())?);
        }
    }
    Ok(list)
}

/// A path of the host, a named volume, or (no source) a volume of this container alone.
fn source_mount(
    registry: &Registry,
    id: &str,
    source: &str,
    target: &str,
    number: usize,
) -> Result<Mount, CommandError> {
    let made = |path: &Path| {
        fs_err::create_dir_all(path).map_err(|error| {
            CommandError::caused(
                Exit::Status(125),
                format!("cannot make the source of `{target}`"),
                &error,
            )
        })
    };
    let kind = if source.starts_with('/') || source.starts_with('.') {
        let path = std::path::absolute(source).unwrap_or_else(|_| source.into());
        if !path.exists() {
            made(&path)?;
        }
        MountKind::Bind {
            source: path,
            recursive: true,
            propagation: Propagation::Rprivate,
        }
    } else {
        let path = if source.is_empty() {
            registry
                .roots
                .container(id)
                .join("volumes")
                .join(number.to_string())
        } else {
            if !source
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
                || source.starts_with('.')
            {
                return Err(refuse(format!(
                    "`{source}` is neither an absolute path nor a volume's name"
                )));
            }
            registry.roots.volumes().join(source).join("data")
        };
        made(&path)?;
        MountKind::Volume {
            source: path,
            seed: true,
            subpath: None,
        }
    };
    Ok(Mount {
        kind,
        target: target.to_owned(),
        read_only: false,
    })
}

fn long_mount(registry: &Registry, id: &str, text: &str, number: usize) -> Result<Mount, CommandError> {
    let mut words: BTreeMap<&str, &str> = BTreeMap::new();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        words.insert(
            match key {
                "src" => "source",
                "dst" | "destination" => "target",
                "ro" => "readonly",
                key => key,
            },
            value,
        );
    }
    let mut take = |key: &str| words.remove(key);
    let target = take("target").ok_or_else(|| refuse(format!("the mount `{text}` has no target=…")))?;
    let source = take("source").unwrap_or_default();
    let read_only = take("readonly").is_some_and(|value| value != "false" && value != "0");
    let mut mount = match take("type").unwrap_or("volume") {
        "bind" => {
            let path = std::path::absolute(source).unwrap_or_else(|_| source.into());
            if source.is_empty() || !path.exists() {
                return Err(refuse(format!(
                    "the source `{source}` of the mount `{text}` does not exist"
                )));
            }
            let kind = take("bind-propagation")
                .map(|word| propagation(word).ok_or(word))
                .transpose();
            let kind = kind
                .map_err(|word| refuse(format!("`{word}` is no propagation")))?
                .unwrap_or_default();
            Mount {
                kind: MountKind::Bind {
                    source: path,
                    recursive: true,
                    propagation: kind,
                },
                target: target.to_owned(),
                read_only,
            }
        }
        "volume" => {
            let mut mount = source_mount(registry, id, source, target, number)?;
            if let (Some(_), MountKind::Volume { seed, .. }) = (take("volume-nocopy"), &mut mount.kind) {
                *seed = false;
            }
            if let (Some(path), MountKind::Volume { subpath, .. }) = (take("volume-subpath"), &mut mount.kind)
            {
                *subpath = Some(path.to_owned());
            }
            mount
        }
        "tmpfs" => {
            let size = take("tmpfs-size").map(|size| format!("size={size}"));
            let mode = take("tmpfs-mode").map(|mode| format!("mode={mode}"));
            tmpfs(
                target,
                &size.into_iter().chain(mode).collect::<Vec<_>>().join(","),
            )?
        }
        other => {
            return Err(refuse(format!(
                "`{other}` is no type of mount: use bind, volume or tmpfs"
            )));
        }
    };
    mount.read_only |= read_only;
    match words.keys().next() {
        Some(unknown) => Err(refuse(format!("`{unknown}` is not known in the mount `{text}`"))),
        None => Ok(mount),
    }
}

fn tmpfs(target: &str, options: &str) -> Result<Mount, CommandError> {
    let (mut size, mut mode, mut rest, mut read_only) = (None, 0o1777, Vec::new(), false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", text)) if !text.ends_with('%') => size = Some(value::bytes(text).map_err(refuse)?),
            Some(("mode", text)) => {
                mode =
                    u32::from_str_radix(text, 8).map_err(|_| refuse(format!("`{text}` is no octal mode")))?;
            }
            _ if option == "ro" => read_only = true,
            _ => rest.push(option.to_owned()),
        }
    }
    Ok(Mount {
        kind: MountKind::Tmpfs {
            size,
            mode,
            options: rest,
        },
        target: target.to_owned(),
        read_only,
    })
}

fn propagation(word: &str) -> Option<Propagation> {
    Some(match word {
        "private" => Propagation::Private,
        "rprivate" => Propagation::Rprivate,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::Rshared,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::Rslave,
        _ => return None,
    })
}

fn device(text: &str) -> Result<Device, CommandError> {
    let parts: Vec<&str> = text.split(':').collect();
    let rights = |word: &str| !word.is_empty() && word.chars().all(|c| "rwm".contains(c));
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, last] if rights(last) => (source, source, last),
        [source, target] => (source, target, "rwm"),
        [source, target, last] if rights(last) => (source, target, last),
        _ => {
            return Err(refuse(format!(
                "`{text}` is no device: write SOURCE[:TARGET[:rwm]]"
            )));
        }
    };
    if !Path::new(source).exists() {
        return Err(refuse(format!("the device `{source}` does not exist")));
    }
    Ok(Device {
        source: source.into(),
        target: target.to_owned(),
        permissions: permissions.to_owned(),
    })
}

/// The files Docker keeps for a container. With the host's network its name service files are the host's.
/// Gives the names of `host-gateway` too, whose address is not known yet.
fn files(flags: &Flags, settings: &Settings) -> Result<(Files, Vec<String>), CommandError> {
    let host_network = settings.namespaces.net == Namespace::Host;
    let mut hosts = if host_network {
        fs_err::read_to_string("/etc/hosts").unwrap_or_default()
    } else {
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
            .to_owned()
    };
    let mut host_names = Vec::new();
    for text in &flags.add_host {
        let (name, address) = text
            .split_once([':', '='])
            .ok_or_else(|| refuse(format!("`{text}` is no host: write NAME:ADDRESS")))?;
        if address == "host-gateway" {
            host_names.push(name.to_owned());
            continue;
        }
        let address: std::net::IpAddr = address
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|_| refuse(format!("`{address}` is no address")))?;
        let _ = writeln!(hosts, "{address}\t{name}");
    }
    let mut resolv = String::new();
    for server in &flags.dns {
        let server: std::net::IpAddr = server
            .parse()
            .map_err(|_| refuse(format!("`{server}` is no address of a name server")))?;
        let _ = writeln!(resolv, "nameserver {server}");
    }
    if flags.dns.is_empty() {
        resolv = fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default();
    }
    if !flags.dns_search.is_empty() {
        let _ = writeln!(resolv, "search {}", flags.dns_search.join(" "));
    }
    if !flags.dns_option.is_empty() {
        let _ = writeln!(resolv, "options {}", flags.dns_option.join(" "));
    }
    let files = Files {
        hosts: Some(hosts),
        resolv_conf: Some(resolv),
        hostname: Some(format!("{}\n", settings.host_name())),
    };
    Ok((files, host_names))
}
