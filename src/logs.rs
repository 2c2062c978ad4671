//! Reading containers' output: the last lines, or many logs followed at once.
//!
//! A log is written by its shim alone and read by anybody; readers hold no lock and nobody waits for them.

use banyan_runtime::log::{Entry, LogError, Reader, ReaderOptions, Watch};
use std::{
    io::{self, Read as _, Write as _},
    os::{fd::AsFd as _, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

/// How often a follower looks unasked, for file systems that tell no changes; others wake it at once.
const LOOK: Duration = Duration::from_millis(200);
/// How many entries of one log are read before the next log has its turn.
const TURN: usize = 256;
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

/// Entries of several logs as one stream: one thread reads them all and waits for all with one inotify instance.
#[derive(Debug)]
pub struct Followed<T> {
    entries: mpsc::Receiver<(T, Entry)>,
    added: mpsc::Sender<(T, Reader)>,
    watch: Arc<Watch>,
    /// A byte wakes the reading thread; closed, it says that the end is asked for.
    wake: UnixStream,
}

impl<T: Clone + Send + 'static> Followed<T> {
    /// Nothing to follow yet.
    ///
    /// # Errors
    /// When the process has no file descriptor or thread left.
    pub fn new() -> io::Result<Self> {
        let (sender, entries) = mpsc::sync_channel(AHEAD);
        let (added, new) = mpsc::channel();
        let (woken, wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let watch = Arc::new(Watch::empty());
        let watching = watch.clone();
        thread::Builder::new()
            .name("logs".to_owned())
            .spawn(move || follow(&watching, &new, woken, &sender))?;
        Ok(Self {
            entries,
            added,
            watch,
            wake,
        })
    }

    /// Adds a log; follows it until [`finish`](Self::finish).
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn add(&self, source: Source<T>, options: ReaderOptions) -> Result<(), LogError> {
        // Watched before the first read, so that nothing falls between.
        self.watch.include(&source.directory)?;
        let reader = Reader::open(&source.directory, options)?;
        // The thread ends only with this value, or when nobody takes entries any more.
        let _ = self.added.send((source.tag, reader));
        let _ = (&self.wake).write(&[0]);
        Ok(())
    }

    /// The next entry; `None` when none came in time.
    pub fn next(&self, timeout: Duration) -> Option<(T, Entry)> {
        self.entries.recv_timeout(timeout).ok()
    }

    /// Gives what is left: everything written until now.
    pub fn finish(self) -> mpsc::IntoIter<(T, Entry)> {
        drop(self.wake);
        self.entries.into_iter()
    }
}

/// The reading thread: until the other end of `woken` is closed, or nobody takes entries any more.
fn follow<T: Clone>(
    watch: &Watch,
    new: &mpsc::Receiver<(T, Reader)>,
    mut woken: UnixStream,
    sender: &mpsc::SyncSender<(T, Entry)>,
) {
    let mut logs: Vec<(T, Reader)> = Vec::new();
    let mut last = false;
    loop {
        watch.clear();
        logs.extend(new.try_iter());
        // In turns, so that one that talks without end does not silence the others.
        let mut more = true;
        while more {
            more = false;
            for (tag, reader) in &mut logs {
                for _ in 0..TURN {
                    let Ok(Some(entry)) = reader.next() else { break };
                    more = true;
                    if sender.send((tag.clone(), entry)).is_err() {
                        return;
                    }
                }
            }
            // What is added while others never stop talking gets its turn too.
            logs.extend(new.try_iter());
        }
        if last {
            break;
        }
        watch.wait_or_for(woken.as_fd(), LOOK);
        // Asked for now; what was written before is still read in one more round.
        last = ended(&mut woken);
    }
    for (tag, mut reader) in logs {
        for entry in reader.flush() {
            if sender.send((tag.clone(), entry)).is_err() {
                return;
            }
        }
    }
}

/// Forgets wake-ups; true when the other end is closed.
fn ended(woken: &mut UnixStream) -> bool {
    let mut buffer = [0; 64];
    loop {
        match woken.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}
