//! What banyan costs and leaves while a service misbehaves for long. Short here; `BANYAN_LONG=1` runs the full lengths:
//! two minutes of a crash loop, ten thousand health checks.

use crate::support::{Project, Root, can_run_containers, engines, wait_until};
use std::{
    fs,
    time::{Duration, Instant},
};

fn long() -> bool {
    std::env::var_os("BANYAN_LONG").is_some()
}

/// The engine's process id.
fn engine(project: &Project<'_>) -> String {
    let found = engines(project);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

/// Processor time of a process and of its children that ended, in hundredths of a second (proc_pid_stat(5), 14–17).
fn ticks(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..15]
        .iter()
        .map(|field| field.parse::<u64>().unwrap())
        .sum()
}

/// Children of a process that ended and were not fetched.
fn zombies(pid: &str) -> usize {
    let children = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        fs::read_to_string(entry.path().join("stat"))
            .ok()
            .and_then(|stat| {
                let rest = stat.rsplit_once(')')?.1.to_owned();
                let mut fields = rest.split_whitespace();
                Some(fields.next()? == "Z" && fields.next()? == pid)
            })
            .unwrap_or(false)
    });
    children.count()
}

#[test]
fn a_crash_loop_costs_little() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "loop",
        "services:\n  a:\n    image: busybox\n    command: [\"false\"]\n    restart: always\n",
    );
    project.ok(&["up", "-d"]);
    let pid = engine(&project);
    // The time that counts is processor time, so a busy machine does not change the result; the short run holds the
    // dense beginning of the back-off (a start each at 0.1, 0.3, 0.7, 1.5, 3.1, 6.3 s) and has room for a debug build.
    let (window, most) = if long() { (120, 0.01) } else { (7, 0.10) };
    let (begun, before) = (Instant::now(), ticks(&pid));
    std::thread::park_timeout(Duration::from_secs(window));
    let elapsed = begun.elapsed().as_secs_f64();
    let used = f64::from(u32::try_from(ticks(&pid) - before).unwrap()) / 100.0;
    let restarts = fs::read_to_string(root.path().join("projects/loop/events.jsonl")).unwrap();
    let restarts = restarts.matches("\"restart\"").count();
    eprintln!(
        "crash loop: {used:.2} s of processor time in {elapsed:.0} s ({:.2} %), {restarts} restarts",
        100.0 * used / elapsed
    );
    assert!(restarts >= 5, "{restarts}");
    assert!(used / elapsed < most, "{used} s in {elapsed} s");
    assert_eq!(zombies(&pid), 0);
}

#[test]
fn health_checks_leave_no_process_and_no_descriptor() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "checks",
        r#"
services:
  a:
    image: busybox
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    # A background child that outlives its probe and holds its output open, as broken checks do.
    healthcheck:
      test: ["CMD", "sh", "-c", "echo x >> /tmp/count; sleep 0.1 &"]
      interval: 1ms
      start_interval: 1ms
"#,
    );
    project.ok(&["up", "-d", "--wait"]);
    let pid = engine(&project);
    let count = || {
        let text = project.ok(&["exec", "-T", "a", "wc", "-l", "/tmp/count"]);
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let descriptors = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    wait_until(60, "the first checks", || (count() >= 10).then_some(()));
    let (wanted, seconds) = if long() { (10_000, 3600) } else { (50, 60) };
    let before = descriptors();
    wait_until(seconds, "all checks", || {
        std::thread::park_timeout(Duration::from_millis(200));
        (count() >= wanted).then_some(())
    });
    // One probe may be under way at any moment: look until there is none.
    let (zombies_left, open) = wait_until(20, "nothing more than before", || {
        let now = (zombies(&pid), descriptors());
        (now.0 == 0 && now.1 <= before).then_some(now)
    });
    eprintln!(
        "{} checks: {zombies_left} zombies, {before} descriptors before, {open} after",
        count()
    );
    assert_eq!(project.container("a")["Health"], "healthy");
}
