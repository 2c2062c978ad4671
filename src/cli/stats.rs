//! `banyan stats`: what containers use, live.

use super::{
    CommandError, Exit, Global, Outcome, context,
    format::Format,
    print, ps, table, terminal,
    usage::{Seen, binary, decimal, host_memory, look},
};
use crate::{api::wire::ContainerInfo, plan::Phase};
use clap::Args;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    thread,
    time::Duration,
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
        row.cpu = format!("{:.2}%", now.processor_since(before));
    }
    let (used, limit) = now.memory(host);
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
