//! Builds that end early: what fails is told at once, and what nobody wants any more is stopped.

use crate::support::{Ran, Root, can_run_containers, hearing, wait_until};
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

/// A step that would hold every test up for minutes, with a mark to find its process by.
fn sleep(mark: u32) -> String {
    format!("RUN sleep {mark}")
}

/// Whether a process sleeps for so many seconds.
fn sleeps(mark: u32) -> bool {
    let wanted = format!("sleep\0{mark}\0");
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .any(|line| line == wanted)
}

#[track_caller]
fn soon(start: Instant, ran: &Ran) {
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}\n{}",
        start.elapsed(),
        ran.all()
    );
}

fn leaves_nothing(root: &Root) {
    let left: Vec<_> = fs::read_dir(root.path().join("images/ingest"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| !name.to_string_lossy().ends_with(".lock"))
        .collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
}

#[test]
fn a_stage_that_fails_ends_the_others() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let context = root.path().join("context");
    fs::create_dir(&context).unwrap();
    let slow = sleep(7_131);
    let text = format!(
        "FROM busybox AS slow\n{slow}\nFROM busybox AS bad\nRUN sleep 1; echo the reason; exit 7\n\
         FROM busybox\nCOPY --from=slow /bin /a\nCOPY --from=bad /bin /b\n"
    );
    fs::write(context.join("Dockerfile"), text).unwrap();
    let words = ["image", "build", "--network", "none", context.to_str().unwrap()];
    let start = Instant::now();
    let ran = Ran::new(&words, root.banyan().args(words).output().unwrap());
    soon(start, &ran);
    assert_eq!(ran.code, 1, "{}", ran.all());
    for part in ["Dockerfile:4", "status 7", "the reason"] {
        assert!(ran.stderr.contains(part), "{part}\n{}", ran.all());
    }
    assert!(!ran.stderr.contains("was stopped"), "{}", ran.all());
    assert!(!sleeps(7_131));
    leaves_nothing(&root);
}

#[test]
fn a_failed_build_of_one_service_ends_those_of_the_others() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let slow = sleep(7_132);
    let project = root.project(
        "stops",
        &format!(
            "services:\n\
             \x20 slow:\n    build: {{dockerfile_inline: \"FROM busybox\\n{slow}\\n\", network: none}}\n\
             \x20 bad:\n    build: {{dockerfile_inline: \"FROM busybox\\nRUN sleep 1; exit 9\\n\", network: none}}\n"
        ),
    );
    for words in [["build"].as_slice(), &["up", "-d"]] {
        let start = Instant::now();
        let ran = project.run(words);
        soon(start, &ran);
        assert_eq!(ran.code, 1, "{}", ran.all());
        assert!(
            ran.stderr.contains("service `bad`") && ran.stderr.contains("status 9"),
            "{}",
            ran.all()
        );
        assert!(!sleeps(7_132));
        leaves_nothing(&root);
    }
}

#[test]
fn an_interrupted_build_ends_soon() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let slow = sleep(7_133);
    let project = root.project(
        "stops",
        &format!(
            "services:\n  slow:\n    build: {{dockerfile_inline: \"FROM busybox\\n{slow}\\n\", network: none}}\n"
        ),
    );
    let mut command = hearing(&project.command(&["build"]), &[]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(60, "the step runs", || sleeps(7_133).then_some(()));
    let start = Instant::now();
    let pid = child.id().to_string();
    std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .unwrap();
    let ran = Ran::new(&["build"], child.wait_with_output().unwrap());
    soon(start, &ran);
    assert_eq!(ran.code, 130, "{}", ran.all());
    wait_until(30, "the step is gone", || (!sleeps(7_133)).then_some(()));
}
