//! What `config.json` may ask for, property by property.

use super::{Place, grant, push};
use serde_json::{Value, json};
use std::{
    fs,
    os::{
        fd::AsFd,
        unix::{fs::MetadataExt, fs::PermissionsExt, net::UnixListener},
    },
};

#[test]
fn the_process_is_exactly_as_written() {
    let Some(place) = Place::new() else { return };
    let script = "id -u; id -g; id -G; umask; pwd; echo $A $HOME; cat /proc/self/oom_score_adj; \
                  ulimit -n; ulimit -c; grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status";
    let out = place.inside("process", script, |config| {
        config["process"]["user"] = json!({ "uid": 33, "gid": 50, "additionalGids": [51, 52], "umask": 0o027 });
        config["process"]["cwd"] = json!("/made/for/it");
        config["root"]["readonly"] = json!(false);
        config["process"]["env"] = json!(["PATH=/bin", "A=b"]);
        config["process"]["oomScoreAdj"] = json!(321);
        config["process"]["rlimits"] = json!([
            { "type": "RLIMIT_NOFILE", "soft": 99, "hard": 100 }, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        ]);
        config["process"]["capabilities"] = json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
            "inheritable": ["CAP_KILL"],
            // What is not inheritable cannot be ambient, and is left out, as runc does.
            "ambient": ["CAP_KILL", "CAP_CHOWN"],
        });
        config["process"]["noNewPrivileges"] = json!(true);
    });
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..9],
        [
            "33",
            "50",
            "50 51 52",
            "0027",
            "/made/for/it",
            "b /srv/web",
            "321",
            "99",
            "0"
        ]
    );
    let status = lines[9..].join(" ").replace('\t', "");
    let expected = "CapInh:0000000000000020 CapPrm:0000000000000020 CapEff:0000000000000020 CapBnd:0000000000000021 \
                    CapAmb:0000000000000020 NoNewPrivs:1";
    assert_eq!(status, expected);
}

#[test]
fn scheduling_and_personality() {
    let Some(place) = Place::new() else { return };
    let out = place.inside(
        "sched",
        "cut -d' ' -f19,41 /proc/self/stat; ionice -p $$; uname -m; nproc",
        |config| {
            config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
            config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
            config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0" });
            config["linux"]["personality"] = json!({ "domain": "LINUX32" });
        },
    );
    assert!(out.starts_with("5 3\n"), "niceness and policy: {out}");
    assert!(out.contains("prio 6"), "{out}");
    assert!(out.contains("i686") || !cfg!(target_arch = "x86_64"), "{out}");
    assert!(out.trim_end().ends_with("\n1"), "{out}");
}

#[test]
fn hooks_run_where_and_when_they_should() {
    let Some(place) = Place::new() else { return };
    let log = place.path("hooks.log");
    fs::write(&log, "").unwrap();
    // Hooks of the container itself run in its root: they write where it can be seen from both sides.
    let hook = |name: &str| {
        let script = format!(
            "state=$(cat); echo \"{name} $(echo \"$state\" | grep -o '\"status\":\"[a-z]*\"' | cut -d: -f2) \
             $(readlink /proc/self/ns/mnt) $ENVIRONMENT\" >> {}",
            log.display()
        );
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin", "ENVIRONMENT=set"], "timeout": 10 }])
    };
    let bundle = place.bundle("hooks", "readlink /proc/self/ns/mnt", |config| {
        for name in [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ] {
            config["hooks"][name] = hook(name);
        }
        config["root"]["readonly"] = json!(false);
        let folder = place.path("");
        push(
            &mut config["mounts"],
            json!({ "destination": folder, "source": folder, "type": "bind", "options": ["bind", "rw"] }),
        );
    });
    let ran = place.run_bundle("hooks", &bundle);
    assert_eq!(ran.code, 0, "{}", ran.error);
    let (inside, host) = (
        ran.out.trim().to_owned(),
        fs::read_link("/proc/self/ns/mnt").unwrap(),
    );
    let seen = fs::read_to_string(&log).unwrap();
    let host = host.display();
    let expected = format!(
        "prestart \"creating\" {host} set\ncreateRuntime \"creating\" {host} set\ncreateContainer \"creating\" {inside} set\n\
         startContainer \"created\" {inside} set\npoststart \"running\" {host} set\npoststop \"stopped\" {host} set\n"
    );
    assert_eq!(seen, expected);
    // A hook that fails ends it all, a slow one too.
    for (script, text) in [("exit 4", "exit status: 4"), ("sleep 100", "timed out")] {
        let bundle = place.bundle("failing", "echo ran", |config| {
            config["hooks"]["createRuntime"] =
                json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1 }]);
        });
        let ran = place.run_bundle("failing", &bundle);
        assert!(
            ran.code == 1 && ran.out.is_empty() && ran.error.contains("cannot run the hook"),
            "{}",
            ran.error
        );
        assert!(ran.error.contains(text), "{}", ran.error);
    }
}

#[test]
fn mounts_are_made_in_order_with_their_options() {
    let Some(place) = Place::new() else { return };
    let data = place.path("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::write(data.join("f"), "bound\n").unwrap();
    fs::create_dir_all(place.path("root/up")).unwrap();
    fs::write(place.path("root/up/copied"), "copied\n").unwrap();
    let script = "cat /mnt/a/f; touch /mnt/a/no 2>&1 | grep -o 'Read-only.*'; cat /up/copied; touch /up/new && echo new; \
                  grep -E ' /(mnt|up)' /proc/self/mountinfo | cut -d' ' -f5-7; ls /mnt/b; echo second > /proc/1/root/mnt/b/over; cat /mnt/b/over";
    let out = place.inside("mounts", script, |config| {
        for mount in [
            json!({ "destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["mode=700", "noexec", "nosuid", "size=1m"] }),
            json!({ "destination": "/mnt/a", "source": data, "options": ["rbind", "rro", "nodev", "rslave"] }),
            json!({ "destination": "/mnt/b", "source": data, "type": "bind", "options": ["bind"] }),
            json!({ "destination": "/mnt/b", "type": "tmpfs", "source": "over" }),
            json!({ "destination": "/up", "type": "tmpfs", "options": ["tmpcopyup"] }),
        ] {
            push(&mut config["mounts"], mount);
        }
    });
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..4],
        ["bound", "Read-only file system", "copied", "new"],
        "{out}"
    );
    assert!(lines.contains(&"/mnt rw,nosuid,noexec,relatime -"), "{out}");
    // A slave of the host's mount, where that is shared, as systemd has it.
    let bound = lines
        .iter()
        .find_map(|line| line.strip_prefix("/mnt/a ro,nodev,relatime "));
    assert!(
        bound.is_some_and(|peers| peers == "-" || peers.starts_with("master:")),
        "{out}"
    );
    assert_eq!(lines.last(), Some(&"second"));
    assert!(
        !data.join("over").exists(),
        "the later mount covers the earlier one"
    );
}

#[test]
fn an_idmapped_mount_shows_other_owners() {
    let Some(place) = Place::new() else { return };
    let data = place.path("mapped");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("f"), "").unwrap();
    std::os::unix::fs::chown(data.join("f"), Some(1000), Some(1000)).unwrap();
    let map = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 65536 }]);
    let bundle = place.bundle("idmap", "stat -c '%u %g' /mnt/f; touch /mnt/new", |config| {
        let mount = json!({
            "destination": "/mnt", "source": data, "type": "bind", "options": ["bind"],
            "uidMappings": map(100_000), "gidMappings": map(200_000),
        });
        push(&mut config["mounts"], mount);
    });
    let ran = place.run_bundle("idmap", &bundle);
    if ran.error.contains("invalid argument") {
        eprintln!("skipped: the file system of the test's folder has no idmapped mounts");
        return;
    }
    // containerID is what lies on disk, hostID what the mount shows.
    assert_eq!(ran.out, "101000 201000\n", "{}", ran.error);
}

#[test]
fn devices_and_their_rules() {
    let Some(place) = Place::new() else { return };
    let script = "stat -c '%t:%T %a %u:%g %F' /dev/own /dev/pipe /dev/null; head -c1 /dev/own | wc -c; \
                  head -c1 /dev/kmsg 2>&1 | grep -o 'not permitted'; mknod /dev/z c 1 9; head -c1 /dev/z 2>&1 | grep -o 'not permitted'; \
                  readlink /dev/stdout; readlink /dev/ptmx";
    let out = place.inside("devices", script, |config| {
        config["linux"]["devices"] = json!([
            { "type": "c", "path": "/dev/own", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4 },
            { "type": "p", "path": "/dev/pipe", "fileMode": 0o600 },
            { "type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11 },
        ]);
        grant(config, &["CAP_MKNOD", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"]);
        config["linux"]["resources"]["devices"] = json!([
            { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm" },
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 7, "access": "r" },
        ]);
    });
    let expected = "1:5 640 3:4 character special file\n0:0 600 0:0 fifo\n1:3 666 0:0 character special file\n1\n\
                    not permitted\n/proc/self/fd/1\npts/ptmx\n";
    assert_eq!(out, expected);
}

#[test]
fn names_parameters_paths_and_the_root() {
    let Some(place) = Place::new() else { return };
    let script = "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax; \
                  cat /proc/timer_list | wc -c; touch /proc/sys/x 2>&1 | wc -l; touch /x 2>&1 | grep -o 'Read-only.*'; \
                  cat /etc/passwd | wc -c; grep -E '^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / ' /proc/self/mountinfo | grep -o 'shared:'";
    let out = place.inside("names", script, |config| {
        config["hostname"] = json!("given");
        config["domainname"] = json!("example.org");
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "4242" });
        push(&mut config["linux"]["maskedPaths"], json!("/etc/passwd"));
        config["linux"]["rootfsPropagation"] = json!("shared");
    });
    assert_eq!(
        out,
        "given\nexample.org\n77\n4242\n0\n1\nRead-only file system\n0\nshared:\n"
    );
}

#[test]
fn limits_are_written_and_in_force() {
    let Some(place) = Place::new() else { return };
    let script = "head -c 100000000 /dev/zero | tr '\\0' x > /dev/shm/big; echo survived";
    let bundle = place.bundle("oom", script, |config| {
        config["linux"]["resources"]["memory"] =
            json!({ "limit": 16 << 20, "swap": 16 << 20, "swappiness": 0 });
        for mount in config["mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/dev/shm" {
                mount["options"] = json!(["mode=1777"]);
            }
        }
    });
    let ran = place.run_bundle("oom", &bundle);
    assert!(
        !ran.out.contains("survived") || ran.error.contains("Killed"),
        "{}{}",
        ran.out,
        ran.error
    );
    let script = "i=0; while [ $i -lt 30 ]; do sleep 1 & i=$((i+1)); done 2>&1; wait";
    let bundle = place.bundle("pids", script, |config| {
        config["linux"]["resources"]["pids"] = json!({ "limit": 10 });
    });
    let ran = place.run_bundle("pids", &bundle);
    assert!(
        ran.out.contains("fork") || ran.error.contains("fork"),
        "{}{}",
        ran.out,
        ran.error
    );
    let path = format!("/banyan-oci-test/{}", place.id("path"));
    let seen = place.inside("path", "cat /proc/self/cgroup", |config| {
        config["linux"]["cgroupsPath"] = json!(path);
        config["linux"]["resources"]["cpu"] =
            json!({ "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0" });
        config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .retain(|one| one["type"] != "cgroup");
    });
    assert!(seen.contains(&path), "{seen}");
}

#[test]
fn calls_are_filtered_and_passed_on() {
    let Some(place) = Place::new() else { return };
    let rule = |name: &str, action: &str, errno: Value| json!({ "names": [name], "action": action, "errnoRet": errno });
    let out = place.inside("filter", "mkdir /tmp/x 2>&1 | grep -o ': [A-Z].*'; chmod 700 /tmp 2>&1 | grep -o ': [A-Z].*'", |config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [rule("mkdir", "SCMP_ACT_ERRNO", json!(28)), rule("mkdirat", "SCMP_ACT_ERRNO", json!(28)),
                         rule("chmod", "SCMP_ACT_ERRNO", json!(null)), rule("fchmodat", "SCMP_ACT_ERRNO", json!(null))],
        });
    });
    assert_eq!(out, ": No space left on device\n: Operation not permitted\n");
    let socket = place.path("supervisor");
    let listener = UnixListener::bind(&socket).unwrap();
    let told = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 8192];
        let (length, descriptors) =
            banyan_runtime::sys::message::wait_for(stream.as_fd(), &mut buffer).unwrap();
        // Closing the listener makes the call fail with ENOSYS: nobody decides any more.
        (
            serde_json::from_slice::<Value>(&buffer[..length]).unwrap(),
            descriptors.len(),
        )
    });
    let out = place.inside("notify", "mkdir /dev/shm/x 2>&1 | grep -o ': [A-Z].*'", |config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "listenerMetadata": "for you",
            "syscalls": [rule("mkdir", "SCMP_ACT_NOTIFY", json!(null)), rule("mkdirat", "SCMP_ACT_NOTIFY", json!(null))],
        });
    });
    assert_eq!(out, ": Function not implemented\n");
    let (state, descriptors) = told.join().unwrap();
    assert_eq!(descriptors, 1);
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["metadata"], "for you");
    assert_eq!(state["state"]["id"], json!(place.id("notify")));
    assert_eq!(state["state"]["status"], "creating");
}

#[test]
fn what_is_lacking_is_refused_by_name() {
    let Some(place) = Place::new() else { return };
    type Change = fn(&mut Value);
    let table: [(&str, Change); 24] = [
        ("ociVersion: `2.0.0`", |c| c["ociVersion"] = json!("2.0.0")),
        ("process is missing", |c| c["process"] = Value::Null),
        ("root is missing", |c| c["root"] = Value::Null),
        ("root.path: `/nosuch` is no directory", |c| {
            c["root"]["path"] = json!("/nosuch")
        }),
        ("vm is not supported", |c| c["vm"] = json!({})),
        ("linux.intelRdt is not supported", |c| {
            c["linux"]["intelRdt"] = json!({})
        }),
        ("linux.memoryPolicy is not supported", |c| {
            c["linux"]["memoryPolicy"] = json!({})
        }),
        ("linux.netDevices is not supported", |c| {
            c["linux"]["netDevices"] = json!({ "eth0": {} })
        }),
        ("linux.mountLabel is not supported", |c| {
            c["linux"]["mountLabel"] = json!("system_u:x")
        }),
        ("process.apparmorProfile is not supported", |c| {
            c["process"]["apparmorProfile"] = json!("docker-default")
        }),
        ("process.selinuxLabel is not supported", |c| {
            c["process"]["selinuxLabel"] = json!("system_u:x")
        }),
        ("hugepageLimits is not supported", |c| {
            c["linux"]["resources"]["hugepageLimits"] = json!([{ "pageSize": "2MB", "limit": 0 }]);
        }),
        ("rdma is not supported", |c| {
            c["linux"]["resources"]["rdma"] = json!({ "mlx": { "hcaHandles": 1 } })
        }),
        ("network is not supported", |c| {
            c["linux"]["resources"]["network"] = json!({ "classID": 5 })
        }),
        ("process.cwd: `here` must be an absolute path", |c| {
            c["process"]["cwd"] = json!("here")
        }),
        ("`RLIMIT_NOFILE` is written twice", |c| {
            let one = json!({ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1 });
            c["process"]["rlimits"] = json!([one, one]);
        }),
        ("`SCHED_ODD` is no policy", |c| {
            c["process"]["scheduler"] = json!({ "policy": "SCHED_ODD" })
        }),
        ("linux.seccomp.listenerPath", |c| {
            c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_NOTIFY" });
        }),
        ("unknown action `SCMP_ACT_ODD`", |c| {
            c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ODD" })
        }),
        ("that is systemd's form: give --systemd-cgroup", |c| {
            c["linux"]["cgroupsPath"] = json!("system.slice:banyan:x")
        }),
        ("`pid` is written twice", |c| {
            push(&mut c["linux"]["namespaces"], json!({ "type": "pid" }))
        }),
        ("`odd` is no namespace", |c| {
            push(&mut c["linux"]["namespaces"], json!({ "type": "odd" }))
        }),
        ("`kernel.odd` is not a container's own", |c| {
            c["linux"]["sysctl"] = json!({ "kernel.odd": "1" })
        }),
        ("the destination must be an absolute path", |c| {
            push(&mut c["mounts"], json!({ "destination": "x", "type": "tmpfs" }));
        }),
    ];
    for (text, change) in table {
        let bundle = place.bundle("refused", "true", change);
        let ran = place.run_bundle("refused", &bundle);
        assert!(ran.code == 1 && ran.error.contains(text), "{text}: {}", ran.error);
    }
    assert_eq!(
        place.path("root").metadata().unwrap().permissions().mode() & 0o777,
        0o755
    );
    assert_eq!(place.path("root").metadata().unwrap().uid(), 0);
}
