//! Limits as cgroup v1 writes them (kernel documentation, admin-guide/cgroup-v1).

use super::Resources;

/// One write: file and value; `optional` ones may be missing (built without swap accounting, an I/O scheduler without
/// weights).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) file: String,
    pub(super) value: String,
    pub(super) optional: bool,
}

pub(super) fn write(file: &str, value: impl ToString) -> Write {
    Write {
        file: file.to_owned(),
        value: value.to_string(),
        optional: false,
    }
}

pub(super) fn optional(file: &str, value: impl ToString) -> Write {
    Write {
        optional: true,
        ..write(file, value)
    }
}

/// Everything to write into the directory of one controller.
pub(super) fn writes(controller: &str, limits: &Resources) -> Vec<Write> {
    let mut list = Vec::new();
    let mut push = |one: Option<Write>| list.extend(one);
    match controller {
        "memory" => {
            // The kernel wants memory ≤ memory+swap at every moment: a growing pair is written again in reverse
            // order by the caller when the first order is refused.
            push(limits.memory.map(|bytes| write("memory.limit_in_bytes", bytes)));
            push(
                limits
                    .swap()
                    .map(|bytes| optional("memory.memsw.limit_in_bytes", bytes)),
            );
            push(
                limits
                    .memory_reservation
                    .map(|bytes| write("memory.soft_limit_in_bytes", bytes)),
            );
            push(
                limits
                    .swappiness
                    .map(|percent| write("memory.swappiness", percent)),
            );
            push(limits.oom_kill_disable.then(|| write("memory.oom_control", 1)));
        }
        "cpu" => {
            push(limits.cpu_shares.map(|shares| write("cpu.shares", shares)));
            push(limits.cpu_period.map(|period| write("cpu.cfs_period_us", period)));
            push(limits.cpu_quota.map(|quota| write("cpu.cfs_quota_us", quota)));
            push(limits.cpu_burst.map(|burst| write("cpu.cfs_burst_us", burst)));
            push(
                limits
                    .cpu_rt_period
                    .map(|period| write("cpu.rt_period_us", period)),
            );
            push(
                limits
                    .cpu_rt_runtime
                    .map(|runtime| write("cpu.rt_runtime_us", runtime)),
            );
            push(limits.cpu_idle.map(|idle| write("cpu.idle", idle)));
        }
        "cpuset" => {
            push(limits.cpuset_cpus.as_ref().map(|list| write("cpuset.cpus", list)));
            push(limits.cpuset_mems.as_ref().map(|list| write("cpuset.mems", list)));
        }
        "pids" => push(limits.pids.map(|most| write("pids.max", unlimited_as_max(most)))),
        "blkio" => {
            push(
                limits
                    .io_weight
                    .map(|weight| optional("blkio.bfq.weight", weight)),
            );
            list.extend(limits.io_weight_device.iter().map(|device| {
                optional(
                    "blkio.bfq.weight_device",
                    format!("{}:{} {}", device.major, device.minor, device.weight),
                )
            }));
            for (file, devices) in [
                ("blkio.throttle.read_bps_device", &limits.read_bps),
                ("blkio.throttle.write_bps_device", &limits.write_bps),
                ("blkio.throttle.read_iops_device", &limits.read_iops),
                ("blkio.throttle.write_iops_device", &limits.write_iops),
            ] {
                let line = |one: &super::BlockDevice| {
                    write(file, format!("{}:{} {}", one.major, one.minor, one.rate))
                };
                list.extend(devices.iter().map(line));
            }
        }
        _ => {}
    }
    list
}

/// `max` for "no limit", in the files that take it.
pub(super) fn unlimited_as_max(value: i64) -> String {
    if value <= 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(controller: &str, limits: &Resources) -> Vec<String> {
        writes(controller, limits)
            .iter()
            .map(|write| format!("{}={}", write.file, write.value))
            .collect()
    }

    #[test]
    fn a_memory_limit_brings_dockers_swap_limit() {
        let limits = Resources {
            memory: Some(1 << 20),
            ..Resources::default()
        };
        assert_eq!(
            lines("memory", &limits),
            [
                "memory.limit_in_bytes=1048576",
                "memory.memsw.limit_in_bytes=2097152"
            ]
        );
    }

    #[test]
    fn cpus_become_quota_and_period() {
        let mut limits = Resources::default();
        limits.set_nano_cpus(1_500_000_000);
        assert_eq!(
            lines("cpu", &limits),
            ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000"]
        );
    }

    #[test]
    fn no_limit_on_processes_is_max() {
        let limits = Resources {
            pids: Some(-1),
            ..Resources::default()
        };
        assert_eq!(lines("pids", &limits), ["pids.max=max"]);
        assert_eq!(lines("pids", &Resources::default()), [""; 0]);
    }
}
