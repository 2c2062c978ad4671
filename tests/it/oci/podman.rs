//! Podman with `--runtime` set to ours: what an engine that knows nothing of us needs.

use super::{Place, Ran};
use crate::{
    support::{BANYAN, skip, wait_until},
    systemd::{cgroup, owns_cgroups, property, read, systemctl},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

struct Podman {
    place: Place,
    /// Its flag; without one it is what Podman finds best.
    cgroup_manager: Option<&'static str>,
}

impl Podman {
    /// Podman with storage of its own and an image made of busybox; `None` where there is none.
    fn new() -> Option<Self> {
        Self::managed_by(Some("--cgroup-manager=cgroupfs"))
    }

    fn managed_by(cgroup_manager: Option<&'static str>) -> Option<Self> {
        let place = Place::new()?;
        let found = Command::new("podman").arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            skip("podman is not installed; tests/run installs it");
            return None;
        }
        // A runtime is a path without arguments: our program under its second name.
        std::os::unix::fs::symlink(BANYAN, place.path("banyan-oci")).unwrap();
        let podman = Self {
            place,
            cgroup_manager,
        };
        let archive = podman.place.path("root.tar");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(podman.place.path("root"))
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status();
        assert!(packed.unwrap().success());
        podman.ok(&["import", archive.to_str().unwrap(), "busybox"]);
        Some(podman)
    }

    fn run(&self, words: &[&str]) -> Ran {
        let place = |name: &str| self.place.path(name);
        let output = Command::new("podman")
            .args(["--storage-driver", "vfs", "--events-backend", "file"])
            .args(self.cgroup_manager)
            .arg("--root")
            .arg(place("podman/root"))
            .arg("--runroot")
            .arg(place("podman/run"))
            .arg("--tmpdir")
            .arg(place("podman/tmp"))
            .arg("--runtime")
            .arg(place("banyan-oci"))
            .args(words)
            .stdin(Stdio::null())
            .output();
        output.unwrap().into()
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, 0, "podman {words:?}: {}", ran.error);
        ran.out
    }

    /// `run` with what this host can give: no network of Podman's, limits below the host's own.
    fn start(&self, flags: &[&str], script: &str) -> Ran {
        let mut words = vec![
            "run",
            "--network",
            "none",
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=4096:4096",
        ];
        words.extend(flags);
        words.extend(["busybox", "sh", "-c", script]);
        self.run(&words)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.run(&["rm", "--all", "--force", "--time", "0"]);
        self.run(&["rmi", "--all", "--force"]);
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            // Podman's own parent, empty unless somebody else uses it.
            let _ = fs::remove_dir(hierarchy.path().join("libpod_parent/conmon"));
            let _ = fs::remove_dir(hierarchy.path().join("libpod_parent"));
        }
    }
}

#[test]
fn podman_runs_containers_with_this_runtime() {
    let Some(podman) = Podman::new() else { return };
    let ran = podman.start(&["--rm"], "id -u; echo out; echo err >&2; exit 7");
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.error.as_str()),
        (7, "0\nout\n", "err\n")
    );
    let ran = podman.start(
        &[
            "--rm",
            "--user",
            "33",
            "--hostname",
            "named",
            "--read-only",
            "--cap-drop",
            "all",
        ],
        "id -u; hostname; touch /x 2>&1 | wc -l; grep CapEff /proc/self/status",
    );
    assert_eq!(
        ran.out, "33\nnamed\n1\nCapEff:\t0000000000000000\n",
        "{}",
        ran.error
    );
    for (program, code) in [("nosuch", 127), ("/etc", 126)] {
        let ran = podman.run(&[
            "run",
            "--rm",
            "--network",
            "none",
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=4096:4096",
            "busybox",
            program,
        ]);
        assert_eq!(ran.code, code, "{}", ran.error);
    }
    let ran = podman.start(
        &["--rm", "--memory", "16m", "--memory-swap", "16m"],
        "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived",
    );
    assert_eq!(ran.code, 137, "{}{}", ran.out, ran.error);
}

#[test]
fn podman_execs_stops_pauses_and_reads_logs() {
    let Some(podman) = Podman::new() else { return };
    let script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let ran = podman.start(
        &["-d", "--name", "c", "--memory", "64m", "--pids-limit", "20"],
        script,
    );
    assert_eq!(ran.code, 0, "{}", ran.error);
    let ran = podman.run(&[
        "exec",
        "c",
        "sh",
        "-c",
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; exit 9",
    ]);
    assert_eq!((ran.code, ran.out.trim()), (9, "67108864"), "{}", ran.error);
    let ran = podman.run(&["exec", "-t", "c", "tty"]);
    assert_eq!((ran.code, ran.out.trim()), (0, "/dev/pts/0"), "{}", ran.error);
    podman.ok(&["pause", "c"]);
    assert!(
        podman
            .ok(&["ps", "-a", "--format", "{{.Status}}"])
            .contains("aused")
    );
    podman.ok(&["unpause", "c"]);
    assert!(podman.ok(&["top", "c", "pid", "args"]).contains("sleep 0.1"));
    wait_until(10, "the first line", || {
        podman.ok(&["logs", "c"]).contains("up").then_some(())
    });
    podman.ok(&["stop", "--time", "10", "c"]);
    assert_eq!(
        podman
            .ok(&[
                "inspect",
                "--format",
                "{{.State.Status}} {{.State.ExitCode}}",
                "c"
            ])
            .trim(),
        "exited 3"
    );
    assert_eq!(podman.ok(&["logs", "c"]), "up\nbye\n");
    podman.ok(&["start", "c"]);
    podman.ok(&["rm", "--force", "--time", "0", "c"]);
}

#[test]
fn podman_has_systemd_make_scopes() {
    if !owns_cgroups() {
        return;
    }
    // Podman's own choice.
    let Some(podman) = Podman::managed_by(None) else {
        return;
    };
    let flags = [
        "-d",
        "--name",
        "c",
        "--memory",
        "64m",
        "--pids-limit",
        "20",
        "--cpus",
        "0.5",
    ];
    let script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let ran = podman.start(&flags, script);
    assert_eq!(ran.code, 0, "{}", ran.error);
    let id = ran.out.trim().to_owned();
    let unit = format!("libpod-{id}.scope");
    let own = Path::new("/sys/fs/cgroup/machine.slice").join(&unit);
    let check = |when: &str| {
        assert_eq!(read(&own.join("memory.max")), (64 << 20).to_string(), "{when}");
        assert_eq!(read(&own.join("pids.max")), "20", "{when}");
        assert_eq!(read(&own.join("cpu.max")), "50000 100000", "{when}");
    };
    check("at the start");
    assert_eq!(property(&unit, "MemoryMax"), (64 << 20).to_string());
    assert_eq!(property(&unit, "TasksMax"), "20");
    assert_eq!(property(&unit, "Delegate"), "yes");
    let status = systemctl(&["status", "--no-pager", &unit]);
    assert!(
        status.contains("sleep 0.1") && status.contains(&format!("Container {id} of banyan")),
        "{status}"
    );
    systemctl(&["daemon-reload"]);
    systemctl(&["set-property", "--runtime", &unit, "CPUWeight=50"]);
    check("after a reload");
    let ran = podman.run(&[
        "exec",
        "c",
        "sh",
        "-c",
        "cat /proc/self/cgroup /sys/fs/cgroup/memory.max; exit 9",
    ]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (9, "0::/\n67108864\n"),
        "{}",
        ran.error
    );
    let pid = podman.ok(&["inspect", "--format", "{{.State.Pid}}", "c"]);
    assert_eq!(cgroup(pid.trim()), format!("/machine.slice/{unit}"));
    podman.ok(&["pause", "c"]);
    podman.ok(&["unpause", "c"]);
    podman.ok(&["stop", "--time", "20", "c"]);
    assert_eq!(
        podman
            .ok(&["inspect", "--format", "{{.State.ExitCode}}", "c"])
            .trim(),
        "3"
    );
    assert_eq!(podman.ok(&["logs", "c"]), "up\nbye\n");
    wait_until(10, "the scope's end", || (!own.exists()).then_some(()));
    podman.ok(&["start", "c"]);
    check("started again");
    podman.ok(&["rm", "--force", "--time", "0", "c"]);
    wait_until(10, "the scope's end", || {
        let units = systemctl(&["list-units", "--all", "--plain", "--no-legend", "libpod-*"]);
        (!own.exists() && units.is_empty()).then_some(())
    });
    let ran = podman.start(
        &["--rm", "--memory", "16m", "--memory-swap", "16m"],
        "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived",
    );
    assert_eq!(ran.code, 137, "{}{}", ran.out, ran.error);
}
