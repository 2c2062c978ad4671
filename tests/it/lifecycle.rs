//! The small verbs, restarts, and output.

use crate::support::{Root, can_run_containers, wait_until};

const SLEEPER: &str = r#"
services:
  a:
    image: busybox
    command: ["sh", "-c", "echo started; exec sleep 1000"]
    stop_signal: SIGKILL
"#;

#[test]
fn stop_start_restart_keep_the_container_and_its_files() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("verbs", SLEEPER);
    project.ok(&["up", "-d"]);
    let id = project.id("a");
    project.ok(&["exec", "-T", "a", "touch", "/tmp/mine"]);
    project.ok(&["stop"]);
    assert_eq!(project.container("a")["State"], "exited");
    project.ok(&["start"]);
    assert_eq!(project.container("a")["State"], "running");
    project.ok(&["restart"]);
    assert_eq!(project.id("a"), id);
    project.ok(&["exec", "-T", "a", "ls", "/tmp/mine"]);
    let logs = project.ok(&["logs", "--no-log-prefix"]);
    assert_eq!(logs, "started\nstarted\nstarted\n");
    project.ok(&["pause"]);
    assert_eq!(project.container("a")["State"], "paused");
    project.ok(&["unpause"]);
    project.ok(&["kill", "-s", "SIGKILL"]);
    wait_until(5, "its end", || {
        (project.container("a")["State"] == "exited").then_some(())
    });
    assert_eq!(project.container("a")["ExitCode"], 137);
    project.ok(&["rm", "-f"]);
    assert!(project.ps().is_empty());
}

#[test]
fn a_service_that_fails_is_restarted_as_often_as_its_policy_says() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "restart",
        r#"
services:
  a:
    image: busybox
    command: ["sh", "-c", "echo run; exit 7"]
    restart: on-failure:2
"#,
    );
    project.ok(&["up", "-d"]);
    wait_until(10, "the last run", || {
        let c = project.container("a");
        (c["State"] == "exited"
            && c["ExitCode"] == 7
            && project.ok(&["logs", "--no-log-prefix"]).lines().count() == 3)
            .then_some(())
    });
}

#[test]
fn logs_can_be_cut_timed_and_searched() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "logs",
        "services:\n  a:\n    image: busybox\n    command: [\"sh\", \"-c\", \"seq 1 20; printf unfinished\"]\n",
    );
    project.ok(&["up", "-d"]);
    wait_until(5, "its end", || {
        (project.container("a")["State"] == "exited").then_some(())
    });
    let all = project.ok(&["logs", "--no-log-prefix"]);
    assert_eq!(all.lines().count(), 21);
    assert_eq!(all.lines().last(), Some("unfinished"));
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "--grep", "19"]), "19\n");
    let timed = project.ok(&["logs", "-t", "--tail", "1"]);
    assert!(timed.starts_with("a-1 | 20"), "{timed}");
}

#[test]
fn exec_gives_the_exit_status_user_and_environment() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("exec", SLEEPER);
    project.ok(&["up", "-d"]);
    assert_eq!(project.run(&["exec", "-T", "a", "sh", "-c", "exit 42"]).code, 42);
    assert_eq!(
        project.ok(&["exec", "-T", "-u", "app", "a", "id", "-u"]),
        "1000\n"
    );
    assert_eq!(
        project.ok(&[
            "exec",
            "-T",
            "-e",
            "X=y",
            "-w",
            "/tmp",
            "a",
            "sh",
            "-c",
            "echo $X $PWD"
        ]),
        "y /tmp\n"
    );
    assert_eq!(project.run(&["exec", "-T", "a", "nothing-like-it"]).code, 127);
}
