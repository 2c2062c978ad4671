//! Containers are stopped and removed, and a failed walk is taken back.

use super::{Anonymous, Execution, Made, container_dir};
use crate::{
    api::wire::{Failure, Fault, Level},
    engine::{Engine, Outcome, hooks, keeper::Keeper, lock, record::Record},
    model::{Service, ServiceName},
    plan::{Phase, Slot},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

impl Execution {
    pub(super) async fn stop(&self, slot: &Slot, id: &str) -> Outcome<Option<String>> {
        if lock(&self.stays).contains(slot) {
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
        let renewed = lock(renewed);
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
            hooks::run(
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

    pub(super) async fn remove(&self, slot: &Slot, id: &str) -> Outcome<Option<String>> {
        if lock(&self.stays).contains(slot) {
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

    /// Takes back what this walk made, newest first; says what was done and what could not be.
    pub async fn undo(&self) -> Vec<String> {
        let made = std::mem::take(&mut *lock(&self.made));
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
