//! `why`: from a symptom to its cause.

use crate::support::{Root, can_run_containers, wait_until};

const TEXT: &str = r#"
services:
  db:
    image: busybox
    command: ["sh", "-c", "echo the data folder is damaged; exit 7"]
    environment: {SIZE: "1", SECRET: hunter2}
  web:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    depends_on: {db: {condition: service_started}}
  idle:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
"#;

#[test]
fn why_names_the_change_the_last_exit_and_the_cause_behind_it() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("why", TEXT);
    project.run(&["up", "-d"]);
    wait_until(5, "the end of db", || {
        (project.container("db")["ExitCode"] == 7).then_some(())
    });
    let said = project.ok(&["why", "db"]);
    for part in [
        "why-db-1: Exited (7)",
        "because it did not exist",
        "last exit: status 7",
        "not restarted: its restart policy is `no`",
        "the data folder is damaged",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    // From the one that suffers to the one that is guilty.
    let said = project.ok(&["why", "web"]);
    assert!(
        said.contains("needs db started: not yet") && said.contains("| the data folder is damaged"),
        "{said}"
    );
    // What changed is named, and its values are not.
    project.rewrite(&TEXT.replace("SIZE: \"1\", SECRET: hunter2", "SIZE: \"2\", SECRET: hunter3"));
    project.run(&["up", "-d"]);
    let said = project.ok(&["why", "db"]);
    assert!(
        said.contains("its configuration changed: environment.SECRET, environment.SIZE"),
        "{said}"
    );
    assert!(!said.contains("hunter"), "{said}");
    wait_until(5, "the end of db", || {
        (project.container("db")["ExitCode"] == 7).then_some(())
    });
    let json: serde_json::Value =
        serde_json::from_str(&project.ok(&["why", "web", "--format", "json"])).unwrap();
    assert_eq!(json["Needs"][0]["Service"], "db");
    assert_eq!(json["Needs"][0]["Met"], false);
    let said = project.ok(&["why", "idle"]);
    assert!(said.contains("Up ") && !said.contains("last exit"), "{said}");
    let wrong = project.run(&["why", "nobody"]);
    assert_eq!(wrong.code, 1);
    assert!(
        wrong.stderr.contains("no such service: nobody"),
        "{}",
        wrong.all()
    );
}
