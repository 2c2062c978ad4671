//! Time: health, readiness, order, restarts, hooks, watching.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// What a dependency must have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its containers run.
    ServiceStarted,
    /// Its containers are healthy.
    ServiceHealthy,
    /// Its containers ended with status 0.
    ServiceCompletedSuccessfully,
}

/// An edge of the dependency graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What must hold before the dependent starts.
    pub condition: Condition,
    /// Restart the dependent when the dependency is restarted by a command.
    pub restart: bool,
    /// Whether the dependent fails without it.
    pub required: bool,
}

/// A health check; fields not given in the file come from the image's, then from Docker's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What to run; `None`: the image's test.
    pub test: Option<HealthTest>,
    /// Default 30 s.
    pub interval: Option<Duration>,
    /// Default 30 s.
    pub timeout: Option<Duration>,
    /// Default 3.
    pub retries: Option<u32>,
    /// Failures during this time do not count; default 0.
    pub start_period: Option<Duration>,
    /// Interval during the start period; default 5 s.
    pub start_interval: Option<Duration>,
}

/// A health check's test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthTest {
    /// Switched off (`NONE`, `disable: true`).
    None,
    /// Executed as it is.
    Exec(Vec<String>),
    /// Executed by the container's shell.
    Shell(String),
}

/// `x-banyan.ready`: readiness seen from outside the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// Somebody listens on this TCP port.
    Tcp(u16),
    /// A `GET` is answered.
    Http(HttpCheck),
    /// A line of output matches this regular expression.
    Log(String),
    /// This command ends with 0 in the container.
    Exec(Vec<String>),
}

/// `x-banyan.ready.http`: a `GET` and the answers that are good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// Port in the container; as written, else the first one published or exposed, else 80.
    pub port: u16,
    /// Path, with its query.
    pub path: String,
    /// Whether TLS is spoken. The certificate is not judged: it is the container's own business.
    pub tls: bool,
    /// The lowest status that is good; default 200.
    pub from: u16,
    /// The highest status that is good; default 399.
    pub to: u16,
}

/// When to start a container again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// After which endings.
    pub condition: RestartCondition,
    /// At most so often in a row; `None`: for ever.
    pub max_attempts: Option<u32>,
    /// Fixed delay from `deploy.restart_policy`; `None`: 100 ms doubling to 60 s.
    pub delay: Option<Duration>,
    /// A run this long resets the count; `None`: 10 s.
    pub window: Option<Duration>,
}

/// After which endings to start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartCondition {
    /// Never.
    No,
    /// After any ending.
    Always,
    /// After any ending that was not asked for.
    UnlessStopped,
    /// After a status other than 0.
    OnFailure,
}

/// A life-cycle hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// What to run.
    pub command: Vec<String>,
    /// As which user; `None`: the service's.
    pub user: Option<String>,
    /// With all capabilities.
    pub privileged: bool,
    /// Where; `None`: the service's.
    pub working_dir: Option<String>,
    /// More variables.
    pub environment: BTreeMap<String, Option<String>>,
    /// `pre_start` only: the image to run; `None`: the service's.
    pub image: Option<String>,
    /// `pre_start` only: once for each replica.
    pub per_replica: bool,
}

/// One rule of `develop.watch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRule {
    /// Absolute path watched.
    pub path: PathBuf,
    /// What to do.
    pub action: WatchAction,
    /// Where to copy to in the container.
    pub target: Option<String>,
    /// Patterns left out.
    pub ignore: Vec<String>,
    /// When not empty, only these.
    pub include: Vec<String>,
    /// Copy everything once at the start.
    pub initial_sync: bool,
    /// For `sync+exec`.
    pub exec: Option<Hook>,
}

/// What a watch rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchAction {
    /// Copy changed files.
    #[serde(rename = "sync")]
    Sync,
    /// Build and recreate.
    #[serde(rename = "rebuild")]
    Rebuild,
    /// Restart.
    #[serde(rename = "restart")]
    Restart,
    /// Copy, then restart.
    #[serde(rename = "sync+restart")]
    SyncRestart,
    /// Copy, then run a command.
    #[serde(rename = "sync+exec")]
    SyncExec,
}
