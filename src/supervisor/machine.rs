//! When a container that ended is started again: a pure state machine with time as an argument.
//!
//! Back-off: 100 ms, doubling to 60 s, back to 100 ms after a run of at least 10 s or a start by the user (Docker's
//! restart manager). `model_test` holds the written table. All times are durations on a monotonic clock since an origin of the caller's, so a clock that jumps changes nothing.

use crate::model::{Restart, RestartCondition};
use std::time::Duration;

/// First delay before a restart.
pub const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Longest delay before a restart.
pub const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run this long counts as good and resets the back-off.
pub const GOOD_RUN: Duration = Duration::from_secs(10);

/// The restart state of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    policy: Restart,
    /// Restarts in a row without a good run between them.
    attempts: u32,
    /// The delay before the next one.
    delay: Duration,
    /// When the current run began.
    started: Duration,
}

/// Why a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status (128 + signal when killed).
    Status(u8),
    /// Because the user asked: `stop`, `kill`, `down`.
    Asked,
    /// Because banyan decided so: it was unhealthy.
    Unhealthy,
}

/// Who started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    /// A command: `up`, `start`, `restart`.
    User,
    /// A [`Verdict::Restart`].
    Policy,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Start it again after this time.
    Restart(Duration),
    /// Leave it.
    Stay,
    /// Leave it: it was restarted this many times in a row, as many as allowed.
    GiveUp(u32),
}

impl Machine {
    /// A container that was started at `now`.
    pub fn new(policy: Restart, now: Duration) -> Self {
        Self {
            policy,
            attempts: 0,
            delay: policy.delay.unwrap_or(FIRST_DELAY),
            started: now,
        }
    }

    /// It runs (again). A start by the user forgets what went wrong before.
    pub fn on_start(&mut self, starter: Starter, now: Duration) {
        if starter == Starter::User {
            *self = Self::new(self.policy, now);
        }
        self.started = now;
    }

    /// Restarts in a row so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// It ended at `now`.
    pub fn on_end(&mut self, ending: Ending, now: Duration) -> Verdict {
        let wanted = match (self.policy.condition, ending) {
            (_, Ending::Asked) | (RestartCondition::No, Ending::Status(_)) => false,
            (_, Ending::Unhealthy) => true,
            (RestartCondition::Always | RestartCondition::UnlessStopped, _) => true,
            (RestartCondition::OnFailure, Ending::Status(status)) => status != 0,
        };
        if !wanted {
            return Verdict::Stay;
        }
        let good = self.policy.window.unwrap_or(GOOD_RUN);
        if now.saturating_sub(self.started) >= good {
            self.attempts = 0;
            self.delay = self.policy.delay.unwrap_or(FIRST_DELAY);
        }
        if self.policy.max_attempts.is_some_and(|most| self.attempts >= most) {
            return Verdict::GiveUp(self.attempts);
        }
        self.attempts += 1;
        let delay = self.delay;
        self.delay = match self.policy.delay {
            Some(fixed) => fixed,
            None => (delay * 2).min(LONGEST_DELAY),
        };
        Verdict::Restart(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(condition: RestartCondition, max_attempts: Option<u32>) -> Restart {
        Restart {
            condition,
            max_attempts,
            delay: None,
            window: None,
        }
    }

    #[test]
    fn each_policy_answers_each_ending_as_the_table_says() {
        use Ending::{Asked, Status, Unhealthy};
        use RestartCondition::{Always, No, OnFailure, UnlessStopped};
        let table = [
            (No, Status(0), false),
            (No, Status(1), false),
            (No, Asked, false),
            (No, Unhealthy, true),
            (Always, Status(0), true),
            (Always, Status(137), true),
            (Always, Asked, false),
            (UnlessStopped, Status(0), true),
            (UnlessStopped, Asked, false),
            (OnFailure, Status(0), false),
            (OnFailure, Status(3), true),
            (OnFailure, Asked, false),
        ];
        for (condition, ending, restarts) in table {
            let verdict =
                Machine::new(policy(condition, None), Duration::ZERO).on_end(ending, Duration::ZERO);
            assert_eq!(
                matches!(verdict, Verdict::Restart(_)),
                restarts,
                "{condition:?} {ending:?}"
            );
        }
    }

    #[test]
    fn delays_double_to_a_minute_and_start_again_after_a_good_run() {
        let mut machine = Machine::new(policy(RestartCondition::Always, None), Duration::ZERO);
        let mut delays = Vec::new();
        for _ in 0..12 {
            let Verdict::Restart(delay) = machine.on_end(Ending::Status(1), Duration::ZERO) else {
                panic!("stays")
            };
            delays.push(delay.as_millis());
        }
        assert_eq!(
            delays,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000
            ]
        );
        machine.on_start(Starter::Policy, Duration::from_secs(100));
        let verdict = machine.on_end(Ending::Status(1), Duration::from_secs(110));
        assert_eq!(verdict, Verdict::Restart(FIRST_DELAY));
    }

    #[test]
    fn gives_up_after_the_attempts_allowed_in_a_row() {
        let mut machine = Machine::new(policy(RestartCondition::OnFailure, Some(2)), Duration::ZERO);
        assert!(matches!(
            machine.on_end(Ending::Status(1), Duration::ZERO),
            Verdict::Restart(_)
        ));
        assert!(matches!(
            machine.on_end(Ending::Status(1), Duration::ZERO),
            Verdict::Restart(_)
        ));
        assert_eq!(
            machine.on_end(Ending::Status(1), Duration::ZERO),
            Verdict::GiveUp(2)
        );
    }
}
