//! Containers are made up to their barrier.

use super::{Execution, Made, container_dir, start::launch};
use crate::{
    api::wire::{Failure, Fault, Run},
    engine::{
        Outcome,
        events::now,
        guard, images,
        keeper::{Keeper, Live},
        links, lock, names,
        record::{Endpoint, Record},
        settings::{self, Inputs},
    },
    model::{Condition, Project, Service},
    plan::Slot,
};
use banyan_runtime::{
    container::Settings,
    image::{Digest, Image},
    log::LogSettings,
};
use std::{collections::BTreeMap, sync::Arc};

impl Execution {
    /// Makes a container up to its barrier.
    pub(super) async fn create(
        &self,
        slot: &Slot,
        keep_if_image: Option<&(String, String)>,
    ) -> Outcome<Option<String>> {
        let service = self.service(&slot.service)?;
        let image = self.obtain(&slot.service, None).await?;
        if keep_if_image.is_some_and(|(_, digest)| *digest == image.id.to_string()) {
            lock(&self.stays).insert(slot.clone());
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
            let mut reasons = lock(&self.reasons);
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
            lock(renewed).insert(slot.service.clone());
        }
        if new {
            lock(&self.made).push(Made::Container(keeper.id()));
        }
        Ok(None)
    }

    /// Makes the container of `run` up to its barrier.
    ///
    /// # Errors
    /// Why it cannot be made; nothing of it is left then.
    pub async fn create_one_off(&self, slot: &Slot, wanted: &Run) -> Outcome<Arc<Keeper>> {
        let service = self.service(&slot.service)?;
        let image = self.obtain(&slot.service, None).await?;
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
    pub(in crate::engine) async fn make(&self, record: Record, image: Digest) -> Outcome<Arc<Keeper>> {
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
        let why = lock(&self.reasons).get(&record.slot).cloned();
        let attributes: Vec<_> = why.into_iter().map(|why| ("why", why)).collect();
        self.engine.events.tell(&record, "create", &attributes);
        Ok(keeper)
    }

    /// Everything about a container that is to be made.
    pub(in crate::engine) async fn draft(
        &self,
        project: &Project,
        service: &Service,
        slot: &Slot,
        image: &Image,
        before: Option<&Keeper>,
    ) -> Outcome<Record> {
        let id = names::new_id();
        let name = service
            .container_name
            .clone()
            .unwrap_or_else(|| format!("{}-{}-{}", project.name, slot.service, slot.number));
        let endpoints = self.engine.networks.allocate(project, service, slot)?;
        let (mounts, anonymous, volumes) = self.mounts(project, service, slot, image, before)?;
        guard::look(&self.engine, project, service, image, &self.voice);
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
            let (slot, pid) = (keeper.slot(), lock(&container).pid());
            if slot.number == 1 && slot.service != service.name {
                parents.insert(format!("service:{}", slot.service), pid);
            }
            parents.insert(format!("container:{}", keeper.name()), pid);
        }
        parents
    }
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
