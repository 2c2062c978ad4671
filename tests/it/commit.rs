//! Images made of containers: step by step, again from an earlier step, and inherited from.

use crate::support::{Ran, Root, can_run_containers, wait_until};
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

fn inspect(root: &Root, image: &str) -> Value {
    let text = ok(root, &["image", "inspect", image]);
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

/// Runs a script in a container of that name, which stays.
fn shell(root: &Root, name: &str, image: &str, script: &str) -> String {
    ok(
        root,
        &["container", "run", "--name", name, image, "sh", "-c", script],
    )
}

/// What a script prints in a container of an image.
fn says(root: &Root, image: &str, script: &str) -> String {
    ok(root, &["container", "run", "--rm", image, "sh", "-c", script])
}

#[test]
fn an_image_grows_step_by_step_and_can_go_on_from_an_earlier_step() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    shell(
        &root,
        "c1",
        "busybox",
        "echo one > /one; rm /www/index.html; chown 1000:7 /one; chmod 4750 /one",
    );
    let first = ok(
        &root,
        &[
            "container",
            "commit",
            "-m",
            "the first step",
            "-a",
            "Ada",
            "-c",
            "ENV STEP=1",
            "-c",
            "LABEL made=by-hand",
            "-c",
            r#"CMD ["cat", "/one"]"#,
            "c1",
            "work:1",
        ],
    );
    assert!(first.starts_with("sha256:") && first.len() == 72, "{first}");
    // The second step stands on the first, the third on the first again.
    shell(&root, "c2", "work:1", "echo two > /two; rm /one; mkdir /www/sub");
    ok(&root, &["container", "commit", "c2", "work:2"]);
    shell(&root, "c3", "work:1", "echo three > /three");
    ok(&root, &["container", "commit", "c3", "work:3"]);

    assert_eq!(ok(&root, &["container", "run", "--rm", "work:1"]), "one\n");
    let facts = "stat -c '%a %u:%g' /one; ls /www | wc -l; echo $STEP";
    assert_eq!(says(&root, "work:1", facts), "4750 1000:7\n0\n1\n");
    assert_eq!(
        says(&root, "work:2", "ls -d /one /two /www/sub 2>/dev/null || true"),
        "/two\n/www/sub\n"
    );
    assert_eq!(
        says(&root, "work:3", "cat /one /three; ls /two 2>/dev/null || true"),
        "one\nthree\n"
    );

    let image = inspect(&root, "work:1");
    assert_eq!(image["Author"], "Ada");
    assert_eq!(image["Config"]["Labels"]["made"], "by-hand");
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    let history = ok(&root, &["image", "history", "--format", "json", "work:1"]);
    assert!(history.contains("the first step"), "{history}");
    // The top layer has what the container changed, and not what the runtime mounted upon.
    let top = image["RootFS"]["Layers"][1]
        .as_str()
        .unwrap()
        .trim_start_matches("sha256:")
        .to_owned();
    let layer = root.path().join("images/layers").join(top).join("fs");
    let mut names: Vec<_> = fs::read_dir(layer)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["one", "www"]);

    // A Dockerfile inherits from it, and the step runs over all layers below.
    let folder = root.path().join("context");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("Dockerfile"),
        "FROM work:2\nRUN echo $STEP > /seen && test -f /two && test ! -e /one\n",
    )
    .unwrap();
    ok(
        &root,
        &["image", "build", "-t", "work:4", folder.to_str().unwrap()],
    );
    assert_eq!(says(&root, "work:4", "cat /seen"), "1\n");
}

#[test]
fn a_running_container_is_still_while_it_is_committed_and_goes_on_after_it() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let script = "n=0; while true; do n=$((n+1)); echo $n > /a.new; mv /a.new /a; echo $n > /b.new; mv /b.new /b; done";
    ok(
        &root,
        &[
            "container",
            "run",
            "-d",
            "--name",
            "busy",
            "busybox",
            "sh",
            "-c",
            script,
        ],
    );
    let read = || {
        let ran = run(&root, &["container", "exec", "busy", "cat", "/b"]);
        ran.stdout.trim().parse::<u64>().ok()
    };
    let before = wait_until(10, "the container writes", read);
    for flag in [
        &["--pause=true"][..],
        &[],
        &["--pause=false"],
        &["-p=false"],
        &["--no-pause"],
    ] {
        let words = [&["container", "commit"], flag, &["busy", "still"]].concat();
        // Without a pause the files may change under the reader; with it both belong to one moment.
        let ran = run(&root, &words);
        if flag
            .first()
            .is_some_and(|flag| flag.contains("false") || flag.contains("no-"))
        {
            assert!(matches!(ran.code, 0 | 1), "{}", ran.all());
            continue;
        }
        assert_eq!(ran.code, 0, "{}", ran.all());
        let numbers = says(&root, "still", "cat /a /b");
        let numbers: Vec<u64> = numbers.lines().map(|line| line.parse().unwrap()).collect();
        assert!(
            numbers[0] == numbers[1] || numbers[0] == numbers[1] + 1,
            "{numbers:?}"
        );
    }
    wait_until(10, "the container goes on", || read().filter(|now| *now > before));
    // A container that its owner froze stays frozen.
    ok(&root, &["container", "pause", "busy"]);
    ok(&root, &["container", "commit", "busy", "frozen"]);
    assert!(ok(&root, &["container", "ls"]).contains("(Paused)"));
    ok(&root, &["container", "rm", "-f", "busy"]);
}

#[test]
fn what_cannot_be_committed_is_said_and_changes_nothing() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    ok(
        &root,
        &["container", "create", "--name", "idle", "busybox", "true"],
    );
    let images = ok(&root, &["image", "ls", "-q"]);
    for (words, code, text) in [
        (&["nosuch", "x"][..], 1, "no such container"),
        (
            &["-c", "RUN true", "idle", "x"],
            64,
            "is not possible in a change",
        ),
        (&["-c", "EXPOSE many", "idle", "x"], 64, "is not a port"),
        (&["idle", "Upper/Case"], 64, "this is no image name"),
        (
            &["idle", &format!("x@sha256:{}", "0".repeat(64))],
            64,
            "cannot be given a digest",
        ),
    ] {
        let ran = run(&root, &[&["container", "commit"], words].concat());
        assert_eq!(ran.code, code, "{words:?} {}", ran.all());
        assert!(ran.stderr.contains(text), "{words:?} {}", ran.all());
    }
    assert_eq!(ok(&root, &["image", "ls", "-q"]), images);
    // An image that only a container uses stays until the container goes.
    let ran = run(&root, &["image", "rm", "busybox"]);
    assert!(
        ran.code == 1 && ran.stderr.contains("used by container"),
        "{}",
        ran.all()
    );
    ok(&root, &["image", "rm", "--force", "busybox"]);
    ok(&root, &["container", "commit", "idle", "saved"]);
    assert_eq!(
        says(&root, "saved", "cat /www/index.html"),
        "hello from busybox\n"
    );
    ok(&root, &["container", "rm", "-f", "idle"]);
    ok(&root, &["image", "rm", "saved"]);
    ok(&root, &["image", "prune", "--force"]);
    assert_eq!(
        fs::read_dir(root.path().join("images/layers")).unwrap().count(),
        0
    );

    let host = fs::canonicalize(root.path()).unwrap().join("tree");
    fs::create_dir_all(host.join("bin")).unwrap();
    fs::copy("/bin/busybox", host.join("bin/true")).unwrap();
    ok(
        &root,
        &[
            "container",
            "create",
            "--name",
            "bare",
            "--rootfs",
            host.to_str().unwrap(),
            "--",
            "true",
        ],
    );
    let ran = run(&root, &["container", "commit", "bare", "x"]);
    assert!(
        ran.code == 1 && ran.stderr.contains("is the directory"),
        "{}",
        ran.all()
    );
    ok(&root, &["container", "rm", "-f", "bare"]);
}
