//! `inspect`: one container as `docker inspect` prints it, and our own settings below `Settings`.
//!
//! What has no value here (a graph driver, an exit error text) is left out rather than filled with something.

use super::{
    life::Names,
    print_line,
    registry::{Entry, Registry},
    show::state,
};
use crate::{
    api::{
        client::Client,
        wire::{Message, Published, Request},
    },
    cli::{CommandError, Exit, Outcome},
    engine::{
        alone::Presence,
        record::{Endpoint, Record},
    },
    model::ProjectName,
    network::shared::SharedNetworks,
    state::Roots,
};
use banyan_runtime::{
    container::{Found, Settings},
    namespace::Namespace,
    rootfs::{Mount, MountKind},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Prints them. The environment is shown, since it is no secret's place (secrets are granted files).
///
/// # Errors
/// A container that there is not.
pub(super) fn inspect(names: &Names, registry: &Registry) -> Outcome {
    let mut list = Vec::new();
    for name in &names.names {
        list.push(one(registry, &registry.find(name)?)?);
    }
    let text = serde_json::to_string_pretty(&list)
        .map_err(|error| CommandError::caused(Exit::Internal, "cannot print containers", &error))?;
    print_line(&text);
    Ok(Exit::Success)
}

/// Networks and published ports of a container, for as long as it has any.
pub(super) struct Place {
    pub(super) endpoints: BTreeMap<String, Endpoint>,
    pub(super) published: Vec<Published>,
}

impl Place {
    pub(super) fn of(roots: &Roots, settings: &Settings) -> Self {
        if let Ok(Some(record)) = Record::read(roots, &settings.id) {
            let shared = SharedNetworks::new(roots);
            let named = |key: String| match shared.find(&key) {
                Ok(_) => key,
                Err(_) => format!("{}_{key}", record.project),
            };
            return Self {
                endpoints: record
                    .endpoints
                    .into_iter()
                    .map(|(key, e)| (named(key), e))
                    .collect(),
                published: record.published,
            };
        }
        let presence = Presence::read(roots, &settings.id).unwrap_or_default();
        Self {
            endpoints: presence.endpoints,
            published: presence.published,
        }
    }
}

fn one(registry: &Registry, entry: &Entry) -> Result<Value, CommandError> {
    let settings = &entry.settings;
    let record = Record::read(&registry.roots, &settings.id).ok().flatten();
    let place = Place::of(&registry.roots, settings);
    let (program, arguments) = match settings.process.arguments.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => ("", &[][..]),
    };
    let mut shown = json!({
        "Id": settings.id,
        "Name": settings.name,
        "Path": program,
        "Args": arguments,
        "State": state_of(registry, entry)?,
        "Image": image(settings),
        "LogPath": entry.dir.log(),
        "Mounts": settings.mounts.iter().filter_map(mount).collect::<Vec<_>>(),
        "Config": config(settings),
        "HostConfig": host_config(settings, record.as_ref(), &place),
        "NetworkSettings": { "Ports": ports(&place.published), "Networks": networks(&place.endpoints) },
        "Settings": settings,
    });
    if let Some(record) = record {
        shown["Created"] = time(record.created);
        shown["Image"] = json!(record.image);
        shown["RestartCount"] = json!(record.restarts);
    }
    Ok(shown)
}

fn time(moment: i64) -> Value {
    jiff::Timestamp::from_nanosecond(moment.into()).map_or(Value::Null, |time| json!(time.to_string()))
}

fn image(settings: &Settings) -> &str {
    settings
        .annotations
        .get("banyan.image")
        .map_or("", String::as_str)
}

fn state_of(registry: &Registry, entry: &Entry) -> Result<Value, CommandError> {
    let (word, sentence) = state(entry)?;
    let mut state = json!({
        "Status": word,
        "Description": sentence,
        "Running": matches!(word, "running" | "paused"),
        "Paused": word == "paused",
        "Dead": word == "dead",
        "OOMKilled": false,
        "Pid": 0,
        "ExitCode": 0,
    });
    match entry.found()? {
        Found::Running(container) => {
            state["Pid"] = json!(container.pid());
            state["StartedAt"] = time(container.started());
        }
        Found::Created(container) => state["Pid"] = json!(container.pid()),
        Found::Stopped(exit) => {
            state["ExitCode"] = json!(exit.code());
            state["OOMKilled"] = json!(exit.out_of_memory);
            state["StartedAt"] = exit.started.map_or(Value::Null, time);
            state["FinishedAt"] = time(exit.at);
        }
        _ => {}
    }
    if let Some(health) = health(registry, entry) {
        state["Health"] = health;
    }
    Ok(state)
}

/// The health of a service's container, which its engine knows, as `docker inspect` prints it.
fn health(registry: &Registry, entry: &Entry) -> Option<Value> {
    let project = entry.settings.labels.get("com.docker.compose.project")?;
    let client = Client::new(registry.roots.clone(), ProjectName::new(project.as_str()).ok()?);
    let mut answer = client.ask_running(&Request::List).ok()??;
    while let Ok(Some(message)) = answer.read() {
        if let Message::Containers { list } = message {
            let found = list
                .into_iter()
                .find(|container| container.id == entry.settings.id)?;
            let health = found.health?;
            return Some(json!({
                "Status": health.status,
                "FailingStreak": health.failing,
                "Log": crate::cli::ps::health_log(&health),
            }));
        }
    }
    None
}

fn mount(mount: &Mount) -> Option<Value> {
    let (kind, source) = match &mount.kind {
        MountKind::Bind { source, .. } => ("bind", source.display().to_string()),
        MountKind::Volume { source, .. } => ("volume", source.display().to_string()),
        MountKind::Tmpfs { .. } => ("tmpfs", String::new()),
        MountKind::Layers(_) => ("image", String::new()),
        MountKind::OverlayBind { lower, .. } => ("bind", lower.first()?.display().to_string()),
        MountKind::Filesystem { kind, source, .. } => (kind.as_str(), source.clone()),
        MountKind::Bundle(_) => return None,
    };
    let mut shown =
        json!({ "Type": kind, "Source": source, "Destination": mount.target, "RW": !mount.read_only });
    if let MountKind::Bind { propagation, .. } = &mount.kind {
        shown["Propagation"] = json!(propagation);
    }
    if let MountKind::Volume { source, .. } = &mount.kind {
        // `<volumes>/NAME/_data`, as docker has it.
        let name = source.parent().and_then(|folder| folder.file_name());
        shown["Name"] = json!(name.map(|name| name.to_string_lossy()));
    }
    Some(shown)
}

fn config(settings: &Settings) -> Value {
    let process = &settings.process;
    json!({
        "Hostname": settings.host_name(),
        "Domainname": settings.domainname.as_deref().unwrap_or(""),
        "User": process.user,
        "Tty": process.terminal.is_some(),
        "OpenStdin": process.stdin,
        "Env": process.environment,
        "Cmd": process.arguments,
        "Image": image(settings),
        "WorkingDir": process.cwd,
        "Labels": settings.labels,
        "StopSignal": settings.stop_signal.to_string(),
    })
}

fn host_config(settings: &Settings, record: Option<&Record>, place: &Place) -> Value {
    let limits = &settings.resources;
    let mode = match &settings.namespaces.net {
        Namespace::Host => "host".to_owned(),
        Namespace::Join(path) => format!("ns:{}", path.display()),
        Namespace::Private => {
            let first = place.endpoints.keys().next();
            first.map_or_else(|| "none".to_owned(), ToString::to_string)
        }
    };
    let mut shown = json!({
        "NetworkMode": mode,
        "PortBindings": ports(&place.published),
        "Privileged": settings.confinement.privileged,
        "ReadonlyRootfs": settings.root.read_only,
        "ShmSize": settings.shm_size.unwrap_or(0),
        "Init": settings.init,
        "Memory": limits.memory.unwrap_or(0),
        "MemoryReservation": limits.memory_reservation.unwrap_or(0),
        "MemorySwap": limits.memory_swap.unwrap_or(0),
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "CpuPeriod": limits.cpu_period.unwrap_or(0),
        "CpuQuota": limits.cpu_quota.unwrap_or(0),
        "CpusetCpus": limits.cpuset_cpus.as_deref().unwrap_or(""),
        "CpusetMems": limits.cpuset_mems.as_deref().unwrap_or(""),
        "PidsLimit": limits.pids,
        "OomScoreAdj": settings.process.oom_score_adj.unwrap_or(0),
        "GroupAdd": settings.process.groups,
        "Sysctls": settings.sysctls,
        "MaskedPaths": settings.confinement.masked_paths,
        "ReadonlyPaths": settings.confinement.readonly_paths,
        "AutoRemove": settings.remove_at_end.is_some() || record.is_some_and(|record| record.auto_remove),
    });
    let ulimits = settings.process.rlimits.iter();
    shown["Ulimits"] = ulimits
        .map(|(name, (soft, hard))| json!({ "Name": name, "Soft": soft, "Hard": hard }))
        .collect();
    shown
}

/// `{"80/tcp": [{"HostIp": …, "HostPort": …}]}`.
fn ports(published: &[Published]) -> Value {
    let mut shown: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in published {
        shown
            .entry(format!("{}/{}", port.target, port.protocol))
            .or_default()
            .push(json!({ "HostIp": port.host.to_string(), "HostPort": port.port.to_string() }));
    }
    json!(shown)
}

fn networks(endpoints: &BTreeMap<String, Endpoint>) -> Value {
    let one = |endpoint: &Endpoint| {
        json!({
            "IPAddress": endpoint.ipv4.map(|address| address.to_string()).unwrap_or_default(),
            "GlobalIPv6Address": endpoint.ipv6.map(|address| address.to_string()).unwrap_or_default(),
            "DNSNames": endpoint.names,
        })
    };
    let shown: Map<String, Value> = endpoints.iter().map(|(name, e)| (name.clone(), one(e))).collect();
    Value::Object(shown)
}
