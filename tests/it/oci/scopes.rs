//! systemd as the manager of cgroups, where it runs.

use super::Place;
use crate::{
    support::wait_until,
    systemd::{owns_cgroups, property, read, systemctl},
};
use serde_json::json;
use std::path::Path;

#[test]
fn without_systemd_its_scopes_are_refused() {
    if Path::new("/run/systemd/system").exists() {
        // The other test's turn.
        return;
    }
    let Some(place) = Place::new() else { return };
    let bundle = place.bundle("refused", "true", |config| {
        config["linux"]["cgroupsPath"] = json!("system.slice:banyan:x");
    });
    for flag in ["--systemd-cgroup", "--cgroup-manager=systemd"] {
        let id = place.id("refused");
        let ran = place.run(&[flag, "run", "--bundle", bundle.to_str().unwrap(), &id]);
        assert_eq!(ran.code, 1);
        assert!(
            ran.error.contains("systemd does not run here")
                && ran.error.contains("use the cgroup manager `cgroupfs`"),
            "{}",
            ran.error
        );
    }
    let wrong = place.bundle("wrong", "true", |config| {
        config["linux"]["cgroupsPath"] = json!("/a/path");
    });
    let id = place.id("wrong");
    let ran = place.run(&[
        "--systemd-cgroup",
        "run",
        "--bundle",
        wrong.to_str().unwrap(),
        &id,
    ]);
    assert!(ran.error.contains("slice:prefix:name"), "{}", ran.error);
}

#[test]
fn systemd_makes_the_scope_that_a_bundle_names() {
    if !owns_cgroups() {
        return;
    }
    let Some(place) = Place::new() else { return };
    let id = place.id("scope");
    let unit = format!("test-{id}.scope");
    let path = format!("/banyantest.slice/banyantest-a.slice/{unit}");
    let bundle = place.bundle("scope", "sleep 1000", |config| {
        config["linux"]["cgroupsPath"] = json!(format!("banyantest-a.slice:test:{id}"));
        config["linux"]["resources"] =
            json!({ "memory": { "limit": 64 << 20 }, "unified": { "memory.high": "50000000" } });
        config["annotations"] = json!({ "org.systemd.property.TimeoutStopSec": "uint64 7" });
    });
    let bundle = bundle.to_str().unwrap();
    let refused = place.run(&["run", "--detach", "--bundle", bundle, &id]);
    assert!(
        refused.error.contains("give --systemd-cgroup"),
        "{}",
        refused.error
    );
    place.ok(&["--systemd-cgroup", "run", "--detach", "--bundle", bundle, &id]);
    assert_eq!(property(&unit, "ControlGroup"), path);
    assert_eq!(property(&unit, "TimeoutStopUSec"), "7s");
    assert_eq!(property(&unit, "MemoryHigh"), "50000000");
    // Nobody asked for a limit: systemd's own does not count.
    assert_eq!(property(&unit, "TasksMax"), "infinity");
    let file = |name: &str| read(&Path::new("/sys/fs/cgroup").join(&path[1..]).join(name));
    assert_eq!(
        (file("memory.max"), file("pids.max")),
        ((64 << 20).to_string(), "max".to_owned())
    );
    place.ok(&[
        "update",
        "--memory",
        "33554432",
        "--pids-limit",
        "9",
        "--cpuset-cpus",
        "0",
        &id,
    ]);
    assert_eq!(
        (property(&unit, "MemoryMax"), property(&unit, "TasksMax")),
        ("33554432".to_owned(), "9".to_owned())
    );
    assert_eq!(property(&unit, "AllowedCPUs"), "0");
    systemctl(&["daemon-reload"]);
    assert_eq!(
        (file("memory.max"), file("pids.max"), file("cpuset.cpus")),
        ("33554432".to_owned(), "9".to_owned(), "0".to_owned())
    );
    assert!(
        place
            .ok(&["exec", &id, "cat", "/proc/self/cgroup"])
            .contains("0::/")
    );
    place.ok(&["kill", &id, "KILL"]);
    wait_until(10, "its end", || {
        place.ok(&["state", &id]).contains("stopped").then_some(())
    });
    place.ok(&["delete", &id]);
    wait_until(10, "the scope's end", || {
        systemctl(&["list-units", "--all", "--plain", "--no-legend", "test-*"])
            .is_empty()
            .then_some(())
    });
    // A creation that fails leaves no scope.
    let bundle = place.bundle("broken", "true", |config| {
        config["linux"]["cgroupsPath"] = json!(format!("banyantest-a.slice:test:{id}"));
        config["process"]["args"] = json!(["/nosuch"]);
    });
    let failed = place.run(&[
        "--systemd-cgroup",
        "run",
        "--bundle",
        bundle.to_str().unwrap(),
        &id,
    ]);
    assert_eq!(failed.code, 1, "{}", failed.error);
    wait_until(10, "the scope's end", || {
        systemctl(&["list-units", "--all", "--plain", "--no-legend", "test-*"])
            .is_empty()
            .then_some(())
    });
    // One process is enough room, also while it is made by another.
    for (name, limit, unified) in [
        ("alone", json!(1), json!({})),
        ("alone-by-file", json!(null), json!({ "pids.max": "1" })),
    ] {
        let bundle = place.bundle(name, "exec sleep 1000", |config| {
            config["linux"]["cgroupsPath"] = json!(format!("banyantest-a.slice:test:{id}"));
            config["linux"]["resources"] = json!({ "pids": { "limit": limit }, "unified": unified });
        });
        let bundle = bundle.to_str().unwrap();
        place.ok(&["--systemd-cgroup", "run", "--detach", "--bundle", bundle, &id]);
        assert_eq!(
            (file("pids.max"), property(&unit, "TasksMax")),
            ("1".to_owned(), "1".to_owned())
        );
        place.ok(&["delete", "--force", &id]);
    }
    systemctl(&["stop", "banyantest.slice"]);
}
