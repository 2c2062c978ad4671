//! Limits as cgroup v2 writes them (kernel documentation, admin-guide/cgroup-v2.rst, "Controllers").

use super::{
    Resources,
    v1::{Write, optional, unlimited_as_max, write},
};

/// Microseconds of a period where none is given, as the kernel has it.
pub(super) const PERIOD: u64 = 100_000;

/// Everything to write into the container's directory.
pub(super) fn writes(limits: &Resources) -> Vec<Write> {
    let mut list = Vec::new();
    let mut push = |one: Option<Write>| list.extend(one);
    push(
        limits
            .memory
            .map(|bytes| write("memory.max", unlimited_as_max(bytes))),
    );
    push(
        limits
            .swap()
            .map(|total| optional("memory.swap.max", swap_as_written(total, limits.memory))),
    );
    push(
        limits
            .memory_reservation
            .map(|bytes| write("memory.low", bytes.max(0))),
    );
    push(
        limits
            .cpu_shares
            .map(|shares| write("cpu.weight", weight_of_shares(shares))),
    );
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let quota = unlimited_as_max(limits.cpu_quota.unwrap_or(-1));
        push(Some(write(
            "cpu.max",
            format!("{quota} {}", limits.cpu_period.unwrap_or(PERIOD)),
        )));
    }
    push(limits.cpu_burst.map(|burst| write("cpu.max.burst", burst)));
    push(limits.cpu_idle.map(|idle| write("cpu.idle", idle)));
    push(limits.cpuset_cpus.as_ref().map(|cpus| write("cpuset.cpus", cpus)));
    push(limits.cpuset_mems.as_ref().map(|mems| write("cpuset.mems", mems)));
    push(limits.pids.map(|most| write("pids.max", unlimited_as_max(most))));
    push(limits.io_weight.map(|weight| optional("io.bfq.weight", weight)));
    list.extend(limits.io_weight_device.iter().map(|device| {
        optional(
            "io.bfq.weight",
            format!("{}:{} {}", device.major, device.minor, device.weight),
        )
    }));
    for (key, devices) in [
        ("rbps", &limits.read_bps),
        ("wbps", &limits.write_bps),
        ("riops", &limits.read_iops),
        ("wiops", &limits.write_iops),
    ] {
        let line = |one: &super::BlockDevice| {
            write(
                "io.max",
                format!("{}:{} {key}={}", one.major, one.minor, one.rate),
            )
        };
        list.extend(devices.iter().map(line));
    }
    list.extend(limits.unified.iter().map(|(file, value)| write(file, value)));
    list
}

/// v1 counts memory and swap together, v2 swap alone; `None` is no limit.
pub(super) fn swap_alone(total: i64, memory: Option<i64>) -> Option<i64> {
    match memory {
        _ if total < 0 => None,
        Some(memory) if memory > 0 => Some((total - memory).max(0)),
        _ => Some(total),
    }
}

fn swap_as_written(total: i64, memory: Option<i64>) -> String {
    swap_alone(total, memory).map_or_else(|| "max".to_owned(), |bytes| bytes.to_string())
}

/// Shares 2–262144 (default 1024) onto weight 1–10000 (default 100), so that both defaults meet and the ends do too:
/// the quadratic in log space that systemd, crun and runc agreed on in 2025.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    if shares == 0 {
        return 100;
    }
    let shares = shares.clamp(2, 262_144);
    #[expect(clippy::cast_precision_loss, reason = "shares fit in 18 bits")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 10000"
    )]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight.clamp(1, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(limits: &Resources) -> Vec<String> {
        writes(limits)
            .iter()
            .map(|write| format!("{}={}", write.file, write.value))
            .collect()
    }

    #[test]
    fn swap_is_counted_alone() {
        let limits = Resources {
            memory: Some(100),
            memory_swap: Some(150),
            ..Resources::default()
        };
        assert_eq!(lines(&limits), ["memory.max=100", "memory.swap.max=50"]);
        let limits = Resources {
            memory: Some(100),
            memory_swap: Some(-1),
            ..Resources::default()
        };
        assert_eq!(lines(&limits), ["memory.max=100", "memory.swap.max=max"]);
    }

    #[test]
    fn shares_meet_weights_at_both_ends_and_the_default() {
        assert_eq!([2, 1024, 262_144].map(weight_of_shares), [1, 100, 10_000]);
    }

    #[test]
    fn one_cpu_and_a_half() {
        let mut limits = Resources::default();
        limits.set_nano_cpus(1_500_000_000);
        assert_eq!(lines(&limits), ["cpu.max=150000 100000"]);
    }
}
