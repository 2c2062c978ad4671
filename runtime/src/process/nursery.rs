//! The launcher's side of the [`super::zygote`], and the processes that come from it.

use super::{
    launch::{Binary, Started},
    message::{self, Request},
};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A child of this process; reaped only by [`Offspring::wait`].
#[derive(Debug, Default)]
pub(crate) struct Offspring(Option<Pid>);

impl Offspring {
    pub(crate) fn of(pid: i32) -> Self {
        Self(Pid::from_raw(pid))
    }

    /// Its process id, when that is known and it was not waited for.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.0.map(|pid| pid.as_raw_nonzero().get())
    }

    /// Waits for its end and takes it out of the process table. Nothing happens a second time, or when it is not known.
    pub(crate) fn wait(&mut self) {
        let Some(pid) = self.0.take() else { return };
        while let Err(rustix::io::Errno::INTR) = waitpid(Some(pid), WaitOptions::empty()) {}
    }
}

impl From<std::process::Child> for Offspring {
    fn from(child: std::process::Child) -> Self {
        Self(Pid::from_raw(child.id().cast_signed()))
    }
}

/// Holds the zygote and one shim that waits for work, while many containers are made.
#[derive(Debug, Default)]
pub(crate) struct Nursery(Mutex<Living>);

#[derive(Debug, Default)]
struct Living {
    /// More shims will be wanted soon.
    busy: bool,
    zygote: Option<Zygote>,
    /// Our end of the socket of a shim that nobody has asked for anything yet.
    spare: Option<OwnedFd>,
}

#[derive(Debug)]
struct Zygote {
    /// Taken when it is to end.
    socket: Option<OwnedFd>,
    process: Offspring,
}

impl Nursery {
    /// From now on shims are copied; nothing is started before the first is wanted.
    pub(crate) fn expect(&self) {
        self.lock().busy = true;
    }

    /// Has a shim ready for the next one who asks, in so far as that can be had without waiting.
    pub(crate) fn prepare(&self, binary: &Binary) -> io::Result<()> {
        let mut living = self.lock();
        if living.busy && living.spare.is_none() {
            living.spare = Some(living.fork(binary)?);
        }
        Ok(())
    }

    /// Our end of a new shim's socket, where its process id is told; `None` while it rests.
    pub(crate) fn shim(&self, binary: &Binary) -> io::Result<Option<OwnedFd>> {
        let mut living = self.lock();
        match living.spare.take() {
            Some(socket) => Ok(Some(socket)),
            None if living.busy => living.fork(binary).map(Some),
            None => Ok(None),
        }
    }

    /// Lets them go, until many are [expected](Self::expect) again.
    pub(crate) fn rest(&self) {
        let gone = std::mem::take(&mut *self.lock());
        // Their ends are waited for; meanwhile others may ask.
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, Living> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Living {
    fn fork(&mut self, binary: &Binary) -> io::Result<OwnedFd> {
        let (ours, theirs) = message::pair()?;
        let asked = self
            .zygote
            .as_ref()
            .is_some_and(|zygote| zygote.fork(&theirs).is_ok());
        if !asked {
            // None yet, or it was killed.
            self.zygote.insert(Zygote::start(binary)?).fork(&theirs)?;
        }
        Ok(ours)
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        if let Some(socket) = self.spare.take() {
            let started = Started {
                socket,
                shim: Offspring::default(),
            };
            started.give_up();
        }
    }
}

impl Zygote {
    fn start(binary: &Binary) -> io::Result<Self> {
        let (ours, theirs) = message::pair()?;
        let process = binary.spawn(crate::role::SHIM, theirs)?.into();
        message::send(&ours, &Request::Zygote, &[])?;
        Ok(Self {
            socket: Some(ours),
            process,
        })
    }

    fn fork(&self, socket: &OwnedFd) -> io::Result<()> {
        match &self.socket {
            Some(zygote) => message::send(zygote, &Request::Fork, &[socket.as_fd()]),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // It ends with its socket, at once.
        self.socket = None;
        self.process.wait();
    }
}
