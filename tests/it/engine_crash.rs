//! The engine is killed: containers go on, it comes back, nothing is lost.

use crate::support::{Root, can_run_containers, engines, http_get, wait_until};
use std::process::Command;

#[test]
fn a_killed_engine_comes_back_and_its_containers_never_stopped() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "crash",
        r#"
services:
  web:
    image: busybox
    command: ["sh", "-c", "echo up; exec httpd -f -p 80 -h /www"]
    stop_signal: SIGKILL
    ports: ["127.0.0.1::80"]
"#,
    );
    project.ok(&["up", "-d"]);
    let (id, port) = (project.id("web"), project.port("web"));
    wait_until(5, "the page", || http_get(port, "/index.html").ok());
    let before = engines(&project);
    assert_eq!(before.len(), 1, "{before:?}");
    assert!(
        Command::new("kill")
            .args(["-9", &before[0]])
            .status()
            .unwrap()
            .success()
    );
    wait_until(5, "another engine", || {
        let now = engines(&project);
        (now.len() == 1 && now != before).then_some(())
    });
    wait_until(5, "the page again, at the same port", || {
        http_get(port, "/index.html").ok()
    });
    // Before any command connects.
    let back = engines(&project).remove(0);
    assert_eq!(
        shims_of(&back),
        [""; 0],
        "shims for containers that nobody asks for"
    );
    assert_eq!(project.id("web"), id);
    assert_eq!(
        project.ok(&["logs", "--no-log-prefix"]),
        "up\n",
        "the container was started again"
    );
    project.ok(&["up", "-d"]);
    assert_eq!(project.id("web"), id, "the next up recreated it");
    project.ok(&["down"]);
    wait_until(5, "the engine's end", || {
        engines(&project).is_empty().then_some(())
    });
}

#[test]
fn the_engine_ends_with_its_last_container() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "ends",
        "services:\n  a:\n    image: busybox\n    command: [\"sleep\", \"0.3\"]\n",
    );
    project.ok(&["up", "-d"]);
    wait_until(5, "its end", || engines(&project).is_empty().then_some(()));
    let container = project.container("a");
    assert_eq!(
        (&container["State"], &container["ExitCode"]),
        (&"exited".into(), &0.into())
    );
}

#[test]
fn a_killed_shim_is_replaced_and_neither_output_nor_status_is_lost() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "shim",
        r#"
services:
  a:
    image: busybox
    command: ["sh", "-c", "trap 'echo ending; exit 7' TERM; echo one; while :; do sleep 0.05; done"]
"#,
    );
    project.ok(&["up", "-d"]);
    let id = project.id("a");
    wait_until(5, "its first line", || {
        (project.ok(&["logs", "--no-log-prefix"]) == "one\n").then_some(())
    });
    let engine = engines(&project).remove(0);
    let before = shims_of(&engine);
    assert_eq!(before.len(), 1, "{before:?}");
    assert!(
        Command::new("kill")
            .args(["-9", &before[0]])
            .status()
            .unwrap()
            .success()
    );
    wait_until(5, "another shim", || {
        let now = shims_of(&engine);
        (now.len() == 1 && now != before).then_some(())
    });
    assert_eq!(project.container("a")["State"], "running");
    assert_eq!(project.id("a"), id);
    project.ok(&["stop"]);
    assert_eq!(project.container("a")["ExitCode"], 7, "the exit status was lost");
    assert_eq!(project.ok(&["logs", "--no-log-prefix"]), "one\nending\n");
}

/// Process ids of the living shims whose parent is the engine.
fn shims_of(engine: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if fields.get(1) == Some(&engine)
            && fields.first() != Some(&"Z")
            && command.starts_with("banyan-shim")
        {
            found.push(pid);
        }
    }
    found
}

#[test]
fn a_container_at_its_barrier_is_started_by_the_engine_that_comes_back() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "barrier",
        r#"
services:
  web:
    image: busybox
    command: ["sh", "-c", "echo up; exec httpd -f -p 80 -h /www"]
    stop_signal: SIGKILL
    ports: ["127.0.0.1::80"]
"#,
    );
    project.ok(&["create"]);
    let id = project.id("web");
    let before = engines(&project);
    assert_eq!(before.len(), 1, "{before:?}");
    Command::new("kill").args(["-9", &before[0]]).status().unwrap();
    wait_until(5, "another engine", || {
        let now = engines(&project);
        (now.len() == 1 && now != before).then_some(())
    });
    project.ok(&["up", "-d"]);
    assert_eq!(project.id("web"), id);
    let port = project.port("web");
    wait_until(5, "the page", || http_get(port, "/index.html").ok());
    assert_eq!(project.ok(&["logs", "--no-log-prefix"]), "up\n");
    project.ok(&["down", "-t", "0"]);
    assert!(engines(&project).len() <= 1);
}
