//! Looks at the project again and again, on a thread of its own: what exists, and what it uses.

use super::row::{self, Row, Use};
use crate::{
    cli::{CommandError, Global, context, ps, usage},
    model::{Project, ProjectName},
};
use std::{
    collections::BTreeMap,
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// The same while something is being done.
const BUSY: Duration = Duration::from_millis(150);
/// Processor use is that of at least so much time.
const MEASURED: Duration = Duration::from_millis(900);

/// How often it is worth looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Something is being done.
    Busy,
    /// Nothing in particular happens.
    Calm,
}

/// Tells what there is until nobody hears it any more; a change of pace makes it look at once.
pub(super) fn watch(
    global: &Global,
    name: &ProjectName,
    project: Option<&Project>,
    paces: &mpsc::Receiver<Pace>,
    mut tell: impl FnMut(Result<Vec<Row>, CommandError>) -> bool,
) {
    let (roots, host) = (context::roots(global), usage::host_memory());
    let mut before: BTreeMap<String, usage::Seen> = BTreeMap::new();
    let mut used: BTreeMap<String, Use> = BTreeMap::new();
    let (mut measured, mut pace) = (None::<Instant>, Pace::Calm);
    loop {
        let seen = ps::list(global, name).map(|containers| {
            if measured.is_none_or(|at| at.elapsed() >= MEASURED) {
                let now: BTreeMap<String, usage::Seen> = containers
                    .iter()
                    .filter_map(|c| Some((c.id.clone(), usage::look(&roots, c)?)))
                    .collect();
                used = now
                    .iter()
                    .map(|(id, seen)| (id.clone(), use_of(seen, before.get(id), host)))
                    .collect();
                before = now;
                measured = Some(Instant::now());
            }
            let mut rows = row::rows(project, &containers);
            for row in &mut rows {
                row.usage = used.get(&row.id).copied().filter(|_| row.up);
            }
            rows
        });
        if !tell(seen) {
            return;
        }
        let wait = if pace == Pace::Busy { BUSY } else { LOOK };
        match paces.recv_timeout(wait) {
            Ok(changed) => pace = changed,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn use_of(seen: &usage::Seen, before: Option<&usage::Seen>, host: u64) -> Use {
    let (memory, limit) = seen.memory(host);
    Use {
        processor: before.map(|before| seen.processor_since(before)),
        memory,
        limit: (limit < host).then_some(limit),
    }
}
