//! Watching trees of files for changes (inotify(7)).
//!
//! The kernel watches single directories; this keeps one watch for each directory of a tree and adds those that appear.
//! Files that were written before the watch of a new directory existed are reported when it is added, so nothing is lost
//! in between; a change may be reported twice.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

/// Says which directories need not be watched.
type Skip = Box<dyn Fn(&Path) -> bool + Send>;

/// Watched trees.
pub struct TreeWatch {
    inotify: OwnedFd,
    directories: BTreeMap<i32, PathBuf>,
    roots: Vec<PathBuf>,
    skip: Skip,
}

impl fmt::Debug for TreeWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeWatch")
            .field("roots", &self.roots)
            .field("directories", &self.directories.len())
            .finish_non_exhaustive()
    }
}

impl TreeWatch {
    /// Watches nothing yet; directories for which `skip` is true are never watched, nor what is below them.
    ///
    /// # Errors
    /// When the user's limit of inotify instances is reached.
    pub fn new(skip: impl Fn(&Path) -> bool + Send + 'static) -> io::Result<Self> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            directories: BTreeMap::new(),
            roots: Vec::new(),
            skip: Box::new(skip),
        })
    }

    /// Watches a file, or a directory with everything below it. Symbolic links below it are not followed.
    ///
    /// # Errors
    /// When it does not exist, or the user's limit of watches is reached (`fs.inotify.max_user_watches`).
    pub fn add(&mut self, root: &Path) -> io::Result<()> {
        self.roots.push(root.to_owned());
        // A file is replaced by editors: its directory is watched, and the caller picks what it wants.
        let directory = if root.is_dir() {
            root
        } else {
            root.parent().unwrap_or(root)
        };
        self.add_below(directory, root.is_dir(), &mut BTreeSet::new())
    }

    fn add_below(&mut self, directory: &Path, deep: bool, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let events = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        let watch = match inotify::add_watch(&self.inotify, directory, events) {
            Ok(watch) => watch,
            // Gone again already.
            Err(Errno::NOENT | Errno::NOTDIR) if !found.is_empty() => return Ok(()),
            Err(Errno::NOSPC) => {
                return Err(io::Error::other(
                    "too many folders to watch: raise the setting fs.inotify.max_user_watches",
                ));
            }
            Err(errno) => return Err(errno.into()),
        };
        self.directories.insert(watch, directory.to_owned());
        if !deep {
            return Ok(());
        }
        for entry in std::fs::read_dir(directory)?.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !(self.skip)(&path) {
                    self.add_below(&path, true, found)?;
                }
            } else {
                found.insert(path);
            }
        }
        Ok(())
    }

    /// Waits at most `timeout` for changes and gives the paths concerned (written, made, moved or gone); empty when
    /// nothing happened. When the kernel dropped events because there were too many, the roots are given.
    ///
    /// # Errors
    /// When the kernel's list cannot be read.
    pub fn changes(&mut self, timeout: Duration) -> io::Result<BTreeSet<PathBuf>> {
        let mut changed = BTreeSet::new();
        let limit = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut list = [PollFd::new(&self.inotify, PollFlags::IN)];
        match poll(&mut list, Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => return Ok(changed),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut appeared = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                changed.extend(self.roots.iter().cloned());
                continue;
            }
            if event.events().contains(ReadFlags::IGNORED) {
                self.directories.remove(&event.wd());
                continue;
            }
            let (Some(directory), Some(name)) = (self.directories.get(&event.wd()), event.file_name()) else {
                continue;
            };
            let path = directory.join(String::from_utf8_lossy(name.to_bytes()).as_ref());
            let is_new = event.events().intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            if event.events().contains(ReadFlags::ISDIR) && is_new {
                appeared.push(path);
            } else {
                changed.insert(path);
            }
        }
        let watches_below = |path: &Path| self.roots.iter().any(|root| path.starts_with(root));
        appeared.retain(|path| watches_below(path) && !(self.skip)(path));
        for path in appeared {
            changed.insert(path.clone());
            self.add_below(&path, true, &mut changed)?;
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn collect(watch: &mut TreeWatch, wanted: usize) -> BTreeSet<PathBuf> {
        let mut all = BTreeSet::new();
        for _ in 0..50 {
            all.extend(watch.changes(Duration::from_millis(100)).unwrap());
            if all.len() >= wanted {
                break;
            }
        }
        all
    }

    #[test]
    fn changes_in_folders_that_appear_later_are_seen_and_skipped_ones_are_not() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().to_owned();
        fs::create_dir(root.join("skipped")).unwrap();
        let mut watch = TreeWatch::new(|path| path.ends_with("skipped")).unwrap();
        watch.add(&root).unwrap();
        fs::write(root.join("skipped/file"), "x").unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "x").unwrap();
        let seen = collect(&mut watch, 3);
        assert!(seen.contains(&root.join("a/b/file")), "{seen:?}");
        assert!(!seen.contains(&root.join("skipped/file")), "{seen:?}");
        fs::remove_file(root.join("a/b/file")).unwrap();
        assert!(collect(&mut watch, 1).contains(&root.join("a/b/file")));
        assert!(watch.changes(Duration::from_millis(20)).unwrap().is_empty());
    }
}
