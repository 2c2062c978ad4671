//! `system check` and `system info`.

use crate::support::{Root, can_run_containers};
use std::fs;

#[test]
fn check_names_a_damaged_record_and_repair_removes_what_does_not_run() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "whole",
        "services:\n  a: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL}\n  b: {image: busybox, command: ['true']}\n",
    );
    project.ok(&["up", "-d"]);
    let said = project.ok(&["system", "check", "--full"]);
    for part in [
        "overlay file system",
        "cgroups: v",
        "images have all their layers",
        "blobs have their digests",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    project.ok(&["down", "-t", "0"]);
    // A record that a bad disk has damaged, of a container that does not run.
    let id = "0".repeat(64);
    let folder = root.path().join("containers").join(&id);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("service.json"), "{\"id\":").unwrap();
    fs::create_dir_all(root.path().join("run/containers/gone")).unwrap();
    let ran = project.run(&["system", "check"]);
    assert_eq!(ran.code, 69, "{}", ran.all());
    assert!(ran.stdout.contains("service.json is damaged"), "{}", ran.all());
    assert!(ran.stdout.contains("belong to no container"), "{}", ran.all());
    let ran = project.run(&["system", "check", "--repair"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.stdout.contains("repaired"), "{}", ran.all());
    assert!(!folder.exists());
    project.ok(&["system", "check"]);
    let info: serde_json::Value =
        serde_json::from_str(&project.ok(&["system", "info", "--format", "json"])).unwrap();
    assert_eq!(info["Images"], 1);
    assert_eq!(info["Root"], root.path().display().to_string());
}
