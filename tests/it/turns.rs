//! Operations of one project take turns: whose wait or work Ctrl-C ends, and what happens to work nobody waits for.

use crate::support::{Project, Ran, Root, can_run_containers, victims::kill, wait_until};
use std::process::{Child, Command, Stdio};

/// `web` waits for the health of `db`, which comes when the test says so.
const SLOW: &str = r#"
services:
  db:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    volumes: ["./said:/said"]
    healthcheck: {test: "test -e /said/healthy", interval: 50ms, start_period: 10m, start_interval: 50ms}
  web:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    depends_on: {db: {condition: service_healthy}}
"#;

fn begin(project: &Project<'_>, arguments: &[&str]) -> Child {
    let mut command = project.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
}

fn end(child: Child) -> Ran {
    Ran::new(&[], child.wait_with_output().unwrap())
}

fn slow<'a>(root: &'a Root, name: &str) -> (Project<'a>, Child) {
    let project = root.project(name, SLOW);
    std::fs::create_dir(project.folder.join("said")).unwrap();
    let up = begin(&project, &["up", "-d"]);
    wait_until(10, "db, which web waits for", || {
        project
            .ps()
            .iter()
            .any(|container| container["Service"] == "db" && container["State"] == "running")
            .then_some(())
    });
    (project, up)
}

#[test]
fn whoever_stops_waiting_for_its_turn_stops_nobody_else() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let (project, up) = slow(&root, "waiting");
    let restart = begin(&project, &["restart", "db"]);
    // It has connected and been told to wait.
    std::thread::park_timeout(std::time::Duration::from_millis(300));
    interrupt(&restart);
    let ran = end(restart);
    assert_eq!(ran.code, 130, "{}", ran.all());
    assert!(ran.all().contains("interrupted"), "{}", ran.all());
    std::fs::write(project.folder.join("said/healthy"), "").unwrap();
    let ran = end(up);
    assert_eq!(ran.code, 0, "the first one was stopped: {}", ran.all());
    assert_eq!(project.container("web")["State"], "running");
    project.ok(&["down"]);
}

#[test]
fn whoever_works_is_stopped_by_its_own_interrupt() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let (project, up) = slow(&root, "working");
    interrupt(&up);
    let ran = end(up);
    assert_eq!(ran.code, 130, "{}", ran.all());
    // The turn is free again.
    project.ok(&["down"]);
}

#[test]
fn down_does_not_wait_for_an_up_that_nobody_waits_for() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let (project, mut up) = slow(&root, "left");
    kill(&up.id().to_string());
    up.wait().unwrap();
    // `db` would stay in its start period for ten minutes.
    let down = begin(&project, &["down"]);
    let watch = std::time::Instant::now();
    let ran = end(down);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(watch.elapsed().as_secs() < 60, "it waited for the health");
    assert!(project.ps().is_empty());
}
