//! `banyan why SERVICE`: how a service came to be as it is, from what it waits for to its last words.

use super::{CommandError, Exit, Global, Outcome, context, print, ps};
use crate::{
    api::wire::{ContainerInfo, Event},
    engine::{events::history, settings::log_directory},
    model::{Condition, Project, RestartCondition, Service},
    plan::Phase,
    state::{Roots, read_record},
    supervisor::health::Status,
};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Causes of causes are followed so deep.
const DEEPEST: usize = 8;

/// Flags of `why`.
#[derive(Debug, Clone, Args)]
pub struct Why {
    /// The service
    service: String,
    /// `text` or `json`
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

/// Everything that is looked at.
struct Facts {
    project: Project,
    containers: Vec<ContainerInfo>,
    events: Vec<Event>,
    roots: Roots,
}

/// Runs it.
///
/// # Errors
/// A service that does not exist, or state that cannot be read.
pub(super) fn run(global: &Global, args: &Why) -> Outcome {
    let name = context::project_name(global)?;
    let roots = context::roots(global);
    let fail = |error| CommandError::caused(Exit::Host, "cannot read the project's state", &error);
    // As last applied: what runs was made from that, not from the file of now.
    let applied: Option<Project> = read_record(&roots.project_file(&name)).map_err(fail)?;
    let project = match applied {
        Some(project) => project,
        None => context::load(global, &[])?,
    };
    let facts = Facts {
        containers: ps::list(global, &name)?,
        events: history(&roots, &name).map_err(fail)?,
        project,
        roots,
    };
    let Some(service) = facts
        .project
        .services
        .values()
        .find(|service| service.name.as_str() == args.service)
    else {
        let known: Vec<_> = facts.project.services.keys().map(ToString::to_string).collect();
        let what = format!("no such service: {}", args.service);
        return Err(
            CommandError::new(Exit::Failed, what).hint(format!("the project has {}", known.join(", ")))
        );
    };
    if args.format == "json" {
        print(&format!("{}\n", facts.json(service)));
    } else {
        print(&facts.text(service));
    }
    Ok(Exit::Success)
}

impl Facts {
    fn of(&self, service: &Service) -> Vec<&ContainerInfo> {
        let of = |c: &&ContainerInfo| c.slot.service == service.name && !c.one_off;
        self.containers.iter().filter(of).collect()
    }

    fn text(&self, service: &Service) -> String {
        let mut out = String::new();
        let containers = self.of(service);
        if containers.is_empty() {
            let _ = writeln!(out, "{} has no container", service.name);
            let _ = writeln!(out, "  `banyan up` makes it");
        }
        for container in containers {
            let _ = writeln!(out, "{}: {}", container.name, ps::status(container));
            self.origin(&mut out, container);
            last_exit(&mut out, service, container);
            if let Some(health) = &container.health {
                out += &health.describe(3, "  ");
            }
            let troubled = !matches!(container.phase, Phase::Running | Phase::Paused)
                || container
                    .health
                    .as_ref()
                    .is_some_and(|health| health.status == Status::Unhealthy);
            if troubled {
                let lines = crate::logs::tail(&log_directory(&self.roots.container(&container.id)), 10);
                if !lines.is_empty() {
                    let _ = writeln!(out, "  its last output:");
                    lines.iter().for_each(|line| {
                        let _ = writeln!(out, "    {line}");
                    });
                }
            }
        }
        self.waits(&mut out, service, 1);
        out
    }

    /// Why and when the container was made.
    fn origin(&self, out: &mut String, container: &ContainerInfo) {
        let made = self
            .events
            .iter()
            .rev()
            .find(|event| event.container == container.id && event.action == "create");
        let why = made.and_then(|event| event.attributes.get("why"));
        let _ = match why {
            Some(why) => {
                // The plan's words are about the moment before.
                let why = why.replace("it does not exist", "it did not exist");
                writeln!(out, "  made {} because {why}", moment(container.created))
            }
            None => writeln!(out, "  made {}", moment(container.created)),
        };
    }

    /// What it waits for and how far that is, and what that waits for.
    fn waits(&self, out: &mut String, service: &Service, depth: usize) {
        if depth > DEEPEST {
            return;
        }
        let indent = "  ".repeat(depth);
        for (name, edge) in &service.depends_on {
            let word = match edge.condition {
                Condition::ServiceStarted => "started",
                Condition::ServiceHealthy => "healthy",
                Condition::ServiceCompletedSuccessfully => "completed",
            };
            let Some(other) = self.project.services.get(name) else {
                let _ = writeln!(
                    out,
                    "{indent}needs {name} {word}: it is not part of the project now"
                );
                continue;
            };
            let there = self.of(other);
            let met = !there.is_empty() && there.iter().all(|c| reached(c, edge.condition));
            let state: Vec<_> = there.iter().map(|c| ps::status(c)).collect();
            let state = if state.is_empty() {
                "no container".to_owned()
            } else {
                state.join("; ")
            };
            let verdict = if met { "so it is" } else { "not yet" };
            let _ = writeln!(out, "{indent}needs {name} {word}: {verdict} ({state})");
            if !met {
                for container in there {
                    if let Some(health) = &container.health {
                        out.push_str(&health.describe(1, &format!("{indent}  ")));
                    }
                    let lines = crate::logs::tail(&log_directory(&self.roots.container(&container.id)), 3);
                    lines.iter().for_each(|line| {
                        let _ = writeln!(out, "{indent}  | {line}");
                    });
                }
                self.waits(out, other, depth + 1);
            }
        }
    }

    fn json(&self, service: &Service) -> Value {
        let container = |c: &&ContainerInfo| {
            let made = self
                .events
                .iter()
                .rev()
                .find(|event| event.container == c.id && event.action == "create");
            let exit = match c.phase {
                Phase::Exited(code) => Some(code),
                _ => None,
            };
            json!({
                "Name": c.name,
                "State": ps::state(c),
                "Status": ps::status(c),
                "Why": made.and_then(|event| event.attributes.get("why")),
                "ExitCode": exit,
                "OOMKilled": c.oom_killed,
                "RestartCount": c.restarts,
                "HealthLog": c.health.as_ref().map(ps::health_log),
            })
        };
        let need = |(name, edge): (&crate::model::ServiceName, &crate::model::Dependency)| {
            let there = self
                .project
                .services
                .get(name)
                .map(|s| self.of(s))
                .unwrap_or_default();
            let met = !there.is_empty() && there.iter().all(|c| reached(c, edge.condition));
            json!({ "Service": name, "Condition": edge.condition, "Met": met })
        };
        json!({
            "Service": service.name,
            "Containers": self.of(service).iter().map(container).collect::<Vec<_>>(),
            "Needs": service.depends_on.iter().map(need).collect::<Vec<_>>(),
        })
    }
}

/// How it ended last, and what its restart policy makes of that.
fn last_exit(out: &mut String, service: &Service, container: &ContainerInfo) {
    if container.restarts > 0 {
        let times = container.restarts;
        let _ = writeln!(out, "  restarted {times} times by its policy");
    }
    let Some(finished) = container.finished else {
        return;
    };
    let killed = if container.oom_killed {
        ", killed because it had used all the memory it may have"
    } else {
        ""
    };
    let lasted = container
        .started
        .filter(|started| *started < finished)
        .map(|started| format!(" after {}", seconds(finished - started)))
        .unwrap_or_default();
    let _ = match container.phase {
        Phase::Exited(code) => writeln!(
            out,
            "  last exit: status {code}{killed}, {}{lasted}",
            moment(finished)
        ),
        _ => writeln!(out, "  last exit: {}{killed}", moment(finished)),
    };
    if let (Phase::Exited(_), false) = (container.phase, container.restarting) {
        let policy = match service.restart.condition {
            RestartCondition::No => "its restart policy is `no`",
            RestartCondition::OnFailure => "its restart policy is `on-failure`",
            RestartCondition::Always | RestartCondition::UnlessStopped => "it was stopped on purpose",
        };
        let _ = writeln!(out, "  not restarted: {policy}");
    }
}

fn reached(container: &ContainerInfo, condition: Condition) -> bool {
    let up = matches!(container.phase, Phase::Running | Phase::Paused);
    match condition {
        Condition::ServiceStarted => up || container.phase == Phase::Exited(0),
        Condition::ServiceHealthy => {
            up && container
                .health
                .as_ref()
                .is_some_and(|health| health.status == Status::Healthy)
        }
        Condition::ServiceCompletedSuccessfully => container.phase == Phase::Exited(0),
    }
}

/// A moment in nanoseconds since 1970 as local date and time.
fn moment(at: i64) -> String {
    jiff::Timestamp::from_nanosecond(at.into())
        .unwrap_or_default()
        .to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// A duration in nanoseconds.
fn seconds(nanoseconds: i64) -> String {
    let duration = std::time::Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
    format!("{:.1} s", duration.as_secs_f64())
}
