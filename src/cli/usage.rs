//! What a container uses: one look at its counters, and amounts as docker writes them.

use crate::{api::wire::ContainerInfo, state::Roots};
use banyan_runtime::{
    cgroup::Stats as Counters,
    container::{ContainerDir, Found},
};
use std::time::Instant;

/// One look at a container.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    at: Instant,
    /// Its cgroup's counters.
    pub usage: Counters,
    /// Bytes received through its network.
    pub received: u64,
    /// Bytes sent through it.
    pub sent: u64,
}

impl Seen {
    /// Processor use since an earlier look, in percent of one processor.
    pub(super) fn processor_since(&self, before: &Self) -> f64 {
        let used = self
            .usage
            .cpu_nanoseconds
            .saturating_sub(before.usage.cpu_nanoseconds);
        let passed = self.at.duration_since(before.at).as_nanos().max(1);
        used as f64 / passed as f64 * 100.0
    }

    /// Memory used and the most it may use, bytes; `host` is all memory of this machine.
    pub(super) fn memory(&self, host: u64) -> (u64, u64) {
        let limit = self.usage.memory_limit.unwrap_or(host).min(host.max(1));
        (self.usage.memory_working_set, limit)
    }
}

/// Looks at a container now; `None` when it does not run.
pub(super) fn look(roots: &Roots, container: &ContainerInfo) -> Option<Seen> {
    let dir = ContainerDir::new(roots.container(&container.id), roots.container_run(&container.id));
    let Ok(Found::Running(running)) = banyan_runtime::container::open(&dir) else {
        return None;
    };
    let usage = running.stats().ok()?;
    let (received, sent) = traffic(running.pid());
    Some(Seen {
        at: Instant::now(),
        usage,
        received,
        sent,
    })
}

/// Bytes received and sent through the interfaces of a process's network, loopback excluded.
fn traffic(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let mut all = (0, 0);
    for line in text.lines() {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .filter_map(|text| text.parse().ok())
            .collect();
        all.0 += numbers.first().copied().unwrap_or(0);
        all.1 += numbers.get(8).copied().unwrap_or(0);
    }
    all
}

/// All memory of this machine, bytes: the limit of a container without one.
pub(super) fn host_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    total.map_or(0, |kilobytes: u64| kilobytes * 1024)
}

/// `1.5MiB`, as docker shows memory.
pub(super) fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// `1.5MB`, as docker shows transfers.
pub(super) fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

fn scaled(bytes: u64, step: f64, units: &[&str]) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    // Four digits at most, without zeros at the end, as docker's units package prints them.
    let digits = match value {
        _ if unit == 0 || value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_four_digits_at_most() {
        assert_eq!(binary(0), "0B");
        assert_eq!(binary(1536), "1.5KiB");
        assert_eq!(binary(1023), "1023B");
        assert_eq!(decimal(1_234_567), "1.235MB");
        assert_eq!(decimal(999_000_000), "999MB");
    }
}
