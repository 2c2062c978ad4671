//! What goes wrong is named, with the place in the project file, and nothing is left half done.

use crate::support::{Root, can_run_containers};

#[test]
fn a_taken_port_is_refused_before_anything_starts() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let project = root.project(
        "taken",
        &format!(
            r#"
services:
  a:
    image: busybox
    command: ["sleep", "1000"]
  b:
    image: busybox
    command: ["sleep", "1000"]
    ports: ["127.0.0.1:{port}:80"]
"#
        ),
    );
    let ran = project.run(&["up", "-d"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    assert!(
        ran.stderr.contains(&port.to_string()) && ran.stderr.contains("compose.yaml:"),
        "{}",
        ran.all()
    );
    assert!(project.ps().is_empty(), "something was left: {:?}", project.ps());
}

#[test]
fn a_failing_start_undoes_what_this_run_made_and_keeps_what_was_there() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let one =
        "services:\n  a:\n    image: busybox\n    command: [\"sleep\", \"1000\"]\n    stop_signal: SIGKILL\n";
    let project = root.project("undo", one);
    project.ok(&["up", "-d"]);
    let id = project.id("a");
    project.rewrite(&format!(
        "{one}  b:\n    image: busybox\n    command: [\"sleep\", \"1000\"]\n    stop_signal: SIGKILL\n  c:\n    image: busybox\n    command: [\"/no/such/program\"]\n    depends_on: [b]\n"
    ));
    let ran = project.run(&["up", "-d"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    assert!(ran.stderr.contains("/no/such/program"), "{}", ran.all());
    assert!(ran.stderr.contains("undone: container undo-b-1"), "{}", ran.all());
    let left = project.ps();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(project.id("a"), id);
}

#[test]
fn a_dependency_that_stays_unhealthy_is_shown_with_its_last_probe_and_output() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "unhealthy",
        r#"
services:
  db:
    image: busybox
    command: ["sh", "-c", "echo cannot find my data; sleep 1000"]
    stop_signal: SIGKILL
    healthcheck: {test: "echo no answer on 3306; exit 1", interval: 50ms, retries: 2}
  web:
    image: busybox
    command: ["sleep", "1000"]
    depends_on: {db: {condition: service_healthy}}
"#,
    );
    let ran = project.run(&["up", "-d"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    for expected in [
        "service `db` did not become healthy",
        "no answer on 3306",
        "cannot find my data",
    ] {
        assert!(
            ran.stderr.contains(expected),
            "`{expected}` is missing in {}",
            ran.all()
        );
    }
}

#[test]
fn a_missing_bind_source_of_the_long_form_is_an_error_with_its_place() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "bind",
        r#"
services:
  a:
    image: busybox
    command: ["sleep", "1000"]
    volumes:
      - type: bind
        source: ./missing
        target: /x
        bind: {create_host_path: false}
"#,
    );
    let ran = project.run(&["up", "-d"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    assert!(
        ran.stderr.contains("missing") && ran.stderr.contains("compose.yaml:"),
        "{}",
        ran.all()
    );
    assert!(project.ps().is_empty());
}

#[test]
fn an_image_that_may_not_be_pulled_is_named_with_a_way_out() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "nopull",
        "services:\n  a:\n    image: nothing/like:it\n    pull_policy: never\n",
    );
    let ran = project.run(&["up", "-d"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    assert!(
        ran.stderr.contains("nothing/like:it") && ran.stderr.contains("hint:"),
        "{}",
        ran.all()
    );
}

#[test]
fn an_unknown_service_is_refused_with_the_known_ones() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("unknown", "services:\n  web:\n    image: busybox\n");
    let ran = project.run(&["up", "-d", "wbe"]);
    assert_ne!(ran.code, 0);
    assert!(
        ran.stderr.contains("wbe") && ran.stderr.contains("web"),
        "{}",
        ran.all()
    );
}
