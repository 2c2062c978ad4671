//! Readiness seen from outside the image, health with its last probes, restarts for bad health.

use crate::support::{Root, can_run_containers, wait_until};

/// `web` starts only when `db` is well; `TEST` says what well means.
fn waiting(test: &str, command: &str) -> String {
    format!(
        r#"
services:
  db:
    image: busybox
    command: ["sh", "-c", "{command}"]
    stop_signal: SIGKILL
    x-banyan: {{ready: {test}}}
  web:
    image: busybox
    command: ["sh", "-c", "echo web runs; sleep 1000"]
    stop_signal: SIGKILL
    depends_on: {{db: {{condition: service_healthy}}}}
"#
    )
}

#[test]
fn a_service_is_ready_when_its_port_is_listened_on_without_a_connection() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let command = "sleep 0.7; echo listening; exec nc -ll -p 3306 -e echo connected";
    let project = root.project("tcp", &waiting("{tcp: 3306}", command));
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.container("db")["Health"], "healthy");
    let log = project.ok(&["logs", "--no-log-prefix", "db"]);
    assert_eq!(log, "listening\n", "nobody connected");
}

#[test]
fn a_service_is_ready_when_its_page_is_answered_from_inside_its_network() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    // On the loopback of the container alone: nobody outside its network reaches it.
    let command = "sleep 0.5; exec httpd -f -p 127.0.0.1:8080 -h /www";
    let project = root.project(
        "http",
        &waiting("{http: {port: 8080, path: /index.html}}", command),
    );
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.container("db")["Health"], "healthy");
    // A page that is not there is an answer, and not a good one, unless the file says so.
    project.rewrite(&waiting(
        "{http: {port: 8080, path: /none, status: 404}}",
        command,
    ));
    project.ok(&["up", "-d", "--wait"]);
}

#[test]
fn a_service_is_ready_when_it_says_so_and_must_say_it_again_after_a_restart() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let command = "sleep 0.5; echo 12 ready for connections; sleep 1000";
    let project = root.project("log", &waiting("{log: '[0-9]+ ready for'}", command));
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.container("db")["Health"], "healthy");
    project.ok(&["restart", "db"]);
    assert_eq!(project.container("db")["Health"], "starting");
    wait_until(5, "ready again", || {
        (project.container("db")["Health"] == "healthy").then_some(())
    });
}

#[test]
fn a_service_is_ready_when_a_command_in_it_succeeds() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let command = "sleep 0.3; touch /tmp/up; sleep 1000";
    let project = root.project("exec", &waiting("{exec: [test, -e, /tmp/up]}", command));
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.container("db")["Health"], "healthy");
}

#[test]
fn a_dependency_that_stays_unhealthy_is_shown_with_its_last_probes_and_output() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "sick",
        r#"
services:
  db:
    image: busybox
    command: ["sh", "-c", "echo cannot open the data folder; sleep 1000"]
    stop_signal: SIGKILL
    healthcheck:
      test: ["CMD", "sh", "-c", "echo no answer on 3306; exit 7"]
      interval: 100ms
      start_interval: 100ms
      retries: 2
  web:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    depends_on: {db: {condition: service_healthy}}
"#,
    );
    let ran = project.run(&["up", "-d"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    for part in [
        "`db` did not become healthy: it is unhealthy",
        "last probe, ",
        "and the 1 before it",
        "exit status 7",
        "no answer on 3306",
        "cannot open the data folder",
    ] {
        assert!(ran.stderr.contains(part), "{part}\n{}", ran.all());
    }
    // A port that nobody listens on is said in the same way.
    let text = waiting("{tcp: 5432}", "sleep 1000").replace(
        "stop_signal: SIGKILL\n    x-banyan",
        "stop_signal: SIGKILL\n    healthcheck: {interval: 50ms, start_period: 100ms, retries: 1}\n    x-banyan",
    );
    project.rewrite(&text);
    let ran = project.run(&["up", "-d"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    assert!(
        ran.stderr.contains("nobody listens on port 5432"),
        "{}",
        ran.all()
    );
}

#[test]
fn probes_are_kept_and_shown_by_ps() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "probes",
        r#"
services:
  a:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    healthcheck:
      test: ["CMD", "sh", "-c", "echo probe says no; exit 3"]
      interval: 100ms
      start_interval: 100ms
      retries: 3
"#,
    );
    project.ok(&["up", "-d"]);
    wait_until(5, "unhealthy", || {
        (project.container("a")["Health"] == "unhealthy").then_some(())
    });
    let plain = project.run(&["ps"]);
    assert!(plain.stderr.contains("a-1 is unhealthy"), "{}", plain.all());
    let shown = project.ok(&["ps", "--probes"]);
    assert!(
        shown.contains("exit status 3") && shown.contains("probe says no"),
        "{shown}"
    );
    let inspected: serde_json::Value =
        serde_json::from_str(&project.ok(&["container", "inspect", &project.id("a")])).unwrap();
    let health = &inspected[0]["State"]["Health"];
    assert_eq!(health["Status"], "unhealthy");
    assert!(health["FailingStreak"].as_u64().unwrap() >= 3, "{health}");
    let last = health["Log"].as_array().unwrap().last().unwrap();
    assert_eq!(last["ExitCode"], 3, "{health}");
    assert_eq!(last["Output"].as_str().unwrap().trim(), "probe says no");
    assert!(
        last["Start"].as_str().unwrap() < last["End"].as_str().unwrap(),
        "{health}"
    );
    let json = project.ok(&["ps", "--probes", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    let log = json["HealthLog"].as_array().unwrap();
    assert!((3..=5).contains(&log.len()), "{json}");
    assert_eq!(log[0]["ExitCode"], 3);
    assert_eq!(log[0]["Output"], "probe says no\n");
}

#[test]
fn an_unhealthy_container_is_restarted_when_the_file_says_so() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "unwell",
        r#"
services:
  a:
    image: busybox
    # Sick on its first run only: what it wrote then is still there on the second.
    command: ["sh", "-c", "if [ -e /tmp/ran ]; then touch /tmp/well; fi; touch /tmp/ran; echo run; sleep 1000"]
    stop_signal: SIGKILL
    healthcheck:
      test: ["CMD", "test", "-e", "/tmp/well"]
      interval: 100ms
      start_interval: 100ms
      retries: 2
    x-banyan: {restart_unhealthy: true}
"#,
    );
    project.ok(&["up", "-d"]);
    wait_until(10, "healthy on its second run", || {
        (project.container("a")["Health"] == "healthy").then_some(())
    });
    assert_eq!(project.ok(&["logs", "--no-log-prefix"]), "run\nrun\n");
}
