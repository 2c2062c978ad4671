//! `RUN --mount=type=ssh`: a socket of ours in the step, behind which the user's agent answers.
//!
//! The agent's own socket is not mounted: it belongs to the user who builds, and the step's user may be another. Ours
//! has the owner and mode that the mount asks for, and ends with the step.

use rustix::fs::{Mode, OFlags};
use std::{
    fs::Permissions,
    io,
    net::Shutdown,
    os::{
        fd::AsRawFd,
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// The socket; closed when dropped.
#[derive(Debug)]
pub(super) struct AgentSocket {
    path: PathBuf,
    over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl AgentSocket {
    /// Makes the socket `agent` in `folder`; every connection to it is one to `agent`.
    pub(super) fn open(folder: &Path, agent: &Path, owner: (u32, u32), mode: u32) -> io::Result<Self> {
        let path = folder.join("agent");
        let listener = through_directory(folder, |folder| UnixListener::bind(folder.join("agent")))?;
        fs_err::os::unix::fs::chown(&path, Some(owner.0), Some(owner.1))?;
        fs_err::set_permissions(&path, Permissions::from_mode(mode))?;
        let over = Arc::new(AtomicBool::new(false));
        let (ending, agent) = (Arc::clone(&over), agent.to_path_buf());
        let accepting = std::thread::Builder::new().name("agent".into()).spawn(move || {
            for stream in listener.incoming() {
                if ending.load(Ordering::Acquire) {
                    return;
                }
                // An agent that cannot be reached closes the connection, which is what ssh reports.
                if let (Ok(inside), Ok(outside)) = (stream, UnixStream::connect(&agent)) {
                    relay(inside, outside);
                }
            }
        })?;
        Ok(Self {
            path,
            over,
            accepting: Some(accepting),
        })
    }

    /// Where it is on the host.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        // Wakes the thread up to see that it is over.
        let woken = through_directory(folder, |folder| UnixStream::connect(folder.join("agent")));
        if woken.is_ok()
            && let Some(thread) = self.accepting.take()
        {
            thread.join().ok();
        }
    }
}

/// Both directions, each until its end. The threads end with the step's processes, whose ends close then.
fn relay(inside: UnixStream, outside: UnixStream) {
    let (Ok(inside_too), Ok(outside_too)) = (inside.try_clone(), outside.try_clone()) else {
        return;
    };
    let copy = |mut from: UnixStream, mut to: UnixStream| {
        move || {
            io::copy(&mut from, &mut to).ok();
            to.shutdown(Shutdown::Write).ok();
        }
    };
    std::thread::spawn(copy(inside, outside));
    std::thread::spawn(copy(outside_too, inside_too));
}

/// Does something in a directory by a short path: a socket's address holds 107 bytes only (unix(7)).
fn through_directory<T>(folder: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(folder, flags, Mode::empty())?;
    work(Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())))
}
