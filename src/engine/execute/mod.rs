//! Acting: one arm per [`Action`], without policy. Blocking work of the runtime crosses over in `spawn_blocking`, only
//! here, in [`keeper`](super::keeper) and in [`networks`](super::networks).
//!
//! 1. Here: the walk, what it may use and what it has made; images, networks and volumes.
//! 2. [`create`] makes a container up to its barrier, with what [`mounts`] finds for it.
//! 3. [`start`] launches, connects and starts one; [`remove`] stops and removes, and takes a failed walk back.

mod create;
mod mounts;
mod remove;
mod start;

pub use start::start_container;

use super::{Engine, Outcome, Voice, events::now, images, lock};
use crate::{
    api::wire::{Failure, Fault, Up},
    model::{NetworkMode, Project, Service, ServiceName, hash_of},
    plan::{Action, Plan, Slot},
    volumes::Volume,
};
use banyan_runtime::{container::ContainerDir, image::Image};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;

/// One walk of a plan: what it may use, and what it has made.
#[derive(Debug)]
pub struct Execution {
    /// Whose plan it is.
    pub engine: Arc<Engine>,
    /// The project; `None` when only removing and its file is gone.
    pub project: Option<Arc<Project>>,
    /// Where messages go.
    pub voice: Voice,
    /// How images are obtained.
    images: images::Policy,
    /// Overrides every grace period.
    timeout: Option<Duration>,
    /// Anonymous volumes: `Forget` on recreation, or removed with their containers.
    anonymous: Anonymous,
    /// The log of a removed container can still be read: another takes its place, or its failure is undone.
    keep_logs: bool,
    /// Why containers are made, by place, for the project's history.
    reasons: Mutex<BTreeMap<Slot, String>>,
    obtained: Mutex<BTreeMap<ServiceName, Arc<Image>>>,
    /// Services of which a container was made in this walk; `None` when the walk only stops, starts or removes.
    renewed: Option<Mutex<BTreeSet<ServiceName>>>,
    /// Places whose old container stays after all, because its image turned out to be the same.
    stays: Mutex<BTreeSet<Slot>>,
    /// What this walk made, in order.
    made: Mutex<Vec<Made>>,
}

/// What becomes of anonymous volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anonymous {
    /// A new container takes over those of the old one.
    TakeOver,
    /// A new container gets new ones.
    Renew,
    /// They go with their container.
    Remove,
}

/// Something to undo.
#[derive(Debug, Clone)]
enum Made {
    Network(String),
    /// A container where there was none before.
    Container(String),
    /// A container that existed and was started.
    Started(String),
}
impl Execution {
    /// A walk towards a project.
    pub fn new(engine: Arc<Engine>, project: Arc<Project>, wanted: &Up, voice: Voice) -> Self {
        Self {
            images: images::Policy::new(wanted),
            timeout: wanted.timeout,
            anonymous: if wanted.renew_anon_volumes {
                Anonymous::Renew
            } else {
                Anonymous::TakeOver
            },
            keep_logs: true,
            renewed: Some(Mutex::new(BTreeSet::new())),
            ..Self::for_removal(engine, Some(project), None, false, voice)
        }
    }

    /// A walk that stops, starts or removes what exists.
    pub fn for_removal(
        engine: Arc<Engine>,
        project: Option<Arc<Project>>,
        timeout: Option<Duration>,
        volumes: bool,
        voice: Voice,
    ) -> Self {
        Self {
            engine,
            project,
            voice,
            images: images::Policy::default(),
            timeout,
            anonymous: if volumes {
                Anonymous::Remove
            } else {
                Anonymous::TakeOver
            },
            keep_logs: false,
            reasons: Mutex::new(BTreeMap::new()),
            obtained: Mutex::new(BTreeMap::new()),
            renewed: None,
            stays: Mutex::new(BTreeSet::new()),
            made: Mutex::new(Vec::new()),
        }
    }

    /// Remembers why a container is made, from the plan's step.
    pub fn explain(&self, action: &Action, why: &str) {
        if let Action::Create { slot, .. } = action {
            lock(&self.reasons).insert(slot.clone(), why.to_owned());
        }
    }

    /// Does one thing; the text says why nothing had to be done after all.
    ///
    /// # Errors
    /// Why it could not be done.
    pub async fn perform(&self, action: &Action, halt: watch::Receiver<bool>) -> Outcome<Option<String>> {
        match action {
            Action::Image { service } => self.obtain(service, Some(halt)).await.map(|_| None),
            Action::Network { key } => self.network(key).await.map(|()| None),
            Action::Volume { key } => self.volume(key).map(|()| None),
            Action::Create { slot, keep_if_image } => self.create(slot, keep_if_image.as_ref()).await,
            Action::Start { slot } => self.start(slot, halt).await,
            Action::Stop { slot, id } => self.stop(slot, id).await,
            Action::Remove { slot, id } => self.remove(slot, id).await,
            Action::Await {
                service,
                condition,
                required,
            } => self
                .wait_for(service, *condition, *required, halt)
                .await
                .map(|()| None),
        }
    }

    fn service(&self, name: &ServiceName) -> Outcome<&Service> {
        self.project
            .as_ref()
            .and_then(|project| project.services.get(name))
            .ok_or_else(|| {
                Failure::new(
                    Fault::Internal,
                    format!("the plan names `{name}`, which the project has not"),
                )
            })
    }

    /// Binds every port of what will be started, so that a taken one is an error before anything starts.
    ///
    /// # Errors
    /// The first port that is taken, and by whom when that can be told.
    pub fn reserve_ports(&self, plan: &Plan) -> Outcome {
        for step in plan.graph.node_weights() {
            let Action::Start { slot } = &step.action else {
                continue;
            };
            let Ok(service) = self.service(&slot.service) else {
                continue;
            };
            self.engine.networks.reserve(slot, service)?;
        }
        Ok(())
    }

    async fn obtain(&self, name: &ServiceName, halt: Option<watch::Receiver<bool>>) -> Outcome<Arc<Image>> {
        if let Some(image) = lock(&self.obtained).get(name) {
            return Ok(image.clone());
        }
        let service = self.service(name)?;
        let project = self
            .project
            .as_ref()
            .ok_or_else(|| Failure::new(Fault::Internal, "no project"))?;
        let image = self.image_of(project, service, halt).await?;
        lock(&self.obtained).insert(name.clone(), image.clone());
        Ok(image)
    }

    /// The image of a service, pulled or built when needed. A build ends early when `halt` turns true.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(super) async fn image_of(
        &self,
        project: &Arc<Project>,
        service: &Service,
        halt: Option<watch::Receiver<bool>>,
    ) -> Outcome<Arc<Image>> {
        images::obtain(&self.engine, project, service, (&self.images, halt), &self.voice).await
    }

    /// A walk for containers beside the plan's: it keeps anonymous volumes, and undoes nothing by itself.
    pub(super) fn helper(&self) -> Self {
        let (engine, project) = (self.engine.clone(), self.project.clone());
        Self::for_removal(engine, project, self.timeout, false, self.voice.clone())
    }

    async fn network(&self, key: &str) -> Outcome {
        self.engine.networks.ensure(key, &self.voice).await?;
        lock(&self.made).push(Made::Network(key.to_owned()));
        Ok(())
    }

    fn volume(&self, key: &str) -> Outcome {
        let Some(volume) = self.project.as_ref().and_then(|project| project.volumes.get(key)) else {
            return Ok(());
        };
        let mut labels = volume.labels.clone();
        labels.insert("com.docker.compose.project".into(), self.engine.name.to_string());
        labels.insert("com.docker.compose.volume".into(), key.to_owned());
        let made = Volume {
            name: volume.name.clone(),
            labels,
            options: volume.driver_opts.clone(),
            created: now(),
            anonymous: false,
        };
        // Not undone when something fails later: a service may have written to it already.
        self.engine.volumes.ensure(&made).map(|_| ()).map_err(|error| {
            Failure::caused(
                Fault::Host,
                format!("cannot make volume `{}`", volume.name),
                &error,
            )
        })
    }
}

/// Where a container's state is.
pub fn container_dir(engine: &Engine, id: &str) -> ContainerDir {
    ContainerDir {
        state: engine.roots.container(id),
        run: engine.roots.container_run(id),
    }
}

/// Whether a service's containers are connected to networks of the project.
pub fn is_networked(service: &Service) -> bool {
    service.network_mode == NetworkMode::Networks && !service.networks.is_empty()
}

/// Hash of a network's definition.
pub fn network_hash(project: &Project, key: &str) -> String {
    project.networks.get(key).map(hash_of).unwrap_or_default()
}
