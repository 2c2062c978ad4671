//! `system df` and `system prune`: what is counted, what goes, what stays.

use crate::support::{Ran, Root, can_run_containers};
use serde_json::Value;
use std::fs;

fn run(root: &Root, words: &[&str]) -> Ran {
    Ran::new(words, root.banyan().args(words).output().unwrap())
}

#[track_caller]
fn ok(root: &Root, words: &[&str]) -> String {
    let ran = run(root, words);
    assert_eq!(ran.code, 0, "banyan {words:?}\n{}", ran.all());
    ran.stdout
}

/// The row of a kind.
fn row(root: &Root, kind: &str) -> Value {
    let text = ok(root, &["system", "df", "--format", "json"]);
    let rows = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.into_iter().find(|row| row["Type"] == kind).unwrap()
}

fn counts(root: &Root, kind: &str) -> (String, String) {
    let row = row(root, kind);
    let text = |key: &str| row[key].as_str().unwrap().to_owned();
    (text("TotalCount"), text("Active"))
}

const PROJECT: &str = "
services:
  up: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL, volumes: ['kept:/data', '/scratch']}
  done: {image: busybox, command: ['true'], volumes: ['/left']}
volumes: {kept: {}}
";

/// Two images, four containers of which two run, their volumes, one build step; and the tables that show them.
#[track_caller]
fn check_counts(root: &Root) {
    assert_eq!(counts(root, "Images"), ("2".into(), "1".into()));
    assert_eq!(counts(root, "Containers"), ("4".into(), "2".into()));
    let volumes = row(root, "Local Volumes");
    assert_eq!(
        volumes["Active"], volumes["TotalCount"],
        "all are mounted: {volumes}"
    );
    assert_eq!(counts(root, "Build Cache").0, "1");
    let containers = row(root, "Containers");
    assert!(
        containers["Size"].as_str().unwrap().ends_with("MB"),
        "{containers}"
    );
    let table = ok(root, &["system", "df"]);
    assert!(
        table.starts_with("TYPE            TOTAL   ACTIVE   SIZE"),
        "{table}"
    );
    let table = ok(root, &["system", "df", "-v"]);
    for text in ["UNIQUE SIZE", "wrote", "pruned_kept", "built"] {
        assert!(table.contains(text), "{table}");
    }
}

#[test]
fn what_nobody_uses_is_counted_listed_and_removed() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("pruned", PROJECT);
    project.ok(&["up", "-d"]);
    crate::support::wait_until(10, "the job ends", || {
        (project.container("done")["State"] == "exited").then_some(())
    });
    // Beside the project: a stopped container that wrote, one that runs with a volume, an image of its own, a build.
    ok(
        &root,
        &[
            "container",
            "run",
            "--name",
            "wrote",
            "busybox",
            "dd",
            "if=/dev/zero",
            "of=/big",
            "bs=1M",
            "count=3",
        ],
    );
    ok(&root, &["image", "tag", "busybox", "other:1"]);
    let folder = root.path().join("context");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("Dockerfile"),
        "FROM busybox\nRUN dd if=/dev/zero of=/built bs=1M count=2\n",
    )
    .unwrap();
    ok(
        &root,
        &["image", "build", "-t", "built", folder.to_str().unwrap()],
    );
    ok(
        &root,
        &[
            "container",
            "run",
            "-d",
            "--name",
            "single",
            "-v",
            "mine:/m",
            "busybox",
            "sleep",
            "1000",
        ],
    );

    check_counts(&root);

    // Nobody to ask: nothing is done, but it is said what would be.
    for words in [&["system", "prune"][..], &["--dry-run", "system", "prune"]] {
        let ran = run(&root, words);
        assert_eq!(ran.code, if words.len() == 2 { 64 } else { 0 }, "{}", ran.all());
        for text in [
            "all stopped containers",
            "wrote",
            "pruned-done-1 (of project pruned)",
            "build cache",
        ] {
            assert!(ran.all().contains(text), "`{text}` is missing in {}", ran.all());
        }
    }
    assert_eq!(counts(&root, "Containers").0, "4");
    for words in [&["volume", "rm", "mine"][..], &["volume", "rm", "pruned_kept"]] {
        assert!(run(&root, words).stderr.contains("in use"), "{words:?}");
    }
    assert!(!ok(&root, &["volume", "prune", "--all"]).contains("mine"));

    let said = ok(&root, &["system", "prune", "--force"]);
    assert!(
        said.contains("Deleted Containers:") && said.contains("Total reclaimed space: 3."),
        "{said}"
    );
    assert_eq!(counts(&root, "Containers"), ("2".into(), "2".into()));
    assert_eq!(counts(&root, "Images").0, "2", "what has a name stays");
    assert_eq!(counts(&root, "Build Cache").0, "0");
    assert_eq!(
        ok(&root, &["container", "run", "--rm", "built", "ls", "/built"]),
        "/built\n"
    );

    let said = ok(&root, &["system", "prune", "--force", "--all", "--volumes"]);
    assert!(said.contains("untagged: built:latest"), "{said}");
    assert_eq!(counts(&root, "Images"), ("1".into(), "1".into()));
    let volumes = ok(&root, &["volume", "ls", "-q"]);
    assert!(
        volumes.contains("mine") && volumes.contains("pruned_kept"),
        "{volumes}"
    );
    assert_eq!(
        ok(&root, &["system", "prune", "--force"]),
        "Total reclaimed space: 0B\n"
    );

    // The project goes on, and the next `up` makes its job again.
    assert_eq!(project.container("up")["State"], "running");
    ok(&root, &["container", "rm", "-f", "single"]);
    project.ok(&["down", "-v"]);
    let said = ok(&root, &["system", "prune", "-a", "-f", "--volumes"]);
    assert!(said.contains("deleted: sha256:"), "{said}");
    assert_eq!(
        fs::read_dir(root.path().join("images/layers")).unwrap().count(),
        0
    );
    assert_eq!(fs::read_dir(root.path().join("images/blobs")).unwrap().count(), 0);
}

#[test]
fn an_empty_root_has_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let banyan = |words: &[&str]| {
        let mut command = std::process::Command::new(crate::support::BANYAN);
        let output = command
            .arg("--root")
            .arg(dir.path())
            .args(words)
            .output()
            .unwrap();
        Ran::new(words, output)
    };
    let table = banyan(&["system", "df"]);
    assert_eq!(table.code, 0, "{}", table.all());
    assert!(
        table
            .stdout
            .contains("Images          0       0        0B     0B"),
        "{}",
        table.stdout
    );
    assert_eq!(banyan(&["system", "prune"]).stdout, "Total reclaimed space: 0B\n");
}
