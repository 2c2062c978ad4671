//! Keeping or discarding what services wrote to the layers over their binds.

use super::{
    Engine, Outcome, Voice,
    lifecycle::{check, chosen, start_all, stop_all},
};
use crate::{
    api::wire::{Failure, Fault, Level, Select},
    model::ServiceName,
    overlays::Overlay,
};
use std::{collections::BTreeSet, sync::Arc};

/// Stops the chosen services that have a layer, applies (or discards) it, and starts again what ran.
///
/// # Errors
/// A service that does not exist; a file that cannot be written, after which the layer is still whole.
pub async fn apply(engine: &Arc<Engine>, select: Select, discard: bool, voice: &Voice) -> Outcome {
    let _turn = engine
        .take_turn(if discard { "discard" } else { "apply" }, voice)
        .await?;
    check(engine, engine.project()?.as_deref(), &select.services)?;
    let read = |error: std::io::Error| Failure::caused(Fault::Host, "cannot read a layer", &error);
    let mut layers = Vec::new();
    for keeper in chosen(engine, &select) {
        let slot = keeper.slot();
        let folder = engine.roots.overlays(&engine.name, Some(&slot.to_string()));
        for layer in Overlay::of_place(&folder).map_err(read)? {
            if !layer.changes().map_err(read)?.is_empty() {
                layers.push((slot.service.clone(), keeper.is_active(), layer));
            }
        }
    }
    if layers.is_empty() {
        voice.note(
            None,
            Level::Notice,
            "nothing was changed under a discardable layer",
        );
        return Ok(());
    }
    let ran: BTreeSet<ServiceName> = layers
        .iter()
        .filter(|(_, active, _)| *active)
        .map(|(service, ..)| service.clone())
        .collect();
    let stopping = Select {
        services: ran.clone(),
        ..select
    };
    if !ran.is_empty() {
        stop_all(engine, &stopping, voice).await?;
    }
    let voice_inside = voice.clone();
    let done = tokio::task::spawn_blocking(move || {
        for (service, _, layer) in layers {
            let source = layer.over.source.display().to_string();
            let done = if discard {
                layer.changes().and_then(|list| layer.discard().map(|()| list))
            } else {
                layer.apply()
            };
            let list = done.map_err(|error| {
                let what = format!("cannot write the changes of `{service}` into `{source}`");
                Failure::caused(Fault::Asked, what, &error)
            })?;
            let verb = if discard { "discarded" } else { "kept in" };
            let files = list.len();
            voice_inside.note(
                Some(&service),
                Level::Notice,
                format!("{files} changes {verb} {source}"),
            );
        }
        Ok(())
    });
    let done = done
        .await
        .unwrap_or_else(|error| Err(Failure::caused(Fault::Internal, "applying failed", &error)));
    // Whatever became of the files, what ran runs again.
    let started = if ran.is_empty() {
        Ok(())
    } else {
        start_all(engine, &stopping, voice).await
    };
    done.and(started)
}
