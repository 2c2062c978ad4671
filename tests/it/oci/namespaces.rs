//! Joined, user and time namespaces.

use super::{Place, push};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

fn set(config: &mut Value, kind: &str, path: Option<String>) {
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|one| one["type"] != kind);
    let mut one = json!({ "type": kind });
    if let Some(path) = path {
        one["path"] = json!(path);
    }
    list.push(one);
}

#[test]
fn namespaces_of_another_container_are_joined_by_path() {
    let Some(place) = Place::new() else { return };
    let (_, pid) = place.sleeper("owner", |config| {
        config["hostname"] = json!("owner");
        set(config, "time", None);
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 500_000 } });
    });
    let kinds = [
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("pid", "pid"),
        ("cgroup", "cgroup"),
        ("time", "time"),
    ];
    let script = "for i in net ipc uts pid cgroup time mnt; do readlink /proc/self/ns/$i; done; hostname";
    let out = place.inside("guest", script, |config| {
        config.as_object_mut().unwrap().remove("hostname");
        for (kind, file) in kinds {
            set(config, kind, Some(format!("/proc/{pid}/ns/{file}")));
        }
    });
    let lines: Vec<&str> = out.lines().collect();
    for (index, (_, file)) in kinds.iter().enumerate() {
        let theirs = fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap();
        assert_eq!(Path::new(lines[index]), theirs, "{out}");
    }
    let own = fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    assert_ne!(Path::new(lines[6]), own);
    assert_eq!(lines[7], "owner");
}

#[test]
fn clocks_are_offset() {
    let Some(place) = Place::new() else { return };
    let uptime = |text: &str| text.split('.').next().unwrap().parse::<i64>().unwrap();
    let before = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let out = place.inside("clocks", "cat /proc/uptime", |config| {
        set(config, "time", None);
        config["linux"]["timeOffsets"] =
            json!({ "boottime": { "secs": 1_000_000, "nanosecs": 5 }, "monotonic": { "secs": 86_400 } });
    });
    let shown = uptime(&out);
    assert!(
        (before + 1_000_000..before + 1_000_600).contains(&shown),
        "{before} {shown}"
    );
}

#[test]
fn a_user_namespace_maps_root_to_nobody_special() {
    let Some(place) = Place::new() else { return };
    let root = place.path("root");
    chown_all(&root, 100_000);
    for folder in [place.path(""), root.clone()] {
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let secret = place.path("secret");
    fs::write(&secret, "bound\n").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let mapped = |config: &mut Value| {
        set(config, "user", None);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map.clone();
        config["root"]["readonly"] = json!(false);
        let mount = json!({ "destination": "/mnt/secret", "source": secret, "type": "bind", "options": ["bind", "ro"] });
        push(&mut config["mounts"], mount);
    };
    let script = "id -u; cat /proc/self/uid_map | tr -s ' '; touch /tmp/made; echo x > /dev/null && echo null; \
                  head -c1 /dev/zero | wc -c; cat /mnt/secret; stat -c %u /dev /proc/$$ /tmp; mount -t tmpfs t /mnt 2>&1 | wc -l";
    let out = place.inside("mapped", script, mapped);
    let expected = "0\n 0 100000 65536\nnull\n1\nbound\n0\n0\n0\n1\n";
    assert_eq!(out, expected);
    assert_eq!(root.join("tmp/made").metadata().unwrap().uid(), 100_000);
    // exec lands in the same one, and another container can join it.
    let (id, pid) = place.sleeper("holder", mapped);
    assert_eq!(
        place
            .ok(&["exec", &id, "cat", "/proc/self/setgroups", "/proc/self/uid_map"])
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["allow", "0", "100000", "65536"]
    );
    let joined = place.inside("joiner", "id -u; readlink /proc/self/ns/user", |config| {
        set(config, "user", Some(format!("/proc/{pid}/ns/user")));
    });
    let theirs = fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_eq!(joined, format!("0\n{}\n", theirs.display()));
}

fn chown_all(path: &Path, id: u32) {
    std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            chown_all(&entry.unwrap().path(), id);
        }
    } else if path.is_file() && !path.is_symlink() {
        chown(path, Some(id), Some(id)).unwrap();
    }
}
