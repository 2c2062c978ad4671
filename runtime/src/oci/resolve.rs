//! A bundle to settings. What the kernel or we lack is refused by its name in the specification.

use super::{
    Refused, mounts, resources,
    spec::{self, Spec},
};
use crate::{
    cgroup::systemd::{self, Property, Scope},
    confine::{Capabilities, SeccompProfile, capabilities},
    container::{
        Bundle, Confinement, Exact, Files, Listener, Node, Process, Scheduler, Settings, TerminalSize,
        TimeNamespace,
    },
    namespace::{Namespace, Namespaces, UserNamespace},
    rootfs::{Propagation, RootFs},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The newest version of the specification this follows.
pub const VERSION: &str = "1.2.1";

/// Who makes cgroups, and so how `linux.cgroupsPath` is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Manager {
    /// We do: a path.
    #[default]
    Cgroupfs,
    /// systemd does: `slice:prefix:name`.
    Systemd,
}

/// Settings of container `id` in the bundle at `bundle` (absolute).
///
/// # Errors
/// Names what is wrong or lacking.
pub fn resolve(spec: &Spec, id: &str, bundle: &Path, manager: Manager) -> Result<Settings, Refused> {
    check_version(&spec.oci_version)?;
    refuse_lacking(spec)?;
    let written = spec
        .process
        .as_ref()
        .ok_or_else(|| Refused::new("process is missing"))?;
    let root = spec
        .root
        .as_ref()
        .ok_or_else(|| Refused::new("root is missing"))?;
    let path = bundle.join(&root.path);
    if !path.is_dir() {
        return Err(Refused::new(format!(
            "root.path: `{}` is no directory",
            path.display()
        )));
    }
    let propagation = propagation(spec.linux.rootfs_propagation.as_deref())?;
    let mut settings = Settings::new(id, RootFs::directory(path), Vec::new());
    settings.root.read_only = root.readonly;
    settings.root.propagation = propagation.unwrap_or_default();
    settings.hostname.clone_from(&spec.hostname);
    settings.domainname.clone_from(&spec.domainname);
    settings.annotations.clone_from(&spec.annotations);
    settings.shm_size = None;
    settings.files = Files::default();
    settings.sysctls.clone_from(&spec.linux.sysctl);
    settings.process = process(written)?;
    if let Some(personality) = &spec.linux.personality
        && let Some(exact) = &mut settings.process.exact
    {
        exact.personality = Some(domain(personality)?);
    }
    settings.mounts = spec
        .mounts
        .iter()
        .map(|one| mounts::mount(one, bundle))
        .collect::<Result<_, _>>()?;
    let written_resources = spec.linux.resources.clone().unwrap_or_default();
    settings.resources = resources::resources(&written_resources)?;
    settings.device_rules = resources::device_rules(&written_resources.devices)?;
    settings.confinement = Confinement {
        privileged: false,
        seccomp: match &spec.linux.seccomp {
            Some(profile) => SeccompProfile::Custom(profile.to_string()),
            None => SeccompProfile::Unconfined,
        },
        masked_paths: spec.linux.masked_paths.clone(),
        readonly_paths: spec.linux.readonly_paths.clone(),
    };
    let mut made = Bundle {
        nodes: spec.linux.devices.iter().map(node).collect::<Result<_, _>>()?,
        cgroup_path: match manager {
            Manager::Cgroupfs => cgroup_path(spec.linux.cgroups_path.as_deref(), id)?,
            Manager::Systemd => String::new(),
        },
        scope: match manager {
            Manager::Cgroupfs => None,
            Manager::Systemd => Some(scope(spec, id)?),
        },
        propagation,
        hostname: spec.hostname.clone().filter(|name| !name.is_empty()),
        create_container: spec.hooks.create_container.clone(),
        start_container: spec.hooks.start_container.clone(),
        state: state(id, bundle, &spec.annotations),
        listener: listener(spec.linux.seccomp.as_ref())?,
        ..Bundle::default()
    };
    settings.namespaces = namespaces(spec, &mut made)?;
    check_hostname(spec, &settings.namespaces)?;
    settings.bundle = Some(Box::new(made));
    Ok(settings)
}

/// What hooks and `state` tell, without status and process id.
fn state(id: &str, bundle: &Path, annotations: &BTreeMap<String, String>) -> Value {
    json!({ "ociVersion": VERSION, "id": id, "bundle": bundle, "annotations": annotations })
}

fn check_version(text: &str) -> Result<(), Refused> {
    let numbers: Vec<u32> = text
        .split(['-', '+'])
        .next()
        .unwrap_or_default()
        .split('.')
        .filter_map(|part| part.parse().ok())
        .collect();
    match numbers[..] {
        [1, _, _] => Ok(()),
        _ => Err(Refused::new(format!(
            "ociVersion: `{text}` is not of the 1.x series"
        ))),
    }
}

/// Properties of the specification that this runtime does not honour.
fn refuse_lacking(spec: &Spec) -> Result<(), Refused> {
    let linux = &spec.linux;
    let process = spec.process.as_ref();
    let labelled = |text: Option<&String>| text.is_some_and(|text| !text.is_empty() && text != "unconfined");
    let lacking = [
        (spec.vm.is_some(), "vm"),
        (spec.windows.is_some(), "windows"),
        (spec.solaris.is_some(), "solaris"),
        (spec.zos.is_some(), "zos"),
        (linux.intel_rdt.is_some(), "linux.intelRdt"),
        (linux.memory_policy.is_some(), "linux.memoryPolicy"),
        (!linux.net_devices.is_empty(), "linux.netDevices"),
        (labelled(linux.mount_label.as_ref()), "linux.mountLabel"),
        (
            labelled(process.and_then(|process| process.apparmor_profile.as_ref())),
            "process.apparmorProfile",
        ),
        (
            labelled(process.and_then(|process| process.selinux_label.as_ref())),
            "process.selinuxLabel",
        ),
        (
            process.is_some_and(|process| process.command_line.is_some()),
            "process.commandLine",
        ),
    ];
    match lacking.iter().find(|(present, _)| *present) {
        Some((_, name)) => Err(Refused::new(format!("{name} is not supported"))),
        None => Ok(()),
    }
}

/// A process of `config.json`, or of `exec --process`.
///
/// # Errors
/// Names what is wrong or lacking.
pub fn process(written: &spec::Process) -> Result<Process, Refused> {
    let mut made = Process::new(written.args.clone());
    made.environment.clone_from(&written.env);
    if !written.cwd.starts_with('/') {
        return Err(Refused::new(format!(
            "process.cwd: `{}` must be an absolute path",
            written.cwd
        )));
    }
    made.cwd.clone_from(&written.cwd);
    made.umask = written.user.umask.unwrap_or(0o022);
    for limit in &written.rlimits {
        let name = limit.kind.strip_prefix("RLIMIT_").map(str::to_ascii_lowercase);
        let name =
            name.ok_or_else(|| Refused::new(format!("process.rlimits: `{}` is no limit", limit.kind)))?;
        if made.rlimits.insert(name, (limit.soft, limit.hard)).is_some() {
            return Err(Refused::new(format!(
                "process.rlimits: `{}` is written twice",
                limit.kind
            )));
        }
    }
    made.capabilities = match &written.capabilities {
        Some(sets) => capability_sets(sets),
        None => Capabilities::same(0),
    };
    made.no_new_privileges = written.no_new_privileges;
    made.oom_score_adj = written.oom_score_adj;
    made.terminal = written.terminal.then(|| {
        let size = written.console_size.unwrap_or_default();
        TerminalSize {
            rows: size.height,
            columns: size.width,
        }
    });
    made.exact = Some(Box::new(Exact {
        uid: written.user.uid,
        gid: written.user.gid,
        groups: written.user.additional_gids.clone(),
        preserved: 0,
        scheduler: written.scheduler.as_ref().map(scheduler).transpose()?,
        io_priority: written.io_priority.as_ref().map(io_priority).transpose()?,
        personality: None,
        affinity: written
            .exec_cpu_affinity
            .as_ref()
            .and_then(|affinity| affinity.last.clone().or_else(|| affinity.initial.clone())),
    }));
    Ok(made)
}

/// Sets by name; names the kernel may know and we do not are left out, as the specification wants ("SHOULD warn").
fn capability_sets(sets: &spec::Capabilities) -> Capabilities {
    let bits = |names: &[String]| {
        names
            .iter()
            .filter_map(|name| capabilities::bit(name))
            .fold(0, |set, bit| set | bit)
    };
    Capabilities {
        bounding: bits(&sets.bounding),
        effective: bits(&sets.effective),
        permitted: bits(&sets.permitted),
        inheritable: bits(&sets.inheritable),
        ambient: bits(&sets.ambient),
    }
}

fn scheduler(written: &spec::Scheduler) -> Result<Scheduler, Refused> {
    let policy = match written.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => {
            return Err(Refused::new(format!(
                "process.scheduler.policy: `{other}` is no policy"
            )));
        }
    };
    let flags = written.flags.iter().try_fold(0, |set, name| {
        Ok(set
            | match name.as_str() {
                "SCHED_FLAG_RESET_ON_FORK" => 0x01,
                "SCHED_FLAG_RECLAIM" => 0x02,
                "SCHED_FLAG_DL_OVERRUN" => 0x04,
                "SCHED_FLAG_KEEP_POLICY" => 0x08,
                "SCHED_FLAG_KEEP_PARAMS" => 0x10,
                other => {
                    return Err(Refused::new(format!(
                        "process.scheduler.flags: `{other}` is not supported"
                    )));
                }
            })
    })?;
    let priority = u32::try_from(written.priority)
        .map_err(|_| Refused::new("process.scheduler.priority must not be negative"))?;
    Ok(Scheduler {
        policy,
        flags,
        nice: written.nice,
        priority,
        runtime: written.runtime,
        deadline: written.deadline,
        period: written.period,
    })
}

fn io_priority(written: &spec::IoPriority) -> Result<(u32, u32), Refused> {
    let class = match written.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => {
            return Err(Refused::new(format!(
                "process.ioPriority.class: `{other}` is no class"
            )));
        }
    };
    if written.priority > 7 {
        return Err(Refused::new("process.ioPriority.priority must be 0 to 7"));
    }
    Ok((class, written.priority))
}

fn domain(written: &spec::Personality) -> Result<u64, Refused> {
    if !written.flags.is_empty() {
        return Err(Refused::new("linux.personality.flags is not supported"));
    }
    match written.domain.as_str() {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        other => Err(Refused::new(format!(
            "linux.personality.domain: `{other}` is no domain"
        ))),
    }
}

fn propagation(text: Option<&str>) -> Result<Option<Propagation>, Refused> {
    Ok(Some(match text.unwrap_or_default() {
        "" => return Ok(None),
        "private" => Propagation::Private,
        "rprivate" => Propagation::Rprivate,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::Rshared,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::Rslave,
        other => {
            return Err(Refused::new(format!(
                "linux.rootfsPropagation: `{other}` is not supported"
            )));
        }
    }))
}

fn node(written: &spec::Device) -> Result<Node, Refused> {
    let bad = |what: &str| Refused::new(format!("linux.devices: `{}`: {what}", written.path));
    if !written.path.starts_with('/') || written.path.split('/').any(|part| part == "..") {
        return Err(bad("the path must be absolute and without `..`"));
    }
    let kind = match written.kind.as_str() {
        "c" | "u" => 'c',
        "b" => 'b',
        "p" => 'p',
        _ => return Err(bad("the type must be c, b, u or p")),
    };
    let number = |number: i64| u32::try_from(number).map_err(|_| bad("its numbers must not be negative"));
    Ok(Node {
        path: written.path.clone(),
        kind,
        major: number(written.major)?,
        minor: number(written.minor)?,
        mode: written.file_mode.unwrap_or(0o666),
        uid: written.uid.unwrap_or(0),
        gid: written.gid.unwrap_or(0),
    })
}

/// The scope that systemd is to make, and what the annotations ask of it.
fn scope(spec: &Spec, id: &str) -> Result<(Scope, Vec<Property>), Refused> {
    let written = spec.linux.cgroups_path.as_deref().unwrap_or_default();
    let scope =
        Scope::parse(written, id).map_err(|error| Refused::new(format!("linux.cgroupsPath: {error}")))?;
    let asked = systemd::asked_properties(&spec.annotations).map_err(Refused::new)?;
    Ok((scope, asked))
}

/// Relative paths lie where all our cgroups do, at the root of each hierarchy.
fn cgroup_path(written: Option<&str>, id: &str) -> Result<String, Refused> {
    let path = written.unwrap_or_default().trim_matches('/');
    if path.is_empty() {
        return Ok(format!("banyan-{id}"));
    }
    if path.contains(':') && !path.contains('/') {
        return Err(Refused::new(
            "linux.cgroupsPath: that is systemd's form: give --systemd-cgroup, or write a path",
        ));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(Refused::new("linux.cgroupsPath contains `..`"));
    }
    Ok(path.to_owned())
}

fn listener(seccomp: Option<&Value>) -> Result<Option<Listener>, Refused> {
    let Some(profile) = seccomp else { return Ok(None) };
    let text = |key: &str| profile[key].as_str().unwrap_or_default().to_owned();
    let notifies = profile["defaultAction"] == "SCMP_ACT_NOTIFY"
        || profile["syscalls"]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| one["action"] == "SCMP_ACT_NOTIFY"));
    let path = text("listenerPath");
    match (path.is_empty(), notifies) {
        (true, true) => Err(Refused::new(
            "linux.seccomp: SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath",
        )),
        (false, true) => Ok(Some(Listener {
            path: PathBuf::from(path),
            metadata: text("listenerMetadata"),
        })),
        // A listener that nothing would be told to.
        (_, false) => Ok(None),
    }
}

fn namespaces(spec: &Spec, bundle: &mut Bundle) -> Result<Namespaces, Refused> {
    let host = Namespace::Host;
    let mut made = Namespaces {
        net: host.clone(),
        ipc: host.clone(),
        pid: host.clone(),
        uts: host.clone(),
        cgroup: host,
        user: None,
    };
    let mut own_mounts = false;
    let mut seen = Vec::new();
    for one in &spec.linux.namespaces {
        let kind = one.kind.as_str();
        if seen.contains(&kind) {
            return Err(Refused::new(format!(
                "linux.namespaces: `{kind}` is written twice"
            )));
        }
        seen.push(kind);
        let chosen = match one.path.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) if path.is_absolute() => Namespace::Join(path.clone()),
            Some(path) => {
                return Err(Refused::new(format!(
                    "linux.namespaces: `{}` must be an absolute path",
                    path.display()
                )));
            }
            None => Namespace::Private,
        };
        match (kind, chosen) {
            ("network", chosen) => made.net = chosen,
            ("ipc", chosen) => made.ipc = chosen,
            ("pid", chosen) => made.pid = chosen,
            ("uts", chosen) => made.uts = chosen,
            ("cgroup", chosen) => made.cgroup = chosen,
            ("time", chosen) => bundle.time.namespace = chosen,
            ("mount", Namespace::Private) => own_mounts = true,
            ("mount", _) => {
                return Err(Refused::new(
                    "linux.namespaces: joining a mount namespace by path is not supported",
                ));
            }
            ("user", Namespace::Join(path)) => bundle.join_user = Some(path),
            ("user", _) => made.user = Some(user_namespace(spec)?),
            (other, _) => {
                return Err(Refused::new(format!(
                    "linux.namespaces: `{other}` is no namespace"
                )));
            }
        }
    }
    if !own_mounts {
        return Err(Refused::new(
            "linux.namespaces: a container without a mount namespace of its own is not supported",
        ));
    }
    if made.user.is_none()
        && !(spec.linux.uid_mappings.is_empty() && spec.linux.gid_mappings.is_empty())
        && bundle.join_user.is_none()
    {
        return Err(Refused::new("linux.uidMappings needs a user namespace"));
    }
    bundle.time = time(spec, &bundle.time.namespace)?;
    Ok(made)
}

fn user_namespace(spec: &Spec) -> Result<UserNamespace, Refused> {
    if spec.linux.uid_mappings.is_empty() || spec.linux.gid_mappings.is_empty() {
        return Err(Refused::new(
            "linux.namespaces: a new user namespace needs linux.uidMappings and linux.gidMappings",
        ));
    }
    Ok(UserNamespace {
        uid_map: mounts::ranges(&spec.linux.uid_mappings),
        gid_map: mounts::ranges(&spec.linux.gid_mappings),
    })
}

fn time(spec: &Spec, namespace: &Namespace) -> Result<TimeNamespace, Refused> {
    let offsets = &spec.linux.time_offsets;
    if !offsets.is_empty() && *namespace != Namespace::Private {
        return Err(Refused::new(
            "linux.timeOffsets needs a time namespace of the container's own",
        ));
    }
    if let Some(clock) = offsets
        .keys()
        .find(|clock| !matches!(clock.as_str(), "monotonic" | "boottime"))
    {
        return Err(Refused::new(format!(
            "linux.timeOffsets: `{clock}` is no clock that can be offset"
        )));
    }
    Ok(TimeNamespace {
        namespace: namespace.clone(),
        offsets: offsets
            .iter()
            .map(|(clock, offset)| (clock.clone(), offset.secs, offset.nanosecs))
            .collect(),
    })
}

fn check_hostname(spec: &Spec, namespaces: &Namespaces) -> Result<(), Refused> {
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if namespaces.uts == Namespace::Host {
        for (name, text) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
            if set(text) {
                return Err(Refused::new(format!("{name} needs a uts namespace")));
            }
        }
    }
    Ok(())
}
