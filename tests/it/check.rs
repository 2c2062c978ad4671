//! `system check` and `system info`.

use crate::support::{Root, can_run_containers, engines, wait_until};
use std::fs;

#[test]
fn check_names_a_damaged_record_and_repair_removes_what_does_not_run() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "whole",
        "services:\n  a: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL}\n  b: {image: busybox, command: ['true']}\n",
    );
    project.ok(&["up", "-d"]);
    let said = project.ok(&["system", "check", "--full"]);
    for part in [
        "overlay file system",
        "cgroups: v",
        "images have all their layers",
        "blobs have their digests",
        "layers have their digests",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    for nothing in ["ok        0 blobs", "ok        0 layers"] {
        assert!(!said.contains(nothing), "{said}");
    }
    project.ok(&["down", "-t", "0"]);
    // A record that a bad disk has damaged, of a container that does not run.
    let id = "0".repeat(64);
    let folder = root.path().join("containers").join(&id);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("service.json"), "{\"id\":").unwrap();
    fs::create_dir_all(root.path().join("run/containers/gone")).unwrap();
    let ran = project.run(&["system", "check"]);
    assert_eq!(ran.code, 69, "{}", ran.all());
    assert!(ran.stdout.contains("service.json is damaged"), "{}", ran.all());
    assert!(ran.stdout.contains("belong to no container"), "{}", ran.all());
    let ran = project.run(&["system", "check", "--repair"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.stdout.contains("repaired"), "{}", ran.all());
    assert!(!folder.exists());
    project.ok(&["system", "check"]);
    let info: serde_json::Value =
        serde_json::from_str(&project.ok(&["system", "info", "--format", "json"])).unwrap();
    assert_eq!(info["Images"], 1);
    assert_eq!(info["Root"], root.path().display().to_string());
}

#[test]
fn a_damaged_record_is_told_written_anew_and_never_in_the_way_of_down() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let text = "services:\n  a: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL, volumes: ['data:/data', /cache]}\n\
                volumes: {data: {}}\n";
    let project = root.project("whole", text);
    project.ok(&["up", "-d"]);
    let id = project.ok(&["ps", "-q"]).trim().to_owned();
    let address = project.ok(&["exec", "-T", "a", "hostname", "-i"]);
    let record = root.path().join("containers").join(&id).join("service.json");
    // Whoever knows the container ends; the next engine finds the damage.
    let damage = || {
        fs::write(&record, "{\"id\":").unwrap();
        for engine in engines(&project) {
            let killed = std::process::Command::new("kill").args(["-9", &engine]).status();
            assert!(killed.unwrap().success());
        }
        wait_until(10, "an engine that does not know it", || {
            let ran = project.run(&["ps", "-aq"]);
            (ran.code == 0 && ran.stdout.is_empty() && ran.stderr.contains("`whole-a-1` is not listed"))
                .then_some(())
        });
    };
    damage();
    let ran = project.run(&["system", "check"]);
    assert_eq!(ran.code, 69, "{}", ran.all());
    assert!(ran.stdout.contains("`whole-a-1`"), "{}", ran.all());
    let ran = project.run(&["system", "check", "--repair"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.stdout.contains("it is written anew"), "{}", ran.all());
    // The next engine takes it over, with its address; nothing was started or stopped for that.
    for engine in engines(&project) {
        let _ = std::process::Command::new("kill").args(["-9", &engine]).status();
    }
    wait_until(10, "the container", || {
        let ran = project.run(&["ps", "-q"]);
        (ran.stdout.trim() == id).then_some(())
    });
    assert_eq!(project.ok(&["exec", "-T", "a", "hostname", "-i"]), address);
    project.ok(&["up", "-d"]);
    assert_eq!(project.container("a")["State"], "running");
    let id = project.ok(&["ps", "-q"]).trim().to_owned();
    let record = root.path().join("containers").join(&id).join("service.json");
    fs::write(&record, "{").unwrap();
    for engine in engines(&project) {
        let _ = std::process::Command::new("kill").args(["-9", &engine]).status();
    }
    // Down removes what it cannot see.
    let ran = project.run(&["down", "-v"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    wait_until(10, "nothing left", || {
        let left = fs::read_dir(root.path().join("containers")).unwrap().count();
        (left == 0).then_some(())
    });
}

#[test]
fn a_shim_whose_root_is_gone_starts_engines_ever_less_often_and_leaves_no_zombie() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "gone",
        "services:\n  a: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL}\n",
    );
    project.ok(&["up", "-d"]);
    let shown: serde_json::Value =
        serde_json::from_str(&project.ok(&["container", "inspect", &project.id("a")])).unwrap();
    let pid = shown[0]["State"]["Pid"].to_string();
    let shim = fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap()
        .lines()
        .find_map(|line| Some(line.strip_prefix("PPid:")?.trim().to_owned()))
        .unwrap();
    // No engine can start where its folder is a file.
    let state = root.path().join("projects");
    fs::rename(&state, root.path().join("away")).unwrap();
    fs::write(&state, "").unwrap();
    for engine in engines(&project) {
        let _ = std::process::Command::new("kill").args(["-9", &engine]).status();
    }
    let begun = std::time::Instant::now();
    let mut seen = std::collections::BTreeSet::new();
    let children = || fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap_or_default();
    // Often: each of them lives for some milliseconds.
    while begun.elapsed().as_secs() < 6 {
        seen.extend(
            children()
                .split_whitespace()
                .map(str::to_owned)
                .filter(|child| *child != pid),
        );
        std::thread::park_timeout(std::time::Duration::from_micros(500));
    }
    // 0, 300, 600, 1200, 2400 ms: five or six, where it was hundreds.
    assert!(
        !seen.is_empty() && seen.len() <= 8,
        "{} engines: {seen:?}",
        seen.len()
    );
    let zombies = children()
        .split_whitespace()
        .filter(|child| {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.contains(") Z ")
        })
        .count();
    assert!(zombies <= 1, "{zombies} zombies");
    // As it was: the root is taken down by its owner.
    fs::remove_file(&state).unwrap();
    fs::rename(root.path().join("away"), &state).unwrap();
    project.ok(&["down", "-t", "0"]);
}
