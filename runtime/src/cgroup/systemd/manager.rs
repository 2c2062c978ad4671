//! What systemd is asked for: units started and stopped, properties changed (org.freedesktop.systemd1(5)).

use super::{
    SystemdError,
    connection::Connection,
    message::Method,
    wire::{Property, Writer},
};
use std::time::Duration;

/// Says that a unit of this name is there already.
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
/// Says that there is no such unit.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

pub(super) const fn method(name: &'static str, signature: &'static str) -> Method {
    Method {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        name,
        signature,
    }
}

/// systemd, connected.
#[derive(Debug)]
pub struct Manager {
    connection: Connection,
}

/// Whether a unit was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It is active.
    Yes,
    /// It, or a unit to be made with it, was there already; nothing was done.
    Exists,
}

impl Manager {
    /// Connects; everything that is asked of it takes no longer than `patience`, all together.
    ///
    /// # Errors
    /// When systemd cannot be reached, or does not take us for root.
    pub fn connect(patience: Duration) -> Result<Self, SystemdError> {
        Ok(Self {
            connection: Connection::open(patience)?,
        })
    }

    /// Makes and starts a unit that exists until it stops, and one more that it needs, if that is given; returns when it is
    /// active.
    ///
    /// # Errors
    /// When systemd refuses, or the job fails.
    pub fn start_transient(
        &mut self,
        unit: &str,
        properties: &[Property],
        with: Option<(&str, &[Property])>,
    ) -> Result<Begun, SystemdError> {
        let mut body = Writer::default();
        body.text(unit);
        // A job that stops a unit of this name gives way.
        body.text("replace");
        body.properties(properties);
        body.array(8, |to| {
            if let Some((name, properties)) = with {
                to.align(8);
                to.text(name);
                to.properties(properties);
            }
        });
        let method = method("StartTransientUnit", "ssa(sv)a(sa(sv))");
        match self.connection.call(&method, &body.into_bytes(), unit) {
            Ok(answer) => {
                let job = answer.text().unwrap_or_default().to_owned();
                self.wait(&job, unit, "start").map(|()| Begun::Yes)
            }
            Err(SystemdError::Refused { name, .. }) if name == UNIT_EXISTS => Ok(Begun::Exists),
            Err(error) => Err(error),
        }
    }

    /// Stops a unit and waits until it has stopped; one that is not there is fine.
    ///
    /// # Errors
    /// When systemd refuses, or the job fails.
    pub fn stop(&mut self, unit: &str) -> Result<(), SystemdError> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        match self
            .connection
            .call(&method("StopUnit", "ss"), &body.into_bytes(), unit)
        {
            Ok(answer) => {
                let job = answer.text().unwrap_or_default().to_owned();
                self.wait(&job, unit, "stop")
            }
            Err(SystemdError::Refused { name, .. }) if name == NO_SUCH_UNIT => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Forgets that a unit failed, so that it can go; one that is not there is fine.
    ///
    /// # Errors
    /// When systemd refuses.
    pub fn reset_failed(&mut self, unit: &str) -> Result<(), SystemdError> {
        let mut body = Writer::default();
        body.text(unit);
        match self
            .connection
            .call(&method("ResetFailedUnit", "s"), &body.into_bytes(), unit)
        {
            Err(SystemdError::Refused { name, .. }) if name == NO_SUCH_UNIT => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Changes properties of a unit for as long as it is there.
    ///
    /// # Errors
    /// When systemd refuses one of them.
    pub fn set_properties(&mut self, unit: &str, properties: &[Property]) -> Result<(), SystemdError> {
        let mut body = Writer::default();
        body.text(unit);
        body.bool(true);
        body.properties(properties);
        self.connection
            .call(&method("SetUnitProperties", "sba(sv)"), &body.into_bytes(), unit)
            .map(drop)
    }

    /// Waits until a job is over. It cannot be over before the call that made it was answered, and signals that came before
    /// that answer are kept: none is missed.
    fn wait(&mut self, job: &str, unit: &str, verb: &'static str) -> Result<(), SystemdError> {
        loop {
            let (member, body) = self.connection.signal()?;
            if member != "JobRemoved" || body.signature != "uoss" {
                continue;
            }
            let mut reader = body.reader();
            let (Ok(_), Ok(path), Ok(_), Ok(result)) =
                (reader.uint32(), reader.text(), reader.text(), reader.text())
            else {
                continue;
            };
            if path != job {
                continue;
            }
            return match result {
                // `skipped`: it was in that state already.
                "done" | "skipped" => Ok(()),
                result => Err(SystemdError::Job {
                    verb,
                    unit: unit.to_owned(),
                    result: result.to_owned(),
                }),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::systemd::message::{PREFIX, length, sample};
    use std::{
        io::{Read, Write},
        os::unix::net::UnixListener,
    };

    /// Asks a systemd that answers each call with what `says` makes of its serial, one after the other.
    fn with<T>(says: Vec<fn(u32) -> Vec<u8>>, ask: impl FnOnce(&mut Manager) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let systemd = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut greeting = Vec::new();
            while !greeting.ends_with(b"BEGIN\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                greeting.extend(byte);
            }
            stream.write_all(b"OK 0\r\n").unwrap();
            for answer in says {
                let mut call = vec![0; PREFIX];
                stream.read_exact(&mut call).unwrap();
                let mut rest = vec![0; length(&call).unwrap() - PREFIX];
                stream.read_exact(&mut rest).unwrap();
                let serial = u32::from_le_bytes(call[8..12].try_into().unwrap());
                stream.write_all(&answer(serial)).unwrap();
            }
        });
        let connection = Connection::at(&path, Duration::from_secs(5)).unwrap();
        let asked = ask(&mut Manager { connection });
        systemd.join().unwrap();
        asked
    }

    fn start(answer: fn(u32) -> Vec<u8>) -> Result<Begun, SystemdError> {
        with(vec![answer], |manager| {
            manager.start_transient("a.scope", &[], Some(("a.slice", &[])))
        })
    }

    #[test]
    fn a_unit_is_started_when_its_own_job_is_done() {
        // Another job is over before the answer comes, and one between it and ours.
        let begun = start(|serial| {
            [
                sample::removed("/job/1", "failed"),
                sample::job(serial, "/job/2"),
                sample::removed("/job/3", "failed"),
                sample::removed("/job/2", "done"),
            ]
            .concat()
        });
        assert_eq!(begun.unwrap(), Begun::Yes);
        // Ours is told of first.
        let begun =
            start(|serial| [sample::removed("/job/2", "done"), sample::job(serial, "/job/2")].concat());
        assert_eq!(begun.unwrap(), Begun::Yes);
    }

    #[test]
    fn failures_say_what_systemd_says() {
        let failed = start(|serial| {
            [
                sample::job(serial, "/job/2"),
                sample::removed("/job/2", "timeout"),
            ]
            .concat()
        });
        let told = failed.unwrap_err().to_string();
        assert_eq!(
            told,
            "systemd could not start `a.scope`: its job ended as `timeout`"
        );
        let refused = start(|serial| sample::refusal(serial, "x.Denied", "not you"));
        let told = refused.unwrap_err().to_string();
        assert_eq!(
            told,
            "systemd refuses StartTransientUnit of `a.scope`: not you (x.Denied)"
        );
        let exists = start(|serial| sample::refusal(serial, UNIT_EXISTS, "there"));
        assert_eq!(exists.unwrap(), Begun::Exists);
    }

    #[test]
    fn what_is_not_there_needs_no_stopping() {
        let missing = |serial| sample::refusal(serial, NO_SUCH_UNIT, "not loaded");
        with(vec![missing, missing], |manager| {
            manager.stop("a.scope").unwrap();
            manager.reset_failed("a.scope").unwrap();
        });
        with(
            vec![|serial| [sample::job(serial, "/job/5"), sample::removed("/job/5", "done")].concat()],
            |manager| manager.stop("a.scope").unwrap(),
        );
        let refused = with(
            vec![|serial| sample::refusal(serial, "x.Bad", "no such property")],
            |manager| manager.set_properties("a.scope", &[]),
        );
        assert!(refused.is_err());
    }
}
