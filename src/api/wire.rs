//! Requests, events and answers. The only serde for the socket.

use crate::{
    model::{Network, Place, Project, Service, ServiceName},
    plan::{Phase, Slot, Step},
    supervisor::health,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

/// What a client asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Converge to a project.
    Up(Box<Up>),
    /// Run one command of a service in a container of its own.
    Run(Box<Run>),
    /// Stop and remove.
    Down(Down),
    /// Stop without removing.
    Stop(Select),
    /// Start what is stopped.
    Start(Select),
    /// Stop and start.
    Restart(Select),
    /// Send a signal.
    Kill {
        /// To whom.
        select: Select,
        /// Name or number.
        signal: String,
    },
    /// Freeze.
    Pause(Select),
    /// Thaw.
    Unpause(Select),
    /// Remove stopped containers.
    Remove {
        /// Which.
        select: Select,
        /// Stop them first.
        stop: bool,
        /// Remove their anonymous volumes too.
        volumes: bool,
    },
    /// Keep what services wrote to the discardable layers of their binds, or throw it away. They stop for it.
    Apply {
        /// Of whom.
        select: Select,
        /// Throw it away.
        discard: bool,
    },
    /// All containers of the project.
    List,
    /// All networks of the project that exist.
    Networks,
    /// Everything that happens from now on, until the client goes.
    Events,
    /// Stop the operation under way.
    Interrupt,
}

/// `up` and `create`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Up {
    /// The project, resolved.
    pub project: Project,
    /// Services named on the command line; empty: all.
    pub services: BTreeSet<ServiceName>,
    /// Leave dependencies alone.
    pub no_deps: bool,
    /// Create only.
    pub no_start: bool,
    /// Make containers anew even when nothing changed.
    pub force_recreate: bool,
    /// Never make containers anew.
    pub no_recreate: bool,
    /// `--force-recreate` concerns dependencies too.
    pub always_recreate_deps: bool,
    /// Forget anonymous volumes of recreated containers.
    pub renew_anon_volumes: bool,
    /// Remove containers of services that are gone.
    pub remove_orphans: bool,
    /// Build images even when their inputs did not change.
    pub build: bool,
    /// Never build.
    pub no_build: bool,
    /// Overrides every `pull_policy`: `always`, `missing`, `never`.
    pub pull: Option<String>,
    /// Return only when everything runs and is healthy.
    pub wait: bool,
    /// Give up waiting after this time.
    pub wait_timeout: Option<Duration>,
    /// Overrides every `stop_grace_period`.
    pub timeout: Option<Duration>,
    /// Most steps at the same time; 0: no limit.
    pub parallel: usize,
    /// Plan only.
    pub dry_run: bool,
    /// Only get images: `build` those with a build section, `pull` the others.
    pub images_only: Option<ImagesOnly>,
    /// Variables for secrets, configs and build secrets from the environment, only those that are referred to. Never
    /// stored.
    pub environment: BTreeMap<String, String>,
}

/// `run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The project as its files say, and how dependencies are brought up.
    pub up: Up,
    /// The service with everything the command line changed.
    pub service: Service,
    /// The container's name.
    pub name: String,
    /// The container has the service's names on its networks.
    pub use_aliases: bool,
    /// Remove it when it has ended.
    pub auto_remove: bool,
    /// Nobody reads its output: the client goes at once.
    pub detach: bool,
}

/// What `build` and `pull` get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImagesOnly {
    /// Images of services with a build section.
    Build,
    /// Images of services without one.
    Pull,
}

/// `down`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Down {
    /// The project when its file is at hand; else what was last applied counts.
    pub project: Option<Box<Project>>,
    /// Only these services; empty: all, and the networks.
    pub services: BTreeSet<ServiceName>,
    /// Remove named and anonymous volumes.
    pub volumes: bool,
    /// Remove containers of services that are gone.
    pub remove_orphans: bool,
    /// Overrides every `stop_grace_period`.
    pub timeout: Option<Duration>,
    /// Remove images: `local` (those banyan named) or `all`.
    pub rmi: Option<String>,
    /// Plan only.
    pub dry_run: bool,
}

/// Containers of a project.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Select {
    /// Of these services; empty: all.
    pub services: BTreeSet<ServiceName>,
    /// Overrides every `stop_grace_period`.
    pub timeout: Option<Duration>,
    /// Leave dependents and dependencies alone.
    pub no_deps: bool,
}

/// One line of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Message {
    /// Somebody else's operation is under way; ours waits for it.
    Waiting {
        /// What it is: `up (process 123)`.
        for_whom: String,
    },
    /// What will be done.
    Plan {
        /// Steps by number, in an order in which they could be done.
        steps: Vec<(u32, Step)>,
        /// What stays, and why.
        kept: Vec<(Slot, String)>,
    },
    /// A step changed.
    Step {
        /// Its number in the plan.
        step: u32,
        /// How far it is.
        state: StepState,
    },
    /// A line for the reader: a warning, a notice, output of a build.
    Note {
        /// About which service.
        service: Option<ServiceName>,
        /// How loud.
        level: Level,
        /// The text, one line.
        text: String,
    },
    /// Progress of a transfer or build step.
    Transfer {
        /// For which service.
        service: ServiceName,
        /// What: a layer, a package, a build step.
        what: String,
        /// Done so far.
        done: u64,
        /// Of how much; 0: unknown.
        total: u64,
    },
    /// Something happened to a container.
    Event(Event),
    /// The answer to `List`.
    Containers {
        /// All of them.
        list: Vec<ContainerInfo>,
    },
    /// The answer to `Networks`.
    Networks {
        /// All of them.
        list: Vec<NetworkInfo>,
    },
    /// The end: it worked.
    Done,
    /// The end: it did not.
    Failed(Box<Failure>),
}

/// A network that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// What the project calls it.
    pub key: String,
    /// What it is.
    pub network: Network,
    /// When the oldest container on it was made, nanoseconds since 1970.
    pub created: i64,
    /// Subnets and gateways.
    pub subnets: Vec<(String, IpAddr)>,
    /// Running containers on it by id: name, Ethernet address, addresses.
    pub containers: BTreeMap<String, (String, String, Vec<IpAddr>)>,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Under way.
    Begun,
    /// Done.
    Done,
    /// It changed nothing after all.
    Skipped(String),
    /// Failed; the reason follows at the end.
    Failed,
    /// Undone because another step failed.
    Undone,
}

/// How loud a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Output of a build.
    Output,
    /// Worth knowing.
    Notice,
    /// Should be looked at.
    Warning,
}

/// Whose fault a failure is; decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// What the user asked for failed.
    Asked,
    /// The project file is wrong.
    ProjectFile,
    /// The host lacks something.
    Host,
    /// Interrupted.
    Interrupted,
    /// Ours.
    Internal,
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose fault.
    pub fault: Fault,
    /// What could not be done.
    pub what: String,
    /// Why, outermost first.
    pub because: Vec<String>,
    /// Where in the project file.
    pub at: Option<Place>,
    /// What to do.
    pub hint: Option<String>,
    /// Last lines of a log, a probe's output.
    pub details: Option<String>,
    /// What was undone, or could not be.
    pub cleanup: Vec<String>,
    /// Exit status of commands that stand for their container, when its program could not be started: 125–127.
    pub status: Option<u8>,
}

/// Something that happened to a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub at: i64,
    /// Its id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// Its place.
    pub slot: Slot,
    /// `create`, `start`, `die`, `stop`, `kill`, `destroy`, `health_status: healthy`, `oom`, `restart`, `pause`, …
    pub action: String,
    /// More: `exitCode`, `signal`.
    pub attributes: BTreeMap<String, String>,
}

/// A container as `ps` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The project.
    pub project: String,
    /// Its place.
    pub slot: Slot,
    /// Whether it is of `run`, not of a service.
    pub one_off: bool,
    /// How far it is.
    pub phase: Phase,
    /// Whether its restart is being waited for.
    pub restarting: bool,
    /// Its health, when it has a check.
    pub health: Option<health::Health>,
    /// The image's name.
    pub image: String,
    /// What runs in it.
    pub command: Vec<String>,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// Nanoseconds since 1970 of the last start.
    pub started: Option<i64>,
    /// Nanoseconds since 1970 of the last end.
    pub finished: Option<i64>,
    /// Killed for memory.
    pub oom_killed: bool,
    /// Process 1 as the host sees it.
    pub pid: Option<u32>,
    /// Published ports.
    pub ports: Vec<Published>,
    /// Addresses by network key.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Named volumes mounted.
    pub volumes: Vec<String>,
    /// How often it was restarted.
    pub restarts: u32,
}

/// A published port as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Published {
    /// Address on the host.
    pub host: IpAddr,
    /// Port on the host.
    pub port: u16,
    /// Port in the container.
    pub target: u16,
    /// `tcp` or `udp`.
    pub protocol: crate::model::Protocol,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_a_form_on_the_wire() {
        let slot = Slot {
            service: ServiceName::new("web").unwrap(),
            number: 1,
        };
        let messages = [
            Message::Waiting {
                for_whom: "up".into(),
            },
            Message::Plan {
                steps: Vec::new(),
                kept: vec![(slot, "up to date".into())],
            },
            Message::Step {
                step: 1,
                state: StepState::Skipped("up to date".into()),
            },
            Message::Note {
                service: None,
                level: Level::Warning,
                text: "careful".into(),
            },
            Message::Containers { list: Vec::new() },
            Message::Done,
            Message::Failed(Failure::new(Fault::Asked, "it failed")),
        ];
        for message in messages {
            let line = serde_json::to_string(&message).unwrap();
            let back: Message = serde_json::from_str(&line).unwrap();
            assert_eq!(serde_json::to_string(&back).unwrap(), line);
        }
    }
}
