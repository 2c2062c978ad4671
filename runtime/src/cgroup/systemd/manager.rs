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
