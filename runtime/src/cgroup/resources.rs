//! Limits of a container, in the units users and the OCI specification use.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Limits; `None` everywhere means not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory, bytes; −1 is unlimited.
    pub memory: Option<i64>,
    /// Soft memory limit, bytes.
    pub memory_reservation: Option<i64>,
    /// Memory plus swap, bytes; −1 is unlimited; `None` with a memory limit: twice the limit, as Docker does.
    pub memory_swap: Option<i64>,
    /// 0–100.
    pub swappiness: Option<u64>,
    /// Never kill for memory; the process waits instead (v1 only).
    pub oom_kill_disable: bool,
    /// Relative weight of processor time, 2–262144; default 1024.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time per period; −1 is unlimited.
    pub cpu_quota: Option<i64>,
    /// Microseconds, 1 000–1 000 000; default 100 000.
    pub cpu_period: Option<u64>,
    /// Microseconds a cgroup may save up (cpu.max.burst).
    pub cpu_burst: Option<u64>,
    /// Microseconds of real-time scheduling per period (v1 only).
    pub cpu_rt_runtime: Option<i64>,
    /// Microseconds.
    pub cpu_rt_period: Option<u64>,
    /// Idle scheduling (cpu.idle).
    pub cpu_idle: Option<i64>,
    /// Processors: `0-3,5`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Most processes; −1 or 0 is unlimited.
    pub pids: Option<i64>,
    /// Relative weight of block I/O, 10–1000.
    pub io_weight: Option<u64>,
    /// Weight of single devices.
    pub io_weight_device: Vec<Weight>,
    /// Bytes per second read, by device.
    pub read_bps: Vec<BlockDevice>,
    /// Bytes per second written.
    pub write_bps: Vec<BlockDevice>,
    /// Reads per second.
    pub read_iops: Vec<BlockDevice>,
    /// Writes per second.
    pub write_iops: Vec<BlockDevice>,
    /// Files of the v2 cgroup, written last as they are (OCI `linux.resources.unified`).
    pub unified: BTreeMap<String, String>,
}

/// A rate on a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// Per second.
    pub rate: u64,
}

/// A weight on a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// 10–1000.
    pub weight: u64,
}

impl Resources {
    /// Limits a container to `nano` billionths of one processor, as `--cpus` does.
    pub fn set_nano_cpus(&mut self, nano: u64) {
        const PERIOD: u64 = 100_000;
        self.cpu_period = Some(PERIOD);
        // The kernel takes no quota below one millisecond.
        self.cpu_quota = Some(i64::try_from(nano / 10_000).unwrap_or(i64::MAX).max(1_000));
    }

    /// The swap limit in force: asked for, or twice the memory limit.
    pub(in crate::cgroup) fn swap(&self) -> Option<i64> {
        match (self.memory_swap, self.memory) {
            (None | Some(0), Some(memory)) if memory > 0 => Some(memory.saturating_mul(2)),
            (swap, _) => swap.filter(|limit| *limit != 0),
        }
    }
}
