//! What happened: told to whoever listens, and kept in the project's history.

use crate::{api::wire::Event, engine::record::Record, model::ProjectName, state::Roots};
use std::{collections::BTreeMap, io::Write};
use tokio::sync::broadcast;

/// Events that a slow listener may fall behind before it misses some.
const BACKLOG: usize = 1024;
/// Bytes of history kept; when it grows beyond, the older half goes.
const HISTORY_BYTES: u64 = 4 << 20;

/// The project's events.
#[derive(Debug)]
pub struct Events {
    live: broadcast::Sender<Event>,
    file: std::path::PathBuf,
}

impl Events {
    /// Of this project.
    pub fn new(roots: &Roots, project: &ProjectName) -> Self {
        Self {
            live: broadcast::channel(BACKLOG).0,
            file: roots.events_file(project),
        }
    }

    /// Everything from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.live.subscribe()
    }

    /// Something happened to this container.
    pub fn tell(&self, record: &Record, action: &str, attributes: &[(&str, String)]) {
        let event = Event {
            at: now(),
            container: record.id.clone(),
            name: record.name.clone(),
            slot: record.slot.clone(),
            action: action.to_owned(),
            attributes: attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect::<BTreeMap<_, _>>(),
        };
        if let Err(error) = self.keep(&event) {
            // History is a convenience: a full disk must not stop a project.
            tracing::warn!(%error, "an event was not kept");
        }
        // Nobody may be listening.
        let _ = self.live.send(event);
    }

    fn keep(&self, event: &Event) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let mut file = fs_err::File::options()
            .create(true)
            .append(true)
            .open(&self.file)?;
        // One write: a line is torn only by a power cut, and readers skip what is not a line of JSON.
        file.write_all(&line)?;
        if file.metadata()?.len() > HISTORY_BYTES {
            let text = fs_err::read(&self.file)?;
            let middle = text.len() / 2;
            let cut = text[middle..]
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(text.len(), |at| middle + at + 1);
            let beside = self.file.with_extension("jsonl.new");
            fs_err::write(&beside, &text[cut..])?;
            fs_err::rename(&beside, &self.file)?;
        }
        Ok(())
    }
}

/// The history kept of a project, oldest first.
///
/// # Errors
/// When the file exists and cannot be read.
pub fn history(roots: &Roots, project: &ProjectName) -> std::io::Result<Vec<Event>> {
    let text = match std::fs::read_to_string(roots.events_file(project)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Nanoseconds since 1970.
pub fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
