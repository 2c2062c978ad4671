//! The vocabulary of plans.

use crate::model::{Condition, ServiceName};
use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// A place for a container in a project: service and replica number, from 1. Its addresses and anonymous volumes
/// belong to the place, so a recreated container keeps them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// The service.
    pub service: ServiceName,
    /// The replica, from 1.
    pub number: u32,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.service, self.number)
    }
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running,
    /// It runs and is frozen.
    Paused,
    /// It ended with this status.
    Exited(u8),
}

/// A container as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedContainer {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its place; the service may be gone from the project file.
    pub slot: Slot,
    /// How far it is.
    pub phase: Phase,
    /// Hash of the service it was made from.
    pub config_hash: String,
    /// The image it was made from.
    pub image: String,
    /// Hashes of the networks it is on, by key.
    pub networks: BTreeMap<String, String>,
}

/// Everything of a project that exists.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Containers of services; one-off containers are not the plan's business.
    pub containers: Vec<ObservedContainer>,
    /// Images by service: the digest of what the service's image name means now, or why it must be obtained.
    pub images: BTreeMap<ServiceName, ImageState>,
    /// Named volumes that exist, by name on this machine.
    pub volumes: Vec<String>,
}

/// What is known of a service's image before the plan runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageState {
    /// In the store, and nothing asks for another.
    Present(String),
    /// Must be pulled or built; the text says why. The digest is what the name means today, if anything.
    Obtain {
        /// Today's digest.
        today: Option<String>,
        /// Why.
        why: String,
    },
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Pull or build the image of this service.
    Image {
        /// The service.
        service: ServiceName,
    },
    /// Make a network in the hall.
    Network {
        /// Its key.
        key: String,
    },
    /// Make a named volume.
    Volume {
        /// Its key.
        key: String,
    },
    /// Make a container, up to the barrier before its program starts.
    Create {
        /// Where.
        slot: Slot,
        /// The container whose place it takes; when the image it was made from turns out to be what the name still
        /// means, it is kept instead and this and the steps that depend on it change nothing.
        keep_if_image: Option<(String, String)>,
    },
    /// Attach its network and start its program.
    Start {
        /// Which.
        slot: Slot,
    },
    /// Stop a container: signal, grace period, kill.
    Stop {
        /// Its place.
        slot: Slot,
        /// Its id.
        id: String,
    },
    /// Remove a stopped container.
    Remove {
        /// Its place.
        slot: Slot,
        /// Its id.
        id: String,
    },
    /// Hold what depends on this until all containers of a service have reached a condition.
    Await {
        /// The service waited for.
        service: ServiceName,
        /// What it must reach.
        condition: Condition,
        /// Whether failing to reach it fails the dependents.
        required: bool,
    },
}

impl Action {
    /// A short line: verb and object.
    pub fn describe(&self) -> String {
        match self {
            Self::Image { service } => format!("image    {service}"),
            Self::Network { key } => format!("network  {key}"),
            Self::Volume { key } => format!("volume   {key}"),
            Self::Create { slot, .. } => format!("create   {slot}"),
            Self::Start { slot } => format!("start    {slot}"),
            Self::Stop { slot, .. } => format!("stop     {slot}"),
            Self::Remove { slot, .. } => format!("remove   {slot}"),
            Self::Await {
                service, condition, ..
            } => {
                let state = match condition {
                    Condition::ServiceStarted => "started",
                    Condition::ServiceHealthy => "healthy",
                    Condition::ServiceCompletedSuccessfully => "completed",
                };
                format!("await    {service} {state}")
            }
        }
    }
}

/// A step: what, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// Why it is needed.
    pub why: String,
}

/// A step's number in its plan.
pub type StepId = NodeIndex<u32>;

/// Steps and their order: an edge from a to b means that b starts after a is done.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The graph; always acyclic.
    pub graph: DiGraph<Step, ()>,
    /// Containers that stay as they are, with the reason.
    pub kept: Vec<(Slot, String)>,
}

impl Plan {
    /// Adds a step that waits for `after`.
    pub fn add(&mut self, action: Action, why: impl Into<String>, after: &[StepId]) -> StepId {
        let step = self.graph.add_node(Step {
            action,
            why: why.into(),
        });
        for before in after {
            self.graph.add_edge(*before, step, ());
        }
        step
    }

    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.graph.node_count() == 0
    }

    /// The steps in an order in which they could be done one by one.
    pub fn in_order(&self) -> Vec<&Step> {
        let order = petgraph::algo::toposort(&self.graph, None).unwrap_or_default();
        order.into_iter().map(|id| &self.graph[id]).collect()
    }

    /// One line a step, with the why; `kept` containers last.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for step in self.in_order() {
            text += &format!("{:<32} {}\n", step.action.describe(), step.why);
        }
        for (slot, why) in &self.kept {
            text += &format!("{:<32} {why}\n", format!("keep     {slot}"));
        }
        text
    }
}
