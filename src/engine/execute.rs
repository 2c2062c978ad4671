//! Acting: one arm per [`Action`], without policy. Blocking work of the runtime crosses over in `spawn_blocking`, only
//! here, in [`keeper`](super::keeper) and in [`networks`](super::networks).

use super::{
    Engine, Outcome, Voice,
    events::now,
    images,
    keeper::{Keeper, Live},
    links,
    record::{Endpoint, Record},
    settings::{self, Inputs},
};
use crate::{
    api::wire::{Failure, Fault, Level, Run, Up},
    model::{Condition, MountKind, NetworkMode, Project, Service, ServiceName, hash_of},
    overlays::{Over, Overlay},
    plan::{Action, Phase, Plan, Slot},
    volumes::Volume,
};
use banyan_runtime::{
    container::{ContainerDir, Extras, LaunchError, Settings},
    image::{Digest, Image},
    log::LogSettings,
    rootfs,
};
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
            super::lock(&self.reasons).insert(slot.clone(), why.to_owned());
        }
    }

    /// Does one thing; the text says why nothing had to be done after all.
    ///
    /// # Errors
    /// Why it could not be done.
    pub async fn perform(&self, action: &Action, halt: watch::Receiver<bool>) -> Outcome<Option<String>> {
        match action {
            Action::Image { service } => self.obtain(service).await.map(|_| None),
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

    async fn obtain(&self, name: &ServiceName) -> Outcome<Arc<Image>> {
        if let Some(image) = super::lock(&self.obtained).get(name) {
            return Ok(image.clone());
        }
        let service = self.service(name)?;
        let project = self
            .project
            .as_ref()
            .ok_or_else(|| Failure::new(Fault::Internal, "no project"))?;
        let image = self.image_of(project, service).await?;
        super::lock(&self.obtained).insert(name.clone(), image.clone());
        Ok(image)
    }

    /// The image of a service, pulled or built when needed.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(super) async fn image_of(&self, project: &Arc<Project>, service: &Service) -> Outcome<Arc<Image>> {
        images::obtain(&self.engine, project, service, &self.images, &self.voice).await
    }

    /// A walk for containers beside the plan's: it keeps anonymous volumes, and undoes nothing by itself.
    pub(super) fn helper(&self) -> Self {
        let (engine, project) = (self.engine.clone(), self.project.clone());
        Self::for_removal(engine, project, self.timeout, false, self.voice.clone())
    }

    async fn network(&self, key: &str) -> Outcome {
        self.engine.networks.ensure(key, &self.voice).await?;
        super::lock(&self.made).push(Made::Network(key.to_owned()));
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

    /// Makes a container up to its barrier.
    async fn create(&self, slot: &Slot, keep_if_image: Option<&(String, String)>) -> Outcome<Option<String>> {
        let service = self.service(&slot.service)?;
        let image = self.obtain(&slot.service).await?;
        if keep_if_image.is_some_and(|(_, digest)| *digest == image.id.to_string()) {
            super::lock(&self.stays).insert(slot.clone());
            return Ok(Some("up to date".into()));
        }
        let project = self
            .project
            .clone()
            .ok_or_else(|| Failure::new(Fault::Internal, "no project"))?;
        let before = self.engine.keepers_at(slot);
        let record = self
            .draft(&project, service, slot, &image, before.first().map(Arc::as_ref))
            .await?;
        if let Some(old) = before.first() {
            let changed = old.record().service.differences(service);
            let mut reasons = super::lock(&self.reasons);
            if let (Some(why), false) = (reasons.get_mut(slot), changed.is_empty()) {
                *why = format!("{why}: {}", changed.join(", "));
            }
        }
        let new = before.is_empty();
        let keeper = self
            .make(record, image.id)
            .await
            .map_err(|failure| failure.at(service.place.as_ref()))?;
        if let Some(renewed) = &self.renewed {
            super::lock(renewed).insert(slot.service.clone());
        }
        if new {
            super::lock(&self.made).push(Made::Container(keeper.id()));
        }
        Ok(None)
    }

    /// Makes the container of `run` up to its barrier.
    ///
    /// # Errors
    /// Why it cannot be made; nothing of it is left then.
    pub async fn create_one_off(&self, slot: &Slot, wanted: &Run) -> Outcome<Arc<Keeper>> {
        let service = self.service(&slot.service)?;
        let image = self.obtain(&slot.service).await?;
        let project = self
            .project
            .clone()
            .ok_or_else(|| Failure::new(Fault::Internal, "no project"))?;
        let mut record = self.draft(&project, service, slot, &image, None).await?;
        record.one_off = true;
        record.auto_remove = wanted.auto_remove;
        record.settings.root.volatile = wanted.auto_remove;
        if !wanted.detach {
            // Its reader may be slower than it writes, and must not miss anything.
            record.settings.log = LogSettings::default();
        }
        if !wanted.use_aliases {
            for endpoint in record.endpoints.values_mut() {
                endpoint.names = vec![wanted.name.clone()];
            }
        }
        let slug = wanted.name.rsplit('-').next().unwrap_or_default().to_owned();
        for labels in [&mut record.labels, &mut record.settings.labels] {
            labels.insert("com.docker.compose.oneoff".into(), "True".into());
            labels.insert("com.docker.compose.container-number".into(), "1".into());
            labels.insert("com.docker.compose.slug".into(), slug.clone());
        }
        self.make(record, image.id).await
    }

    /// Makes a container up to its barrier, and a keeper for it.
    ///
    /// # Errors
    /// Why it cannot be made; nothing of it is left then.
    pub(super) async fn make(&self, record: Record, image: Digest) -> Outcome<Arc<Keeper>> {
        let id = record.id.clone();
        let dir = container_dir(&self.engine, &id);
        let failed = |what: &str, error: &(dyn std::error::Error + 'static)| {
            Failure::caused(Fault::Host, format!("cannot {what} `{}`", record.name), error)
        };
        let (engine, writing) = (self.engine.clone(), record.clone());
        let written = tokio::task::spawn_blocking(move || {
            writing.create(&engine.roots)?;
            // After the record, by which a crashed engine's successor finds both.
            engine.store.lease(&writing.id, image).map_err(|error| {
                let _ = banyan_runtime::container::remove(&dir, true);
                std::io::Error::other(error)
            })
        });
        let written = written
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(|error| failed("create", &error))?;
        let keeper = Arc::new(Keeper::new(&self.engine, record, Live::created()));
        let launched = launch(&self.engine, &keeper).await;
        self.engine.keep(keeper.clone());
        if let Err(failure) = launched {
            // Not half a container: what was made of it goes again.
            if let Err(also) = self.take_away(&id).await {
                tracing::warn!(
                    ?also,
                    "a container that could not be made could not be removed either"
                );
            }
            return Err(failure);
        }
        let record = keeper.record();
        let why = super::lock(&self.reasons).get(&record.slot).cloned();
        let attributes: Vec<_> = why.into_iter().map(|why| ("why", why)).collect();
        self.engine.events.tell(&record, "create", &attributes);
        Ok(keeper)
    }

    /// Everything about a container that is to be made.
    pub(super) async fn draft(
        &self,
        project: &Project,
        service: &Service,
        slot: &Slot,
        image: &Image,
        before: Option<&Keeper>,
    ) -> Outcome<Record> {
        let id = super::names::new_id();
        let name = service
            .container_name
            .clone()
            .unwrap_or_else(|| format!("{}-{}-{}", project.name, slot.service, slot.number));
        let endpoints = self.engine.networks.allocate(project, service, slot)?;
        let (mounts, anonymous, volumes) = self.mounts(project, service, slot, image, before)?;
        super::guard::look(&self.engine, project, service, image, &self.voice);
        let mut labels = image.config.labels.clone();
        labels.extend(service.labels.clone());
        labels.extend(compose_labels(project, service, slot, &image.id.to_string()));
        let links = self.links(project, service, slot, &endpoints)?;
        let dir = container_dir(&self.engine, &id);
        let parents = self.parents(service);
        let made: Settings = settings::settings(Inputs {
            project,
            service,
            slot,
            id: &id,
            name: &name,
            folder: &dir.state,
            image: &image.config,
            layers: &image.layers,
            init_layer: &self.engine.store.init_layer(),
            links: &links,
            endpoints: &endpoints,
            host_gateway: self.engine.networks.host_gateway(),
            resolv_conf: &self.engine.networks.resolv_conf(service, &endpoints),
            host_hosts: &std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
            mounts,
            parents: &parents,
            labels: &labels,
        })
        .map_err(|error| {
            let at = service.places.get(error.key()).or(service.place.as_ref());
            Failure::caused(Fault::ProjectFile, format!("cannot create `{name}`"), &error).at(at)
        })?;
        Ok(Record {
            id,
            name,
            project: project.name.to_string(),
            slot: slot.clone(),
            one_off: false,
            auto_remove: false,
            service: service.clone(),
            config_hash: service.config_hash(),
            image: image.id.to_string(),
            image_health: images::health_check(&image.config),
            command: settings::command(service, &image.config),
            created: now(),
            endpoints,
            published: Vec::new(),
            anonymous,
            volumes,
            labels,
            settings: made,
            restarts: 0,
        })
    }

    /// Resolves mounts to folders of the host; makes missing bind sources and anonymous volumes.
    #[expect(clippy::type_complexity, reason = "three results of one pass over the mounts")]
    fn mounts(
        &self,
        project: &Project,
        service: &Service,
        slot: &Slot,
        image: &Image,
        before: Option<&Keeper>,
    ) -> Outcome<(Vec<rootfs::Mount>, BTreeMap<String, String>, Vec<String>)> {
        let mut made = Vec::new();
        let mut anonymous = match (self.anonymous, before) {
            (Anonymous::TakeOver, Some(before)) => before.record().anonymous,
            _ => BTreeMap::new(),
        };
        let mut volumes = Vec::new();
        for path in settings::uncovered_volumes(service, &image.config) {
            anonymous.entry(path).or_insert_with(super::names::new_id);
        }
        for (index, mount) in service.mounts.iter().enumerate() {
            let place = service
                .places
                .get(&format!("volumes[{index}]"))
                .or(service.place.as_ref());
            let kind = match &mount.kind {
                MountKind::Bind {
                    source,
                    create,
                    overlay: true,
                    ..
                } => {
                    if !source.exists() {
                        missing_bind(source, *create).map_err(|failure| failure.at(place))?;
                    }
                    self.overlay(slot, source, &mount.target)
                        .map_err(|failure| failure.at(place))?
                }
                MountKind::Bind {
                    source,
                    create,
                    propagation,
                    recursive,
                    ..
                } => {
                    if !source.exists() {
                        missing_bind(source, *create).map_err(|failure| failure.at(place))?;
                    }
                    rootfs::MountKind::Bind {
                        source: source.clone(),
                        recursive: *recursive,
                        propagation: settings::propagation(*propagation),
                    }
                }
                MountKind::Volume {
                    source,
                    nocopy,
                    subpath,
                } => {
                    let name = project
                        .volumes
                        .get(source)
                        .map_or(source.as_str(), |volume| volume.name.as_str());
                    volumes.push(name.to_owned());
                    rootfs::MountKind::Volume {
                        source: self.engine.volumes.data(name),
                        seed: !nocopy,
                        subpath: subpath.clone(),
                    }
                }
                MountKind::Anonymous { .. } => continue,
                MountKind::Tmpfs { size, mode, options } => rootfs::MountKind::Tmpfs {
                    size: *size,
                    mode: mode.unwrap_or(0o1777),
                    options: options.clone(),
                },
                MountKind::Image { source, subpath } => {
                    if subpath.is_some() {
                        let what = format!("`subpath` of image mount `{source}` is not supported");
                        return Err(Failure::new(Fault::ProjectFile, what).at(place));
                    }
                    let layers =
                        images::layers_of(&self.engine, source).map_err(|failure| failure.at(place))?;
                    rootfs::MountKind::Layers(layers)
                }
            };
            made.push(rootfs::Mount {
                kind,
                target: mount.target.clone(),
                read_only: mount.read_only,
            });
        }
        for (path, name) in &anonymous {
            let volume = Volume {
                name: name.clone(),
                labels: [(
                    "com.docker.compose.project".to_owned(),
                    self.engine.name.to_string(),
                )]
                .into(),
                options: BTreeMap::new(),
                created: now(),
                anonymous: true,
            };
            self.engine
                .volumes
                .ensure(&volume)
                .map_err(|error| Failure::caused(Fault::Host, "cannot make an anonymous volume", &error))?;
            let kind = rootfs::MountKind::Volume {
                source: self.engine.volumes.data(name),
                seed: true,
                subpath: None,
            };
            made.push(rootfs::Mount {
                kind,
                target: path.clone(),
                read_only: false,
            });
        }
        self.mounts_from(service, &mut made)?;
        Ok((made, anonymous, volumes))
    }

    /// A bind whose changes go to a layer of the place's own. The container that this one replaces may still use the
    /// layer while this one waits at its barrier: nothing of the new mount is read or written before the old one ended.
    fn overlay(&self, slot: &Slot, source: &std::path::Path, target: &str) -> Outcome<rootfs::MountKind> {
        let folder = self
            .engine
            .roots
            .overlays(&self.engine.name, Some(&slot.to_string()));
        let over = Over {
            source: source.to_owned(),
            target: target.to_owned(),
        };
        let layer = Overlay::ensure(&folder, &over).map_err(|error| {
            let what = format!("cannot lay a discardable layer over `{}`", source.display());
            Failure::caused(Fault::Asked, what, &error)
        })?;
        Ok(rootfs::MountKind::OverlayBind {
            lower: vec![over.source],
            upper: layer.upper(),
            work: layer.work(),
        })
    }

    /// `volumes_from`: what other containers mount, unless this one mounts something there itself.
    fn mounts_from(&self, service: &Service, made: &mut Vec<rootfs::Mount>) -> Outcome {
        for (whose, read_only) in &service.volumes_from {
            let keeper = self
                .engine
                .keepers()
                .into_iter()
                .find(|keeper| match whose.split_once(':') {
                    Some(("container", name)) => keeper.name() == name,
                    Some(("service", name)) => keeper.slot().service.as_str() == name,
                    _ => keeper.slot().service.as_str() == whose,
                });
            let Some(keeper) = keeper else {
                let what = format!("`{whose}`, whose volumes `{}` uses, does not exist", service.name);
                return Err(Failure::new(Fault::Asked, what).at(service.places.get("volumes_from")));
            };
            for mount in keeper.record().settings.mounts {
                let shared = matches!(
                    mount.kind,
                    rootfs::MountKind::Bind { .. } | rootfs::MountKind::Volume { .. }
                );
                if shared && !made.iter().any(|mine| mine.target == mount.target) {
                    made.push(rootfs::Mount {
                        read_only: mount.read_only || *read_only,
                        ..mount
                    });
                }
            }
        }
        Ok(())
    }

    /// Variables of links (fig and gaudi promise them; compose gives them for `links` too when asked by old images).
    fn links(
        &self,
        project: &Project,
        service: &Service,
        slot: &Slot,
        endpoints: &BTreeMap<String, Endpoint>,
    ) -> Outcome<Vec<(String, String)>> {
        let from = format!("{}-{}-{}", project.name, slot.service, slot.number);
        let mut variables = Vec::new();
        for link in &service.links {
            let Some(target) = project.services.get(&link.service) else {
                continue;
            };
            let there = Slot {
                service: link.service.clone(),
                number: 1,
            };
            let theirs = self.engine.networks.allocate(project, target, &there)?;
            let shared = theirs.iter().find(|(key, _)| endpoints.contains_key(*key));
            let Some(address) = shared
                .and_then(|(_, endpoint)| endpoint.ipv4.map(Into::into).or(endpoint.ipv6.map(Into::into)))
            else {
                continue;
            };
            let config = images::config_of(&self.engine, &target.image.name);
            let ports = images::announced_ports(target, config.as_ref());
            let environment = settings::environment(target, &config.unwrap_or_default(), &[]);
            let mut aliases = vec![link.alias.clone()];
            if project.dialect != crate::model::Dialect::Compose {
                aliases.push(format!("{}_1", link.service));
                aliases.push(format!("{}_{}_1", project.name, link.service));
            }
            for alias in &aliases {
                let target = links::Target {
                    alias,
                    from: &from,
                    address,
                    ports: &ports,
                    environment: &environment,
                };
                variables.extend(links::variables(&target));
            }
        }
        Ok(variables)
    }

    /// Process 1 of the containers whose namespaces a service shares.
    fn parents(&self, service: &Service) -> BTreeMap<String, i32> {
        let mut parents = BTreeMap::new();
        for keeper in self.engine.keepers() {
            let Some(container) = keeper.running() else {
                continue;
            };
            let (slot, pid) = (keeper.slot(), super::lock(&container).pid());
            if slot.number == 1 && slot.service != service.name {
                parents.insert(format!("service:{}", slot.service), pid);
            }
            parents.insert(format!("container:{}", keeper.name()), pid);
        }
        parents
    }

    async fn start(&self, slot: &Slot, halt: watch::Receiver<bool>) -> Outcome<Option<String>> {
        if super::lock(&self.stays).contains(slot) {
            let stopped = self
                .engine
                .keepers_at(slot)
                .into_iter()
                .find(|keeper| !keeper.is_active());
            let Some(keeper) = stopped else {
                return Ok(Some("up to date".into()));
            };
            return start_container(&self.engine, &keeper).await.map(|()| None);
        }
        let keepers = self.engine.keepers_at(slot);
        let Some(keeper) = keepers.into_iter().max_by_key(|keeper| keeper.record().created) else {
            return Err(Failure::new(
                Fault::Internal,
                format!("there is no container `{slot}` to start"),
            ));
        };
        let id = keeper.id();
        let new = super::lock(&self.made)
            .iter()
            .any(|made| matches!(made, Made::Container(made) if *made == id));
        if !new {
            super::lock(&self.made).push(Made::Started(id));
        }
        if !keeper.record().service.pre_start.is_empty() {
            // On the heap: it makes a whole container within this one's start.
            Box::pin(super::pre_start::run(self, &keeper, &halt)).await?;
        }
        start_container(&self.engine, &keeper).await.map_err(|failure| {
            let place = self
                .service(&slot.service)
                .ok()
                .and_then(|service| service.place.as_ref());
            failure.at(place)
        })?;
        Ok(None)
    }

    async fn stop(&self, slot: &Slot, id: &str) -> Outcome<Option<String>> {
        if super::lock(&self.stays).contains(slot) {
            return Ok(Some("up to date".into()));
        }
        if self.is_spared(slot, id) {
            return Ok(Some("what it depends on turned out to be up to date".into()));
        }
        match self.engine.keeper(id) {
            Some(keeper) => self.end(&keeper).await.map(|()| None),
            None => Ok(Some("gone already".into())),
        }
    }

    /// Whether a container that was to be restarted with its dependencies can stay, because none of them was made anew
    /// after all.
    fn is_spared(&self, slot: &Slot, id: &str) -> bool {
        let Some(renewed) = &self.renewed else {
            return false;
        };
        let Ok(service) = self.service(&slot.service) else {
            return false;
        };
        let renewed = super::lock(renewed);
        let alone = self
            .engine
            .keepers_at(slot)
            .iter()
            .all(|keeper| keeper.id() == id);
        let asks = service.depends_on.values().any(|edge| edge.restart);
        // Surplus replicas and containers that are replaced have other reasons to go.
        slot.number <= service.replicas && alone && asks && !self.is_shaken(service, &renewed)
    }

    /// Whether something that a service depends on with `restart: true`, directly or over others, was made anew.
    fn is_shaken(&self, service: &Service, renewed: &BTreeSet<ServiceName>) -> bool {
        let mut edges = service.depends_on.iter().filter(|(_, edge)| edge.restart);
        edges.any(|(name, _)| {
            renewed.contains(name)
                || self
                    .service(name)
                    .is_ok_and(|other| self.is_shaken(other, renewed))
        })
    }

    /// Stops a container, its `pre_stop` hooks first.
    async fn end(&self, keeper: &Arc<Keeper>) -> Outcome {
        let record = keeper.record();
        let grace = self
            .timeout
            .or(record.service.stop_grace_period)
            .unwrap_or(Duration::from_secs(10));
        if keeper.phase() == Phase::Running {
            super::hooks::run(
                &self.engine,
                keeper,
                &record.service.pre_stop,
                "pre_stop",
                &self.voice,
            )
            .await;
        }
        keeper
            .stop(&self.engine, grace, record.settings.stop_signal)
            .await
    }

    async fn remove(&self, slot: &Slot, id: &str) -> Outcome<Option<String>> {
        if super::lock(&self.stays).contains(slot) {
            return Ok(Some("up to date".into()));
        }
        self.take_away(id).await.map(|()| None)
    }

    /// Stops a container if it runs, and removes everything of it.
    ///
    /// # Errors
    /// What could not be removed; the container is then still known.
    pub async fn take_away(&self, id: &str) -> Outcome {
        let Some(keeper) = self.engine.keeper(id) else {
            return Ok(());
        };
        if keeper.is_active() {
            self.end(&keeper).await?;
        }
        let record = keeper.record();
        self.engine.networks.withdraw(&record);
        if self.keep_logs && !record.one_off {
            keep_log(&self.engine, &record);
        }
        let (engine, id) = (self.engine.clone(), record.id.clone());
        let removed = tokio::task::spawn_blocking(move || {
            let dir = container_dir(&engine, &id);
            // The record goes last: by it the next engine finds what is left if this one is killed.
            engine.store.release(&id).map_err(std::io::Error::other)?;
            banyan_runtime::container::remove(&dir, true).map_err(std::io::Error::other)
        });
        let removed = removed
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        removed.map_err(|error| {
            Failure::caused(Fault::Host, format!("cannot remove `{}`", record.name), &error)
        })?;
        self.engine.forget(&record.id);
        if self.engine.keepers_at(&record.slot).is_empty() {
            self.engine.networks.release(&record.slot);
        }
        if self.anonymous != Anonymous::TakeOver {
            let in_use: BTreeSet<_> = self
                .engine
                .keepers()
                .iter()
                .flat_map(|k| k.record().anonymous.into_values())
                .collect();
            for name in record.anonymous.values().filter(|name| !in_use.contains(*name)) {
                if let Err(error) = self.engine.volumes.remove(name) {
                    self.voice.note(
                        None,
                        Level::Warning,
                        format!("anonymous volume {name} is still there: {error}"),
                    );
                }
            }
        }
        self.engine.events.tell(&record, "destroy", &[]);
        Ok(())
    }

    /// Waits until all containers of a service have reached a condition.
    ///
    /// # Errors
    /// When one no longer can, and it is required.
    pub async fn wait_for(
        &self,
        service: &ServiceName,
        condition: Condition,
        required: bool,
        halt: watch::Receiver<bool>,
    ) -> Outcome {
        let keepers: Vec<_> = self
            .engine
            .keepers()
            .into_iter()
            .filter(|k| k.slot().service == *service && !k.is_one_off())
            .collect();
        for keeper in keepers {
            match keeper.reach(condition, halt.clone()).await {
                Err(failure) if !required && failure.fault != Fault::Interrupted => {
                    self.voice.note(
                        Some(service),
                        Level::Warning,
                        format!("{}; it is not required", failure.what),
                    );
                }
                reached => reached?,
            }
        }
        Ok(())
    }

    /// Takes back what this walk made, newest first; says what was done and what could not be.
    pub async fn undo(&self) -> Vec<String> {
        let made = std::mem::take(&mut *super::lock(&self.made));
        let mut said = Vec::new();
        for made in made.into_iter().rev() {
            let (what, undone) = match &made {
                Made::Container(id) => {
                    let Some(keeper) = self.engine.keeper(id) else {
                        continue;
                    };
                    (format!("container {}", keeper.name()), self.take_away(id).await)
                }
                Made::Started(id) => {
                    let Some(keeper) = self.engine.keeper(id).filter(|keeper| keeper.is_active()) else {
                        continue;
                    };
                    (
                        format!("container {} (stopped again)", keeper.name()),
                        self.end(&keeper).await,
                    )
                }
                Made::Network(key) => (format!("network {key}"), self.engine.networks.remove(key).await),
            };
            said.push(match undone {
                Ok(()) => format!("undone: {what}"),
                Err(failure) => format!("still there: {what}: {}", failure.because.join(": ")),
            });
        }
        self.engine
            .networks
            .unreserve(&self.engine.keepers().iter().map(|k| k.slot()).collect());
        said
    }
}

/// Keeps the log of a container that goes, instead of the one before it in its place.
fn keep_log(engine: &Engine, record: &Record) {
    let kept = engine
        .roots
        .previous_logs(&engine.name)
        .join(record.slot.to_string());
    let log = container_dir(engine, &record.id).log();
    let moved = || {
        if let Some(folder) = kept.parent() {
            std::fs::create_dir_all(folder)?;
        }
        match std::fs::remove_dir_all(&kept) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => std::fs::rename(&log, &kept),
        }
    };
    if let Err(error) = moved() {
        // A container must be removable from a full or damaged disk, too.
        tracing::warn!(%error, "the log of a replaced container was not kept");
    }
}

/// Where a container's state is.
pub fn container_dir(engine: &Engine, id: &str) -> ContainerDir {
    ContainerDir {
        state: engine.roots.container(id),
        run: engine.roots.container_run(id),
    }
}

/// Makes the processes of a container up to the barrier.
async fn launch(engine: &Arc<Engine>, keeper: &Arc<Keeper>) -> Outcome {
    let record = keeper.record();
    let grants = match engine.project()? {
        Some(project) => super::secrets::grants(engine, &project, &record.service)?,
        None => Vec::new(),
    };
    let own = banyan_runtime::sys::host::own_pidfd().map_err(|error| {
        Failure::caused(
            Fault::Host,
            "cannot name this engine to a container's shim",
            &error,
        )
    })?;
    let launching = engine.clone();
    let created = tokio::task::spawn_blocking(move || {
        let mut made = record.settings.clone();
        made.revive = Some(super::serve::revival(&launching));
        let extras = Extras {
            keep: launching.networks.halls_to_hold(&record)?,
            grants,
            engine: Some(own),
        };
        let dir = container_dir(&launching, &record.id);
        let created = launching.launcher.create(&made, &dir, extras);
        created.map_err(|error| launch_failure(&record.name, &error))
    });
    let created = created
        .await
        .map_err(|error| Failure::caused(Fault::Internal, "a launch failed", &error))??;
    keeper.hold(created);
    Ok(())
}

/// Launches a container if it is not at its barrier yet, attaches its network, starts its program, watches over it.
///
/// # Errors
/// Which of these failed, and why; the container is then stopped.
pub async fn start_container(engine: &Arc<Engine>, keeper: &Arc<Keeper>) -> Outcome {
    if keeper.running().is_some() {
        return Ok(());
    }
    if !keeper.has_created() {
        launch(engine, keeper).await?;
    }
    let Some(created) = keeper.take_created() else {
        return Err(Failure::new(
            Fault::Internal,
            "a container vanished between its creation and its start",
        ));
    };
    let record = keeper.record();
    let published = engine.networks.attach(&record, &created).await?;
    // Before the start: an engine after this one must know what to listen on for a container that runs.
    if record.published != published {
        keeper
            .change(engine, |record| record.published = published)
            .map_err(|error| Failure::caused(Fault::Host, "cannot write a container's record", &error))?;
    }
    let started = tokio::task::spawn_blocking(move || created.start());
    let started = started
        .await
        .map_err(|error| Failure::caused(Fault::Internal, "a start failed", &error))?;
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            engine.networks.withdraw(&record);
            return Err(launch_failure(&record.name, &error));
        }
    };
    let started = running.started();
    keeper.watch_over(engine, running, started);
    let record = keeper.record();
    engine.events.tell(&record, "start", &[]);
    if !record.service.post_start.is_empty() {
        super::hooks::post_start(engine, keeper).await?;
    }
    Ok(())
}

fn launch_failure(name: &str, error: &LaunchError) -> Box<Failure> {
    let fault = if error.exit_status() == 125 {
        Fault::Host
    } else {
        Fault::Asked
    };
    let mut failure = Failure::caused(fault, format!("cannot start `{name}`"), error);
    failure.status = Some(error.exit_status());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn missing_bind(source: &std::path::Path, create: bool) -> Outcome {
    if !create {
        let what = format!("`{}` is to be mounted and does not exist", source.display());
        return Err(Failure::new(Fault::Asked, what).hint("create it, or correct the path"));
    }
    fs_err::create_dir_all(source).map_err(|error| {
        Failure::caused(
            Fault::Host,
            format!(
                "cannot make the folder `{}` that is to be mounted",
                source.display()
            ),
            &error,
        )
    })
}

/// Labels that tools read (docker compose `pkg/api/labels.go`).
fn compose_labels(
    project: &Project,
    service: &Service,
    slot: &Slot,
    image: &str,
) -> BTreeMap<String, String> {
    let files: Vec<_> = project
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let depends: Vec<_> = service
        .depends_on
        .iter()
        .map(|(name, edge)| {
            let condition = match edge.condition {
                Condition::ServiceStarted => "service_started",
                Condition::ServiceHealthy => "service_healthy",
                Condition::ServiceCompletedSuccessfully => "service_completed_successfully",
            };
            format!("{name}:{condition}:{}", edge.restart)
        })
        .collect();
    let label = |key: &str, value: String| (format!("com.docker.compose.{key}"), value);
    [
        label("project", project.name.to_string()),
        label("project.working_dir", project.directory.display().to_string()),
        label("project.config_files", files.join(",")),
        label("service", slot.service.to_string()),
        label("container-number", slot.number.to_string()),
        label("oneoff", "False".into()),
        label("config-hash", service.config_hash()),
        label("image", image.to_owned()),
        label("depends_on", depends.join(",")),
    ]
    .into()
}

/// Whether a service's containers are connected to networks of the project.
pub fn is_networked(service: &Service) -> bool {
    service.network_mode == NetworkMode::Networks && !service.networks.is_empty()
}

/// Hash of a network's definition.
pub fn network_hash(project: &Project, key: &str) -> String {
    project.networks.get(key).map(hash_of).unwrap_or_default()
}
