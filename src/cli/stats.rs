//! `banyan stats`: what containers use, live.

use super::{CommandError, Exit, Global, Outcome, context, format::Format, print, ps, table, terminal};
use crate::{api::wire::ContainerInfo, plan::Phase, state::Roots};
use banyan_runtime::{
    cgroup::Stats as Usage,
    container::{ContainerDir, Found},
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    thread,
    time::{Duration, Instant},
};

/// Flags of `stats`.
#[derive(Debug, Clone, Args)]
pub struct Stats {
    /// Only these services
    services: Vec<String>,
    /// Containers that do not run, too
    #[arg(short, long)]
    all: bool,
    /// `table`, `json`, or a template: `{{.Name}} {{.CPUPerc}}`
    #[arg(long, default_value = "table")]
    format: Format,
    /// Once, not again and again
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
}

/// Time between two looks; processor use is that between them.
const LOOK: Duration = Duration::from_secs(1);
/// The same when there is only one.
const ONE_LOOK: Duration = Duration::from_millis(300);

/// One look at a container.
#[derive(Debug, Clone)]
struct Seen {
    at: Instant,
    usage: Usage,
    received: u64,
    sent: u64,
}

/// Runs it until it is interrupted, or once.
///
/// # Errors
/// When the project cannot be read.
pub(super) fn run(global: &Global, args: &Stats) -> Outcome {
    let name = context::project_name(global)?;
    let roots = context::roots(global);
    let memory = host_memory();
    let live = std::io::stdout().is_terminal() && global.ansi != super::Ansi::Never;
    let mut before: BTreeMap<String, Seen> = BTreeMap::new();
    let mut first = true;
    loop {
        let containers: Vec<_> = ps::list(global, &name)?
            .into_iter()
            .filter(|c| {
                args.services.is_empty() || args.services.iter().any(|s| s == c.slot.service.as_str())
            })
            .filter(|c| args.all || matches!(c.phase, Phase::Running | Phase::Paused))
            .collect();
        let now: BTreeMap<String, Seen> = containers
            .iter()
            .filter_map(|c| Some((c.id.clone(), look(&roots, c)?)))
            .collect();
        if !first {
            let rows: Vec<_> = containers
                .iter()
                .map(|c| row(c, before.get(&c.id), now.get(&c.id), memory, args.no_trunc))
                .collect();
            let objects: Vec<_> = rows.iter().map(as_json).collect();
            let rendered = args
                .format
                .render(&objects)
                .map_err(|why| CommandError::new(Exit::Usage, why))?;
            let text = rendered.unwrap_or_else(|| as_table(rows));
            show(&text, live && !args.no_stream && args.format == Format::Table)?;
            if args.no_stream {
                return Ok(Exit::Success);
            }
        }
        before = now;
        thread::park_timeout(if first { ONE_LOOK } else { LOOK });
        first = false;
    }
}

/// A live table is written over the one before.
fn show(text: &str, live: bool) -> Result<(), CommandError> {
    if !live {
        print(text);
        return Ok(());
    }
    let width = terminal::width();
    let mut screen = String::from("\x1b[H");
    for line in text.lines() {
        screen.extend(line.chars().take(width));
        screen += "\x1b[K\n";
    }
    screen += "\x1b[J";
    let mut out = std::io::stdout();
    out.write_all(screen.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| CommandError::caused(Exit::Host, "cannot write to the terminal", &error))
}

fn look(roots: &Roots, container: &ContainerInfo) -> Option<Seen> {
    let dir = ContainerDir::new(roots.container(&container.id), roots.container_run(&container.id));
    let Ok(Found::Running(running)) = banyan_runtime::container::open(&dir) else {
        return None;
    };
    let usage = running.stats().ok()?;
    let (received, sent) = traffic(running.pid());
    Some(Seen {
        at: Instant::now(),
        usage,
        received,
        sent,
    })
}

/// Bytes received and sent through the interfaces of a process's network, loopback excluded.
fn traffic(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let mut all = (0, 0);
    for line in text.lines() {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .filter_map(|text| text.parse().ok())
            .collect();
        all.0 += numbers.first().copied().unwrap_or(0);
        all.1 += numbers.get(8).copied().unwrap_or(0);
    }
    all
}

/// All memory of this machine, bytes: the limit of a container without one.
fn host_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    total.map_or(0, |kilobytes: u64| kilobytes * 1024)
}

/// A row as text: id, name, and what docker shows.
struct Row {
    id: String,
    name: String,
    cpu: String,
    memory: String,
    memory_share: String,
    network: String,
    block: String,
    pids: String,
}

fn row(
    container: &ContainerInfo,
    before: Option<&Seen>,
    now: Option<&Seen>,
    host: u64,
    no_trunc: bool,
) -> Row {
    let nothing = || "--".to_owned();
    let id = if no_trunc {
        container.id.as_str()
    } else {
        container.id.get(..12).unwrap_or(&container.id)
    };
    let mut row = Row {
        id: id.to_owned(),
        name: container.name.clone(),
        cpu: nothing(),
        memory: "-- / --".into(),
        memory_share: nothing(),
        network: nothing(),
        block: nothing(),
        pids: nothing(),
    };
    let Some(now) = now else { return row };
    let usage = &now.usage;
    if let Some(before) = before {
        let used = usage.cpu_nanoseconds.saturating_sub(before.usage.cpu_nanoseconds);
        let passed = now.at.duration_since(before.at).as_nanos().max(1);
        row.cpu = format!("{:.2}%", used as f64 / passed as f64 * 100.0);
    }
    let limit = usage.memory_limit.unwrap_or(host).min(host.max(1));
    let used = usage.memory_working_set;
    row.memory = format!("{} / {}", binary(used), binary(limit));
    row.memory_share = format!("{:.2}%", used as f64 / limit.max(1) as f64 * 100.0);
    row.network = format!("{} / {}", decimal(now.received), decimal(now.sent));
    row.block = format!(
        "{} / {}",
        decimal(usage.io_read_bytes),
        decimal(usage.io_write_bytes)
    );
    row.pids = usage.pids.to_string();
    row
}

fn as_table(rows: Vec<Row>) -> String {
    let rows: Vec<_> = rows
        .into_iter()
        .map(|r| {
            vec![
                r.id,
                r.name,
                r.cpu,
                r.memory,
                r.memory_share,
                r.network,
                r.block,
                r.pids,
            ]
        })
        .collect();
    let header = [
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "NET I/O",
        "BLOCK I/O",
        "PIDS",
    ];
    table::table(&header, &rows)
}

/// The fields of `docker compose stats --format json`.
fn as_json(r: &Row) -> Value {
    json!({
        "BlockIO": r.block, "CPUPerc": r.cpu, "Container": r.id, "ID": r.id, "MemPerc": r.memory_share,
        "MemUsage": r.memory, "Name": r.name, "NetIO": r.network, "PIDs": r.pids,
    })
}

/// `1.5MiB`, as docker shows memory.
fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// `1.5MB`, as docker shows transfers.
fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

fn scaled(bytes: u64, step: f64, units: &[&str]) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    // Four digits at most, without zeros at the end, as docker's units package prints them.
    let digits = match value {
        _ if unit == 0 || value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_four_digits_at_most() {
        assert_eq!(binary(0), "0B");
        assert_eq!(binary(1536), "1.5KiB");
        assert_eq!(binary(1023), "1023B");
        assert_eq!(decimal(1_234_567), "1.235MB");
        assert_eq!(decimal(999_000_000), "999MB");
    }
}
