//! Where systemd owns the cgroups (`tests/vm/systemd` is such a machine): containers live in scopes of it, with limits in
//! force, whoever is killed, and nothing of them is left.

use crate::support::{BANYAN, Project, Root, can_run_containers, engines, skip, wait_until};
use std::{
    fs,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

const SLICE: &str = "/sys/fs/cgroup/banyan.slice";

/// Whether systemd is process 1 here, on cgroup v2 alone; skips with a reason otherwise.
pub(crate) fn owns_cgroups() -> bool {
    if !can_run_containers() {
        return false;
    }
    let first = fs::read_to_string("/proc/1/cgroup").unwrap();
    if first.trim() == "0::/init.scope" {
        return true;
    }
    // Machines on which other tests must run need not have it.
    if std::env::var_os("BANYAN_TESTS_SYSTEMD").is_some() {
        skip("systemd does not own the cgroups here");
    }
    eprintln!(
        "skipped: systemd does not own the cgroups here (tests/vm/systemd boots a machine where it does)"
    );
    false
}

#[track_caller]
pub(crate) fn systemctl(words: &[&str]) -> String {
    let output = Command::new("systemctl").args(words).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "systemctl {words:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--value", "-p", name, unit])
        .trim()
        .to_owned()
}

/// Units of ours that are loaded.
fn units() -> String {
    systemctl(&["list-units", "--all", "--plain", "--no-legend", "banyan*"])
}

#[track_caller]
pub(crate) fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().to_owned()
}

/// The cgroup of a process.
pub(crate) fn cgroup(pid: &str) -> String {
    read(Path::new(&format!("/proc/{pid}/cgroup")))
        .trim_start_matches("0::")
        .to_owned()
}

#[track_caller]
fn nothing_is_left() {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !units().is_empty() || Path::new(SLICE).exists() {
        let left = Command::new("systemd-cgls")
            .args(["--no-pager", "--all", SLICE])
            .output()
            .unwrap();
        let tree = String::from_utf8_lossy(&left.stdout).into_owned();
        assert!(Instant::now() < deadline, "left for 10 s: {}{tree}", units());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let at_root = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let left: Vec<_> = at_root
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("banyan"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The scope of a project: its unit, and its directory.
fn scope_of(project: &Project<'_>) -> (String, PathBuf) {
    let wanted = format!("banyan-{}-", project.name);
    let found = fs::read_dir(SLICE).unwrap().flatten().find_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with(&wanted).then(|| (name, entry.path()))
    });
    found.unwrap_or_else(|| panic!("no scope of `{}`: {}", project.name, units()))
}

fn container_in(scope: &Path, id: &str) -> PathBuf {
    let found = fs::read_dir(scope).unwrap().flatten().find_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with(id).then(|| entry.path())
    });
    found.unwrap_or_else(|| panic!("no cgroup of {id} in {}", scope.display()))
}

/// `banyan container` with these words in a root.
fn container(root: &Root, words: &[&str]) -> (i32, String, String) {
    let output = root.banyan().arg("container").args(words).output().unwrap();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[track_caller]
fn detached(root: &Root, flags: &[&str]) -> String {
    let words = [
        &["run", "-d", "--stop-signal", "KILL"],
        flags,
        &["busybox", "sleep", "1000"],
    ]
    .concat();
    let (code, out, error) = container(root, &words);
    assert_eq!((code, error.as_str()), (0, ""), "{words:?}");
    out.trim().to_owned()
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

#[test]
fn a_single_container_is_in_a_scope_with_its_limits_in_force() {
    if !owns_cgroups() {
        return;
    }
    let root = Root::new();
    for network in ["none", "bridge"] {
        let flags = [
            "--network",
            network,
            "--memory",
            "32m",
            "--pids-limit",
            "20",
            "--cpus",
            "0.5",
        ];
        let id = detached(&root, &flags);
        let unit = format!("banyan-{}.scope", &id[..12]);
        let scope = Path::new(SLICE).join(&unit);
        let own = scope.join(&id);
        assert_eq!(read(&own.join("memory.max")), (32 << 20).to_string());
        assert_eq!(read(&own.join("pids.max")), "20");
        assert_eq!(read(&own.join("cpu.max")), "50000 100000");
        assert_eq!(
            fs::read_to_string(own.join("cgroup.procs"))
                .unwrap()
                .lines()
                .count(),
            1
        );
        // Processes in leaves only.
        assert_eq!(read(&scope.join("cgroup.procs")), "");
        assert!(!read(&scope.join("supervisor/cgroup.procs")).is_empty());
        assert_eq!(
            (property(&unit, "Delegate"), property(&unit, "Slice")),
            ("yes".into(), "banyan.slice".into())
        );
        let status = systemctl(&["status", "--no-pager", &unit]);
        assert!(
            status.contains("sleep 1000") && status.contains("banyan"),
            "{status}"
        );
        let (code, _, error) = container(&root, &["rm", "--force", &id]);
        assert_eq!(code, 0, "{error}");
        nothing_is_left();
    }
    let script = "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived";
    let words = [
        "run",
        "--rm",
        "--network",
        "none",
        "--memory",
        "16m",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    let (code, out, _) = container(&root, &words);
    assert_eq!((code, out.as_str()), (137, ""));
    nothing_is_left();
}

#[test]
fn a_container_started_again_gets_its_scope_again() {
    if !owns_cgroups() {
        return;
    }
    let root = Root::new();
    let id = detached(&root, &["--network", "none"]);
    for _ in 0..3 {
        let (code, _, error) = container(&root, &["restart", "-t", "0", &id]);
        assert_eq!((code, error.as_str()), (0, ""));
        assert!(
            Path::new(SLICE)
                .join(format!("banyan-{}.scope/{id}", &id[..12]))
                .exists()
        );
    }
    container(&root, &["rm", "--force", &id]);
    nothing_is_left();
}

#[test]
fn a_parent_that_is_a_slice_is_one_of_systemd() {
    if !owns_cgroups() {
        return;
    }
    let root = Root::new();
    let id = detached(
        &root,
        &["--network", "none", "--cgroup-parent", "shop-front.slice"],
    );
    let unit = format!("banyan-{}.scope", &id[..12]);
    assert_eq!(
        property(&unit, "ControlGroup"),
        format!("/shop.slice/shop-front.slice/{unit}")
    );
    assert!(
        Path::new("/sys/fs/cgroup/shop.slice/shop-front.slice")
            .join(&unit)
            .join(&id)
            .exists()
    );
    container(&root, &["rm", "--force", &id]);
    nothing_is_left();
    systemctl(&["stop", "shop.slice"]);
}

const TWO: &str = r#"
services:
  a:
    image: busybox
    command: [sleep, "1000"]
    stop_signal: SIGKILL
    mem_limit: 24m
    pids_limit: 30
  b:
    image: busybox
    command: [sleep, "1000"]
    stop_signal: SIGKILL
    network_mode: none
"#;

#[test]
fn a_project_is_one_scope_and_leaves_nothing() {
    if !owns_cgroups() {
        return;
    }
    let root = Root::new();
    let project = root.project("two", TWO);
    project.ok(&["up", "-d"]);
    let (unit, scope) = scope_of(&project);
    let a = container_in(&scope, &project.id("a"));
    container_in(&scope, &project.id("b"));
    assert_eq!(read(&a.join("memory.max")), (24 << 20).to_string());
    assert_eq!(read(&a.join("pids.max")), "30");
    // The engine and one shim each; what shims are copied from goes when nobody is connected.
    let engine = &engines(&project)[0];
    wait_until(10, "three processes of ours", || {
        let own = read(&scope.join("supervisor/cgroup.procs"));
        (own.lines().count() == 3 && own.lines().any(|pid| pid == engine)).then_some(())
    });
    let status = systemctl(&["status", "--no-pager", &unit]);
    assert!(status.contains("Containers of project two (banyan)"), "{status}");
    assert_eq!(property(&unit, "TasksMax"), "infinity");
    let checked = root.banyan().args(["system", "check"]).output().unwrap();
    assert!(String::from_utf8_lossy(&checked.stdout).contains("systemd makes scopes for containers"));
    project.ok(&["down", "-t", "0"]);
    nothing_is_left();
}

#[test]
fn two_projects_share_the_slice_and_nothing_else() {
    if !owns_cgroups() {
        return;
    }
    let root = Root::new();
    let (one, two) = (root.project("one", TWO), root.project("other", TWO));
    std::thread::scope(|threads| {
        for project in [&one, &two] {
            threads.spawn(|| project.ok(&["up", "-d"]));
        }
    });
    let (_, scope) = scope_of(&two);
    assert_ne!(scope_of(&one).1, scope);
    one.ok(&["down", "-t", "0"]);
    wait_until(10, "the end of one scope", || {
        (units().lines().filter(|line| line.contains(".scope")).count() == 1).then_some(())
    });
    container_in(&scope, &two.id("a"));
    two.ok(&["down", "-t", "0"]);
    nothing_is_left();
}

#[test]
fn killed_engines_and_reloads_disturb_neither_containers_nor_limits() {
    if !owns_cgroups() {
        return;
    }
    let root = Root::new();
    let project = root.project("lasts", TWO);
    project.ok(&["up", "-d"]);
    let (unit, scope) = scope_of(&project);
    let id = project.id("a");
    let own = container_in(&scope, &id);
    let check = |when: &str| {
        assert_eq!(read(&own.join("memory.max")), (24 << 20).to_string(), "{when}");
        assert_eq!(read(&own.join("pids.max")), "30", "{when}");
        assert_eq!(
            fs::read_to_string(own.join("cgroup.procs"))
                .unwrap()
                .lines()
                .count(),
            1,
            "{when}"
        );
    };
    let before = engines(&project);
    kill(&before[0]);
    let after = wait_until(10, "another engine", || {
        let now = engines(&project);
        (now.len() == 1 && now != before).then(|| now[0].clone())
    });
    assert_eq!(cgroup(&after), format!("/banyan.slice/{unit}/supervisor"));
    check("after the engine was killed");
    systemctl(&["daemon-reload"]);
    systemctl(&[
        "set-property",
        "--runtime",
        &unit,
        "CPUWeight=50",
        "TasksMax=1000",
    ]);
    systemctl(&["daemon-reload"]);
    check("after a reload");
    assert_eq!(read(&scope.join("cpu.weight")), "50");
    // Nobody of us is left to hold the scope: only containers are.
    let supervisors = read(&scope.join("supervisor/cgroup.procs"));
    let mut words = vec!["-9"];
    words.extend(supervisors.lines());
    assert!(Command::new("kill").args(&words).status().unwrap().success());
    project.ok(&["up", "-d"]);
    assert_eq!(project.id("a"), id, "it was made again");
    check("after everything of ours was killed");
    let engine = wait_until(10, "an engine", || engines(&project).first().cloned());
    assert_eq!(cgroup(&engine), format!("/banyan.slice/{unit}/supervisor"));
    project.ok(&["down", "-t", "0"]);
    nothing_is_left();
}

#[test]
fn a_service_whose_parent_is_a_slice_has_a_scope_of_its_own_there() {
    if !owns_cgroups() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "parted",
        &TWO.replace("mem_limit: 24m", "cgroup_parent: shop.slice"),
    );
    project.ok(&["up", "-d", "--scale", "a=3"]);
    let (_, scope) = scope_of(&project);
    container_in(&scope, &project.id("b"));
    let shop = fs::read_dir("/sys/fs/cgroup/shop.slice").unwrap().flatten();
    let scopes: Vec<_> = shop
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".scope"))
        .collect();
    assert_eq!(scopes.len(), 3, "{scopes:?}");
    for unit in &scopes {
        // Its shim is with it.
        let shim = Path::new("/sys/fs/cgroup/shop.slice")
            .join(unit)
            .join("supervisor/cgroup.procs");
        assert_eq!(read(&shim).lines().count(), 1, "{unit}");
    }
    project.ok(&["down", "-t", "0"]);
    nothing_is_left();
    systemctl(&["stop", "shop.slice"]);
}

#[test]
fn what_a_service_of_systemd_starts_outlives_it() {
    if !owns_cgroups() {
        return;
    }
    let root = Root::new();
    let project = root.project("outlives", TWO);
    let text = |path: &Path| path.display().to_string();
    let (base, file) = (text(root.path()), text(&project.folder.join("compose.yaml")));
    let project_words = ["--root", &base, "-p", "outlives", "-f", &file, "up", "-d"];
    let container_words = [
        "--root",
        &base,
        "container",
        "run",
        "-d",
        "--name",
        "single",
        "busybox",
        "sleep",
        "1000",
    ];
    for words in [&project_words[..], &container_words] {
        // Everything in the service's own cgroup is killed when its program has ended.
        let ran = Command::new("systemd-run")
            .args([
                "--quiet",
                "--wait",
                "--collect",
                "--property=KillMode=control-group",
                "--",
                BANYAN,
            ])
            .args(words)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    assert_eq!(engines(&project).len(), 1, "the engine went with the service");
    for container in project.ps() {
        assert_eq!(container["State"], "running", "{container}");
    }
    let (code, list, error) = container(&root, &["ls", "--no-trunc", "--format", "json"]);
    assert_eq!(code, 0, "{error}");
    let mut lines = list
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let single = lines.find(|line| line["Names"] == "single").unwrap();
    let id = single["ID"].as_str().unwrap();
    let scope = Path::new(SLICE).join(format!("banyan-{}.scope", &id[..12]));
    assert_eq!(read(&scope.join(id).join("cgroup.procs")).lines().count(), 1);
    // Its attendant and its shim.
    assert_eq!(read(&scope.join("supervisor/cgroup.procs")).lines().count(), 2);
    container(&root, &["rm", "--force", "single"]);
    project.ok(&["down", "-t", "0"]);
    nothing_is_left();
}

/// Runs a container that says where it is, on a machine where `instead` is at the place of systemd's socket.
fn where_with(root: &Root, instead: &Path) -> (String, String) {
    let line = format!(
        "mount --bind {} /run/systemd/private && exec {BANYAN} --root {} container run --rm --network none --cgroupns host \
         busybox cat /proc/self/cgroup",
        instead.display(),
        root.path().display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &line])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn where_systemd_does_not_answer_containers_run_without_it() {
    if !owns_cgroups() {
        return;
    }
    let root = Root::new();
    // Somebody who listens and never says anything.
    let socket = root.path().join("silent");
    let _silent = UnixListener::bind(&socket).unwrap();
    let (place, error) = where_with(&root, &socket);
    assert!(place.starts_with("0::/banyan-"), "{place}{error}");
    assert!(
        error.contains("without systemd") && error.contains("did not answer within 5 seconds"),
        "{error}"
    );
    nothing_is_left();
}

#[test]
fn where_systemd_does_not_listen_itself_the_bus_leads_to_it() {
    if !owns_cgroups() {
        return;
    }
    let root = Root::new();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let (place, error) = where_with(&root, &file);
    assert!(place.starts_with("0::/banyan.slice/banyan-"), "{place}{error}");
    assert_eq!(error, "");
    nothing_is_left();
}
