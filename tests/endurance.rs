//! Long runs, behind a flag: `cargo test --release --test endurance -- --ignored --nocapture`.
//!
//! They look at what belongs to them only (their folder, their cgroups, their process), so other work on the machine does
//! not disturb them; times are printed, not asserted.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "it/support/mod.rs"]
mod support;

use banyan_runtime::{
    container::{ContainerDir, Extras, Launcher, Settings, remove},
    rootfs::RootFs,
};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use support::{BANYAN, Root, can_run_containers};

/// Kilobytes of this process in memory.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn count(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn children() -> String {
    let own = std::process::id();
    fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap()
}

/// Cgroups, mounts and processes that name `mark`.
fn traces(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        for entry in fs::read_dir(hierarchy.path()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains(mark) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let name = process.file_name();
        if name == "self" || name == "thread-self" || name.to_string_lossy() == std::process::id().to_string()
        {
            continue;
        }
        let links = fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        for link in links {
            if fs::read_link(link.path()).is_ok_and(|target| target.display().to_string().contains(mark)) {
                found.push(format!("process {}", process.path().display()));
                break;
            }
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(mark))
            .map(str::to_owned),
    );
    found
}

#[test]
#[ignore = "a minute"]
fn a_thousand_containers_leave_nothing_and_cost_the_same() {
    const ROUNDS: usize = 1000;
    if !can_run_containers() {
        return;
    }
    let place = tempfile::Builder::new().prefix("endure").tempdir().unwrap();
    let mark = place.path().file_name().unwrap().to_string_lossy().into_owned();
    let root = place.path().join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", root.join("bin/true")).unwrap();
    let launcher = Launcher::for_many(Path::new(BANYAN)).unwrap();
    let mut times = Vec::new();
    let mut before = (0, 0);
    for round in 0..ROUNDS {
        // After the first fifty: what a process needs once is no growth.
        if round == 50 {
            before = (resident(), count("/proc/self/fd"));
        }
        let start = Instant::now();
        let id = format!("{mark}-{round}");
        let dir = ContainerDir::new(
            place.path().join("state").join(&id),
            place.path().join("run").join(&id),
        );
        let overlay = RootFs::overlay(
            vec![root.clone()],
            dir.state.join("upper"),
            dir.state.join("work"),
        );
        let settings = Settings::new(&id, overlay, vec!["true".to_owned()]);
        let created = launcher.create(&settings, &dir, Extras::default()).unwrap();
        let mut running = created.start().unwrap();
        assert_eq!(running.wait(None).unwrap().unwrap().code(), 0);
        remove(&dir, false).unwrap();
        running.settle();
        times.push(start.elapsed());
    }
    let after = (resident(), count("/proc/self/fd"));
    let median = |part: &[Duration]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    println!(
        "first 100: {:?}, last 100: {:?} (median); memory {} → {} KiB; descriptors {} → {}",
        median(&times[..100]),
        median(&times[ROUNDS - 100..]),
        before.0,
        after.0,
        before.1,
        after.1
    );
    assert!(
        after.0 <= before.0 + 512,
        "memory grew from {} to {} KiB",
        before.0,
        after.0
    );
    // The other test may have ended meanwhile.
    assert!(
        after.1 <= before.1,
        "descriptors grew from {} to {}",
        before.1,
        after.1
    );
    launcher.rest();
    assert_eq!(children(), "", "processes of ours");
    assert_eq!(count(place.path().join("state").to_str().unwrap()), 0);
    assert_eq!(count(place.path().join("run").to_str().unwrap()), 0);
    assert_eq!(traces(&mark), Vec::<String>::new());
}

/// A million lines, across rotation, while the reader is stopped.
#[test]
#[ignore = "half a minute"]
fn a_million_lines_arrive_once_and_in_order() {
    const LINES: usize = 1_000_000;
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let container = |words: &[&str]| {
        let output = root.banyan().arg("container").args(words).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {error}");
        output.stdout
    };
    let start = Instant::now();
    container(&[
        "create",
        "--name",
        "fast",
        "--log-opt",
        "max-size=1m",
        "busybox",
        "seq",
        &LINES.to_string(),
    ]);
    container(&["start", "fast"]);
    let followed = root.path().join("followed");
    let mut reader = root
        .banyan()
        .args(["container", "logs", "--follow", "fast"])
        .stdout(fs::File::create(&followed).unwrap())
        .spawn()
        .unwrap();
    let signal = |name: &str| {
        let pid = reader.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    std::thread::sleep(Duration::from_millis(200));
    signal("-STOP");
    let code = container(&["wait", "fast"]);
    println!("{LINES} lines written and logged in {:?}", start.elapsed());
    assert_eq!(code, b"0\n");
    signal("-CONT");
    assert!(reader.wait().unwrap().success());
    for (how, text) in [
        ("followed", fs::read(&followed).unwrap()),
        ("read afterwards", container(&["logs", "fast"])),
    ] {
        let text = String::from_utf8(text).unwrap();
        let mut expected = 0;
        for line in text.lines() {
            expected += 1;
            assert_eq!(line, expected.to_string(), "{how}");
        }
        assert_eq!(expected, LINES, "{how}");
    }
    container(&["rm", "fast"]);
    assert_eq!(count(root.path().join("containers").to_str().unwrap()), 0);
}
