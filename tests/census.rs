//! Nothing is left behind: the leak census around whole projects. A binary of its own, and one test, because the census
//! looks at the whole machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "it/support/mod.rs"]
mod support;

use std::path::Path;
use support::{
    Root, can_run_containers,
    census::{Census, assert_nothing_left},
    victims::{kill, processes_of},
    wait_until,
};

const PROJECT: &str = r#"
services:
  web:
    image: busybox
    command: ["httpd", "-f", "-p", "80", "-h", "/www"]
    ports: ["127.0.0.1::80"]
    volumes: ["data:/data", "/scratch"]
    stop_signal: SIGKILL
  client:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    depends_on: [web]
    networks: [default, back]
networks:
  back: {internal: true}
volumes:
  data: {}
"#;

/// How many times a project goes up and down; `BANYAN_CYCLES=1000` for a soak.
fn cycles() -> usize {
    std::env::var("BANYAN_CYCLES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(50)
}

#[test]
fn up_and_down_leave_the_machine_as_it_was() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("census", PROJECT);
    // The first run makes folders and unpacks the image; the census is about what comes after.
    project.ok(&["up", "-d"]);
    project.ok(&["down", "-v", "-t", "0"]);
    let folders: [&Path; 2] = [root.path(), Path::new("/run/banyan")];
    let before = settled(&folders);
    for _ in 0..cycles() {
        project.ok(&["up", "-d"]);
        project.ok(&["down", "-v", "-t", "0"]);
    }
    assert_nothing_left(&before, &folders, &[]);
    killed_while_running(&root, &folders, &before);
    killed_on_a_shared_network(&root, &folders, &before);
}

/// Two projects on one shared network: both engines are killed, then everything of one of them; each `down` succeeds, and
/// after the last nothing is left.
fn killed_on_a_shared_network(root: &Root, folders: &[&Path], before: &Census) {
    let file =
        format!("{PROJECT}  default: {{external: true, name: edge}}\n").replace("volumes:\n  data: {}\n", "");
    let file = format!("{file}volumes:\n  data: {{}}\n");
    let network = |arguments: &[&str]| {
        let output = root.banyan().arg("network").args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    for victims in [&["engine"][..], &["engine", "banyan-shim"]] {
        network(&["create", "edge"]);
        let projects = [root.project("first", &file), root.project("second", &file)];
        for project in &projects {
            project.ok(&["up", "-d"]);
        }
        let pids: Vec<_> = victims
            .iter()
            .flat_map(|victim| processes_of(root, victim))
            .collect();
        let killed = std::process::Command::new("kill")
            .arg("-9")
            .args(&pids)
            .status()
            .unwrap();
        assert!(killed.success());
        for project in &projects {
            project.ok(&["down", "-v", "-t", "0"]);
        }
        network(&["rm", "edge"]);
        assert_nothing_left(before, folders, &["src"]);
    }
}

/// The census once it no longer changes: the kernel frees namespaces a little later.
fn settled(folders: &[&Path]) -> Census {
    wait_until(10, "a machine that does not change", || {
        let first = Census::take(folders, &[]);
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        (Census::take(folders, &[]) == first).then_some(first)
    })
}

/// Engine and shims are killed at different moments; the next `down` leaves nothing all the same.
fn killed_while_running(root: &Root, folders: &[&Path], before: &Census) {
    for (round, victim) in ["engine", "banyan-shim", "engine"].into_iter().enumerate() {
        let project = root.project("killed", PROJECT);
        project.ok(&["up", "-d"]);
        for pid in processes_of(root, victim) {
            assert!(kill(&pid));
        }
        project.ok(&["down", "-v", "-t", "0"]);
        let mut leaks = Vec::new();
        for _ in 0..100 {
            leaks = Census::take(folders, &["src"]).leaks(before);
            if leaks.is_empty() {
                break;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        assert!(
            leaks.is_empty(),
            "round {round}, {victim} killed; left behind:\n{}",
            leaks.join("\n")
        );
    }
}
