//! `down`: in reverse order, and nothing is left.

use crate::support::{Root, can_run_containers};

#[test]
fn services_stop_in_reverse_order_of_dependency() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let say = |name: &str| {
        format!(
            "[\"sh\", \"-c\", \"trap 'echo {name} >> /out/order; exit 0' TERM; while :; do sleep 0.05; done\"]"
        )
    };
    let project = root.project(
        "reverse",
        &format!(
            r#"
services:
  db:
    image: busybox
    command: {}
    volumes: ["./out:/out"]
  web:
    image: busybox
    command: {}
    volumes: ["./out:/out"]
    depends_on: [db]
"#,
            say("db"),
            say("web")
        ),
    );
    project.ok(&["up", "-d"]);
    project.ok(&["exec", "-T", "db", "true"]);
    project.ok(&["exec", "-T", "web", "true"]);
    project.ok(&["down"]);
    assert_eq!(
        std::fs::read_to_string(project.folder.join("out/order")).unwrap(),
        "web\ndb\n"
    );
}

#[test]
fn down_of_nothing_succeeds_and_leaves_nothing() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("nothing", "services:\n  a:\n    image: busybox\n");
    project.ok(&["down"]);
    project.ok(&["down", "-v", "--remove-orphans"]);
    let left: Vec<_> = std::fs::read_dir(root.path().join("projects"))
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn down_without_the_project_file_uses_what_was_applied() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "nofile",
        "services:\n  a:\n    image: busybox\n    command: [\"sleep\", \"1000\"]\n    stop_signal: SIGKILL\n",
    );
    project.ok(&["up", "-d"]);
    std::fs::remove_file(project.folder.join("compose.yaml")).unwrap();
    let output = root
        .banyan()
        .args(["-p", "nofile", "down"])
        .current_dir("/")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let containers: Vec<_> = std::fs::read_dir(root.path().join("containers"))
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert!(containers.is_empty(), "{containers:?}");
}

#[test]
fn a_process_that_ignores_the_stop_signal_is_killed_after_the_grace_period() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "stubborn",
        r#"
services:
  a:
    image: busybox
    command: ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
    stop_grace_period: 500ms
"#,
    );
    project.ok(&["up", "-d"]);
    project.ok(&["stop"]);
    assert_eq!(project.container("a")["ExitCode"], 137);
}
