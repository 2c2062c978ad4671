//! `state`, `list`, `ps`, `pause`, `resume`, `events`, `features`, `spec`.

use super::{Context, Failed, Outcome, print};
use crate::cli::table::table;
use banyan_runtime::{
    cgroup::Stats,
    container::{Container, Running},
    oci::{Status, example, features},
    sys::pidfd,
};
use clap::Args;
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};

/// Commands with nothing but a container's name.
#[derive(Debug, Args)]
pub(super) struct Id {
    /// Name of the container
    id: String,
}

/// `list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// `table` or `json`
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Names only
    #[arg(short, long)]
    quiet: bool,
}

/// `ps`.
#[derive(Debug, Args)]
pub(super) struct Ps {
    /// `table` or `json`
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Name of the container
    id: String,
    /// Accepted: options of ps(1), which is not run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    options: Vec<String>,
}

/// `events`.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Seconds between two reports
    #[arg(long, value_name = "SECONDS", default_value = "5s", value_parser = seconds)]
    interval: Duration,
    /// One report, and no more
    #[arg(long)]
    stats: bool,
    /// Name of the container
    id: String,
}

/// `spec`.
#[derive(Debug, Args)]
pub(super) struct Spec {
    /// Directory to write it to
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Refused: write user namespaces and their maps yourself
    #[arg(long)]
    rootless: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    match number.parse() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("`{text}` is no number of seconds")),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

impl Id {
    pub(super) fn state(&self, context: &Context) -> Outcome {
        print(&pretty(&context.containers.state(&self.id)?));
        Ok(0)
    }

    pub(super) fn pause(&self, context: &Context) -> Outcome {
        let container = context
            .containers
            .living(&self.id, &[Status::Created, Status::Running], "pause")?;
        container
            .pause()
            .map_err(|error| Failed::caused("cannot pause the container", &error))?;
        Ok(0)
    }

    pub(super) fn resume(&self, context: &Context) -> Outcome {
        let container = context.containers.living(&self.id, &[Status::Paused], "resume")?;
        container
            .unpause()
            .map_err(|error| Failed::caused("cannot resume the container", &error))?;
        Ok(0)
    }
}

impl List {
    pub(super) fn run(&self, context: &Context) -> Outcome {
        let mut states = Vec::new();
        for id in context.containers.ids() {
            // One that is deleted meanwhile is not listed.
            states.extend(context.containers.state(&id).ok());
        }
        let text = |state: &Value, key: &str| {
            let value = &state[key];
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        };
        if self.quiet {
            states.iter().for_each(|state| print(&text(state, "id")));
        } else if self.format == "json" {
            print(&Value::from(states).to_string());
        } else {
            let keys = ["id", "pid", "status", "bundle", "created", "owner"];
            let rows: Vec<Vec<String>> = states
                .iter()
                .map(|state| keys.iter().map(|key| text(state, key)).collect())
                .collect();
            let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
            print(table(&header, &rows).trim_end());
        }
        Ok(0)
    }
}

impl Ps {
    pub(super) fn run(&self, context: &Context) -> Outcome {
        let allowed = [Status::Created, Status::Running, Status::Paused];
        let container = context.containers.living(&self.id, &allowed, "look into")?;
        let mut list = container
            .processes()
            .map_err(|error| Failed::caused("", &error))?;
        list.sort_unstable();
        if self.format == "json" {
            print(&Value::from(list).to_string());
            return Ok(0);
        }
        let rows: Vec<Vec<String>> = list
            .into_iter()
            .map(|pid| {
                let words = fs_err::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let command = String::from_utf8_lossy(&words).replace('\0', " ");
                vec![pid.to_string(), command.trim_end().to_owned()]
            })
            .collect();
        print(table(&["PID", "CMD"], &rows).trim_end());
        Ok(0)
    }
}

impl Events {
    pub(super) fn run(&self, context: &Context) -> Outcome {
        let allowed = [Status::Created, Status::Running, Status::Paused];
        let container = context.containers.living(&self.id, &allowed, "watch")?;
        let mut killed = self.report(&container)?;
        if self.stats {
            return Ok(0);
        }
        let limit = i32::try_from(self.interval.as_millis()).unwrap_or(i32::MAX);
        loop {
            let ended = pidfd::wait_end(container.pidfd(), limit)
                .map_err(|error| Failed::caused("cannot wait for the container", &error))?;
            if ended {
                return Ok(0);
            }
            let now = self.report(&container)?;
            if now > killed {
                print(&json!({ "type": "oom", "id": self.id }).to_string());
            }
            killed = now;
        }
    }

    /// Prints what it uses; gives how many processes were killed for memory.
    fn report(&self, container: &Container<Running>) -> Result<u64, Failed> {
        let stats = container
            .stats()
            .map_err(|error| Failed::caused("cannot read what the container uses", &error))?;
        print(&json!({ "type": "stats", "id": self.id, "data": data(&stats) }).to_string());
        Ok(stats.oom_kills)
    }
}

/// The numbers in the form of runc's `events`.
fn data(stats: &Stats) -> Value {
    let entry = |op: &str, value: u64| json!({ "major": 0, "minor": 0, "op": op, "value": value });
    json!({
        "cpu": {
            "usage": {
                "total": stats.cpu_nanoseconds,
                "kernel": stats.cpu_system_nanoseconds,
                "user": stats.cpu_user_nanoseconds,
            },
            "throttling": { "throttledPeriods": stats.cpu_throttled },
        },
        "memory": {
            "usage": {
                "limit": stats.memory_limit.unwrap_or(u64::MAX),
                "usage": stats.memory_usage,
                "max": stats.memory_peak,
            },
            "swap": { "usage": stats.swap_usage },
        },
        "pids": { "current": stats.pids, "limit": stats.pids_limit.unwrap_or(0) },
        "blkio": {
            "ioServiceBytesRecursive": [
                entry("Read", stats.io_read_bytes), entry("Write", stats.io_write_bytes),
            ],
        },
    })
}

/// `features`.
pub(super) fn features() -> Outcome {
    print(&pretty(&features::features()));
    Ok(0)
}

impl Spec {
    pub(super) fn run(&self) -> Outcome {
        if self.rootless {
            return Err(Failed::new("--rootless is not supported"));
        }
        let path = self.bundle.join("config.json");
        let mut file = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| Failed::caused("", &error))?;
        let text = pretty(&example::example()) + "\n";
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(|error| Failed::caused("", &error))?;
        Ok(0)
    }
}
