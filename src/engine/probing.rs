//! Probes of a running container: its health check, or `x-banyan.ready`, which needs nothing in the image.
//!
//! | test | how it is tried |
//! |---|---|
//! | command, `exec` | a process in the container, its output read with a deadline |
//! | `tcp` | the kernel's list of listening sockets of its network: no connection is made, so nothing shows in the service's log and no database counts an aborted client |
//! | `http` | a `GET` from a thread inside its network |
//! | `log` | its output since this start, read as it is written; once found it stays found |

use super::{
    Engine,
    capture::{capture, readable},
    events::{history, now},
    keeper::Keeper,
};
use crate::{
    model::{HealthTest, HttpCheck, Ready},
    plan::Phase,
    supervisor::health::{Outcome, Probe, Status, Test},
};
use banyan_runtime::{
    container::{Container, Process, Running},
    log::{Reader, ReaderOptions, Watch},
    network::{Visit, visit},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Output of a probe that is kept, in bytes (Docker keeps as many).
const OUTPUT: usize = 4096;
/// Probes are not repeated faster than this, however short the interval.
const SHORTEST: Duration = Duration::from_millis(10);
/// The first output may be stamped a moment before the start is noticed; so much earlier still counts, in nanoseconds.
const BEFORE_START: i64 = 200_000_000;

/// Probes a container until it ends (whoever spawned this ends it then).
pub async fn watch(engine: Arc<Engine>, keeper: Arc<Keeper>, container: Arc<Mutex<Container<Running>>>) {
    let Some(probe) = keeper.probe.clone() else { return };
    if let Test::Ready(Ready::Log(pattern)) = &probe.test {
        watch_log(&engine, &keeper, &probe, pattern).await;
        return;
    }
    let begun = Instant::now();
    loop {
        let wait = match &keeper.live.borrow().health {
            Some(health) => health.next_in(&probe, begun.elapsed()),
            None => return,
        };
        tokio::time::sleep(wait.max(SHORTEST)).await;
        if keeper.phase() == Phase::Paused {
            continue;
        }
        // Boxed for its time only: between probes this future is small.
        let outcome = Box::pin(try_once(&engine, &keeper, &container, &probe)).await;
        let changed = take(&engine, &keeper, &probe, outcome, begun.elapsed());
        if changed == Some(Status::Unhealthy) && keeper.record().service.restart_unhealthy {
            // Its end brings the restart about.
            if let Err(error) = super::lock(&container).kill() {
                tracing::warn!(%error, "an unhealthy container could not be ended");
            }
            return;
        }
    }
}

/// Folds a result into the container's health and tells a change of it.
fn take(
    engine: &Engine,
    keeper: &Keeper,
    probe: &Probe,
    outcome: Outcome,
    since_start: Duration,
) -> Option<Status> {
    let mut changed = None;
    keeper.live.send_if_modified(|live| {
        let Some(health) = &mut live.health else {
            return false;
        };
        if health.take(probe, outcome, since_start) {
            changed = Some(health.status);
        }
        changed.is_some()
    });
    let word = match changed? {
        Status::Starting => "starting",
        Status::Healthy => "healthy",
        Status::Unhealthy => "unhealthy",
    };
    engine
        .events
        .tell(&keeper.record(), &format!("health_status: {word}"), &[]);
    changed
}

async fn try_once(
    engine: &Arc<Engine>,
    keeper: &Keeper,
    container: &Arc<Mutex<Container<Running>>>,
    probe: &Probe,
) -> Outcome {
    let (begun, at) = (Instant::now(), now());
    let (exit, output) = match &probe.test {
        Test::Command(HealthTest::Exec(arguments)) | Test::Ready(Ready::Exec(arguments)) => {
            command(engine, keeper, arguments.clone(), probe.timeout).await
        }
        Test::Command(HealthTest::Shell(line)) => {
            let arguments = vec!["/bin/sh".into(), "-c".into(), line.clone()];
            command(engine, keeper, arguments, probe.timeout).await
        }
        Test::Ready(Ready::Tcp(port)) => {
            let pid = super::lock(container).pid();
            answer(listening(pid, *port))
        }
        Test::Ready(Ready::Http(check)) => get(keeper, container, check, probe.timeout).await,
        // The log is watched, not probed; a test that is switched off makes no probe.
        Test::Ready(Ready::Log(_)) | Test::Command(HealthTest::None) => (Some(0), String::new()),
    };
    let took = begun.elapsed();
    Outcome {
        at,
        took,
        exit,
        output,
    }
}

fn answer(found: Result<String, String>) -> (Option<u8>, String) {
    match found {
        Ok(said) => (Some(0), said),
        Err(said) => (Some(1), said),
    }
}

async fn command(
    engine: &Arc<Engine>,
    keeper: &Keeper,
    arguments: Vec<String>,
    timeout: Duration,
) -> (Option<u8>, String) {
    let record = keeper.record();
    let process = Process {
        arguments,
        terminal: None,
        stdin: false,
        ..record.settings.process
    };
    match capture(engine, &record.id, process, timeout, OUTPUT).await {
        Ok(captured) => {
            let exit = captured
                .status
                .map(|status| u8::try_from(status).unwrap_or(u8::MAX));
            (exit, String::from_utf8_lossy(&captured.output).into_owned())
        }
        Err(error) => (None, error.to_string()),
    }
}

async fn get(
    keeper: &Keeper,
    container: &Arc<Mutex<Container<Running>>>,
    check: &HttpCheck,
    timeout: Duration,
) -> (Option<u8>, String) {
    let namespace = match super::lock(container).network_namespace() {
        Ok(namespace) => namespace,
        Err(error) => return (None, error.to_string()),
    };
    let mut addresses: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
    let record = keeper.record();
    addresses.extend(
        record
            .endpoints
            .values()
            .flat_map(super::record::Endpoint::addresses),
    );
    addresses.push(Ipv6Addr::LOCALHOST.into());
    let check = check.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let how = Visit {
            port: check.port,
            path: &check.path,
            tls: check.tls,
            timeout,
        };
        let answer = visit(namespace.as_fd(), &addresses, how).map_err(|error| error.to_string())?;
        let said = format!("GET {}: status {}\n{}", check.path, answer.status, answer.body);
        if (check.from..=check.to).contains(&answer.status) {
            Ok(said)
        } else {
            Err(said)
        }
    });
    answer(asked.await.unwrap_or_else(|error| Err(error.to_string())))
}

/// Whether somebody in the network of process `pid` listens on a TCP port, and where.
fn listening(pid: i32, port: u16) -> Result<String, String> {
    let mut addresses = Vec::new();
    for (file, ipv6) in [("tcp", false), ("tcp6", true)] {
        match std::fs::read_to_string(format!("/proc/{pid}/net/{file}")) {
            Ok(table) => addresses.extend(listeners(&table, port)),
            // Absent on a host without IPv6.
            Err(_) if ipv6 => {}
            Err(error) => return Err(format!("cannot read the container's sockets: {error}")),
        }
    }
    if addresses.is_empty() {
        return Err(format!("nobody listens on port {port}"));
    }
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let only = if addresses.iter().all(IpAddr::is_loopback) {
        ", which no other container can reach"
    } else {
        ""
    };
    Ok(format!("port {port} is listened on at {}{only}", list.join(", ")))
}

/// Local addresses of the sockets in state LISTEN (0A) on `port` (proc_net(5)): the address is in the host's byte order,
/// word by word.
fn listeners(table: &str, port: u16) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, hex) = fields.next()?.split_once(':')?;
        let state = fields.nth(1)?;
        if state != "0A" || u16::from_str_radix(hex, 16).ok()? != port {
            return None;
        }
        let mut bytes = Vec::new();
        for word in address.as_bytes().chunks(8) {
            let word = std::str::from_utf8(word).ok()?;
            bytes.extend(u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
        }
        match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes)
                .ok()
                .map(|b| IpAddr::V4(Ipv4Addr::from(b))),
            _ => <[u8; 16]>::try_from(bytes)
                .ok()
                .map(|b| IpAddr::V6(Ipv6Addr::from(b))),
        }
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// Waits for a line of output of this run that matches.
async fn watch_log(engine: &Arc<Engine>, keeper: &Arc<Keeper>, probe: &Probe, pattern: &str) {
    let (begun, at) = (Instant::now(), now());
    let found = async {
        if was_ready(engine, keeper) {
            return Ok("found before this engine took over".to_owned());
        }
        let since = {
            let live = keeper.live.borrow();
            // What the run before said does not count.
            live.started
                .map(|at| live.finished.unwrap_or(i64::MIN).max(at - BEFORE_START))
        };
        find_line(&keeper.log, since, pattern).await
    };
    tokio::pin!(found);
    loop {
        let wait = match &keeper.live.borrow().health {
            Some(health) => health.next_in(probe, begun.elapsed()),
            None => return,
        };
        let (exit, output, over) = tokio::select! {
            found = &mut found => match found {
                Ok(line) => (Some(0), line, true),
                Err(error) => (None, format!("the output cannot be read: {error}"), true),
            },
            () = tokio::time::sleep(wait.max(SHORTEST)) => {
                (Some(1), format!("no line of output matches `{pattern}` yet"), false)
            }
        };
        let outcome = Outcome {
            at,
            took: begun.elapsed(),
            exit,
            output,
        };
        take(engine, keeper, probe, outcome, begun.elapsed());
        if over {
            return;
        }
    }
}

/// Whether an engine before this one saw the line: it may have been rotated away since.
fn was_ready(engine: &Engine, keeper: &Keeper) -> bool {
    let id = keeper.id();
    let events = history(&engine.roots, &engine.name).unwrap_or_default();
    let told = events
        .iter()
        .rev()
        .filter(|event| event.container == id)
        .map(|event| event.action.as_str())
        .find(|action| *action == "start" || action.starts_with("health_status"));
    told == Some("health_status: healthy")
}

/// How often a log is looked at where the kernel has no inotify instance left for us.
const POLL: Duration = Duration::from_millis(100);

async fn find_line(log: &Path, since: Option<i64>, pattern: &str) -> io::Result<String> {
    let regex = regex::Regex::new(pattern).map_err(io::Error::other)?;
    // Watched before the first read, so that nothing falls between.
    let watch = Watch::new(log).map_err(io::Error::other)?;
    let changed = match watch.fd() {
        Some(fd) => Some(readable(fd.try_clone_to_owned()?)?),
        None => None,
    };
    let options = ReaderOptions {
        since,
        ..ReaderOptions::default()
    };
    let mut reader = Reader::open(log, options).map_err(io::Error::other)?;
    loop {
        watch.clear();
        let search = regex.clone();
        let (read, found) = tokio::task::spawn_blocking(move || {
            let mut found = None;
            while let Ok(Some(entry)) = reader.next() {
                let line = crate::logs::text(&entry);
                if search.is_match(&line) {
                    found = Some(line);
                    break;
                }
            }
            (reader, found)
        })
        .await
        .map_err(io::Error::other)?;
        if let Some(line) = found {
            return Ok(line.chars().take(OUTPUT).collect());
        }
        reader = read;
        match &changed {
            Some(changed) => changed.readable().await?.clear_ready(),
            None => tokio::time::sleep(POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_by_port_and_state_in_both_families() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
            0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000\n   \
            1: 0100007F:0CEA 0100007F:D431 01 00000000:00000000\n   \
            2: 00000000:0050 00000000:0000 0A 00000000:00000000\n";
        assert_eq!(listeners(table, 3306), [IpAddr::from(Ipv4Addr::LOCALHOST)]);
        assert_eq!(listeners(table, 80), [IpAddr::from(Ipv4Addr::UNSPECIFIED)]);
        assert!(listeners(table, 81).is_empty());
        let six = "header\n 0: 00000000000000000000000001000000:1F90 \
            00000000000000000000000000000000:0000 0A 0\n";
        assert_eq!(listeners(six, 8080), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
    }
}
