//! `banyan top`: the processes of containers, as `ps -ef` of the host shows them.

use super::{Exit, Global, Outcome, context, print, ps, table};
use crate::plan::Phase;
use banyan_runtime::container::{ContainerDir, Found};
use clap::Args;

/// Flags of `top`.
#[derive(Debug, Clone, Args)]
pub struct Top {
    /// Only these services
    services: Vec<String>,
}

/// Clock ticks a second in `/proc`: 100 on every Linux (`USER_HZ`).
const TICKS: u64 = 100;

/// Runs it.
///
/// # Errors
/// When the project cannot be read.
pub(super) fn run(global: &Global, args: &Top) -> Outcome {
    let name = context::project_name(global)?;
    let roots = context::roots(global);
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut rows = Vec::new();
    for container in ps::list(global, &name)? {
        let wanted =
            args.services.is_empty() || args.services.iter().any(|s| s == container.slot.service.as_str());
        if !wanted || !matches!(container.phase, Phase::Running | Phase::Paused) {
            continue;
        }
        let dir = ContainerDir::new(roots.container(&container.id), roots.container_run(&container.id));
        let Ok(Found::Running(running)) = banyan_runtime::container::open(&dir) else {
            continue;
        };
        let mut processes = running.processes().unwrap_or_default();
        processes.sort_unstable();
        for pid in processes {
            // A process may have ended meanwhile.
            if let Some(cells) = process(pid, &users) {
                let place = if container.one_off {
                    container.name.clone()
                } else {
                    container.slot.service.to_string()
                };
                let number = if container.one_off {
                    "-".into()
                } else {
                    container.slot.number.to_string()
                };
                rows.push([place, number].into_iter().chain(cells).collect());
            }
        }
    }
    let header = [
        "SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD",
    ];
    print(&table::table(&header, &rows));
    Ok(Exit::Success)
}

/// UID, PID, PPID, C, STIME, TTY, TIME, CMD of a process (proc_pid_stat(5)).
fn process(pid: i32, users: &str) -> Option<[String; 8]> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let stat = read("stat")?;
    // The name is in brackets and may have blanks and brackets itself.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let used = (number(11)? + number(12)?) / TICKS;
    let since_boot = read_uptime()?;
    let age = since_boot.saturating_sub(number(19)? / TICKS);
    let uid = read("status")?.lines().find_map(|line| {
        line.strip_prefix("Uid:")?
            .split_whitespace()
            .next()
            .map(str::to_owned)
    })?;
    let arguments = read("cmdline")?.trim_end_matches('\0').replace('\0', " ");
    Some([
        user(&uid, users),
        pid.to_string(),
        fields.get(1)?.to_string(),
        (used * 100)
            .checked_div(age.max(1))
            .unwrap_or(0)
            .min(99)
            .to_string(),
        started(age),
        terminal(number(4)?),
        format!("{:02}:{:02}:{:02}", used / 3600, used / 60 % 60, used % 60),
        if arguments.is_empty() {
            format!("[{name}]")
        } else {
            arguments
        },
    ])
}

fn read_uptime() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    text.split('.').next()?.parse().ok()
}

/// The host's name of a user, or the number.
fn user(uid: &str, users: &str) -> String {
    let named = users.lines().find_map(|line| {
        let mut parts = line.split(':');
        let (name, number) = (parts.next()?, parts.nth(1)?);
        (number == uid).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| uid.to_owned())
}

/// The time of the start today, else the day.
fn started(age: u64) -> String {
    let now = jiff::Zoned::now();
    let age = jiff::SignedDuration::from_secs(i64::try_from(age).unwrap_or(0));
    let then = now.saturating_sub(age);
    let form = if then.date() == now.date() {
        "%H:%M"
    } else {
        "%b%d"
    };
    then.strftime(form).to_string()
}

/// Majors 136–143 are pseudo-terminals (devices.txt of the kernel).
fn terminal(device: u64) -> String {
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xfff00),
    );
    match major {
        0 => "?".into(),
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        _ => format!("{major}:{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_shown() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let cells = process(pid, "root:x:0:0::/:/bin/sh\n").unwrap();
        assert_eq!(cells[1], pid.to_string());
        assert!(!cells[7].is_empty());
        assert_eq!(terminal(0x8803), "pts/3");
        assert_eq!(user("0", "daemon:x:1:1\nroot:x:0:0\n"), "root");
        assert_eq!(user("7", "root:x:0:0\n"), "7");
    }
}
