//! Looking at containers: ls, logs, top, stats.

use super::{
    inspect::Place,
    print_line,
    registry::{Entry, Registry, short},
    run::open_log,
};
use crate::cli::{CommandError, Exit, Outcome, ps};
use banyan_runtime::{
    container::Found,
    log::{Entry as Line, ReaderOptions, Stream, Watch},
};
use clap::Args;
use serde_json::json;
use std::{io::Write, time::Duration};

/// `ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// Stopped ones too
    #[arg(short, long)]
    all: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Full ids
    #[arg(long)]
    no_trunc: bool,
    /// `table` or `json` (one object a line)
    #[arg(long, default_value = "table")]
    format: String,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// Go on as it is written, until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only so many last lines
    #[arg(short = 'n', long, value_name = "LINES|all", default_value = "all")]
    tail: String,
    /// With times
    #[arg(short, long)]
    timestamps: bool,
    /// Only since a time (RFC 3339) or a duration ago (10m)
    #[arg(long)]
    since: Option<String>,
    /// Only until a time or a duration ago
    #[arg(long)]
    until: Option<String>,
    /// Name or id
    name: String,
}

/// `top`.
#[derive(Debug, Args)]
pub struct Top {
    /// Name or id
    name: String,
}

/// `stats`.
#[derive(Debug, Args)]
pub struct Stats {
    /// Once, as totals since the container's start
    #[arg(long)]
    no_stream: bool,
    /// Names or ids; none: all that run
    names: Vec<String>,
}

/// The state word and sentence of a container, as Docker has them.
pub(super) fn state(entry: &Entry) -> Result<(&'static str, String), CommandError> {
    Ok(match entry.found()? {
        Found::Created(_) | Found::Never | Found::Abandoned { .. } => ("created", "Created".to_owned()),
        Found::Running(container) if container.is_paused() => {
            ("paused", format!("Up {} (Paused)", since(container.started())))
        }
        Found::Running(container) => ("running", format!("Up {}", since(container.started()))),
        Found::Orphaned { pid } => ("running", format!("Up, without its shim (process {pid})")),
        Found::Stopped(exit) => (
            "exited",
            format!("Exited ({}) {} ago", exit.code(), since(exit.at)),
        ),
        Found::Lost => ("dead", "Ended, nobody knows how".to_owned()),
    })
}

/// Time since a moment in nanoseconds since 1970, in words.
fn since(moment: i64) -> String {
    let now = jiff::Timestamp::now().as_nanosecond();
    let seconds = (now - i128::from(moment)).max(0) / 1_000_000_000;
    let unit = |count: i128, name: &str| {
        if count == 1 {
            format!("1 {name}")
        } else {
            format!("{count} {name}s")
        }
    };
    match seconds {
        0..60 => unit(seconds, "second"),
        60..3600 => unit(seconds / 60, "minute"),
        3600..172_800 => unit(seconds / 3600, "hour"),
        _ => unit(seconds / 86_400, "day"),
    }
}

impl Ls {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let table = self.format == "table";
        if table && !self.quiet {
            print_line(&format!(
                "{:<12}  {:<30}  {:<24}  {:<30}  {:<24}  {}",
                "CONTAINER ID", "IMAGE", "COMMAND", "STATUS", "PORTS", "NAMES"
            ));
        }
        for entry in registry.all() {
            let (word, sentence) = state(&entry)?;
            if !self.all && !matches!(word, "running" | "paused") {
                continue;
            }
            let settings = &entry.settings;
            let id = if self.no_trunc {
                &settings.id
            } else {
                short(&settings.id)
            };
            let image = settings
                .annotations
                .get("banyan.image")
                .map_or("", String::as_str);
            let command = settings.process.arguments.join(" ");
            let ports = match word {
                "running" | "paused" => ps::ports(&Place::of(&registry.roots, settings).published),
                _ => String::new(),
            };
            if self.quiet {
                print_line(id);
            } else if table {
                let command: String = command.chars().take(22).collect();
                print_line(&format!(
                    "{id:<12}  {image:<30}  {:<24}  {sentence:<30}  {ports:<24}  {}",
                    format!("\"{command}\""),
                    settings.name
                ));
            } else {
                let line = json!({
                    "ID": id, "Image": image, "Command": command, "State": word, "Status": sentence,
                    "Ports": ports, "Names": settings.name, "Labels": settings.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(","),
                });
                print_line(&line.to_string());
            }
        }
        Ok(Exit::Success)
    }
}

impl Logs {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let entry = registry.find(&self.name)?;
        let options = ReaderOptions {
            tail: match self.tail.as_str() {
                "all" => None,
                text => Some(text.parse().map_err(|_| {
                    CommandError::new(Exit::Usage, format!("`{text}` is no number of lines"))
                })?),
            },
            since: self.since.as_deref().map(moment).transpose()?,
            until: self.until.as_deref().map(moment).transpose()?,
        };
        let watch = Watch::new(&entry.dir.log())
            .map_err(|error| CommandError::caused(Exit::Failed, "cannot read the log", &error))?;
        let mut reader = open_log(&entry.dir, options)?;
        let mut container = match entry.found()? {
            Found::Running(container) if self.follow => Some(container),
            _ => None,
        };
        loop {
            watch.clear();
            // Ended before this pass: what it reads is all there is.
            let over = container
                .as_mut()
                .is_none_or(|container| !matches!(container.try_wait(), Ok(None)));
            while let Some(line) = reader
                .next()
                .map_err(|error| CommandError::caused(Exit::Failed, "cannot read the log", &error))?
            {
                self.print(&line);
            }
            if over {
                reader.flush().iter().for_each(|line| self.print(line));
                break;
            }
            if let Some(container) = &container {
                watch.wait_or(container.end_fd());
            }
        }
        if reader.lost() > 0 || reader.damaged() > 0 {
            let note = format!(
                "note: {} bytes found no room on the disk, {} damaged blocks were skipped\n",
                reader.lost(),
                reader.damaged()
            );
            let _ = std::io::stderr().write_all(note.as_bytes());
        }
        Ok(Exit::Success)
    }

    fn print(&self, line: &Line) {
        let mut text = Vec::new();
        if self.timestamps
            && let Ok(time) = jiff::Timestamp::from_nanosecond(line.time.into())
        {
            text.extend(format!("{time:.9} ").into_bytes());
        }
        text.extend(&line.bytes);
        if !line.partial {
            text.push(b'\n');
        }
        let _ = match line.stream {
            Stream::Stdout => std::io::stdout().write_all(&text),
            Stream::Stderr => std::io::stderr().write_all(&text),
        };
    }
}

/// A time as RFC 3339 or a number of seconds since 1970, or a duration before now; nanoseconds since 1970.
fn moment(text: &str) -> Result<i64, CommandError> {
    let wrong = || {
        CommandError::new(Exit::Usage, format!("`{text}` is neither a time nor a duration"))
            .hint("write 10m or 2026-01-31T12:00:00Z")
    };
    let nanoseconds = if let Ok(time) = text.parse::<jiff::Timestamp>() {
        time.as_nanosecond()
    } else if let Ok(seconds) = text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "times are far from the bounds")]
        let whole = (seconds * 1e9) as i128;
        whole
    } else {
        let ago: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        jiff::Timestamp::now().as_nanosecond() - ago.as_nanos()
    };
    i64::try_from(nanoseconds).map_err(|_| wrong())
}

impl Top {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let running = registry.find(&self.name)?.running()?;
        let list = running
            .processes()
            .map_err(|error| CommandError::caused(Exit::Failed, "cannot list processes", &error))?;
        print_line(&format!("{:<8}  {:<8}  {}", "PID", "UID", "CMD"));
        for pid in list {
            let read = |file: &str| fs_err::read_to_string(format!("/proc/{pid}/{file}"));
            // A process may end while we look.
            let (Ok(command), Ok(status)) = (read("cmdline"), read("status")) else {
                continue;
            };
            let uid = status
                .lines()
                .find_map(|line| line.strip_prefix("Uid:"))
                .and_then(|ids| ids.split_whitespace().next())
                .unwrap_or("?");
            print_line(&format!(
                "{pid:<8}  {uid:<8}  {}",
                command.trim_end_matches('\0').replace('\0', " ")
            ));
        }
        Ok(Exit::Success)
    }
}

impl Stats {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let names: Vec<String> = if self.names.is_empty() {
            registry
                .all()
                .into_iter()
                .filter(|entry| matches!(entry.found(), Ok(Found::Running(_))))
                .map(|entry| entry.settings.name)
                .collect()
        } else {
            self.names.clone()
        };
        let watch = |name: &str| registry.find(name).and_then(|entry| entry.running());
        let mut containers = names
            .iter()
            .map(|name| watch(name).map(|c| (name.clone(), c, 0_u64)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut interval = Duration::ZERO;
        loop {
            print_line(&format!(
                "{:<30}  {:>8}  {:>22}  {:>20}  {:>6}",
                "NAME", "CPU %", "MEM USAGE / LIMIT", "BLOCK I/O", "PIDS"
            ));
            for (name, container, before) in &mut containers {
                let Ok(now) = container.stats() else { continue };
                let elapsed = if interval.is_zero() {
                    let age = jiff::Timestamp::now().as_nanosecond() - i128::from(container.started());
                    u64::try_from(age).unwrap_or(1)
                } else {
                    u64::try_from(interval.as_nanos()).unwrap_or(1)
                };
                let used = now.cpu_nanoseconds.saturating_sub(*before);
                *before = now.cpu_nanoseconds;
                #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
                let percent = 100.0 * used as f64 / elapsed.max(1) as f64;
                let limit = now.memory_limit.map_or_else(|| "-".to_owned(), mib);
                print_line(&format!(
                    "{name:<30}  {percent:>7.2}%  {:>22}  {:>20}  {:>6}",
                    format!("{} / {limit}", mib(now.memory_working_set)),
                    format!("{} / {}", mib(now.io_read_bytes), mib(now.io_write_bytes)),
                    now.pids
                ));
            }
            if self.no_stream || containers.is_empty() {
                return Ok(Exit::Success);
            }
            interval = Duration::from_secs(1);
            // Ends early when the first container does.
            if let Some((_, container, _)) = containers.first_mut() {
                match container.wait(Some(interval)) {
                    Ok(None) => {}
                    _ => return Ok(Exit::Success),
                }
            }
        }
    }
}

fn mib(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let value = bytes as f64 / f64::from(1 << 20);
    format!("{value:.2}MiB")
}
