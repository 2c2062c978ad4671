//! The verbs: one engine process per running project, the single writer of its state.
//!
//! `up` reads: observe what exists → [reconcile](crate::plan::reconcile) → execute the plan's graph → supervise.
//!
//! 1. [`serve`] is the process: lock, socket, readiness, one request per connection, gone when nothing runs.
//! 2. [`up`] and [`down`] are the two great operations; [`lifecycle`] has the small ones.
//! 3. [`execute`] has one arm per [`Action`](crate::plan::Action), without policy.
//! 4. [`images`], [`networks`] (with [`shared`] ones), [`volumes`], [`settings`] and [`links`] are what the arms use.
//! 5. [`keeper`] watches one running container each: its end, its restarts, its health.
//! 6. [`record`], [`events`] and [`observe`] are what is kept and how it is read back; [`damaged`] what a bad disk left.

pub mod alone;
pub mod building;
pub mod capture;
pub mod damaged;
pub mod down;
pub mod events;
pub mod execute;
pub mod failure;
pub mod guard;
pub mod hooks;
pub mod images;
pub mod keeper;
pub mod lifecycle;
pub mod links;
pub mod names;
pub mod networks;
pub mod observe;
pub mod one_off;
pub mod overlay;
pub mod pre_start;
pub mod probing;
pub mod record;
pub mod secrets;
pub mod serve;
pub mod settings;
pub mod shared;
pub mod up;

pub use failure::{Failures, Outcome};

use crate::{
    api::wire::{Failure, Fault, Message},
    model::{Project, ProjectName, ServiceName},
    plan::Slot,
    state::{Roots, read_record, write_record},
    volumes::Volumes,
};
use banyan_runtime::{container::Launcher, image::Store};
use events::Events;
use keeper::Keeper;
use networks::Networks;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, watch};

/// Everything one engine owns.
#[derive(Debug)]
pub struct Engine {
    /// Where state lives.
    pub roots: Roots,
    /// The project.
    pub name: ProjectName,
    /// Makes containers.
    pub launcher: Launcher,
    /// Images.
    pub store: Store,
    /// Named volumes.
    pub volumes: Volumes,
    /// The hall, its bridges, names and published ports.
    pub networks: Arc<Networks>,
    /// What happened.
    pub events: Events,
    /// The project as last applied. Written by `up` alone, which holds the turn.
    project: Mutex<Option<Arc<Project>>>,
    /// Keepers of containers that exist, by id. Written by whoever holds the turn.
    keepers: Mutex<BTreeMap<String, Arc<Keeper>>>,
    /// Values of secrets and configs from the caller's environment. Never stored.
    pub environment: Mutex<BTreeMap<String, String>>,
    /// One operation at a time.
    turn: tokio::sync::Mutex<()>,
    /// Which one it is.
    holder: Mutex<Option<Holder>>,
    /// One lock a service, held while its `pre_start` hooks run.
    preparing: Mutex<BTreeMap<ServiceName, Arc<tokio::sync::Mutex<()>>>>,
    /// Work that goes on when no client is connected and nothing runs.
    chores: Arc<()>,
}

/// The operation that has the turn.
#[derive(Debug)]
struct Holder {
    name: String,
    stop: watch::Sender<bool>,
    /// Weak: its client must see the end of the messages.
    client: mpsc::WeakUnboundedSender<Message>,
}

/// Between an operation and the client who asked for it. Its messages go to the client, whose going away is not an error of
/// the operation; and the client's wish to stop comes back.
#[derive(Debug, Clone)]
pub struct Voice {
    to: mpsc::UnboundedSender<Message>,
    stop: watch::Sender<bool>,
}

impl Voice {
    /// A voice that is heard by `to`.
    pub fn new(to: mpsc::UnboundedSender<Message>) -> Self {
        let stop = watch::channel(false).0;
        Self { to, stop }
    }

    /// Says it.
    pub fn say(&self, message: Message) {
        // The client may be gone.
        let _ = self.to.send(message);
    }

    /// Returns when nobody listens any more.
    pub async fn unheard(&self) {
        self.to.closed().await;
    }

    /// What asks its operation to stop when it turns true.
    pub fn stop(&self) -> watch::Sender<bool> {
        self.stop.clone()
    }

    /// Turns true when its operation should stop.
    pub fn interrupted(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Says a line.
    pub fn note(
        &self,
        service: Option<&ServiceName>,
        level: crate::api::wire::Level,
        text: impl Into<String>,
    ) {
        self.say(Message::Note {
            service: service.cloned(),
            level,
            text: text.into(),
        });
    }
}

/// Locks that are never held across an await and whose data stays whole when a holder panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// The project as last applied; from disk when this engine has not applied it itself.
    ///
    /// # Errors
    /// When its record is damaged.
    pub fn project(&self) -> Outcome<Option<Arc<Project>>> {
        let mut project = lock(&self.project);
        if project.is_none() {
            let stored: Option<Project> =
                read_record(&self.roots.project_file(&self.name)).map_err(|error| {
                    Failure::caused(Fault::Host, "cannot read the project as last applied", &error)
                        .hint("run the command where the project file is, or give it with `-f`")
                })?;
            *project = stored.map(Arc::new);
        }
        Ok(project.clone())
    }

    /// Remembers the project as applied.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn apply_project(&self, applied: Arc<Project>) -> Outcome {
        write_record(&self.roots.project_file(&self.name), &*applied)
            .map_err(|error| Failure::caused(Fault::Host, "cannot write the project's record", &error))?;
        *lock(&self.project) = Some(applied);
        Ok(())
    }

    /// Tells the networks what the project wants. Containers that exist keep their addresses, whether they run or not:
    /// they are started with them again.
    ///
    /// # Errors
    /// Addresses that cannot be.
    pub fn define_networks(&self, project: &Project) -> Outcome {
        self.networks.define(project)?;
        let records: Vec<_> = self.keepers().iter().map(|keeper| keeper.record()).collect();
        self.networks.hold_addresses(&records);
        Ok(())
    }

    /// The keeper of a container.
    pub fn keeper(&self, id: &str) -> Option<Arc<Keeper>> {
        lock(&self.keepers).get(id).cloned()
    }

    /// The keepers of a place's containers.
    pub fn keepers_at(&self, slot: &Slot) -> Vec<Arc<Keeper>> {
        self.keepers()
            .into_iter()
            .filter(|keeper| keeper.slot() == *slot)
            .collect()
    }

    /// All keepers.
    pub fn keepers(&self) -> Vec<Arc<Keeper>> {
        lock(&self.keepers).values().cloned().collect()
    }

    /// Takes a container under its wing.
    pub fn keep(&self, keeper: Arc<Keeper>) {
        lock(&self.keepers).insert(keeper.id(), keeper);
    }

    /// Lets go of a removed container.
    pub fn forget(&self, id: &str) {
        lock(&self.keepers).remove(id);
    }

    /// Waits for its turn, telling for whom. A `down` does not wait for what an operation waits for whose client has gone.
    ///
    /// # Errors
    /// When the client wants it no more.
    pub async fn take_turn(&self, who: &str, voice: &Voice) -> Outcome<tokio::sync::MutexGuard<'_, ()>> {
        let guard = match self.turn.try_lock() {
            Ok(guard) => guard,
            Err(_) => {
                if let Some(holder) = &*lock(&self.holder) {
                    let unheard = holder.client.upgrade().is_none_or(|client| client.is_closed());
                    if who == "down" && unheard {
                        holder.stop.send_replace(true);
                    }
                    voice.say(Message::Waiting {
                        for_whom: holder.name.clone(),
                    });
                }
                let mut stop = voice.interrupted();
                tokio::select! {
                    guard = self.turn.lock() => guard,
                    Ok(_) = stop.wait_for(|stop| *stop) => {
                        return Err(Failure::new(Fault::Interrupted, "interrupted"));
                    }
                }
            }
        };
        *lock(&self.holder) = Some(Holder {
            name: who.to_owned(),
            stop: voice.stop.clone(),
            client: voice.to.downgrade(),
        });
        Ok(guard)
    }

    /// Held by work that the engine must not end before.
    pub fn chore(&self) -> Arc<()> {
        self.chores.clone()
    }

    /// Whether such work is under way.
    pub fn has_chores(&self) -> bool {
        Arc::strong_count(&self.chores) > 1
    }
}
