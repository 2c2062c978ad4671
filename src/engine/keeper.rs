//! One container of the project, and the task that watches it while it runs: its end, its restarts, its health.
//!
//! [`Keeper`] is what others see: a record, and the live state on a watch channel. The watching task is the only one
//! that turns a running container into an ended one.

use super::{Engine, Outcome, events::now, record::Record};
use crate::{
    api::wire::{ContainerInfo, Failure, Fault},
    model::Condition,
    plan::{Phase, Slot},
    supervisor::{
        health::{self, Health, Probe},
        machine::{Ending, Machine, Starter, Verdict},
    },
};
use banyan_runtime::container::{Container, ContainerError, Created, Ended, Exit, Running};
use std::{
    os::fd::AsFd,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};

/// The state of a container as others see it.
#[derive(Debug, Clone)]
pub struct Live {
    /// How far it is.
    pub phase: Phase,
    /// Its restart is being waited for.
    pub restarting: bool,
    /// Its health, when it has a check.
    pub health: Option<Health>,
    /// Nanoseconds since 1970 of the last start.
    pub started: Option<i64>,
    /// Nanoseconds since 1970 of the last end.
    pub finished: Option<i64>,
    /// Killed for memory.
    pub oom_killed: bool,
    /// Process 1 as the host sees it.
    pub pid: Option<u32>,
}

/// One container of the project.
#[derive(Debug)]
pub struct Keeper {
    record: Mutex<Record>,
    pub(super) live: watch::Sender<Live>,
    pub(super) probe: Option<Probe>,
    machine: Mutex<Machine>,
    origin: Instant,
    /// Where its output is.
    pub(super) log: PathBuf,
    /// Made, and held at the barrier before its program starts.
    created: Mutex<Option<Container<Created>>>,
    running: Mutex<Option<Arc<Mutex<Container<Running>>>>>,
    /// The user asked for its end, so it is not restarted.
    asked: AtomicBool,
    /// Ends a wait for a restart.
    cancel: Notify,
}

impl Keeper {
    /// A keeper for a container in this state.
    pub fn new(engine: &Engine, record: Record, live: Live) -> Self {
        let service = &record.service;
        let probe = match &service.ready {
            Some(ready) => Some(Probe::of_ready(ready, service.health_check.as_ref())),
            None => Probe::resolve(service.health_check.as_ref(), record.image_health.as_ref()),
        };
        let machine = Machine::new(record.service.restart, Duration::ZERO);
        let health = probe.is_some().then(Health::default);
        Self {
            live: watch::channel(Live { health, ..live }).0,
            probe,
            machine: Mutex::new(machine),
            origin: Instant::now(),
            log: super::execute::container_dir(engine, &record.id).log(),
            created: Mutex::new(None),
            running: Mutex::new(None),
            asked: AtomicBool::new(false),
            cancel: Notify::new(),
            record: Mutex::new(record),
        }
    }

    /// The container's id.
    pub fn id(&self) -> String {
        super::lock(&self.record).id.clone()
    }

    /// Its name.
    pub fn name(&self) -> String {
        super::lock(&self.record).name.clone()
    }

    /// Its place.
    pub fn slot(&self) -> Slot {
        super::lock(&self.record).slot.clone()
    }

    /// Whether it is of `run`.
    pub fn is_one_off(&self) -> bool {
        super::lock(&self.record).one_off
    }

    /// What is kept about it.
    pub fn record(&self) -> Record {
        super::lock(&self.record).clone()
    }

    /// Changes what is kept about it, and writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn change(&self, engine: &Engine, change: impl FnOnce(&mut Record)) -> std::io::Result<()> {
        let mut record = super::lock(&self.record);
        change(&mut record);
        record.write(&engine.roots)
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.live.borrow().phase
    }

    /// Runs, is frozen, or waits for its restart.
    pub fn is_up(&self) -> bool {
        let live = self.live.borrow();
        live.restarting || matches!(live.phase, Phase::Running | Phase::Paused)
    }

    /// Is up, or stands at its barrier: it has a process.
    pub fn is_active(&self) -> bool {
        self.is_up() || super::lock(&self.created).is_some()
    }

    /// Whether health is judged.
    pub fn has_health(&self) -> bool {
        self.live.borrow().health.is_some()
    }

    /// The live state and its changes.
    pub fn watch(&self) -> watch::Receiver<Live> {
        self.live.subscribe()
    }

    /// Holds a container that was made, at its barrier.
    pub fn hold(&self, created: Container<Created>) {
        *super::lock(&self.created) = Some(created);
        self.live.send_modify(|_| {});
    }

    /// Whether it stands at its barrier.
    pub fn has_created(&self) -> bool {
        super::lock(&self.created).is_some()
    }

    /// Takes the container held at its barrier.
    pub fn take_created(&self) -> Option<Container<Created>> {
        super::lock(&self.created).take()
    }

    /// The running container; calls on it are short, except none that waits.
    pub fn running(&self) -> Option<Arc<Mutex<Container<Running>>>> {
        super::lock(&self.running).clone()
    }

    /// Its program runs: watch it until it ends.
    pub fn watch_over(self: &Arc<Self>, engine: &Arc<Engine>, container: Container<Running>, started: i64) {
        let pid = container.pid();
        let container = Arc::new(Mutex::new(container));
        self.asked.store(false, Ordering::SeqCst);
        let starter = if self.live.borrow().restarting {
            Starter::Policy
        } else {
            Starter::User
        };
        super::lock(&self.machine).on_start(starter, self.origin.elapsed());
        *super::lock(&self.running) = Some(container.clone());
        self.live.send_modify(|live| {
            live.phase = Phase::Running;
            live.restarting = false;
            live.started = Some(started);
            live.oom_killed = false;
            live.pid = u32::try_from(pid).ok();
            live.health = live.health.as_ref().map(|_| Health::default());
        });
        tokio::spawn(watch_one(engine.clone(), self.clone(), container));
    }

    /// Asks for its end: signal, grace, SIGKILL. Returns when it has ended.
    ///
    /// # Errors
    /// When the kernel refuses, or it cannot be killed (a process stuck in the kernel).
    pub async fn stop(&self, engine: &Engine, grace: Duration, signal: i32) -> Outcome {
        self.asked.store(true, Ordering::SeqCst);
        self.cancel.notify_waiters();
        if let Some(created) = self.take_created() {
            // Never started: nothing to ask.
            let _ = tokio::task::spawn_blocking(move || created.abandon()).await;
        }
        let Some(container) = self.running() else {
            self.live.send_modify(|live| live.restarting = false);
            return Ok(());
        };
        let refused = |error: &(dyn std::error::Error + 'static)| {
            Failure::caused(Fault::Host, format!("cannot stop `{}`", self.name()), error)
        };
        if self.phase() == Phase::Paused {
            super::lock(&container)
                .unpause()
                .map_err(|error| refused(&error))?;
        }
        match super::lock(&container).signal(signal) {
            Ok(()) | Err(ContainerError::NotRunning) => {}
            Err(error) => return Err(refused(&error)),
        }
        engine
            .events
            .tell(&self.record(), "kill", &[("signal", signal.to_string())]);
        if tokio::time::timeout(grace, self.ended()).await.is_err() {
            match super::lock(&container).kill() {
                Ok(()) | Err(ContainerError::NotRunning) => {}
                Err(error) => return Err(refused(&error)),
            }
            engine
                .events
                .tell(&self.record(), "kill", &[("signal", "9".into())]);
            if tokio::time::timeout(Duration::from_secs(10), self.ended())
                .await
                .is_err()
            {
                let what = format!("`{}` does not end, not even when killed", self.name());
                let pid = super::lock(&container).pid();
                return Err(Failure::new(Fault::Host, what).hint(format!(
                    "process {pid} is stuck in the kernel: look at /proc/{pid}/stack"
                )));
            }
        }
        engine.events.tell(&self.record(), "stop", &[]);
        Ok(())
    }

    /// Returns when it does not run.
    pub async fn ended(&self) {
        let mut watch = self.live.subscribe();
        // The sender lives as long as this keeper.
        let _ = watch
            .wait_for(|live| !matches!(live.phase, Phase::Running | Phase::Paused))
            .await;
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn kill(&self, engine: &Engine, signal: i32) -> Outcome {
        let Some(container) = self.running() else {
            return Ok(());
        };
        if signal == 9 {
            self.asked.store(true, Ordering::SeqCst);
        }
        super::lock(&container).signal(signal).map_err(|error| {
            Failure::caused(
                Fault::Host,
                format!("cannot send signal {signal} to `{}`", self.name()),
                &error,
            )
        })?;
        engine
            .events
            .tell(&self.record(), "kill", &[("signal", signal.to_string())]);
        if signal == 9 {
            self.ended().await;
        }
        Ok(())
    }

    /// Freezes or thaws.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn freeze(&self, engine: &Engine, freeze: bool) -> Outcome {
        let Some(container) = self.running() else {
            return Ok(());
        };
        let done = {
            let container = super::lock(&container);
            if freeze {
                container.pause()
            } else {
                container.unpause()
            }
        };
        let verb = if freeze { "pause" } else { "unpause" };
        done.map_err(|error| {
            Failure::caused(Fault::Host, format!("cannot {verb} `{}`", self.name()), &error)
        })?;
        self.live
            .send_modify(|live| live.phase = if freeze { Phase::Paused } else { Phase::Running });
        engine.events.tell(&self.record(), verb, &[]);
        Ok(())
    }

    /// Returns when it has reached `condition`.
    ///
    /// # Errors
    /// When it no longer can: it ended, failed, is unhealthy; or when `halt` turns true.
    pub async fn reach(&self, condition: Condition, mut halt: watch::Receiver<bool>) -> Outcome {
        let mut watch = self.live.subscribe();
        let verdict = |live: &Live| match (condition, live.phase) {
            (Condition::ServiceCompletedSuccessfully, Phase::Exited(0)) if !live.restarting => Some(Ok(())),
            (_, Phase::Exited(_)) if live.restarting => None,
            (Condition::ServiceStarted, Phase::Running | Phase::Paused | Phase::Exited(0)) => Some(Ok(())),
            (_, Phase::Exited(status)) => Some(Err(format!("it exited with status {status}"))),
            (Condition::ServiceHealthy, Phase::Running) => {
                match live.health.as_ref().map(|health| health.status) {
                    Some(health::Status::Healthy) => Some(Ok(())),
                    Some(health::Status::Unhealthy) => Some(Err("it is unhealthy".into())),
                    Some(health::Status::Starting) => None,
                    None => Some(Err("it has no health check".into())),
                }
            }
            _ => None,
        };
        let reached = tokio::select! {
            state = watch.wait_for(|live| verdict(live).is_some()) => state.ok().and_then(|live| verdict(&live)),
            _ = halt.wait_for(|halt| *halt) => None,
        };
        let service = self.slot().service;
        match reached {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => {
                let what = match condition {
                    Condition::ServiceHealthy => format!("service `{service}` did not become healthy: {why}"),
                    Condition::ServiceStarted => format!("service `{service}` did not keep running: {why}"),
                    Condition::ServiceCompletedSuccessfully => format!("service `{service}` failed: {why}"),
                };
                Err(Failure::new(Fault::Asked, what).details(self.explain()))
            }
            None => Err(Failure::new(
                Fault::Interrupted,
                format!("gave up waiting for `{service}`"),
            )),
        }
    }

    /// What helps to see why it is not well: its last probes, the last lines of its output.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        if let Some(health) = &self.live.borrow().health {
            text += &health.describe(3, "  ");
        }
        let lines = crate::logs::tail(&self.log, 15);
        if !lines.is_empty() {
            text += "  its last output:\n";
            for line in lines {
                text += &format!("    {line}\n");
            }
        }
        text
    }

    /// For `ps`.
    pub fn info(&self) -> ContainerInfo {
        let (record, live) = (self.record(), self.live.borrow().clone());
        info(record, live)
    }
}

/// What `ps` shows of a container.
pub fn info(record: Record, live: Live) -> ContainerInfo {
    let addresses = record
        .endpoints
        .iter()
        .map(|(key, endpoint)| (key.clone(), endpoint.addresses()));
    let up = matches!(live.phase, Phase::Running | Phase::Paused);
    ContainerInfo {
        addresses: addresses.collect(),
        phase: live.phase,
        restarting: live.restarting,
        health: live.health,
        started: live.started,
        finished: live.finished,
        oom_killed: live.oom_killed,
        pid: live.pid,
        ports: if up { record.published } else { Vec::new() },
        id: record.id,
        name: record.name,
        project: record.project,
        slot: record.slot,
        one_off: record.one_off,
        image: record.service.image.name,
        command: record.command,
        created: record.created,
        labels: record.labels,
        volumes: record.volumes,
        restarts: record.restarts,
    }
}

/// Watches a running container until its end.
async fn watch_one(engine: Arc<Engine>, keeper: Arc<Keeper>, container: Arc<Mutex<Container<Running>>>) {
    let health = tokio::spawn(super::probing::watch(
        engine.clone(),
        keeper.clone(),
        container.clone(),
    ));
    let exit = wait_for_end(&engine, &keeper.id(), &container).await;
    health.abort();
    // Boxed only now: what a restart needs is 20 KB, and nearly every container just runs.
    Box::pin(after_end(&engine, &keeper, container, exit)).await;
}

/// Records the end of a container, and sees to its restart.
async fn after_end(
    engine: &Arc<Engine>,
    keeper: &Arc<Keeper>,
    container: Arc<Mutex<Container<Running>>>,
    exit: Exit,
) {
    *super::lock(&keeper.running) = None;
    // Beside everything else: a restart does not wait for the old shim to be gone.
    tokio::task::spawn_blocking(move || super::lock(&container).settle());
    let record = keeper.record();
    engine.networks.withdraw(&record);
    let status = u8::try_from(exit.code()).unwrap_or(u8::MAX);
    let unhealthy = keeper
        .live
        .borrow()
        .health
        .as_ref()
        .is_some_and(|h| h.status == health::Status::Unhealthy);
    let ending = match keeper.asked.load(Ordering::SeqCst) {
        true => Ending::Asked,
        false if unhealthy && record.service.restart_unhealthy => Ending::Unhealthy,
        false => Ending::Status(status),
    };
    let verdict = super::lock(&keeper.machine).on_end(ending, keeper.origin.elapsed());
    let delay = match verdict {
        Verdict::Restart(delay) => Some(delay),
        Verdict::Stay | Verdict::GiveUp(_) => None,
    };
    if exit.out_of_memory {
        engine.events.tell(&record, "oom", &[]);
    }
    engine
        .events
        .tell(&record, "die", &[("exitCode", status.to_string())]);
    keeper.live.send_modify(|live| {
        live.phase = Phase::Exited(status);
        live.restarting = delay.is_some();
        live.finished = Some(exit.at);
        live.oom_killed = exit.out_of_memory;
        live.pid = None;
    });
    let Some(delay) = delay else { return };
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = keeper.cancel.notified() => {}
    }
    if keeper.asked.load(Ordering::SeqCst) {
        keeper.live.send_modify(|live| live.restarting = false);
        return;
    }
    engine.events.tell(&record, "restart", &[]);
    // A restart count that cannot be written (a full disk) must not keep a service down.
    if let Err(error) = keeper.change(engine, |record| record.restarts += 1) {
        tracing::warn!(%error, "the restart count was not kept");
    }
    if let Err(failure) = super::execute::start_container(engine, keeper).await {
        tracing::error!(?failure, "a restart failed");
        engine.events.tell(
            &record,
            "restart_failed",
            &[("because", failure.because.join(": "))],
        );
        keeper.live.send_modify(|live| live.restarting = false);
    }
}

/// Waits until the end of a container is recorded. When its shim is killed, it gets a new one; where that cannot be, the
/// end is that of its process, which is then our child because this engine is a subreaper.
async fn wait_for_end(engine: &Arc<Engine>, id: &str, container: &Arc<Mutex<Container<Running>>>) -> Exit {
    loop {
        let (news, process) = {
            let container = super::lock(container);
            (
                container.end_fd().try_clone_to_owned(),
                container.pidfd().try_clone_to_owned(),
            )
        };
        let (Ok(news), Ok(process)) = (news.and_then(super::capture::readable), process) else {
            tracing::error!("a container cannot be watched: too many open files?");
            return lost(None);
        };
        loop {
            let ready = news.readable().await;
            match super::lock(container).try_wait() {
                Ok(Some(exit)) => return exit,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a shim was lost");
                    break;
                }
            }
            if let Ok(mut ready) = ready {
                ready.clear_ready();
            }
        }
        let (launching, dir) = (engine.clone(), super::execute::container_dir(engine, id));
        let adopted = tokio::task::spawn_blocking(move || launching.launcher.adopt(&dir)).await;
        match adopted {
            Ok(Ok(renewed)) => {
                *super::lock(container) = renewed;
                // The new shim is not the parent: it learns the status when we have fetched it.
                tokio::spawn(fetched(process));
            }
            _ => return lost(fetched(process).await),
        }
    }
}

/// The end of a process that became our child; `None` when somebody else fetched it.
async fn fetched(process: std::os::fd::OwnedFd) -> Option<Ended> {
    let end = super::capture::readable(process).ok()?;
    // An error of the poll only means that it is over.
    let _ = end.readable().await;
    let process = end.into_inner();
    let reaped =
        tokio::task::spawn_blocking(move || banyan_runtime::sys::pidfd::reap(process.as_fd(), true)).await;
    reaped.ok()?.ok()?
}

/// The end of a container that nobody recorded.
fn lost(ended: Option<Ended>) -> Exit {
    Exit {
        ended: ended.unwrap_or(Ended::Signal(9)),
        out_of_memory: false,
        started: None,
        at: now(),
    }
}

impl Live {
    /// Made, never started.
    pub fn created() -> Self {
        Self {
            phase: Phase::Created,
            restarting: false,
            health: None,
            started: None,
            finished: None,
            oom_killed: false,
            pid: None,
        }
    }
}
