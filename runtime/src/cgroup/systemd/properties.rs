//! Limits as properties of a unit (systemd.resource-control(5)).
//!
//! They are written into the cgroup all the same, exactly. systemd must know of them nevertheless: it writes what it knows
//! whenever it applies a unit's settings again (`set-property`, a reload after a change), and what it was never told it
//! writes as unlimited.

use super::{
    super::{Resources, v2},
    wire::{Property, Value},
};

/// What a scope of these limits has; only those that systemd has words for.
pub(crate) fn limits(limits: &Resources) -> Vec<Property> {
    let mut list = Vec::new();
    let mut set = |name: &str, value: Value| list.push((name.to_owned(), value));
    if let Some(bytes) = limits.memory {
        set("MemoryMax", bound(bytes));
    }
    if let Some(total) = limits.swap() {
        // 0 is a limit here.
        let most = v2::swap_alone(total, limits.memory).and_then(|bytes| u64::try_from(bytes).ok());
        set("MemorySwapMax", Value::Uint64(most.unwrap_or(u64::MAX)));
    }
    if let Some(bytes) = limits.memory_reservation {
        set("MemoryLow", Value::Uint64(u64::try_from(bytes).unwrap_or(0)));
    }
    if let Some(shares) = limits.cpu_shares {
        set("CPUWeight", Value::Uint64(v2::weight_of_shares(shares)));
    }
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let period = limits.cpu_period.unwrap_or(v2::PERIOD);
        set("CPUQuotaPeriodUSec", Value::Uint64(period));
        let quota = limits.cpu_quota.and_then(|quota| u64::try_from(quota).ok());
        set(
            "CPUQuotaPerSecUSec",
            Value::Uint64(
                quota
                    .filter(|quota| *quota > 0)
                    .map_or(u64::MAX, |quota| per_second(quota, period)),
            ),
        );
    }
    if let Some(most) = limits.pids {
        set("TasksMax", bound(most));
    }
    for (name, written) in [
        ("AllowedCPUs", &limits.cpuset_cpus),
        ("AllowedMemoryNodes", &limits.cpuset_mems),
    ] {
        // A list that is none is the kernel's to refuse, with the file's name.
        if let Some(bits) = written.as_deref().and_then(bits) {
            set(name, Value::Bytes(bits));
        }
    }
    for (file, value) in &limits.unified {
        list.extend(of_file(file, value.trim()));
    }
    list
}

/// A limit where nothing, 0 or less means that there is none.
fn bound(value: i64) -> Value {
    Value::Uint64(
        u64::try_from(value)
            .ok()
            .filter(|value| *value > 0)
            .unwrap_or(u64::MAX),
    )
}

/// Microseconds of processor time in a second; `quota` of them are in a `period`.
fn per_second(quota: u64, period: u64) -> u64 {
    let exact = u128::from(quota) * 1_000_000 / u128::from(period.max(1));
    u64::try_from(exact).unwrap_or(u64::MAX).max(1)
}

/// A file of the cgroup that was written as it is (`linux.resources.unified`): the properties that are the same; none for
/// files that systemd does not write.
fn of_file(file: &str, value: &str) -> Vec<Property> {
    let number = || match value {
        "max" => Some(Value::Uint64(u64::MAX)),
        value => value.parse().ok().map(Value::Uint64),
    };
    let one =
        |name: &str, value: Option<Value>| value.map(|value| (name.to_owned(), value)).into_iter().collect();
    match file {
        "memory.max" => one("MemoryMax", number()),
        "memory.high" => one("MemoryHigh", number()),
        "memory.low" => one("MemoryLow", number()),
        "memory.min" => one("MemoryMin", number()),
        "memory.swap.max" => one("MemorySwapMax", number()),
        "cpu.weight" => one("CPUWeight", number()),
        "pids.max" => one("TasksMax", number().filter(|value| *value != Value::Uint64(0))),
        "cpuset.cpus" => one("AllowedCPUs", bits(value).map(Value::Bytes)),
        "cpuset.mems" => one("AllowedMemoryNodes", bits(value).map(Value::Bytes)),
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let quota = words.next().unwrap_or("max");
            let period = words
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(v2::PERIOD);
            let quota = match quota {
                "max" => u64::MAX,
                quota => match quota.parse() {
                    Ok(quota) => per_second(quota, period),
                    Err(_) => return Vec::new(),
                },
            };
            vec![
                ("CPUQuotaPeriodUSec".to_owned(), Value::Uint64(period)),
                ("CPUQuotaPerSecUSec".to_owned(), Value::Uint64(quota)),
            ]
        }
        _ => Vec::new(),
    }
}

/// A list like `0-3,7` as a set of bits, lowest first; `None`: it is no such list.
fn bits(list: &str) -> Option<Vec<u8>> {
    /// More processors than any kernel is built for.
    const MOST: usize = 8192;
    let mut bytes: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        bytes.resize(bytes.len().max(last / 8 + 1), 0);
        for number in first..=last {
            bytes[number / 8] |= 1 << (number % 8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(of: &Resources) -> Vec<String> {
        limits(of)
            .into_iter()
            .map(|(name, value)| match value {
                Value::Uint64(u64::MAX) => format!("{name}=infinity"),
                Value::Uint64(number) => format!("{name}={number}"),
                value => format!("{name}={value:?}"),
            })
            .collect()
    }

    #[test]
    fn limits_become_properties() {
        let limits = Resources {
            memory: Some(64 << 20),
            memory_swap: Some(-1),
            memory_reservation: Some(1 << 20),
            cpu_shares: Some(1024),
            cpu_quota: Some(150_000),
            pids: Some(20),
            cpuset_cpus: Some("0-1,9".to_owned()),
            ..Resources::default()
        };
        assert_eq!(
            told(&limits),
            [
                "MemoryMax=67108864",
                "MemorySwapMax=infinity",
                "MemoryLow=1048576",
                "CPUWeight=100",
                "CPUQuotaPeriodUSec=100000",
                "CPUQuotaPerSecUSec=1500000",
                "TasksMax=20",
                "AllowedCPUs=Bytes([3, 2])",
            ]
        );
        assert!(told(&Resources::default()).is_empty());
    }

    #[test]
    fn no_limit_is_infinity_and_never_zero() {
        let limits = Resources {
            memory: Some(-1),
            cpu_quota: Some(-1),
            cpu_period: Some(50_000),
            pids: Some(0),
            ..Resources::default()
        };
        assert_eq!(
            told(&limits),
            [
                "MemoryMax=infinity",
                "CPUQuotaPeriodUSec=50000",
                "CPUQuotaPerSecUSec=infinity",
                "TasksMax=infinity",
            ]
        );
    }

    #[test]
    fn files_that_were_written_as_they_are_are_told_too() {
        for (file, value, expected) in [
            ("memory.high", "max", &["MemoryHigh=infinity"][..]),
            ("memory.swap.max", " 0\n", &["MemorySwapMax=0"]),
            (
                "cpu.max",
                "50000",
                &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=500000"],
            ),
            (
                "cpu.max",
                "max 20000",
                &["CPUQuotaPeriodUSec=20000", "CPUQuotaPerSecUSec=infinity"],
            ),
            ("pids.max", "7", &["TasksMax=7"]),
            ("cpuset.cpus", "1", &["AllowedCPUs=Bytes([2])"]),
            ("memory.oom.group", "1", &[]),
            ("cpu.weight", "many", &[]),
        ] {
            let limits = Resources {
                unified: [(file.to_owned(), value.to_owned())].into(),
                ..Resources::default()
            };
            assert_eq!(told(&limits), expected, "{file}");
        }
    }

    #[test]
    fn lists_of_processors_are_bits() {
        assert_eq!(bits("0"), Some(vec![1]));
        assert_eq!(bits("0-2, 8"), Some(vec![7, 1]));
        for list in ["", "a", "3-1", "1-", "99999"] {
            assert_eq!(bits(list), None, "{list}");
        }
    }
}
