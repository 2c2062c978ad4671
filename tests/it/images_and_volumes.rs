//! `build`, `pull`, and the volume commands.

use crate::support::{Root, can_run_containers};

const BUILT: &str = r#"
services:
  a:
    build:
      context: .
      dockerfile_inline: |
        FROM busybox
        ARG WHO=nobody
        ENV WHO=$$WHO
        COPY message /message
    command: ["sh", "-c", "echo $$WHO; cat /message; sleep 1000"]
    stop_signal: SIGKILL
"#;

#[test]
fn up_builds_and_builds_again_only_when_what_it_is_built_from_changed() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("built", BUILT);
    let write = |text: &str| std::fs::write(project.folder.join("message"), text).unwrap();
    write("one\n");
    project.ok(&["up", "-d"]);
    let first = project.id("a");
    assert_eq!(project.ok(&["exec", "-T", "a", "cat", "/message"]), "one\n");
    let again = project.run(&["up", "-d"]);
    assert!(
        again.code == 0 && !again.stderr.contains("image "),
        "built without need: {}",
        again.all()
    );
    assert_eq!(project.id("a"), first);
    write("two\n");
    project.ok(&["up", "-d"]);
    assert_ne!(
        project.id("a"),
        first,
        "a changed file of the context was not seen"
    );
    assert_eq!(project.ok(&["exec", "-T", "a", "cat", "/message"]), "two\n");
    project.ok(&["build", "--build-arg", "WHO=Ada"]);
    project.ok(&["up", "-d", "--no-build"]);
    assert_eq!(project.ok(&["exec", "-T", "a", "sh", "-c", "echo $WHO"]), "Ada\n");
}

#[test]
fn a_failing_build_names_service_line_and_output() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "failing",
        r#"
services:
  a:
    build:
      context: .
      dockerfile_inline: |
        FROM busybox
        RUN ["/bin/sh", "-c", "echo no such luck; exit 3"]
"#,
    );
    let ran = project.run(&["up", "-d"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    for expected in [
        "cannot build the image of service `a`",
        "Dockerfile:2",
        "no such luck",
        "compose.yaml:",
    ] {
        assert!(
            ran.stderr.contains(expected),
            "`{expected}` is missing in {}",
            ran.all()
        );
    }
    assert!(project.ps().is_empty());
}

#[test]
fn volumes_are_listed_inspected_and_not_removed_while_used() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "volumes",
        r#"
services:
  a:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    volumes: ["data:/data", "/scratch"]
volumes: {data: {}}
"#,
    );
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["volumes", "-q"]), "volumes_data\n");
    let shown: serde_json::Value =
        serde_json::from_str(&project.ok(&["volume", "inspect", "volumes_data"])).unwrap();
    assert_eq!(shown[0]["Labels"]["com.docker.compose.volume"], "data");
    let ran = project.run(&["volume", "rm", "volumes_data"]);
    assert!(ran.code == 1 && ran.stderr.contains("in use"), "{}", ran.all());
    project.ok(&["down"]);
    assert_eq!(project.ok(&["volume", "rm", "volumes_data"]), "volumes_data\n");
    project.ok(&["volume", "create", "mine"]);
    assert!(project.ok(&["volume", "ls", "-q"]).contains("mine"));
    let listed = project.ok(&["volume", "prune", "--all"]);
    assert!(
        listed.contains("would go") && project.ok(&["volume", "ls", "-q"]).contains("mine"),
        "{listed}"
    );
    project.ok(&["volume", "prune", "--all", "--force"]);
    assert_eq!(project.ok(&["volume", "ls", "-q"]), "");
}
