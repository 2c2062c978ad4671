//! What a container uses now.

use super::{Cgroup, CgroupError};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Usage of one container since it started, and now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time, nanoseconds.
    pub cpu_nanoseconds: u64,
    /// Of it in user mode, nanoseconds.
    pub cpu_user_nanoseconds: u64,
    /// Of it in the kernel, nanoseconds.
    pub cpu_system_nanoseconds: u64,
    /// Times the processor quota ran out.
    pub cpu_throttled: u64,
    /// Memory, bytes, page cache included.
    pub memory_usage: u64,
    /// Memory without page cache that can go any time, bytes: what Docker shows.
    pub memory_working_set: u64,
    /// The most ever, bytes.
    pub memory_peak: u64,
    /// The limit, bytes; `None`: not limited.
    pub memory_limit: Option<u64>,
    /// Swap, bytes.
    pub swap_usage: u64,
    /// Processes and threads.
    pub pids: u64,
    /// The limit; `None`: not limited.
    pub pids_limit: Option<u64>,
    /// Bytes read from block devices.
    pub io_read_bytes: u64,
    /// Bytes written to block devices.
    pub io_write_bytes: u64,
    /// Processes killed for memory.
    pub oom_kills: u64,
}

/// Page-counter limits above this stand for "none" on v1 (`PAGE_COUNTER_MAX` in bytes).
const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_0000;

impl Cgroup {
    /// Reads usage now.
    ///
    /// # Errors
    /// When the cgroup is gone.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        // One read that fails when the cgroup is gone; missing controllers count as zero.
        self.processes()?;
        let mut stats = Stats {
            oom_kills: self.oom_kills(),
            ..Stats::default()
        };
        if self.v1.is_empty() {
            self.read_v2(&mut stats);
        } else {
            self.read_v1(&mut stats);
        }
        Ok(stats)
    }

    fn read_v1(&self, stats: &mut Stats) {
        if let Some(cpu) = self.directory("cpuacct") {
            stats.cpu_nanoseconds = number(cpu, "cpuacct.usage");
            stats.cpu_user_nanoseconds = number(cpu, "cpuacct.usage_user");
            stats.cpu_system_nanoseconds = number(cpu, "cpuacct.usage_sys");
        }
        if let Some(cpu) = self.directory("cpu") {
            stats.cpu_throttled = field(&text(cpu, "cpu.stat"), "nr_throttled");
        }
        if let Some(memory) = self.directory("memory") {
            stats.memory_usage = number(memory, "memory.usage_in_bytes");
            stats.memory_peak = number(memory, "memory.max_usage_in_bytes");
            let inactive = field(&text(memory, "memory.stat"), "total_inactive_file");
            stats.memory_working_set = stats.memory_usage.saturating_sub(inactive);
            stats.memory_limit =
                Some(number(memory, "memory.limit_in_bytes")).filter(|limit| *limit < V1_UNLIMITED);
            stats.swap_usage =
                number(memory, "memory.memsw.usage_in_bytes").saturating_sub(stats.memory_usage);
        }
        if let Some(pids) = self.directory("pids") {
            stats.pids = number(pids, "pids.current");
            stats.pids_limit = limit(pids, "pids.max");
        }
        if let Some(io) = self.directory("blkio") {
            let lines = text(io, "blkio.throttle.io_service_bytes");
            stats.io_read_bytes = sum(&lines, "Read");
            stats.io_write_bytes = sum(&lines, "Write");
        }
    }

    fn read_v2(&self, stats: &mut Stats) {
        let Some(directory) = &self.v2 else { return };
        let cpu = text(directory, "cpu.stat");
        stats.cpu_nanoseconds = field(&cpu, "usage_usec") * 1000;
        stats.cpu_user_nanoseconds = field(&cpu, "user_usec") * 1000;
        stats.cpu_system_nanoseconds = field(&cpu, "system_usec") * 1000;
        stats.cpu_throttled = field(&cpu, "nr_throttled");
        stats.memory_usage = number(directory, "memory.current");
        stats.memory_peak = number(directory, "memory.peak");
        let inactive = field(&text(directory, "memory.stat"), "inactive_file");
        stats.memory_working_set = stats.memory_usage.saturating_sub(inactive);
        stats.memory_limit = limit(directory, "memory.max");
        stats.swap_usage = number(directory, "memory.swap.current");
        stats.pids = number(directory, "pids.current");
        stats.pids_limit = limit(directory, "pids.max");
        for word in text(directory, "io.stat").split_whitespace() {
            match word.split_once('=') {
                Some(("rbytes", bytes)) => stats.io_read_bytes += bytes.parse().unwrap_or(0),
                Some(("wbytes", bytes)) => stats.io_write_bytes += bytes.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

fn text(directory: &Path, file: &str) -> String {
    std::fs::read_to_string(directory.join(file)).unwrap_or_default()
}

fn number(directory: &Path, file: &str) -> u64 {
    text(directory, file).trim().parse().unwrap_or(0)
}

fn limit(directory: &Path, file: &str) -> Option<u64> {
    text(directory, file).trim().parse().ok()
}

/// `name value` on a line of its own.
fn field(text: &str, name: &str) -> u64 {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// The sum over devices of `major:minor KIND value` lines.
fn sum(text: &str, kind: &str) -> u64 {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (_, name, value) = (words.next()?, words.next()?, words.next()?);
            (name == kind).then(|| value.parse::<u64>().ok())?
        })
        .sum()
}
