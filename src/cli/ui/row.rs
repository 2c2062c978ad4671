//! One line of the list: a container, or a service that has none.

use crate::{
    api::wire::{ContainerInfo, Published},
    cli::ps,
    model::{Project, Protocol},
    plan::Phase,
    supervisor::health::Status,
};
use std::collections::BTreeSet;

/// How something is, for the eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Wrong.
    Bad,
    /// Nothing to look at.
    Quiet,
}

/// What a container used when it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Use {
    /// Percent of one processor; `None` at the first look.
    pub processor: Option<f64>,
    /// Bytes.
    pub memory: u64,
    /// The most it may use, when that is less than the machine has.
    pub limit: Option<u64>,
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// `web-1`, or the service's name when it has no container.
    pub name: String,
    /// The service.
    pub service: String,
    /// Which replica; 0: it has no container.
    pub number: u32,
    /// The container; empty when there is none.
    pub id: String,
    /// Its state in words.
    pub state: String,
    /// Its health in one word, or nothing.
    pub health: &'static str,
    /// How it is.
    pub tone: Tone,
    /// It runs.
    pub up: bool,
    /// It is frozen.
    pub paused: bool,
    /// Its image.
    pub image: String,
    /// Nanoseconds since 1970 of the start, or of the end when it ended.
    pub since: Option<i64>,
    /// Published ports, short.
    pub ports: String,
    /// Where its first published port answers.
    pub address: Option<String>,
    /// What it uses.
    pub usage: Option<Use>,
}

/// The lines of a project: its containers and services without one, in order of their names.
pub(super) fn rows(project: Option<&Project>, containers: &[ContainerInfo]) -> Vec<Row> {
    let mut rows: Vec<Row> = containers.iter().filter(|c| !c.one_off).map(of).collect();
    let present: BTreeSet<String> = rows.iter().map(|row| row.service.clone()).collect();
    for name in project.iter().flat_map(|project| project.services.keys()) {
        if !present.contains(name.as_str()) {
            rows.push(Row {
                name: name.to_string(),
                service: name.to_string(),
                number: 0,
                id: String::new(),
                state: "not created".into(),
                health: "",
                tone: Tone::Quiet,
                up: false,
                paused: false,
                image: String::new(),
                since: None,
                ports: String::new(),
                address: None,
                usage: None,
            });
        }
    }
    rows.sort_by(|a, b| (&a.service, a.number).cmp(&(&b.service, b.number)));
    rows
}

fn of(container: &ContainerInfo) -> Row {
    let up = matches!(container.phase, Phase::Running | Phase::Paused);
    let (health, tone) = match container.health.as_ref().filter(|_| up).map(|h| h.status) {
        Some(Status::Healthy) => ("healthy", Tone::Good),
        Some(Status::Starting) => ("starting", Tone::Busy),
        Some(Status::Unhealthy) => ("unhealthy", Tone::Bad),
        None => ("", Tone::Good),
    };
    let (state, tone) = match container.phase {
        Phase::Exited(code) if container.restarting => (format!("restarting ({code})"), Tone::Busy),
        Phase::Exited(0) => ("exited (0)".into(), Tone::Quiet),
        Phase::Exited(code) => (format!("exited ({code})"), Tone::Bad),
        Phase::Paused => ("paused".into(), Tone::Busy),
        Phase::Running => ("running".into(), tone),
        Phase::Created => (ps::state(container).to_owned(), Tone::Quiet),
    };
    Row {
        name: container.slot.to_string(),
        service: container.slot.service.to_string(),
        number: container.slot.number,
        id: container.id.clone(),
        state,
        health,
        tone,
        up,
        paused: container.phase == Phase::Paused,
        image: container.image.clone(),
        since: if up { container.started } else { container.finished },
        ports: ps::short_ports(&container.ports),
        address: address(&container.ports),
        usage: None,
    }
}

fn address(published: &[Published]) -> Option<String> {
    let port = published.iter().find(|port| port.protocol == Protocol::Tcp)?;
    let host = if port.host.is_unspecified() || port.host.is_loopback() {
        "localhost".to_owned()
    } else if port.host.is_ipv6() {
        format!("[{}]", port.host)
    } else {
        port.host.to_string()
    };
    let scheme = if matches!(port.target, 443 | 8443) {
        "https"
    } else {
        "http"
    };
    Some(format!("{scheme}://{host}:{}", port.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_short_and_their_address_can_be_opened() {
        let port = |host: &str, port, target, protocol| Published {
            host: host.parse().unwrap(),
            port,
            target,
            protocol,
        };
        let list = [
            port("0.0.0.0", 8080, 80, Protocol::Tcp),
            port("::", 8080, 80, Protocol::Tcp),
            port("10.1.2.3", 53, 53, Protocol::Udp),
        ];
        assert_eq!(ps::short_ports(&list), "8080→80 10.1.2.3:53→53/udp");
        assert_eq!(address(&list).as_deref(), Some("http://localhost:8080"));
        assert_eq!(address(&list[2..]), None, "nothing to open on UDP");
        let secure = [port("::1", 9000, 443, Protocol::Tcp)];
        assert_eq!(address(&secure).as_deref(), Some("https://localhost:9000"));
    }
}
