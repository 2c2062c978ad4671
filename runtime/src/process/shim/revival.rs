//! Bringing the engine back when it dies.

use super::Shim;
use crate::sys::{clone, exec, pidfd};
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::FdFlags,
};
use std::{
    ffi::CString,
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// How long to wait before looking again whether another shim's revival has worked.
pub(super) const REVIVE_AGAIN: Duration = Duration::from_millis(300);
/// An engine that we started and that lived for less was started in vain: the next one waits, each time twice as long.
const GOOD_LIFE: Duration = Duration::from_secs(10);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revival {
    /// The engine lives, or there is none.
    No,
    /// It is dead; try to start it, from then on.
    Due(Instant),
}

/// How long to wait before an engine is started again after so many that were started in vain.
fn patience(in_vain: u32) -> Duration {
    match in_vain {
        0 => Duration::ZERO,
        _ => (REVIVE_AGAIN * 2_u32.saturating_pow((in_vain - 1).min(16))).min(LONGEST_WAIT),
    }
}

impl Shim {
    /// The engine is dead. One that we started is our child, and reaped. When it gave up soon there may be no sense in
    /// starting it again and again (its root was deleted, say); one that was killed is started at once.
    pub(super) fn engine_ended(&mut self) {
        // Whoever started another engine reaps it.
        let ended = self
            .engine
            .take()
            .and_then(|engine| pidfd::reap(engine.as_fd(), false).ok()?);
        let soon = self
            .revived
            .take()
            .is_some_and(|revived| revived.elapsed() < GOOD_LIFE);
        self.in_vain = match ended {
            Some(pidfd::Ended::Code(_)) if soon => self.in_vain.saturating_add(1),
            _ => 0,
        };
        self.revival = Revival::Due(Instant::now() + patience(self.in_vain));
    }

    /// Starts the engine again, unless another shim is doing so.
    pub(super) fn revive(&mut self) {
        let Some(revive) = self.plan.revive.clone() else {
            self.revival = Revival::No;
            return;
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let Ok(lock) = rustix::fs::open(&revive.lock, flags, Mode::from_raw_mode(0o600)) else {
            return;
        };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        let texts: Option<Vec<CString>> = revive
            .command
            .iter()
            .map(|text| CString::new(text.as_str()).ok())
            .collect();
        let Some(arguments) = texts.filter(|arguments| !arguments.is_empty()) else {
            return;
        };
        match clone::copy_process(&clone::CopyOptions::default()) {
            Ok(clone::Copied::Child) => {
                // The engine holds the lock through its standard input until it has taken over.
                let _ = rustix::process::setsid();
                let _ = rustix::stdio::dup2_stdin(&lock);
                let _ = rustix::io::fcntl_setfd(rustix::stdio::stdin(), FdFlags::empty());
                crate::sys::signals::reset();
                let variables: Vec<CString> = std::env::vars()
                    .filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok())
                    .collect();
                let _ = exec::exec(&arguments[0], &arguments, &variables);
                exec::leave(127);
            }
            Ok(clone::Copied::Parent { pidfd, .. }) => {
                self.engine = Some(pidfd);
                self.revived = Some(Instant::now());
                self.revival = Revival::No;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_started_in_vain_is_started_again_less_and_less_often() {
        let waits: Vec<u128> = (0..6).map(|in_vain| patience(in_vain).as_millis()).collect();
        assert_eq!(waits, [0, 300, 600, 1200, 2400, 4800]);
        assert_eq!(patience(u32::MAX), LONGEST_WAIT);
    }
}
