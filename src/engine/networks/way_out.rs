//! The way out of the hall, and the end of everything.

use super::{Networks, host_failure};
use crate::{
    api::wire::Level,
    engine::{Outcome, Voice, lock},
};
use banyan_runtime::network::{Hall, LinkName, Uplink, UplinkError, sweep};
use std::{
    io::Write,
    sync::{Arc, MutexGuard},
};

impl Networks {
    /// The way out, made when there is none; its MTU.
    pub(super) fn uplink(&self, hall: &Hall, _making: &MutexGuard<'_, ()>, voice: &Voice) -> Outcome<u32> {
        if let Some(uplink) = &lock(&self.state).uplink {
            return Ok(uplink.mtu);
        }
        self.remember(hall)?;
        let uplink = Uplink::ensure(hall, &self.uplinks).map_err(|error| {
            host_failure(
                "cannot make the way out of the project's networks".into(),
                &error,
                None,
            )
        })?;
        for warning in &uplink.warnings {
            voice.note(None, Level::Warning, warning.clone());
        }
        let mtu = uplink.mtu;
        lock(&self.state).uplink = Some(uplink);
        Ok(mtu)
    }

    /// Nothing of the project runs: name servers, ports and the way out go, and the hall with them.
    pub async fn close(self: &Arc<Self>) {
        self.closing.send_replace(true);
        let this = self.clone();
        let closed = tokio::task::spawn_blocking(move || {
            let _making = lock(&this.making);
            let mut state = lock(&this.state);
            state.published.clear();
            state.reserved.clear();
            state.sockets = None;
            this.shared.leave_all(&this.uplinks);
            drop(state.hall.take());
            state.uplink = None;
            for key in std::mem::take(&mut state.up).into_keys() {
                this.zones.update(|records| records.remove_network(&key));
            }
            drop(state);
            // They went with the hall.
            lock(&this.forwarded).clear();
            this.remove_uplinks();
        });
        if closed.await.is_err() {
            tracing::error!("closing the project's network failed");
        }
        self.closing.send_replace(false);
    }

    /// Writes down which uplink the hall is about to have, below those of halls that died with their engines. Not
    /// synced: a reboot takes them all.
    pub(super) fn remember(&self, hall: &Hall) -> Outcome {
        let known = std::fs::read_to_string(&self.way_out).unwrap_or_default();
        let name = Uplink::name_of(hall);
        if known.lines().any(|line| line == name.as_str()) {
            return Ok(());
        }
        // Appended: whoever is killed here loses none of the names before it.
        let appended = fs_err::File::options()
            .create(true)
            .append(true)
            .open(&self.way_out)
            .and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
        appended.map_err(|error| {
            host_failure(
                "cannot remember the way out of the project's networks".into(),
                &error,
                None,
            )
        })
    }

    /// Takes the ways out away: this engine's, and those of halls that died with engines that were killed.
    fn remove_uplinks(&self) {
        let Ok(text) = std::fs::read_to_string(&self.way_out) else {
            return;
        };
        let mut clean = true;
        for line in text.lines() {
            let removed = match LinkName::new(line) {
                Ok(name) => Uplink::remove_named(&name, &self.uplinks),
                Err(_) => sweep(&self.uplinks),
            };
            if let Err(errors) = removed {
                complain(&errors);
                clean = false;
            }
        }
        // What stayed is tried again by the next engine.
        if clean {
            let _ = std::fs::remove_file(&self.way_out);
        }
    }
}

fn complain(errors: &[UplinkError]) {
    for error in errors {
        tracing::error!(%error, "something of the way out stayed on the host");
    }
}
