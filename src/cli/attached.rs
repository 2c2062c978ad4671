//! The second half of an attached `up`: output of all services, until everything has ended or the user says stop.

use super::{
    CommandError, Exit, Global, Outcome, context, drive, interrupt,
    log_lines::{self, LineStyle},
    logs, ps, terminal,
};
use crate::{
    api::wire::{ContainerInfo, Message, Request, Select},
    logs::{Followed, Source},
    model::{ProjectName, ServiceName},
    plan::Phase,
};
use banyan_runtime::log::{Entry, ReaderOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// The first output may be stamped a moment before the start is noticed; so much earlier is shown too, in nanoseconds.
const BEFORE_START: i64 = 200_000_000;

/// What is shown, and what ends it.
#[derive(Debug, Clone)]
pub(super) struct Attached {
    /// When the command began, nanoseconds since 1970: what containers wrote before that is for `logs`.
    pub begun: i64,
    /// Services whose output is shown.
    pub services: BTreeSet<String>,
    /// Services that were named; empty: all. Theirs are the containers whose end counts and that are stopped; what else
    /// runs, or was brought up by others, goes on.
    pub named: BTreeSet<ServiceName>,
    /// With times.
    pub timestamps: bool,
    /// With names.
    pub prefix: bool,
    /// With colours where possible.
    pub colour: bool,
    /// What ends it.
    pub end: End,
    /// Seconds between asking to stop and killing.
    pub timeout: Option<Duration>,
}

impl Attached {
    fn counts(&self, container: &ContainerInfo) -> bool {
        !container.one_off && (self.named.is_empty() || self.named.contains(&container.slot.service))
    }
}

/// What ends an attached `up`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// No container runs any more.
    AllExited,
    /// Nothing but the user.
    Asked,
    /// One container ended.
    FirstExit,
    /// One container ended with a status other than 0.
    FirstFailure,
    /// One container ended; the status is that of this service.
    StatusOf(String),
}

/// Follows.
///
/// # Errors
/// When the engine or the logs cannot be read.
pub(super) fn follow(global: &Global, name: &ProjectName, how: &Attached) -> Outcome {
    let roots = context::roots(global);
    let (send, signals) = mpsc::channel();
    interrupt::forward(send, || ())
        .map_err(|error| CommandError::caused(Exit::Host, "cannot listen for signals", &error))?;
    let containers = ps::list(global, name)?;
    let mut style = terminal::Style::stdout(global);
    style.colour &= how.colour;
    let lines = LineStyle {
        style,
        prefix: how.prefix,
        timestamps: how.timestamps,
        width: containers.iter().map(|c| logs::label(c).len()).max().unwrap_or(0),
    };
    let followed = Followed::new()
        .map_err(|error| CommandError::caused(Exit::Host, "cannot follow the output", &error))?;
    let mut known = BTreeMap::new();
    let print = |(index, label): &(usize, String), entry: &Entry| {
        // A closed standard output shows nothing more, but the services go on until the user says stop.
        let _ = log_lines::print(entry, label, *index, lines);
    };
    let mut add = |containers: &[ContainerInfo]| {
        for container in containers
            .iter()
            .filter(|c| how.services.contains(c.slot.service.as_str()))
        {
            if known.contains_key(&container.id) {
                continue;
            }
            let directory = crate::engine::settings::log_directory(&roots.container(&container.id));
            let index = known.len();
            let source = Source {
                tag: (index, logs::label(container)),
                directory,
            };
            let from = match container.started {
                Some(started) if started >= how.begun => started - BEFORE_START,
                _ => how.begun,
            };
            let options = ReaderOptions {
                since: Some(from),
                ..ReaderOptions::default()
            };
            if followed.add(source, options).is_ok() {
                known.insert(container.id.clone(), index);
            }
        }
    };
    add(&containers);
    let (mut looked, mut stopping) = (
        Instant::now(),
        None::<thread::JoinHandle<Result<(), CommandError>>>,
    );
    let mut ended: BTreeMap<String, u8> = BTreeMap::new();
    let mut status = Exit::Success;
    let counts = |c: &&ContainerInfo| how.counts(c);
    loop {
        if let Some((tag, entry)) = followed.next(Duration::from_millis(50)) {
            print(&tag, &entry);
            if looked.elapsed() < Duration::from_millis(500) {
                continue;
            }
        }
        if signals.try_recv().is_ok() {
            if stopping.is_some() {
                kill(global, name, how);
            } else {
                status = Exit::Interrupted;
                stopping = Some(stop(global, name, how));
            }
        }
        if stopping.as_ref().is_some_and(thread::JoinHandle::is_finished) {
            break;
        }
        if looked.elapsed() < Duration::from_millis(200) {
            continue;
        }
        looked = Instant::now();
        let now = ps::list(global, name)?;
        add(&now);
        for container in now.iter().filter(counts) {
            if let (Phase::Exited(code), false) = (container.phase, container.restarting) {
                if ended.insert(container.id.clone(), code).is_none() {
                    say(&format!("{} exited with code {code}", logs::label(container)));
                    if stopping.is_none() && ends(how, container, code, &mut status) {
                        stopping = Some(stop(global, name, how));
                    }
                }
            } else {
                ended.remove(&container.id);
            }
        }
        let active = |c: &ContainerInfo| c.restarting || matches!(c.phase, Phase::Running | Phase::Paused);
        if stopping.is_none() && how.end != End::Asked && !now.iter().filter(counts).any(active) {
            break;
        }
    }
    for (tag, entry) in followed.finish() {
        print(&tag, &entry);
    }
    if let Some(stopping) = stopping {
        stopping.join().unwrap_or(Ok(()))?;
    }
    Ok(status)
}

/// Whether this container's end ends everything; sets the exit status.
fn ends(how: &Attached, container: &ContainerInfo, code: u8, status: &mut Exit) -> bool {
    match &how.end {
        End::AllExited | End::Asked => false,
        End::FirstExit => {
            *status = Exit::Status(code);
            true
        }
        End::FirstFailure if code != 0 => {
            *status = Exit::Status(code);
            true
        }
        End::FirstFailure => false,
        End::StatusOf(service) => {
            if container.slot.service.as_str() == service {
                *status = Exit::Status(code);
            }
            true
        }
    }
}

/// Stops what counts, beside the output that still comes.
fn stop(global: &Global, name: &ProjectName, how: &Attached) -> thread::JoinHandle<Result<(), CommandError>> {
    say("stopping (Ctrl-C again kills)");
    let (client, timeout) = (context::client(global, name), how.timeout);
    let services = how.named.clone();
    thread::spawn(move || {
        let request = Request::Stop(Select {
            services,
            timeout,
            ..Select::default()
        });
        let Some(mut answer) = client.ask_running(&request).map_err(drive::unreachable)? else {
            return Ok(());
        };
        while let Some(message) = answer.read().map_err(drive::unreachable)? {
            if let Message::Failed(failure) = message {
                return Err(drive::failed(&failure));
            }
        }
        Ok(())
    })
}

/// Kills what is being stopped; the stop under way then has nothing left to wait for.
fn kill(global: &Global, name: &ProjectName, how: &Attached) {
    let roots = context::roots(global);
    let all = ps::list(global, name).unwrap_or_default();
    for container in all.iter().filter(|c| how.counts(c)) {
        let dir = roots.container(&container.id);
        if let Err(error) = crate::engine::observe::kill_directly(&roots, &container.id) {
            tracing::warn!(%error, dir = %dir.display(), "could not be killed");
        }
    }
}

fn say(line: &str) {
    // Standard error may be closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
