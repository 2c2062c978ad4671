//! Binds with a discardable layer: the container writes, the folder stays, until somebody says otherwise.

use crate::support::{Root, can_run_containers};
use std::fs;

#[test]
fn what_a_container_writes_to_an_overlay_bind_is_shown_kept_or_discarded() {
    if !can_run_containers() {
        return;
    }
    let text = r#"
services:
  web:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    volumes: ["./src:/app:overlay"]
    environment: {V: "1"}
"#;
    let root = Root::new();
    let project = root.project("layer", text);
    let src = project.folder.join("src");
    fs::create_dir(&src).unwrap();
    fs::write(src.join("edited"), "before\n").unwrap();
    fs::write(src.join("gone"), "x\n").unwrap();
    project.ok(&["up", "-d"]);
    let write = || {
        let change = "echo after > /app/edited; rm /app/gone; mkdir /app/new; echo n > /app/new/file";
        project.ok(&["exec", "-T", "web", "sh", "-c", change]);
    };
    write();
    assert_eq!(fs::read_to_string(src.join("edited")).unwrap(), "before\n");
    let diff = project.ok(&["diff", "web"]);
    let shown: Vec<_> = diff
        .lines()
        .map(|line| line.replace(&src.display().to_string(), "SRC"))
        .collect();
    assert_eq!(
        shown,
        ["C SRC/edited", "D SRC/gone", "A SRC/new", "A SRC/new/file"]
    );
    // A container made anew finds its layer again.
    project.rewrite(&text.replace("V: \"1\"", "V: \"2\""));
    project.ok(&["up", "-d"]);
    assert_eq!(
        project.ok(&["exec", "-T", "web", "cat", "/app/edited"]),
        "after\n"
    );
    // Thrown away: the container sees the folder as it is.
    project.ok(&["apply", "--discard", "web"]);
    assert_eq!(project.ok(&["diff"]), "");
    assert_eq!(
        project.ok(&["exec", "-T", "web", "cat", "/app/edited"]),
        "before\n"
    );
    // Kept: the folder has it, and the container goes on.
    write();
    let ran = project.run(&["apply", "web"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.stderr.contains("4 changes kept in"), "{}", ran.all());
    assert_eq!(fs::read_to_string(src.join("edited")).unwrap(), "after\n");
    assert_eq!(fs::read_to_string(src.join("new/file")).unwrap(), "n\n");
    assert!(!src.join("gone").exists());
    assert_eq!(project.ok(&["diff"]), "");
    assert_eq!(project.container("web")["State"], "running");
    project.ok(&["down", "-t", "0"]);
    assert!(!root.path().join("projects/layer").exists(), "the layer went too");
}
