//! What the host's settings were before we changed them: one small file per host, under a lock that the kernel
//! releases when its holder dies.

use super::UplinkError;
use crate::{network::hall::Sockets, sys::netlink::namespace_cookie};
use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The locked file. Dropping it releases the lock.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    file: fs::File,
    /// Settings that we changed, and what they were.
    pub(super) before: BTreeMap<String, String>,
}

impl State {
    /// Waits for the lock of the host of the calling thread, and reads what was remembered.
    pub(super) fn lock(directory: &Path, sockets: &Sockets) -> Result<Self, UplinkError> {
        // Without a cookie (before Linux 5.14) all namespaces share one file; real use knows only one.
        let host = namespace_cookie(sockets.route.fd()).unwrap_or_default();
        let path = directory.join(format!("uplinks-{host:x}.json"));
        Self::lock_path(&path).map_err(|cause| UplinkError::State { path, cause })
    }

    fn lock_path(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        loop {
            let mut file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            flock(file.file(), FlockOperation::LockExclusive)?;
            // Whoever held it before may have removed it just now; then this is the lock of a file nobody sees.
            let current = fs::metadata(path).map(|m| (m.dev(), m.ino()));
            let mine = file.metadata().map(|m| (m.dev(), m.ino()))?;
            if current.is_ok_and(|current| current == mine) {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                // A torn or foreign file is worth nothing; the host's present settings are then taken as its own.
                let before = serde_json::from_str(&text).unwrap_or_default();
                return Ok(Self {
                    path: path.to_owned(),
                    file,
                    before,
                });
            }
        }
    }

    /// Writes down what is remembered; call before changing a setting.
    pub(super) fn save(&mut self) -> Result<(), UplinkError> {
        let text = serde_json::to_string(&self.before).expect("a map of texts is always JSON");
        let written = self.write(&text);
        written.map_err(|cause| UplinkError::State {
            path: self.path.clone(),
            cause,
        })
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        use std::io::Seek;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }

    /// Forgets everything: the last uplink is gone. The lock goes with the file.
    pub(super) fn discard(&mut self) -> Result<(), UplinkError> {
        self.before.clear();
        fs::remove_file(&self.path).map_err(|cause| UplinkError::State {
            path: self.path.clone(),
            cause,
        })
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // An empty memory needs no file. Removed while the lock is held, so nobody can have written to it meanwhile.
        if self.before.is_empty() && fs::metadata(&self.path).is_ok() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_there_for_the_next_and_an_empty_memory_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/uplinks-1.json");
        let mut state = State::lock_path(&path).unwrap();
        state
            .before
            .insert("ipv4/conf/eth0/forwarding".into(), "0".into());
        state.save().unwrap();
        drop(state);
        let mut state = State::lock_path(&path).unwrap();
        assert_eq!(state.before.len(), 1);
        state.discard().unwrap();
        drop(state);
        assert!(!path.exists());
    }

    #[test]
    fn holders_take_turns_even_when_the_file_is_removed_in_between() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("uplinks-1.json");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mut state = State::lock_path(&path).unwrap();
                        // Nobody else may be inside now: what one writes, one reads.
                        assert!(state.before.is_empty());
                        state.before.insert("key".into(), "value".into());
                        state.save().unwrap();
                        state.before.clear();
                        state.save().unwrap();
                    }
                });
            }
        });
        assert!(!path.exists());
    }
}
