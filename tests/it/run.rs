//! `run` when something is killed.

use crate::support::{Project, Root, can_run_containers, wait_until};
use std::process::{Child, Command, Stdio};

const PROJECT: &str = "services:\n  a: {image: busybox, command: [\"true\"]}\n";

/// `run --rm` of a second's sleep, once its container runs.
fn started(project: &Project<'_>) -> Child {
    let child = project
        .command(&["run", "-T", "--rm", "--name", "brief", "a", "sleep", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(10, "the container", || {
        project.ps().iter().any(|c| c["State"] == "running").then_some(())
    });
    child
}

#[test]
fn a_killed_run_rm_leaves_nothing_when_its_container_has_ended() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("killed", PROJECT);
    let mut child = started(&project);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(project.container("a")["State"], "running");
    wait_until(10, "its removal", || project.ps().is_empty().then_some(()));
}

#[test]
fn an_engine_killed_during_run_rm_comes_back_and_removes_the_container() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("killed", PROJECT);
    let mut child = started(&project);
    let engine = wait_until(5, "the engine", || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|entry| entry.file_name().into_string().ok()?.parse::<u32>().ok())
            .find(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                line.contains(" engine ") && line.contains(&root.path().display().to_string())
            })
    });
    assert!(
        Command::new("/bin/busybox")
            .args(["kill", "-9", &engine.to_string()])
            .status()
            .unwrap()
            .success()
    );
    // The command itself follows the container, not the engine.
    assert!(child.wait().unwrap().success());
    wait_until(10, "its removal", || project.ps().is_empty().then_some(()));
}
