//! Health of one container, folded from probe results: pure, with time as an argument.

use crate::model::{HealthCheck, HealthTest, Ready};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, time::Duration};

/// Probe results kept for `ps`, `inspect` and error messages (Docker keeps five).
pub const KEPT: usize = 5;

/// What decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// A command in the container (`healthcheck`).
    Command(HealthTest),
    /// A look from outside (`x-banyan.ready`).
    Ready(Ready),
}

/// A health check with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is tried.
    pub test: Test,
    /// Between the end of one probe and the start of the next.
    pub interval: Duration,
    /// A probe longer than this fails.
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Failures during this time do not count.
    pub start_period: Duration,
    /// Interval during the start period.
    pub start_interval: Duration,
}

impl Probe {
    /// `x-banyan.ready`, with the service's times where it gives any. The image's health check has no say: its times
    /// were chosen for its own test. A look costs little, so while a container starts there are many; later few.
    pub fn of_ready(ready: &Ready, service: Option<&HealthCheck>) -> Self {
        let given = |field: fn(&HealthCheck) -> Option<Duration>| {
            service.and_then(field).filter(|time| !time.is_zero())
        };
        let first = match ready {
            Ready::Tcp(_) => Duration::from_millis(20),
            Ready::Http(_) => Duration::from_millis(50),
            Ready::Exec(_) => Duration::from_millis(250),
            // Found when it is written; the interval only notes that it is still missing.
            Ready::Log(_) => Duration::from_secs(1),
        };
        Self {
            test: Test::Ready(ready.clone()),
            interval: given(|c| c.interval).unwrap_or(Duration::from_secs(5)),
            timeout: given(|c| c.timeout).unwrap_or(Duration::from_secs(5)),
            retries: service.and_then(|c| c.retries).filter(|n| *n > 0).unwrap_or(3),
            start_period: given(|c| c.start_period).unwrap_or(Duration::from_secs(60)),
            start_interval: given(|c| c.start_interval).unwrap_or(first),
        }
    }

    /// The service's check completed by the image's, then by Docker's defaults; `None` when there is no test or it
    /// is switched off.
    pub fn resolve(service: Option<&HealthCheck>, image: Option<&HealthCheck>) -> Option<Self> {
        let pick = |field: fn(&HealthCheck) -> Option<Duration>| {
            service
                .and_then(field)
                .or_else(|| image.and_then(field))
                .filter(|time| !time.is_zero())
        };
        let test = service
            .and_then(|check| check.test.clone())
            .or_else(|| image.and_then(|check| check.test.clone()))
            .filter(|test| *test != HealthTest::None)?;
        let retries = service
            .and_then(|c| c.retries)
            .or_else(|| image.and_then(|c| c.retries));
        Some(Self {
            test: Test::Command(test),
            interval: pick(|c| c.interval).unwrap_or(Duration::from_secs(30)),
            timeout: pick(|c| c.timeout).unwrap_or(Duration::from_secs(30)),
            retries: retries.filter(|n| *n > 0).unwrap_or(3),
            start_period: pick(|c| c.start_period).unwrap_or_default(),
            start_interval: pick(|c| c.start_interval).unwrap_or(Duration::from_secs(5)),
        })
    }
}

/// What a container's health is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No verdict yet.
    Starting,
    /// The last probe succeeded.
    Healthy,
    /// As many probes as `retries` failed in a row.
    Unhealthy,
}

/// One probe's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Nanoseconds since 1970 at its start (for people; nothing is computed from it).
    pub at: i64,
    /// How long it took.
    pub took: Duration,
    /// Exit status; `None`: timed out or could not be run.
    pub exit: Option<u8>,
    /// The first 4096 bytes of its output.
    pub output: String,
}

/// The health of one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// The verdict so far.
    pub status: Status,
    /// Failures in a row that count.
    pub failing: u32,
    /// The latest results, oldest first.
    pub last: VecDeque<Outcome>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            status: Status::Starting,
            failing: 0,
            last: VecDeque::new(),
        }
    }
}

impl Health {
    /// Takes one result, `since_start` after the container's start; true when the status changed.
    pub fn take(&mut self, probe: &Probe, outcome: Outcome, since_start: Duration) -> bool {
        let before = self.status;
        if outcome.exit == Some(0) {
            self.failing = 0;
            self.status = Status::Healthy;
        } else if self.status != Status::Starting || since_start >= probe.start_period {
            self.failing += 1;
            if self.failing >= probe.retries {
                self.status = Status::Unhealthy;
            }
        }
        self.last.push_back(outcome);
        while self.last.len() > KEPT {
            self.last.pop_front();
        }
        before != self.status
    }

    /// The last `most` different results for people, the latest first, each with time, result, duration and the
    /// beginning of its output; every line starts with `indent`.
    pub fn describe(&self, most: usize, indent: &str) -> String {
        let mut text = String::new();
        let mut runs: Vec<(&Outcome, usize)> = Vec::new();
        for outcome in self.last.iter().rev() {
            match runs.last_mut() {
                Some((first, count)) if (first.exit, &first.output) == (outcome.exit, &outcome.output) => {
                    *count += 1;
                }
                _ => runs.push((outcome, 1)),
            }
        }
        for (index, (outcome, count)) in runs.into_iter().take(most).enumerate() {
            let result = match outcome.exit {
                Some(0) => "passed".to_owned(),
                Some(code) => format!("exit status {code}"),
                None => "timed out or could not be run".to_owned(),
            };
            let word = if index == 0 { "last probe" } else { "earlier" };
            let took = outcome.took.as_secs_f64();
            let again = match count {
                1 => String::new(),
                _ => format!(" (and the {} before it)", count - 1),
            };
            text += &format!(
                "{indent}{word}, {}: {result} after {took:.1} s{again}\n",
                clock(outcome.at)
            );
            for line in outcome.output.lines().take(10) {
                text += &format!("{indent}  {line}\n");
            }
        }
        text
    }

    /// How long to wait before the next probe.
    pub fn next_in(&self, probe: &Probe, since_start: Duration) -> Duration {
        if self.status == Status::Starting && since_start < probe.start_period {
            probe.start_interval.min(probe.interval)
        } else {
            probe.interval
        }
    }
}

/// A moment in nanoseconds since 1970 as the local time of day.
fn clock(at: i64) -> String {
    jiff::Timestamp::from_nanosecond(at.into())
        .unwrap_or_default()
        .to_zoned(jiff::tz::TimeZone::system())
        .strftime("%H:%M:%S")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe {
            test: Test::Command(HealthTest::Shell("true".into())),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            retries: 2,
            start_period: Duration::from_secs(10),
            start_interval: Duration::from_secs(1),
        }
    }

    fn result(exit: u8) -> Outcome {
        Outcome {
            at: 0,
            took: Duration::ZERO,
            exit: Some(exit),
            output: String::new(),
        }
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_and_success_ends_it() {
        let (probe, mut health) = (probe(), Health::default());
        for second in 0..9 {
            assert!(!health.take(&probe, result(1), Duration::from_secs(second)));
        }
        assert_eq!(
            health.next_in(&probe, Duration::from_secs(9)),
            Duration::from_secs(1)
        );
        assert!(health.take(&probe, result(0), Duration::from_secs(9)));
        assert_eq!(health.status, Status::Healthy);
        // Once healthy, failures count even inside the start period.
        assert!(!health.take(&probe, result(1), Duration::from_secs(9)));
        assert!(health.take(&probe, result(1), Duration::from_secs(9)));
        assert_eq!(health.status, Status::Unhealthy);
        assert_eq!(health.last.len(), KEPT);
    }

    #[test]
    fn the_service_wins_over_the_image_and_none_switches_off() {
        let image = HealthCheck {
            test: Some(HealthTest::Shell("image".into())),
            interval: Some(Duration::from_secs(7)),
            timeout: None,
            retries: Some(9),
            start_period: None,
            start_interval: None,
        };
        let service = HealthCheck {
            test: None,
            interval: None,
            retries: Some(1),
            ..image.clone()
        };
        let resolved = Probe::resolve(Some(&service), Some(&image)).unwrap();
        assert_eq!(resolved.test, Test::Command(HealthTest::Shell("image".into())));
        assert_eq!((resolved.interval, resolved.retries), (Duration::from_secs(7), 1));
        let off = HealthCheck {
            test: Some(HealthTest::None),
            ..service
        };
        assert_eq!(Probe::resolve(Some(&off), Some(&image)), None);
        assert_eq!(Probe::resolve(None, None), None);
    }

    #[test]
    fn a_look_from_outside_has_times_of_its_own_unless_the_service_gives_some() {
        let ready = Ready::Tcp(3306);
        let probe = Probe::of_ready(&ready, None);
        assert_eq!((probe.interval, probe.retries), (Duration::from_secs(5), 3));
        assert!(probe.start_interval < Duration::from_millis(100));
        let service = HealthCheck {
            test: None,
            interval: Some(Duration::from_secs(2)),
            timeout: None,
            retries: Some(1),
            start_period: Some(Duration::from_secs(9)),
            start_interval: None,
        };
        let probe = Probe::of_ready(&ready, Some(&service));
        assert_eq!((probe.interval, probe.retries), (Duration::from_secs(2), 1));
        assert_eq!(probe.start_period, Duration::from_secs(9));
    }
}
