//! Several commands at once: whoever comes second waits, and the end is what some order one after the other gives.

use crate::support::{Project, Ran, Root, can_run_containers, engines, http_get, wait_until};
use std::collections::BTreeSet;

const AT_ONCE: usize = 8;

/// The same command of the same project, as often as said, at the same time.
fn all_at_once(project: &Project<'_>, commands: &[&[&str]]) -> Vec<Ran> {
    let started: Vec<_> = commands
        .iter()
        .map(|arguments| {
            let mut command = project.command(arguments);
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            (*arguments, command.spawn().unwrap())
        })
        .collect();
    started
        .into_iter()
        .map(|(arguments, child)| Ran::new(arguments, child.wait_with_output().unwrap()))
        .collect()
}

const TWO: &str = r#"
services:
  db:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    healthcheck: {test: "true", interval: 50ms}
  web:
    image: busybox
    command: ["sh", "-c", "mkdir -p /www; echo $$NAME > /www/index.html; exec httpd -f -p 80 -h /www"]
    environment: {NAME: "${COMPOSE_PROJECT_NAME}"}
    stop_signal: SIGKILL
    ports: ["127.0.0.1::80"]
    depends_on: {db: {condition: service_healthy}}
    deploy: {replicas: 2}
"#;

#[test]
fn eight_up_of_one_project_end_as_one_does() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("same", TWO);
    let up: &[&str] = &["up", "-d", "--wait"];
    for ran in all_at_once(&project, &[up; AT_ONCE]) {
        assert_eq!(ran.code, 0, "{}", ran.all());
    }
    let names = |project: &Project<'_>| -> BTreeSet<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        project
            .ps()
            .iter()
            .map(|c| (text(&c["Name"]), text(&c["ID"])))
            .collect()
    };
    let first = names(&project);
    let only: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(only, ["same-db-1", "same-web-1", "same-web-2"]);
    assert_eq!(engines(&project).len(), 1);
    // One more, alone, finds nothing to do.
    project.ok(up);
    assert_eq!(names(&project), first);
}

#[test]
fn eight_up_of_eight_projects_do_not_see_each_other() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let projects: Vec<_> = (0..AT_ONCE)
        .map(|n| root.project(&format!("p{n}"), TWO))
        .collect();
    std::thread::scope(|scope| {
        for project in &projects {
            scope.spawn(|| project.ok(&["up", "-d", "--wait"]));
        }
    });
    for project in &projects {
        assert_eq!(project.ps().len(), 3, "{:?}", project.ps());
        let body = wait_until(10, "the page", || http_get(project.port("web"), "/").ok());
        assert_eq!(body.trim(), project.name);
    }
    std::thread::scope(|scope| {
        for project in &projects {
            scope.spawn(|| project.ok(&["down", "-t", "0"]));
        }
    });
    for project in &projects {
        assert!(project.ps().is_empty(), "{:?}", project.ps());
    }
}

#[test]
fn up_and_down_at_once_end_with_everything_or_nothing() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("both", TWO);
    let (up, down): (&[&str], &[&str]) = (&["up", "-d"], &["down", "-t", "0"]);
    for ran in all_at_once(&project, &[up, down, up, down, up, down]) {
        assert_eq!(ran.code, 0, "{}", ran.all());
    }
    let count = project.ps().len();
    assert!(count == 0 || count == 3, "{:?}", project.ps());
    project.ok(down);
    assert!(project.ps().is_empty(), "{:?}", project.ps());
    wait_until(10, "the engine's end", || {
        engines(&project).is_empty().then_some(())
    });
}
