//! Restart and health against a written table, over random histories in simulated time.
//!
//! The table is independent of the machines: it looks at a whole history from its beginning and says what must hold now,
//! where the machines carry a few numbers from step to step. Both were written from the same sentences:
//!
//! | after a run that ended | restarted? |
//! |---|---|
//! | because the user asked | never |
//! | because it was unhealthy and that restarts it | always |
//! | policy `no` | no |
//! | policy `always`, `unless-stopped` | yes |
//! | policy `on-failure` | when the status is not 0 |
//!
//! * A run of at least 10 s (or `window`) is good. The k-th restart in a row without a good run between waits
//!   `min(100 ms · 2^(k−1), 60 s)`, or always `delay` where that is given.
//! * A start by the user begins a new row.
//! * With `max_attempts` n, the restart that would be number n+1 in such a row does not happen.
//! * Health is the last verdict: a success makes it healthy; `retries` failures in a row make it unhealthy. Until the
//!   first verdict, failures before the end of the start period do not count.

use super::{
    health::{Health, Outcome, Probe, Status, Test},
    machine::{Ending, Machine, Starter, Verdict},
};
use crate::model::{HealthTest, Restart, RestartCondition};
use std::time::Duration;

/// Histories of each kind.
const HISTORIES: u64 = 100_000;

/// Random numbers that are the same on every machine (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        let sides = u64::try_from(list.len()).unwrap();
        list[usize::try_from(self.roll(sides)).unwrap()]
    }
}

/// One run of a container: who started it, how long it lasted, and how it ended.
#[derive(Debug, Clone, Copy)]
struct Run {
    by_user: bool,
    lasted: Duration,
    ending: Ending,
}

/// What the table says after the last of `runs`.
fn restart_by_the_table(policy: Restart, runs: &[Run]) -> Verdict {
    let good = policy.window.unwrap_or(Duration::from_secs(10));
    let asks = |ending: Ending| match (ending, policy.condition) {
        (Ending::Asked, _) => false,
        (Ending::Unhealthy, _) => true,
        (Ending::Status(_), RestartCondition::No) => false,
        (Ending::Status(_), RestartCondition::Always | RestartCondition::UnlessStopped) => true,
        (Ending::Status(status), RestartCondition::OnFailure) => status > 0,
    };
    let Some(last) = runs.last().filter(|run| asks(run.ending)) else {
        return Verdict::Stay;
    };
    // The row of restarts begins at the last start by the user, or after the last good run; every run in it but the last
    // was followed by a restart, or the next would have been started by the user.
    let end = runs.len() - 1;
    let by_user = runs.iter().rposition(|run| run.by_user).unwrap_or(0);
    let good_run = runs.iter().rposition(|run| run.lasted >= good).unwrap_or(0);
    let before = u32::try_from(end - by_user.max(good_run)).unwrap();
    let before = if last.lasted >= good { 0 } else { before };
    if policy.max_attempts.is_some_and(|most| before >= most) {
        return Verdict::GiveUp(before);
    }
    let doubled = Duration::from_millis(100) * 2_u32.pow(before.min(20));
    Verdict::Restart(policy.delay.unwrap_or(doubled.min(Duration::from_secs(60))))
}

#[test]
fn restarts_agree_with_the_table_over_random_histories() {
    use RestartCondition::{Always, No, OnFailure, UnlessStopped};
    let mut verdicts = [0_u64; 3];
    for seed in 0..HISTORIES {
        let dice = &mut Dice::new(seed + 1);
        let policy = Restart {
            condition: dice.of(&[No, Always, UnlessStopped, OnFailure]),
            max_attempts: dice.of(&[None, None, Some(1), Some(2), Some(5)]),
            delay: dice.of(&[None, None, None, Some(Duration::from_secs(3))]),
            window: dice.of(&[None, None, Some(Duration::from_secs(2))]),
        };
        let mut now = Duration::from_millis(dice.roll(100_000));
        let mut machine = Machine::new(policy, now);
        let (mut runs, mut by_user) = (Vec::new(), true);
        for _ in 0..=dice.roll(20) {
            let starter = if by_user { Starter::User } else { Starter::Policy };
            machine.on_start(starter, now);
            // Around the bounds, where mistakes live, as often as anywhere.
            let lasted = match dice.roll(4) {
                0 => Duration::from_millis(dice.of(&[0, 1999, 2000, 9999, 10_000, 10_001])),
                1 => Duration::from_secs(dice.roll(100)),
                _ => Duration::from_millis(dice.roll(3000)),
            };
            let ending = match dice.roll(10) {
                0 => Ending::Asked,
                1 => Ending::Unhealthy,
                2..=4 => Ending::Status(0),
                _ => Ending::Status(dice.of(&[1, 2, 137, 143, 255])),
            };
            now += lasted;
            runs.push(Run {
                by_user,
                lasted,
                ending,
            });
            let said = machine.on_end(ending, now);
            assert_eq!(
                said,
                restart_by_the_table(policy, &runs),
                "seed {seed}: {policy:?} {runs:?}"
            );
            // What stays down is started again by the user, some time later.
            let later = Duration::from_millis(dice.roll(50_000));
            let (kind, wait) = match said {
                Verdict::Restart(delay) => (0, delay),
                Verdict::Stay => (1, later),
                Verdict::GiveUp(_) => (2, later),
            };
            by_user = kind != 0;
            verdicts[kind] += 1;
            now += wait;
        }
    }
    assert!(
        verdicts.iter().all(|count| *count > HISTORIES / 10),
        "every verdict is met often: {verdicts:?}"
    );
}

/// What the table says after these probes: result, and time since the start.
fn health_by_the_table(probe: &Probe, history: &[(Option<u8>, Duration)]) -> (Status, u32) {
    let ok = |(exit, _): &(Option<u8>, Duration)| *exit == Some(0);
    // The first verdict ends the time in which failures may not count.
    let mut verdict = None;
    for end in 1..=history.len() {
        let part = &history[..end];
        let counted = part
            .iter()
            .rev()
            .take_while(|result| !ok(result))
            .filter(|(_, at)| verdict.is_some() || *at >= probe.start_period)
            .count();
        if part.last().is_some_and(ok) {
            verdict = Some(Status::Healthy);
        } else if u32::try_from(counted).unwrap() >= probe.retries {
            verdict = Some(Status::Unhealthy);
        }
    }
    // Failures at the end that count: after a success all do; before the first verdict, those after the start period.
    let last_ok = history.iter().rposition(ok);
    let failing = history[last_ok.map_or(0, |at| at + 1)..]
        .iter()
        .filter(|(_, at)| last_ok.is_some() || *at >= probe.start_period)
        .count();
    (
        verdict.unwrap_or(Status::Starting),
        u32::try_from(failing).unwrap(),
    )
}

#[test]
fn health_agrees_with_the_table_over_random_histories() {
    let mut statuses = [0_u64; 3];
    for seed in 0..HISTORIES {
        let dice = &mut Dice::new(seed + 1);
        let seconds = |number| Duration::from_secs(number);
        let probe = Probe {
            test: Test::Command(HealthTest::Shell("true".into())),
            interval: seconds(dice.of(&[1, 5, 30])),
            timeout: seconds(5),
            retries: dice.of(&[1, 2, 3, 5]),
            start_period: seconds(dice.of(&[0, 0, 3, 20])),
            start_interval: seconds(dice.of(&[1, 2, 60])),
        };
        let good = dice.of(&[1, 5, 9]);
        let (mut health, mut history) = (Health::default(), Vec::new());
        let mut now = Duration::ZERO;
        for _ in 0..=dice.roll(20) {
            let wait = health.next_in(&probe, now);
            let in_start = health.status == Status::Starting && now < probe.start_period;
            let expected = if in_start {
                probe.start_interval.min(probe.interval)
            } else {
                probe.interval
            };
            assert_eq!(wait, expected, "seed {seed}");
            let took = Duration::from_millis(dice.roll(5001));
            now += wait + took;
            let exit = match dice.roll(10) {
                roll if roll < good => Some(0),
                9 => None,
                roll => Some(u8::try_from(roll).unwrap().max(1)),
            };
            history.push((exit, now));
            let before = health.status;
            let outcome = Outcome {
                at: 0,
                took,
                exit,
                output: String::new(),
            };
            let changed = health.take(&probe, outcome, now);
            let (status, failing) = health_by_the_table(&probe, &history);
            assert_eq!(
                (health.status, health.failing),
                (status, failing),
                "seed {seed}: {probe:?} {history:?}"
            );
            assert_eq!(changed, before != status, "seed {seed}");
            assert_eq!(health.last.len(), history.len().min(5), "seed {seed}");
            statuses[match status {
                Status::Starting => 0,
                Status::Healthy => 1,
                Status::Unhealthy => 2,
            }] += 1;
        }
    }
    assert!(
        statuses.iter().all(|count| *count > HISTORIES / 10),
        "every state is met often: {statuses:?}"
    );
}
