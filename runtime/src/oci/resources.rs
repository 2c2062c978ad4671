//! `linux.resources` (runtime-spec, config-linux.md, "Control groups") in the runtime's words.

use super::{Refused, spec};
use crate::{
    cgroup::{BlockDevice, Resources, Weight},
    rootfs,
};

/// Limits. What no hierarchy of ours writes is refused by name.
///
/// # Errors
/// Names it.
pub fn resources(written: &spec::Resources) -> Result<Resources, Refused> {
    let lacking = |name: &str| Err(Refused::new(format!("linux.resources.{name} is not supported")));
    if !written.hugepage_limits.is_empty() {
        return lacking("hugepageLimits");
    }
    if !written.rdma.is_empty() {
        return lacking("rdma");
    }
    if let Some(network) = &written.network
        && (network.class_id.is_some_and(|id| id != 0) || !network.priorities.is_empty())
    {
        return lacking("network");
    }
    let mut made = Resources {
        pids: written.pids.and_then(|pids| pids.limit),
        unified: written.unified.clone(),
        ..Resources::default()
    };
    if let Some(memory) = &written.memory {
        // 0 is what Go programs write for "not set"; kernel memory limits mean nothing since Linux 5.4.
        made.memory = memory.limit.filter(|bytes| *bytes != 0);
        made.memory_reservation = memory.reservation.filter(|bytes| *bytes != 0);
        // Not written means not limited here; Docker's doubling is Docker's.
        made.memory_swap = memory
            .swap
            .filter(|bytes| *bytes != 0)
            .or(made.memory.map(|_| -1));
        made.swappiness = memory.swappiness;
        made.oom_kill_disable = memory.disable_oom_killer;
    }
    if let Some(cpu) = &written.cpu {
        made.cpu_shares = cpu.shares.filter(|shares| *shares != 0);
        made.cpu_quota = cpu.quota.filter(|quota| *quota != 0);
        made.cpu_burst = cpu.burst;
        made.cpu_period = cpu.period.filter(|period| *period != 0);
        made.cpu_rt_runtime = cpu.realtime_runtime.filter(|runtime| *runtime != 0);
        made.cpu_rt_period = cpu.realtime_period.filter(|period| *period != 0);
        made.cpu_idle = cpu.idle;
        let list = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        made.cpuset_cpus = list(&cpu.cpus);
        made.cpuset_mems = list(&cpu.mems);
    }
    if let Some(io) = &written.block_io {
        if io.leaf_weight.is_some_and(|weight| weight != 0) {
            return lacking("blockIO.leafWeight");
        }
        made.io_weight = io.weight.filter(|weight| *weight != 0);
        made.io_weight_device = io
            .weight_device
            .iter()
            .filter_map(|one| {
                Some(Weight {
                    major: one.major,
                    minor: one.minor,
                    weight: one.weight?,
                })
            })
            .collect();
        made.read_bps = rates(&io.throttle_read_bps_device);
        made.write_bps = rates(&io.throttle_write_bps_device);
        made.read_iops = rates(&io.throttle_read_iops_device);
        made.write_iops = rates(&io.throttle_write_iops_device);
    }
    Ok(made)
}

fn rates(list: &[spec::Throttle]) -> Vec<BlockDevice> {
    list.iter()
        .map(|one| BlockDevice {
            major: one.major,
            minor: one.minor,
            rate: one.rate,
        })
        .collect()
}

/// Device rules in order, then those every container has (as runc adds them).
pub(super) fn device_rules(written: &[spec::DeviceRule]) -> Result<Vec<String>, Refused> {
    let mut rules = Vec::new();
    for (index, rule) in written.iter().enumerate() {
        let bad = |what: &str| Refused::new(format!("linux.resources.devices[{index}]: {what}"));
        let number = |number: Option<i64>| match number {
            None | Some(-1) => Ok("*".to_owned()),
            Some(number) if number >= 0 => Ok(number.to_string()),
            Some(number) => Err(bad(&format!("`{number}` is no device number"))),
        };
        let access = rule
            .access
            .as_deref()
            .filter(|access| !access.is_empty())
            .unwrap_or("rwm");
        if !access.chars().all(|letter| "rwm".contains(letter)) {
            return Err(bad(&format!("`{access}` is no access: use r, w, m")));
        }
        let (major, minor) = (number(rule.major)?, number(rule.minor)?);
        let kinds: &[&str] = match rule.kind.as_deref().unwrap_or("a") {
            "a" | "" => &["b", "c"],
            "b" => &["b"],
            "c" | "u" => &["c"],
            other => return Err(bad(&format!("`{other}` is no type of device"))),
        };
        let everything = kinds.len() == 2 && major == "*" && minor == "*" && access == "rwm";
        match (everything, rule.allow) {
            (true, false) => rules.clear(),
            (_, allow) => {
                let sign = if allow { "" } else { "!" };
                rules.extend(
                    kinds
                        .iter()
                        .map(|kind| format!("{sign}{kind} {major}:{minor} {access}")),
                );
            }
        }
    }
    rules.extend(rootfs::default_rules());
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_of_all_forgets_what_was_before() {
        let rule = |allow, kind: &str, major, access: &str| spec::DeviceRule {
            allow,
            kind: Some(kind.to_owned()),
            major,
            minor: None,
            access: Some(access.to_owned()),
        };
        let list = [
            rule(true, "c", Some(9), "rwm"),
            rule(false, "a", None, "rwm"),
            rule(true, "b", Some(8), "r"),
            rule(false, "c", Some(10), "w"),
        ];
        let rules = device_rules(&list).unwrap();
        assert_eq!(&rules[..2], ["b 8:* r", "!c 10:* w"]);
        assert!(rules.contains(&"c 1:3 rwm".to_owned()));
        assert!(device_rules(&[rule(true, "q", None, "r")]).is_err());
        assert!(device_rules(&[rule(true, "c", None, "x")]).is_err());
    }
}
