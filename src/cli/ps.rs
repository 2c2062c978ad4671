//! `banyan ps`: the project's containers.

use super::{CommandError, Exit, Global, Outcome, context, format::Format, table};
use crate::{
    api::wire::{ContainerInfo, Message, Published, Request},
    model::Protocol,
    plan::Phase,
    supervisor::health,
};
use clap::Args;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};

/// Flags of `ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// Only these services
    services: Vec<String>,
    /// Stopped containers too (and those of `run`)
    #[arg(short, long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only names of services
    #[arg(long = "services")]
    services_only: bool,
    /// `table`, `json`, or a template: `{{.Name}} {{.State}}`, with a header after `table `
    #[arg(long, default_value = "table")]
    format: Format,
    /// Containers of services that are not in the project, too
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value_t = true, default_missing_value = "true")]
    orphans: bool,
    /// Only containers in these states: created, running, paused, restarting, exited
    #[arg(long)]
    status: Vec<String>,
    /// `status=STATE`
    #[arg(long)]
    filter: Vec<String>,
    /// The last probes of each container with a health check
    #[arg(long)]
    probes: bool,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
}

/// Runs it.
///
/// # Errors
/// When the project or its engine cannot be read.
pub(super) fn run(global: &Global, args: &Ps) -> Outcome {
    let name = context::project_name(global)?;
    let containers = list(global, &name)?;
    for damaged in crate::engine::damaged::of_project(&context::roots(global), &name) {
        if !containers.iter().any(|container| container.id == damaged.id) {
            // Standard error may be closed.
            let _ = writeln!(
                std::io::stderr(),
                "warning: `{}` is not listed: {}\nhint: `banyan system check --repair` writes it anew; `banyan down` \
                 removes the container all the same",
                damaged.name,
                damaged.why
            );
        }
    }
    let known = if args.orphans {
        None
    } else {
        let project = context::load(global, &[])?;
        let known = project.services.keys().chain(project.disabled.keys());
        Some(known.cloned().collect::<std::collections::BTreeSet<_>>())
    };
    let mut states = args.status.clone();
    for filter in &args.filter {
        match filter.split_once('=') {
            Some(("status", state)) => states.push(state.to_owned()),
            _ => {
                let error = CommandError::new(Exit::Usage, format!("`{filter}` is not a filter"));
                return Err(error.hint("the one filter is `status=STATE`"));
            }
        }
    }
    let shown: Vec<_> = containers
        .iter()
        .filter(|c| args.services.is_empty() || args.services.iter().any(|s| s == c.slot.service.as_str()))
        .filter(|c| {
            if states.is_empty() {
                args.all || is_up(c)
            } else {
                states.iter().any(|s| s == state(c))
            }
        })
        .filter(|c| args.all || !c.one_off || is_up(c))
        .filter(|c| known.as_ref().is_none_or(|known| known.contains(&c.slot.service)))
        .collect();
    let objects = || shown.iter().map(|c| as_json(c, args.probes)).collect::<Vec<_>>();
    let text = if args.quiet {
        shown.iter().map(|c| format!("{}\n", c.id)).collect()
    } else if args.services_only {
        let names: std::collections::BTreeSet<_> = shown.iter().map(|c| c.slot.service.as_str()).collect();
        names.into_iter().map(|name| format!("{name}\n")).collect()
    } else if args.format != Format::Table {
        let rendered = args.format.render(&objects());
        rendered
            .map_err(|why| CommandError::new(Exit::Usage, why))?
            .unwrap_or_default()
    } else {
        if !args.probes {
            tell_unhealthy(&shown);
        }
        let room = (std::io::stdout().is_terminal() && !args.no_trunc)
            .then(|| banyan_runtime::sys::host::terminal_size(std::io::stdout()))
            .flatten()
            .map(|(_, columns)| usize::from(columns));
        let mut text = as_table(&shown, args.no_trunc, room);
        if args.probes {
            text += &probes(&shown);
        }
        text
    };
    // A reader that went away wants no more.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(Exit::Success)
}

/// All containers of a project, from its engine, or from disk when none runs.
///
/// # Errors
/// When neither can be read.
pub(super) fn list(
    global: &Global,
    name: &crate::model::ProjectName,
) -> Result<Vec<ContainerInfo>, CommandError> {
    // An engine may end just as it is asked, because nothing runs any more: then the disk knows all there is.
    if let Ok(Some(mut answer)) = context::client(global, name).ask_running(&Request::List) {
        while let Ok(Some(message)) = answer.read() {
            if let Message::Containers { list: containers } = message {
                return Ok(containers);
            }
        }
    }
    crate::engine::observe::at_rest(&context::roots(global), name)
        .map_err(|error| CommandError::caused(Exit::Host, "cannot read the project's containers", &error))
}

fn is_up(container: &ContainerInfo) -> bool {
    matches!(container.phase, Phase::Running | Phase::Paused) || container.restarting
}

/// The state as one word, as docker names it.
pub(super) fn state(container: &ContainerInfo) -> &'static str {
    match container.phase {
        _ if container.restarting => "restarting",
        Phase::Created => "created",
        Phase::Running => "running",
        Phase::Paused => "paused",
        Phase::Exited(_) => "exited",
    }
}

fn health_word(container: &ContainerInfo) -> &'static str {
    match (
        &container.phase,
        container.health.as_ref().map(|health| health.status),
    ) {
        (Phase::Running | Phase::Paused, Some(health::Status::Starting)) => "starting",
        (Phase::Running | Phase::Paused, Some(health::Status::Healthy)) => "healthy",
        (Phase::Running | Phase::Paused, Some(health::Status::Unhealthy)) => "unhealthy",
        _ => "",
    }
}

/// The last probes, container by container.
fn probes(containers: &[&ContainerInfo]) -> String {
    let mut text = String::new();
    for container in containers {
        let Some(health) = &container.health else { continue };
        let word = match health_word(container) {
            "" => "not running",
            word => word,
        };
        text += &format!("\n{}: {word}\n", container.name);
        text += &health.describe(health::KEPT, "  ");
    }
    text
}

/// Names what is unhealthy, and where to read more.
fn tell_unhealthy(containers: &[&ContainerInfo]) {
    for container in containers.iter().filter(|c| health_word(c) == "unhealthy") {
        let service = &container.slot.service;
        // Standard error may be closed.
        let _ = writeln!(
            std::io::stderr(),
            "{} is unhealthy: `banyan ps --probes {service}` shows its last probes",
            container.name
        );
    }
}

fn seconds_since(nanoseconds: i64) -> i64 {
    jiff::Timestamp::now().as_second() - nanoseconds.div_euclid(1_000_000_000)
}

/// The state in words, as docker says it: `Up 3 minutes (healthy)`, `Exited (1) 5 seconds ago`.
pub(super) fn status(container: &ContainerInfo) -> String {
    let since = |time: Option<i64>| table::ago(time.map_or(0, seconds_since));
    match container.phase {
        Phase::Exited(code) if container.restarting => {
            format!("Restarting ({code}) {} ago", since(container.finished))
        }
        Phase::Created => "Created".into(),
        Phase::Running => match health_word(container) {
            "" => format!("Up {}", since(container.started)),
            "starting" => format!("Up {} (health: starting)", since(container.started)),
            word => format!("Up {} ({word})", since(container.started)),
        },
        Phase::Paused => format!("Up {} (Paused)", since(container.started)),
        Phase::Exited(code) => format!("Exited ({code}) {} ago", since(container.finished)),
    }
}

pub(super) fn ports(ports: &[Published]) -> String {
    let mut text = Vec::new();
    for port in ports {
        let host = if port.host.is_ipv6() {
            format!("[{}]", port.host)
        } else {
            port.host.to_string()
        };
        text.push(format!("{host}:{}->{}/{}", port.port, port.target, port.protocol));
    }
    text.join(", ")
}

/// What a narrow terminal can do without, the first first.
const LESS: [&str; 4] = ["COMMAND", "IMAGE", "CREATED", "SERVICE"];

/// The table, with `room` columns at most where that can be: a line that is broken in two is read by nobody.
fn as_table(containers: &[&ContainerInfo], no_trunc: bool, room: Option<usize>) -> String {
    let mut header = vec![
        "NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS",
    ];
    let mut rows: Vec<Vec<String>> = containers.iter().map(|c| row(c, no_trunc)).collect();
    let fits = |header: &[&str], rows: &[Vec<String>]| {
        let widest = table::table(header, rows)
            .lines()
            .map(|line| line.chars().count())
            .max();
        room.is_none_or(|room| widest.unwrap_or(0) <= room)
    };
    if !fits(&header, &rows) {
        let place = header.iter().position(|name| *name == "PORTS").unwrap_or(0);
        for (row, container) in rows.iter_mut().zip(containers) {
            row[place] = short_ports(&container.ports);
        }
    }
    for less in LESS {
        if fits(&header, &rows) {
            break;
        }
        if let Some(place) = header.iter().position(|name| *name == less) {
            header.remove(place);
            rows.iter_mut().for_each(|row| drop(row.remove(place)));
        }
    }
    table::table(&header, &rows)
}

fn row(c: &ContainerInfo, no_trunc: bool) -> Vec<String> {
    let command = format!("\"{}\"", c.command.join(" "));
    let command = if no_trunc || command.chars().count() <= 20 {
        command
    } else {
        command.chars().take(18).chain(['…', '"']).collect()
    };
    vec![
        c.name.clone(),
        c.image.clone(),
        command,
        c.slot.service.to_string(),
        format!("{} ago", table::ago(seconds_since(c.created))),
        status(c),
        ports(&c.ports),
    ]
}

/// `8080→80`, the host's address only where it says something; IPv4 and IPv6 once.
pub(super) fn short_ports(published: &[Published]) -> String {
    let mut seen = Vec::new();
    for port in published {
        let host = if port.host.is_unspecified() || port.host.is_loopback() {
            String::new()
        } else if port.host.is_ipv6() {
            format!("[{}]:", port.host)
        } else {
            format!("{}:", port.host)
        };
        let protocol = match port.protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "/udp",
        };
        let text = format!("{host}{}→{}{protocol}", port.port, port.target);
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.join(" ")
}

/// The fields of `docker compose ps --format json`; with `probes` one more, `HealthLog`, as `docker inspect` has it.
fn as_json(c: &ContainerInfo, probes: bool) -> Value {
    let publishers: Vec<_> = c
        .ports
        .iter()
        .map(|port| {
            json!({
                "URL": port.host.to_string(),
                "TargetPort": port.target,
                "PublishedPort": port.port,
                "Protocol": port.protocol.to_string(),
            })
        })
        .collect();
    let exit = match c.phase {
        Phase::Exited(code) => code,
        _ => 0,
    };
    let created = jiff::Timestamp::from_nanosecond(i128::from(c.created)).unwrap_or_default();
    let labels: Vec<_> = c
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let networks: Vec<_> = c
        .addresses
        .keys()
        .map(|key| format!("{}_{key}", c.project))
        .collect();
    let mut value = json!({
        "Command": format!("\"{}\"", c.command.join(" ")),
        "CreatedAt": created.strftime("%Y-%m-%d %H:%M:%S %z UTC").to_string(),
        "ExitCode": exit,
        "Health": health_word(c),
        "ID": c.id.get(..12).unwrap_or(&c.id),
        "Image": c.image,
        "Labels": labels.join(","),
        "LocalVolumes": c.volumes.len().to_string(),
        "Mounts": c.volumes.join(","),
        "Name": c.name,
        "Names": c.name,
        "Networks": networks.join(","),
        "Ports": ports(&c.ports),
        "Project": c.project,
        "Publishers": publishers,
        "RunningFor": format!("{} ago", table::ago(seconds_since(c.created))),
        "Service": c.slot.service,
        "Size": "0B",
        "State": state(c),
        "Status": status(c),
    });
    if let (true, Some(health)) = (probes, &c.health) {
        value["HealthLog"] = health_log(health);
    }
    value
}

/// Probe results as `docker inspect` prints them (`State.Health.Log`).
pub(super) fn health_log(health: &health::Health) -> Value {
    let time = |at: i64| {
        jiff::Timestamp::from_nanosecond(at.into())
            .unwrap_or_default()
            .to_string()
    };
    let lines = health.last.iter().map(|probe| {
        let took = i64::try_from(probe.took.as_nanos()).unwrap_or(i64::MAX);
        json!({
            "Start": time(probe.at),
            "End": time(probe.at.saturating_add(took)),
            // A probe without status was killed: Docker writes -1.
            "ExitCode": probe.exit.map_or(-1, i32::from),
            "Output": probe.output,
        })
    });
    lines.collect()
}
