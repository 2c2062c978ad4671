//! `enable`, `disable`, and the graph as a picture.

use crate::support::{Root, can_run_containers, skip};
use std::{fs, path::Path, process::Command};

const TEXT: &str = r#"
services:
  db:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    x-banyan: {ready: {exec: ["true"]}}
  web:
    image: busybox
    command: ["false"]
    depends_on: {db: {condition: service_healthy}}
"#;

#[test]
fn the_unit_of_a_project_is_one_that_systemd_accepts() {
    let root = Root::empty();
    let project = root.project("boot", TEXT);
    let units = root.path().join("units");
    let folder = units.display().to_string();
    project.ok(&["enable", "--unit-dir", &folder]);
    let unit = units.join("banyan-boot.service");
    let text = fs::read_to_string(&unit).unwrap();
    for part in [
        "up -d",
        "RemainAfterExit=yes",
        "WantedBy=",
        "compose.yaml",
        "--root",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let printed = project.ok(&["enable", "--print"]);
    assert_eq!(printed, text);
    if Path::new("/usr/bin/systemd-analyze").exists() {
        let verified = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&unit)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(!said.contains("banyan-boot.service"), "{said}");
    } else {
        skip("systemd-analyze is not installed");
    }
    project.ok(&["disable", "--unit-dir", &folder]);
    assert!(!unit.exists());
    project.ok(&["disable", "--unit-dir", &folder]);
}

#[test]
fn the_picture_of_the_graph_shows_the_states() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("picture", TEXT);
    let svg = project.ok(&["graph", "--format", "svg"]);
    assert!(svg.starts_with("<svg") && svg.contains("not created"), "{svg}");
    project.ok(&["up", "-d"]);
    crate::support::wait_until(5, "the end of web", || {
        let svg = project.ok(&["graph", "--format", "svg"]);
        (svg.contains(">healthy<") && svg.contains(">exited (1)<")).then_some(())
    });
    project.ok(&["graph", "--format", "svg", "--output", "graph.svg"]);
    assert!(project.folder.join("graph.svg").exists());
}
