//! `banyan logs`: output of the project's containers, also of those that have ended.

use super::{
    CommandError, Exit, Global, Outcome, context,
    log_lines::{self, LineStyle},
    ps, terminal,
};
use crate::{
    api::wire::ContainerInfo,
    logs::{Followed, Source},
    model::ProjectName,
    plan::Phase,
    state::Roots,
};
use banyan_runtime::log::{Entry, Reader, ReaderOptions};
use clap::Args;
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Flags of `logs`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one field a flag")]
pub struct Logs {
    /// Only these services
    services: Vec<String>,
    /// Go on as new output comes
    #[arg(short, long)]
    follow: bool,
    /// Only so many lines from the end of each log
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all")]
    tail: String,
    /// Only after this time: 2026-01-02T13:23:37Z, or a duration ago such as 42m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show times
    #[arg(short, long)]
    timestamps: bool,
    /// Without colours
    #[arg(long)]
    no_color: bool,
    /// Without names
    #[arg(long)]
    no_log_prefix: bool,
    /// Only this replica of the service
    #[arg(long, value_name = "N")]
    index: Option<u32>,
    /// Of the containers before these: those that were made anew, or that a failed `up` has undone
    #[arg(long, conflicts_with = "follow")]
    previous: bool,
    /// Only lines that contain this text
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
}

/// Runs it.
///
/// # Errors
/// When the project or its logs cannot be read.
pub(super) fn run(global: &Global, args: &Logs) -> Outcome {
    let name = context::project_name(global)?;
    let roots = context::roots(global);
    let (containers, places) = if args.previous {
        (Vec::new(), previous(&roots, &name, args)?)
    } else {
        let containers = chosen(ps::list(global, &name)?, args)?;
        let places = containers
            .iter()
            .map(|c| (label(c), directory(&roots, c)))
            .collect();
        (containers, places)
    };
    let options = ReaderOptions {
        tail: match args.tail.as_str() {
            "all" | "-1" => None,
            number => Some(number.parse().map_err(|_| {
                CommandError::new(Exit::Usage, format!("`{number}` is not a number of lines"))
                    .hint("`all` or a number")
            })?),
        },
        since: args.since.as_deref().map(time).transpose()?,
        until: args.until.as_deref().map(time).transpose()?,
    };
    let mut style = terminal::Style::stdout(global);
    style.colour &= !args.no_color;
    let how = LineStyle {
        style,
        prefix: !args.no_log_prefix,
        timestamps: args.timestamps,
        width: places.iter().map(|(label, _)| label.len()).max().unwrap_or(0),
    };
    let wanted = |entry: &Entry| {
        args.grep
            .as_ref()
            .is_none_or(|text| String::from_utf8_lossy(&entry.bytes).contains(text.as_str()))
    };
    let printed = if args.follow {
        follow(global, &roots, &name, containers, options, how, wanted)
    } else {
        show(&places, options, how, wanted)
    };
    match printed {
        Ok(()) => Ok(Exit::Success),
        // The reader (`| head`) has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        Err(error) => Err(CommandError::caused(Exit::Host, "cannot show logs", &error)),
    }
}

fn chosen(containers: Vec<ContainerInfo>, args: &Logs) -> Result<Vec<ContainerInfo>, CommandError> {
    for service in &args.services {
        if !containers.iter().any(|c| c.slot.service.as_str() == service) {
            return Err(CommandError::new(
                Exit::Failed,
                format!("no such service: {service}, or it has no container"),
            ));
        }
    }
    let mut chosen = containers;
    chosen.retain(|c| {
        (args.services.is_empty() || args.services.iter().any(|s| s == c.slot.service.as_str()))
            && args.index.is_none_or(|index| c.slot.number == index)
            && !c.one_off
    });
    Ok(chosen)
}

/// The logs kept of containers whose place others have taken.
fn previous(roots: &Roots, name: &ProjectName, args: &Logs) -> Result<Vec<(String, PathBuf)>, CommandError> {
    let entries = std::fs::read_dir(roots.previous_logs(name))
        .into_iter()
        .flatten()
        .flatten();
    let mut places: Vec<(String, PathBuf)> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    places.retain(|(place, _)| {
        let (service, number) = place.rsplit_once('-').unwrap_or((place, ""));
        (args.services.is_empty() || args.services.iter().any(|s| s == service))
            && args.index.is_none_or(|index| number == index.to_string())
    });
    places.sort();
    if places.is_empty() {
        return Err(
            CommandError::new(Exit::Failed, "no log of an earlier container is kept")
                .hint("one is kept when `up` makes a container anew, until `down`"),
        );
    }
    Ok(places)
}

fn directory(roots: &Roots, container: &ContainerInfo) -> PathBuf {
    crate::engine::settings::log_directory(&roots.container(&container.id))
}

/// The name before a line: `web-1`.
pub(super) fn label(container: &ContainerInfo) -> String {
    container.slot.to_string()
}

/// Everything there is now, in order of time over all containers.
fn show(
    places: &[(String, PathBuf)],
    options: ReaderOptions,
    how: LineStyle,
    wanted: impl Fn(&Entry) -> bool,
) -> io::Result<()> {
    let mut readers = Vec::new();
    for (index, (_, directory)) in places.iter().enumerate() {
        let Ok(mut reader) = Reader::open(directory, options) else {
            continue;
        };
        let next = next_of(&mut reader)?;
        readers.push((index, reader, next));
    }
    loop {
        let earliest = readers.iter_mut().filter(|(_, _, next)| next.is_some());
        let Some((index, reader, next)) =
            earliest.min_by_key(|(_, _, next)| next.as_ref().map(|entry| entry.time))
        else {
            return Ok(());
        };
        if let Some(entry) = next.take().filter(|entry| wanted(entry)) {
            log_lines::print(&entry, &places[*index].0, *index, how)?;
        }
        *next = next_of(reader)?;
    }
}

fn next_of(reader: &mut Reader) -> io::Result<Option<Entry>> {
    match reader.next().map_err(io::Error::other)? {
        Some(entry) => Ok(Some(entry)),
        None => Ok(reader.flush().into_iter().next()),
    }
}

/// Goes on until nothing of what is shown runs any more; containers that come later are shown too.
fn follow(
    global: &Global,
    roots: &crate::state::Roots,
    name: &crate::model::ProjectName,
    containers: Vec<ContainerInfo>,
    options: ReaderOptions,
    how: LineStyle,
    wanted: impl Fn(&Entry) -> bool,
) -> io::Result<()> {
    let followed = Followed::new()?;
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let services: Vec<_> = containers.iter().map(|c| c.slot.service.clone()).collect();
    let mut add = |containers: &[ContainerInfo], options: ReaderOptions| {
        for container in containers {
            let index = known.len();
            if known.contains_key(&container.id) {
                continue;
            }
            let directory = crate::engine::settings::log_directory(&roots.container(&container.id));
            let source = Source {
                tag: (index, label(container)),
                directory,
            };
            // A container that is gone already has no log to follow.
            if followed.add(source, options).is_ok() {
                known.insert(container.id.clone(), index);
            }
        }
    };
    add(&containers, options);
    let mut looked = Instant::now();
    loop {
        if let Some(((index, label), entry)) = followed.next(Duration::from_millis(200))
            && wanted(&entry)
        {
            log_lines::print(&entry, &label, index, how)?;
        }
        if looked.elapsed() > Duration::from_secs(1) {
            looked = Instant::now();
            let Ok(now) = ps::list(global, name) else { break };
            let now: Vec<_> = now
                .into_iter()
                .filter(|c| services.contains(&c.slot.service) && !c.one_off)
                .collect();
            add(
                &now,
                ReaderOptions {
                    tail: None,
                    ..options
                },
            );
            if !now
                .iter()
                .any(|c| c.restarting || matches!(c.phase, Phase::Running | Phase::Paused | Phase::Created))
            {
                break;
            }
        }
    }
    for ((index, label), entry) in followed.finish() {
        if wanted(&entry) {
            log_lines::print(&entry, &label, index, how)?;
        }
    }
    Ok(())
}

/// A moment as nanoseconds since 1970: RFC 3339, seconds since 1970, or a duration ago.
///
/// # Errors
/// What is no time.
pub(super) fn time(text: &str) -> Result<i64, CommandError> {
    let nanoseconds = |time: jiff::Timestamp| i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(nanoseconds(time));
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds.saturating_mul(1_000_000_000));
    }
    if let Ok(span) = text.parse::<jiff::SignedDuration>() {
        return Ok(nanoseconds(jiff::Timestamp::now()) - i64::try_from(span.as_nanos()).unwrap_or(0));
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>()
        && let Ok(zoned) = date.to_zoned(jiff::tz::TimeZone::system())
    {
        return Ok(nanoseconds(zoned.timestamp()));
    }
    Err(CommandError::new(Exit::Usage, format!("`{text}` is not a time"))
        .hint("write 2026-01-02T13:23:37Z, 2026-01-02, or how long ago: 42m, 1h30m"))
}
