//! Reading containers' output: the last lines, or many logs followed at once.
//!
//! A log is written by its shim alone and read by anybody; readers hold no lock and nobody waits for them.

use banyan_runtime::log::{Entry, LogError, Reader, ReaderOptions, Watch};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// How often a follower looks whether it should end; changes of the log wake it at once.
const LOOK: Duration = Duration::from_millis(200);
/// How many entries a follower may be ahead of whoever prints them.
const AHEAD: usize = 4096;

/// The last `count` lines of a log as text, for error messages; nothing when it cannot be read.
pub fn tail(directory: &Path, count: usize) -> Vec<String> {
    let options = ReaderOptions {
        tail: Some(count),
        ..ReaderOptions::default()
    };
    let Ok(mut reader) = Reader::open(directory, options) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    while let Ok(Some(entry)) = reader.next() {
        lines.push(text(&entry));
    }
    lines.extend(reader.flush().iter().map(text));
    lines
}

/// An entry's bytes as text without the line's end.
pub fn text(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.bytes)
        .trim_end_matches(['\n', '\r'])
        .to_owned()
}

/// One log among several.
#[derive(Debug, Clone)]
pub struct Source<T> {
    /// What its lines are marked with.
    pub tag: T,
    /// Where it is.
    pub directory: PathBuf,
}

/// Entries of several logs as one stream.
#[derive(Debug)]
pub struct Followed<T> {
    entries: mpsc::Receiver<(T, Entry)>,
    sender: mpsc::SyncSender<(T, Entry)>,
    ending: Arc<AtomicBool>,
}

impl<T: Clone + Send + 'static> Default for Followed<T> {
    fn default() -> Self {
        let (sender, entries) = mpsc::sync_channel(AHEAD);
        Self {
            entries,
            sender,
            ending: Arc::new(AtomicBool::new(false)),
        }
    }
}

impl<T: Clone + Send + 'static> Followed<T> {
    /// Adds a log; follows it until [`finish`](Self::finish).
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn add(&self, source: Source<T>, options: ReaderOptions) -> Result<(), LogError> {
        // Watched before the first read, so that nothing falls between.
        let watch = Watch::new(&source.directory)?;
        let mut reader = Reader::open(&source.directory, options)?;
        let (sender, ending) = (self.sender.clone(), self.ending.clone());
        thread::spawn(move || {
            loop {
                // Read first: what was written before the end was asked for is still shown.
                let last = ending.load(Ordering::SeqCst);
                watch.clear();
                while let Ok(Some(entry)) = reader.next() {
                    if sender.send((source.tag.clone(), entry)).is_err() {
                        return;
                    }
                }
                if last {
                    for entry in reader.flush() {
                        if sender.send((source.tag.clone(), entry)).is_err() {
                            return;
                        }
                    }
                    return;
                }
                let _changed = watch.wait(LOOK);
            }
        });
        Ok(())
    }

    /// The next entry; `None` when none came in time.
    pub fn next(&self, timeout: Duration) -> Option<(T, Entry)> {
        self.entries.recv_timeout(timeout).ok()
    }

    /// Gives what is left: everything written until now.
    pub fn finish(self) -> Vec<(T, Entry)> {
        self.ending.store(true, Ordering::SeqCst);
        drop(self.sender);
        self.entries.iter().collect()
    }
}
