//! Recipes on the real thing: projects by `type`, built from Debian packages without a registry, asked by real clients.
//!
//! A binary of its own because it takes a while; the tests share one root, so that packages and layers are there once.
//! What takes long runs with `BANYAN_TESTS_RECIPES=1`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../it/support/mod.rs"]
mod support;

mod data;
mod elsewhere;
mod examples;
mod init;
mod more;
mod replication;
mod shapes;
mod web;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, Weak},
};
use support::{Project, Ran, Root, can_run_containers, http_get, skip};

/// The root that all tests share while one of them runs; `None` with a reason said when they cannot run here.
fn shared_root() -> Option<Arc<Root>> {
    static SHARED: Mutex<Weak<Root>> = Mutex::new(Weak::new());
    if !can_run_containers() {
        return None;
    }
    let mut shared = SHARED.lock().unwrap();
    if let Some(root) = shared.upgrade() {
        return Some(root);
    }
    // Without a mirror that answers, no machine can build from packages.
    let mirror = Command::new("apt-get").args(["update", "-qq"]).output();
    if !mirror.is_ok_and(|output| output.status.success()) {
        skip("no Debian mirror answers");
        return None;
    }
    let root = Arc::new(Root::new());
    *shared = Arc::downgrade(&root);
    Some(root)
}

/// For tests that take long.
fn is_asked_for() -> bool {
    let asked = std::env::var_os("BANYAN_TESTS_RECIPES").is_some();
    if !asked {
        eprintln!("skipped: set BANYAN_TESTS_RECIPES=1 to build and try this type too");
    }
    asked
}

/// A project file and the files beside it, readable for the services' own users.
fn project<'r>(root: &'r Root, name: &str, file: &str, others: &[(&str, &str)]) -> Project<'r> {
    let project = root.project(name, file);
    for (path, content) in others {
        let path = project.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    project
}

/// Does what builds, one at a time: layers that two tests share are made once.
fn in_turn<T>(build: impl FnOnce() -> T) -> T {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _turn = BUILDING.lock();
    build()
}

/// Builds in turn.
fn build(project: &Project<'_>) {
    in_turn(|| project.ok(&["build"]));
}

/// The page, once it has the text.
#[track_caller]
fn page(port: u16, path: &str, text: &str) -> String {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let last = match http_get(port, path) {
            Ok(page) if page.contains(text) => return page,
            Ok(page) => page,
            Err(error) => error.to_string(),
        };
        assert!(
            std::time::Instant::now() < deadline,
            "`{text}` is not in the page: {last}"
        );
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

/// What a command in a service's container says.
#[track_caller]
fn says(project: &Project<'_>, service: &str, command: &[&str], text: &str) {
    let mut arguments = vec!["exec", "-T", service];
    arguments.extend(command);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let ran: Ran = project.run(&arguments);
        if ran.code == 0 && ran.stdout.contains(text) {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "`{text}` is not what {command:?} says: {}",
            ran.all()
        );
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

/// Makes a folder and all in it somebody's.
fn give(folder: &Path, id: u32) {
    let mut chown = Command::new("chown");
    let status = chown.arg("-R").arg(format!("{id}:{id}")).arg(folder).status();
    assert!(status.unwrap().success());
}

#[test]
fn every_type_is_tried() {
    let mut all = String::new();
    for folder in ["tests/recipes", "examples"] {
        let found = Command::new("grep")
            .args(["-rhoE", "type: [a-z-]+", folder])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        all += &String::from_utf8(found.stdout).unwrap();
    }
    let root = Root::empty();
    let listed = root
        .banyan()
        .args(["recipe", "ls", "--format", "{{.Type}}"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().count() > 25, "{listed}");
    let forgotten: Vec<&str> = listed
        .lines()
        .filter(|kind| !all.lines().any(|line| line.strip_prefix("type: ") == Some(*kind)))
        .collect();
    assert!(forgotten.is_empty(), "no test brings these up: {forgotten:?}");
}

fn owner(path: &Path) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt as _;
    let data = fs::metadata(path).unwrap();
    (data.uid(), data.gid())
}
