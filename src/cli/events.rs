//! `banyan events`: what happens to containers, as it happens, and what happened.

use super::{CommandError, Exit, Global, Outcome, context, drive, logs};
use crate::{
    api::wire::{Event, Message, Request},
    engine::events,
};
use clap::Args;
use serde_json::json;
use std::{io::Write, sync::mpsc, thread, time::Duration};

/// Flags of `events`.
#[derive(Debug, Clone, Args)]
pub struct Events {
    /// Only these services
    services: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// First those kept since the project came up
    #[arg(long)]
    history: bool,
    /// First those kept since this time: 2026-01-02T13:23:37Z, or a duration ago such as 42m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time; ends when it comes
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Runs it until it is interrupted, or until the time given.
///
/// # Errors
/// When the engine is lost.
pub(super) fn run(global: &Global, args: &Events) -> Outcome {
    let name = context::project_name(global)?;
    let since = args.since.as_deref().map(logs::time).transpose()?;
    let until = args.until.as_deref().map(logs::time).transpose()?;
    let wanted = |event: &Event| {
        (args.services.is_empty() || args.services.iter().any(|s| s == event.slot.service.as_str()))
            && since.is_none_or(|since| event.at >= since)
            && until.is_none_or(|until| event.at < until)
    };
    let show = |event: &Event| {
        if !wanted(event) {
            return true;
        }
        let line = if args.json { as_json(event) } else { as_line(event) };
        let mut out = std::io::stdout();
        writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
    };
    // Asked before the past is read, so that nothing falls between; what comes twice is known by its time.
    let (send, live) = mpsc::channel();
    let over = |now: i64| until.is_some_and(|until| now >= until);
    if !over(events::now()) {
        let mut answer = context::client(global, &name)
            .ask(&Request::Events)
            .map_err(drive::unreachable)?;
        thread::spawn(move || {
            while let Ok(Some(message)) = answer.read() {
                if let Message::Event(event) = message
                    && send.send(event).is_err()
                {
                    return;
                }
            }
        });
    }
    let mut last = i64::MIN;
    if args.history || since.is_some() || until.is_some() {
        let kept = events::history(&context::roots(global), &name)
            .map_err(|error| CommandError::caused(Exit::Host, "cannot read the project's history", &error))?;
        for event in &kept {
            last = last.max(event.at);
            if !show(event) {
                return Ok(Exit::Success);
            }
        }
    }
    while !over(events::now()) {
        match live.recv_timeout(Duration::from_millis(100)) {
            Ok(event) if event.at <= last => {}
            Ok(event) => {
                if !show(&event) {
                    break;
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(Exit::Success)
}

fn as_line(event: &Event) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(event.at)).unwrap_or_default();
    let mut attributes: Vec<_> = event
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    attributes.push(format!("name={}", event.name));
    let time = time
        .to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S.%6f")
        .to_string();
    format!(
        "{time} container {} {} ({})",
        event.action,
        event.container,
        attributes.join(", ")
    )
}

fn as_json(event: &Event) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(event.at)).unwrap_or_default();
    let mut attributes = event.attributes.clone();
    attributes.insert("name".into(), event.name.clone());
    json!({
        "action": event.action,
        "attributes": attributes,
        "id": event.container,
        "service": event.slot.service,
        "time": time.to_string(),
        "type": "container",
    })
    .to_string()
}
