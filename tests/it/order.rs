//! What happens when a dependency is made anew or restarted, jobs that run once, and hooks before a start.

use crate::support::{Root, can_run_containers, wait_until};

const CHAIN: &str = r#"
services:
  db:
    image: busybox
    command: ["sh", "-c", "echo db up; sleep 0.4; touch /tmp/well; sleep 1000"]
    stop_signal: SIGKILL
    environment: {VERSION: "VALUE"}
    healthcheck: {test: ["CMD", "test", "-e", "/tmp/well"], interval: 100ms, start_interval: 50ms, start_period: 10s}
  web:
    image: busybox
    command: ["sh", "-c", "echo web up; sleep 1000"]
    stop_signal: SIGKILL
    depends_on: {db: {condition: service_healthy, restart: true}}
  edge:
    image: busybox
    command: ["sh", "-c", "echo edge up; sleep 1000"]
    stop_signal: SIGKILL
    depends_on: {web: {condition: service_started, restart: true}}
  other:
    image: busybox
    command: ["sh", "-c", "echo other up; sleep 1000"]
    stop_signal: SIGKILL
    depends_on: [db]
"#;

/// How often each service has started, by its output.
fn starts(project: &crate::support::Project<'_>, service: &str) -> usize {
    project
        .ok(&["logs", "--no-log-prefix", service])
        .lines()
        .filter(|line| line.ends_with(" up"))
        .count()
}

#[test]
fn dependents_that_ask_for_it_are_restarted_when_their_dependency_is_recreated_or_restarted() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("chain", CHAIN);
    project.ok(&["up", "-d"]);
    let web = project.id("web");
    // Recreated by `up`, because it changed.
    project.rewrite(&CHAIN.replace("VALUE", "2"));
    let plan = project.ok(&["--dry-run", "up"]);
    assert!(plan.contains("`db`, which it depends on, is recreated"), "{plan}");
    project.ok(&["up", "-d"]);
    assert_eq!(project.id("web"), web, "it is restarted, not made anew");
    let counts = ["web", "edge", "other"].map(|service| starts(&project, service));
    assert_eq!(counts, [2, 2, 1]);
    // Restarted by a command: down the chain, and each waits for what it waits for.
    project.ok(&["restart", "db"]);
    let counts = ["db", "web", "edge", "other"].map(|service| starts(&project, service));
    assert_eq!(counts, [2, 3, 3, 1]);
    assert_eq!(project.container("db")["Health"], "healthy", "web waited for it");
    // Alone, when asked.
    project.ok(&["restart", "--no-deps", "db"]);
    assert_eq!(starts(&project, "web"), 3);
    // Nothing to do is nothing done.
    project.ok(&["up", "-d"]);
    assert_eq!(starts(&project, "web"), 3);
}

#[test]
fn a_job_that_others_wait_for_runs_once_until_it_changes() {
    if !can_run_containers() {
        return;
    }
    let text = r#"
services:
  migrate:
    image: busybox
    command: ["sh", "-c", "echo migrated VALUE >> /data/log"]
    volumes: ["data:/data"]
  web:
    image: busybox
    command: ["sh", "-c", "cat /data/log; sleep 1000"]
    stop_signal: SIGKILL
    volumes: ["data:/data"]
    depends_on: {migrate: {condition: service_completed_successfully}}
volumes: {data: }
"#;
    let root = Root::new();
    let project = root.project("job", text);
    let log = || project.ok(&["exec", "-T", "web", "cat", "/data/log"]);
    project.ok(&["up", "-d", "--wait"]);
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(log(), "migrated VALUE\n");
    project.rewrite(&text.replace("VALUE", "again"));
    project.ok(&["up", "-d"]);
    assert_eq!(log(), "migrated VALUE\nmigrated again\n");
    // A job that failed is tried again.
    project.rewrite(&text.replace(
        "echo migrated VALUE >> /data/log",
        "echo tried >> /data/log; exit 3",
    ));
    for times in 1..=2 {
        project.ok(&["up", "-d"]);
        wait_until(5, "the job's end", || {
            (log().matches("tried").count() == times && project.container("migrate")["ExitCode"] == 3)
                .then_some(())
        });
    }
}

#[test]
fn hooks_before_the_start_run_to_completion_once_and_again_when_they_change() {
    if !can_run_containers() {
        return;
    }
    let text = r#"
services:
  web:
    image: busybox
    command: ["sh", "-c", "cat /data/log; sleep 1000"]
    stop_signal: SIGKILL
    environment: {NAME: service}
    volumes: ["data:/data"]
    deploy: {replicas: 2}
    pre_start:
      - command: ["sh", "-c", "echo once VALUE $$NAME >> /data/log"]
        environment: {NAME: hook}
      - command: ["sh", "-c", "echo each >> /data/log"]
        per_replica: true
        user: "0"
volumes: {data: }
"#;
    let root = Root::new();
    let project = root.project("prepare", text);
    let log = || {
        let text = project.ok(&["exec", "-T", "web", "cat", "/data/log"]);
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    project.ok(&["up", "-d"]);
    assert_eq!(log(), ["each", "each", "once VALUE hook"]);
    assert_eq!(project.ps().len(), 2, "the containers of hooks are gone");
    project.ok(&["restart", "-t", "0"]);
    project.ok(&["up", "-d", "--force-recreate"]);
    assert_eq!(log().len(), 3, "nothing changed");
    project.rewrite(&text.replace("VALUE", "more"));
    project.ok(&["up", "-d"]);
    assert_eq!(log(), ["each", "each", "once VALUE hook", "once more hook"]);
    // One that fails stops the start, says why, and runs again next time.
    project.rewrite(&text.replace("echo once", "echo cannot migrate; false || exit 9; echo once"));
    for _ in 0..2 {
        let ran = project.run(&["up", "-d"]);
        assert_eq!(ran.code, 1, "{}", ran.all());
        assert!(
            ran.stderr.contains("a pre_start hook of") && ran.stderr.contains("cannot migrate"),
            "{}",
            ran.all()
        );
        assert!(ran.stderr.contains("exit status 9"), "{}", ran.all());
    }
}
