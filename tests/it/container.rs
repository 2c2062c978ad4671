//! `banyan container`: single containers, looked at from inside and outside.
//!
//! Every test has a root of its own, a root filesystem made of a static busybox, and unique names; what a test leaves is
//! a failure of [`Host::drop`], which looks.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// A state root and a root filesystem.
struct Host {
    place: tempfile::TempDir,
}

struct Ran {
    code: i32,
    out: String,
    error: String,
}

impl Host {
    /// `None` (with the reason printed) where containers cannot be made.
    fn new() -> Option<Self> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let skip = match busybox {
            None => Some("busybox-static is not installed"),
            Some(_)
                if !fs::read_to_string("/proc/self/status")
                    .unwrap()
                    .contains("CapEff:\t000001ff") =>
            {
                Some("not the superuser")
            }
            Some(_) => None,
        };
        if let Some(reason) = skip {
            assert!(
                std::env::var_os("BANYAN_TESTS_MUST_RUN").is_none(),
                "must run, but {reason}"
            );
            eprintln!("skipped: {reason}");
            return None;
        }
        let host = Self {
            place: tempfile::tempdir().unwrap(),
        };
        host.rootfs("root", busybox.unwrap());
        Some(host)
    }

    fn rootfs(&self, name: &str, busybox: &str) {
        let root = self.path(name);
        for directory in ["bin", "etc", "tmp"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "ls", "id", "true", "false", "sleep", "seq", "mount", "hostname", "env", "ps", "wc",
            "head", "stty", "mknod", "dd", "grep", "touch", "stat", "readlink", "chmod", "mkdir", "rm",
            "echo", "tty", "kill", "nc", "unshare",
        ] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/sh\n",
        )
        .unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nweb:x:34:\nextra:x:77:web\n").unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
        command
            .arg("--root")
            .arg(self.path("state"))
            .arg("container")
            .args(words)
            .stdin(Stdio::null());
        command
    }

    fn banyan(&self, words: &[&str]) -> Ran {
        ran(self.command(words).output().unwrap())
    }

    /// `run --rm` with `flags`, a shell script as the program.
    fn shell(&self, flags: &[&str], script: &str) -> Ran {
        let root = self.path("root");
        let mut words = vec!["run", "--rm", "--rootfs", root.to_str().unwrap()];
        words.extend(flags);
        words.extend(["--", "sh", "-c", script]);
        self.banyan(&words)
    }

    /// Starts `sleep` detached.
    fn sleeper(&self, name: &str, flags: &[&str]) -> String {
        let root = self.path("root");
        let mut words = vec!["run", "-d", "--name", name, "--rootfs", root.to_str().unwrap()];
        words.extend(flags);
        words.extend(["--", "sleep", "1000"]);
        let ran = self.banyan(&words);
        assert_eq!(ran.code, 0, "{}", ran.error);
        ran.out.trim().to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let all = self.banyan(&["ls", "-a", "-q", "--no-trunc"]).out;
        for id in all.lines() {
            self.banyan(&["rm", "-f", id]);
        }
        if !std::thread::panicking() {
            let left: Vec<_> = fs::read_dir(self.path("state/containers"))
                .into_iter()
                .flatten()
                .flatten()
                .collect();
            assert!(left.is_empty(), "{left:?}");
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(
                !mounts.contains(self.place.path().to_str().unwrap()),
                "mounts are left on the host"
            );
        }
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The kernel's version.
fn kernel() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Waits for a condition, level-triggered, at most ten seconds.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within 10 s");
        std::thread::yield_now();
    }
}

#[test]
fn output_and_status_are_the_programs_own() {
    let Some(host) = Host::new() else { return };
    let ran = host.shell(&[], "echo out; echo err >&2; exit 7");
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.error.as_str()),
        (7, "out\n", "err\n")
    );
    // The kernel protects process 1 from itself, not its children.
    let ran = host.shell(&[], "sh -c 'kill -9 $$'; exit $?");
    assert_eq!(ran.code, 137);
}

#[test]
fn mistakes_have_dockers_statuses_and_leave_nothing() {
    let Some(host) = Host::new() else { return };
    let root = host.path("root");
    let root = root.to_str().unwrap();
    fs::write(host.path("root/plain"), "text").unwrap();
    for (words, code, text) in [
        (
            &["--rootfs", root, "--", "nosuch"][..],
            127,
            "cannot run `nosuch`: no such file or directory",
        ),
        (
            &["--rootfs", root, "--", "/plain"],
            126,
            "cannot run `/plain`: permission denied",
        ),
        (
            &["--rootfs", "/nosuch/dir", "--", "true"],
            125,
            "`/nosuch/dir` is not a directory",
        ),
        (
            &["--rootfs", root, "--user", "nobody", "--", "true"],
            125,
            "cannot become the user `nobody`",
        ),
        (
            &["--rootfs", root, "--user", "4294967295", "--", "true"],
            125,
            "cannot become the user `4294967295`",
        ),
        (
            &["--rootfs", root, "--cap-add", "NOPE", "--", "true"],
            125,
            "`NOPE` is not a capability",
        ),
        (
            &["--rootfs", root, "--sysctl", "kernel.panic=1", "--", "true"],
            125,
            "`kernel.panic` is not a container's own",
        ),
        (
            &["--rootfs", root, "--cpuset-cpus", "4096", "--", "true"],
            125,
            "cpuset.cpus",
        ),
        (
            &["--rootfs", root, "-v", "rel/ative:/x", "--", "true"],
            125,
            "neither an absolute path",
        ),
        (
            &["--rootfs", root, "--memory", "lots", "--", "true"],
            64,
            "`lots` is no size",
        ),
        (&["nosuchimage:latest"], 125, "nosuchimage"),
    ] {
        let mut all = vec!["run"];
        all.extend(words);
        let ran = host.banyan(&all);
        assert_eq!(ran.code, code, "{words:?}: {}", ran.error);
        assert!(ran.error.contains(text), "{words:?}: {}", ran.error);
    }
    assert_eq!(host.banyan(&["ls", "-a", "-q"]).out, "");
}

#[test]
fn the_inside_is_confined_as_docker_confines() {
    let Some(host) = Host::new() else { return };
    let ran = host.shell(
        &[],
        "cat /proc/self/status; echo $$; ls /proc/self/fd | wc -l; ls /sys/class/net; hostname",
    );
    let has = |text: &str| assert!(ran.out.contains(text), "{text} in {}", ran.out);
    has("CapBnd:\t00000000a80425fb");
    has("CapEff:\t00000000a80425fb");
    has("CapInh:\t0000000000000000");
    has("CapAmb:\t0000000000000000");
    has("NoNewPrivs:\t1");
    has("Seccomp:\t2");
    has("\n1\n");
    assert!(ran.out.contains("\nlo\n"));
    let ran = host.shell(
        &[
            "--cap-drop",
            "ALL",
            "--cap-add",
            "CHOWN",
            "--security-opt",
            "no-new-privileges=false",
        ],
        "cat /proc/self/status",
    );
    assert!(
        ran.out.contains("CapBnd:\t0000000000000001") && ran.out.contains("NoNewPrivs:\t0"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("Seccomp:\t2"),
        "the filter does not need no-new-privileges"
    );
    for (script, allowed) in [
        ("cat /proc/kcore | head -c 1 | wc -c", "0"),
        ("ls /proc/acpi /sys/firmware | wc -l", ""),
        ("echo 1 > /proc/sys/kernel/panic; echo $?", "1"),
        ("echo b > /proc/sysrq-trigger; echo $?", "1"),
        ("mount -t tmpfs x /tmp; echo $?", "1"),
        ("unshare -n true 2>/dev/null; echo $?", "1"),
        ("touch /sys/x 2>/dev/null; echo $?", "1"),
        (
            "mknod /tmp/sda b 8 0 && head -c 1 /tmp/sda 2>/dev/null; echo $?",
            "1",
        ),
        ("head -c 4 /dev/zero | wc -c", "4"),
    ] {
        let out = host.shell(&[], script).out;
        assert!(out.trim().ends_with(allowed), "{script}: {out}");
    }
}

#[test]
fn no_descriptor_of_ours_is_inside() {
    let Some(host) = Host::new() else { return };
    // The shell opens the directory itself: 0, 1, 2 and that one.
    let ran = host.shell(&[], "for f in /proc/self/fd/*; do echo $f $(readlink $f); done");
    let open: Vec<&str> = ran
        .out
        .lines()
        .filter(|line| line.split(' ').count() > 1 && !line.ends_with(' '))
        .collect();
    assert!(open.len() <= 4, "{}", ran.out);
    assert!(
        !ran.out.contains(host.place.path().to_str().unwrap()),
        "{}",
        ran.out
    );
    let ran = host.shell(&[], "cat /proc/self/mountinfo");
    assert!(!ran.out.contains("banyan-shim"), "{}", ran.out);
}

#[test]
fn users_groups_and_environment() {
    let Some(host) = Host::new() else { return };
    let ran = host.shell(&["--user", "web", "--group-add", "55"], "id; env; pwd");
    assert!(
        ran.out
            .contains("uid=33(web) gid=34(web) groups=34(web),55,77(extra)"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("HOME=/var/www") && ran.out.contains("PATH=/usr/local/sbin:"),
        "{}",
        ran.out
    );
    let ran = host.shell(
        &[
            "-e",
            "A=1",
            "-w",
            "/new/dir",
            "--user",
            "1000:1000",
            "--hostname",
            "box",
        ],
        "pwd; echo $A; hostname; id -u; grep CapEff /proc/self/status",
    );
    assert_eq!(ran.out, "/new/dir\n1\nbox\n1000\nCapEff:\t0000000000000000\n");
    let ran = host.shell(
        &["--ulimit", "nofile=100:200", "--ulimit", "core=0"],
        "ulimit -n; ulimit -c; umask",
    );
    assert_eq!(ran.out, "100\n0\n0022\n");
}

#[test]
fn mounts_of_every_kind() {
    let Some(host) = Host::new() else { return };
    let shared = host.path("shared");
    fs::create_dir_all(shared.join("deep")).unwrap();
    fs::write(shared.join("file"), "content").unwrap();
    let at = |flags: &str| format!("{}:/data{flags}", shared.display());
    assert_eq!(
        host.shell(&["-v", &at("")], "cat /data/file; echo new > /data/other")
            .out,
        "content"
    );
    assert_eq!(fs::read_to_string(shared.join("other")).unwrap(), "new\n");
    let ran = host.shell(
        &["-v", &at(":ro")],
        "touch /data/x 2>/dev/null; echo $?; touch /x && echo root",
    );
    assert_eq!(ran.out, "1\nroot\n");
    let ran = host.shell(
        &["--read-only", "--tmpfs", "/tmp:size=64k,mode=1777"],
        "touch /x 2>/dev/null; echo $?; dd if=/dev/zero of=/tmp/f bs=1k count=100 2>/dev/null; echo $?",
    );
    assert_eq!(ran.out, "1\n1\n");
    // A volume gets the image's content when it is new, and keeps its own afterwards.
    fs::create_dir_all(host.path("root/seeded")).unwrap();
    fs::write(host.path("root/seeded/from-image"), "x").unwrap();
    let mount = ["--mount", "type=volume,source=vol,target=/seeded"];
    assert_eq!(
        host.shell(&mount, "ls /seeded; rm /seeded/from-image; touch /seeded/mine")
            .out,
        "from-image\n"
    );
    assert_eq!(host.shell(&mount, "ls /seeded").out, "mine\n");
    assert_eq!(
        host.shell(
            &["--shm-size", "1m"],
            "dd if=/dev/zero of=/dev/shm/f bs=1M count=2 2>/dev/null; stat -c %s /dev/shm/f"
        )
        .out,
        "1048576\n"
    );
    let ran = host.shell(&["--add-host", "db:10.1.2.3"], "cat /etc/hosts");
    assert!(ran.out.contains("10.1.2.3\tdb"), "{}", ran.out);
}

#[test]
fn hostile_root_filesystems_reach_nothing_outside() {
    let Some(host) = Host::new() else { return };
    let outside = host.path("outside");
    fs::create_dir_all(&outside).unwrap();
    for name in ["dev", "proc", "sys"] {
        host.rootfs(&format!("bad-{name}"), "/bin/busybox");
        symlink(&outside, host.path(&format!("bad-{name}/{name}"))).unwrap();
        let root = host.path(&format!("bad-{name}"));
        let ran = host.banyan(&["run", "--rootfs", root.to_str().unwrap(), "--", "true"]);
        assert_eq!(
            ran.code, 125,
            "a /{name} that is a link is refused: {}",
            ran.error
        );
    }
    host.rootfs("bad-etc", "/bin/busybox");
    let root = host.path("bad-etc");
    fs::remove_dir_all(root.join("etc")).unwrap();
    symlink(&outside, root.join("etc")).unwrap();
    let ran = host.banyan(&["run", "--rm", "--rootfs", root.to_str().unwrap(), "--", "true"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    host.rootfs("bad-passwd", "/bin/busybox");
    let root = host.path("bad-passwd");
    fs::remove_file(root.join("etc/passwd")).unwrap();
    Command::new("mkfifo")
        .arg(root.join("etc/passwd"))
        .status()
        .unwrap();
    let ran = host.banyan(&[
        "run",
        "--rm",
        "--rootfs",
        root.to_str().unwrap(),
        "--user",
        "root",
        "--",
        "true",
    ]);
    assert_eq!(
        ran.code, 125,
        "a FIFO as passwd neither blocks nor counts: {}",
        ran.error
    );
    assert_eq!(
        fs::read_dir(&outside).unwrap().count(),
        0,
        "something was made outside"
    );
}

#[test]
fn limits_are_enforced() {
    let Some(host) = Host::new() else { return };
    let root = host.path("root");
    let ran = host.banyan(&[
        "run",
        "--name",
        "oom",
        "--memory",
        "16m",
        "--memory-swap",
        "16m",
        "--rootfs",
        root.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        "x=$(head -c 100000000 /dev/zero | cat -v); echo survived",
    ]);
    assert_ne!(ran.out, "survived\n");
    let inspect = host.banyan(&["inspect", "oom"]).out;
    assert!(inspect.contains("\"OOMKilled\": true"), "{inspect}");
    let ran = host.shell(
        &["--pids-limit", "5"],
        "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait",
    );
    assert!(ran.error.contains("can't fork"), "{}", ran.error);
    let ran = host.shell(
        &["--cpus", "0.5"],
        "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null",
    );
    assert!(ran.out.starts_with("50000"), "{}", ran.out);
}

#[test]
fn exec_joins_and_reports() {
    let Some(host) = Host::new() else { return };
    host.sleeper("box", &["--hostname", "inside", "-e", "A=1"]);
    let exec = |words: &[&str]| host.banyan(&[&["exec"], words].concat());
    let ran = exec(&[
        "-e",
        "B=2",
        "box",
        "sh",
        "-c",
        "hostname; echo $A$B; ps | grep -c sleep; exit 9",
    ]);
    assert_eq!(
        (ran.code, ran.out.lines().next()),
        (9, Some("inside")),
        "{} {}",
        ran.out,
        ran.error
    );
    assert!(ran.out.contains("\n12\n"), "{}", ran.out);
    let ran = exec(&[
        "-u",
        "web",
        "-w",
        "/tmp",
        "box",
        "sh",
        "-c",
        "id -u; pwd; grep -E 'Seccomp:|NoNew|CapBnd' /proc/self/status",
    ]);
    assert!(
        ran.out
            .starts_with("33\n/tmp\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2"),
        "{}",
        ran.out
    );
    assert_eq!(exec(&["box", "nosuch"]).code, 127);
    assert_eq!(exec(&["-w", "/missing", "box", "true"]).code, 126);
    assert_eq!(host.banyan(&["pause", "box"]).code, 0);
    assert!(exec(&["box", "true"]).error.contains("paused"));
    assert_eq!(host.banyan(&["unpause", "box"]).code, 0);
    assert_eq!(exec(&["box", "true"]).code, 0);
    let mut piped = host.command(&["exec", "-i", "box", "cat"]);
    let mut child = piped
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"through").unwrap();
    assert_eq!(ran_out(child), "through");
}

fn ran_out(child: std::process::Child) -> String {
    ran(child.wait_with_output().unwrap()).out
}

#[test]
fn input_reaches_the_program_and_ends() {
    let Some(host) = Host::new() else { return };
    let root = host.path("root");
    let mut command = host.command(&[
        "run",
        "--rm",
        "-i",
        "--rootfs",
        root.to_str().unwrap(),
        "--",
        "cat",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"one\ntwo").unwrap();
    assert_eq!(ran_out(child), "one\ntwo");
}

#[test]
fn a_terminal_is_one() {
    let Some(host) = Host::new() else { return };
    let ran = host.shell(
        &["-t"],
        "tty; test -t 0 && test -t 1 && echo yes; ls -l /dev/console | wc -l",
    );
    assert_eq!(ran.out, "/dev/pts/0\r\nyes\r\n1\r\n");
}

#[test]
fn an_init_reaps_and_passes_signals() {
    let Some(host) = Host::new() else { return };
    let ran = host.shell(&["--init"], "head -c 17 /proc/1/cmdline; exit 6");
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (6, "/sbin/docker-init"),
        "{}",
        ran.error
    );
    host.sleeper("init", &["--init"]);
    let start = Instant::now();
    assert_eq!(host.banyan(&["stop", "-t", "9", "init"]).code, 0);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "sleep as process 2 obeys SIGTERM"
    );
}

#[test]
fn life_from_create_to_rm() {
    let Some(host) = Host::new() else { return };
    let root = host.path("root");
    let root = root.to_str().unwrap();
    let ran = host.banyan(&[
        "create",
        "--name",
        "one",
        "--rootfs",
        root,
        "--",
        "sh",
        "-c",
        "echo run; sleep 1000",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    assert!(host.banyan(&["ls", "-a"]).out.contains("Created"));
    let ran = host.banyan(&["create", "--name", "one", "--rootfs", root, "--", "true"]);
    assert!(ran.error.contains("`one` is taken"), "{}", ran.error);
    assert_eq!(host.banyan(&["start", "one"]).code, 0);
    assert!(host.banyan(&["ls"]).out.contains("Up "));
    eventually("output", || host.banyan(&["logs", "one"]).out == "run\n");
    assert!(host.banyan(&["top", "one"]).out.contains("sleep 1000"));
    assert!(host.banyan(&["stats", "--no-stream", "one"]).out.contains("MiB"));
    let ran = host.banyan(&["rm", "one"]);
    assert!(ran.code == 1 && ran.error.contains("running"), "{}", ran.error);
    assert_eq!(host.banyan(&["kill", "-s", "KILL", "one"]).code, 0);
    assert_eq!(host.banyan(&["wait", "one"]).out, "137\n");
    assert_eq!(
        host.banyan(&["start", "one"]).code,
        0,
        "a stopped container starts again"
    );
    eventually("output", || host.banyan(&["logs", "one"]).out == "run\nrun\n");
    assert_eq!(host.banyan(&["logs", "--tail", "1", "one"]).out, "run\n");
    assert_eq!(host.banyan(&["update", "--pids-limit", "50", "one"]).code, 0);
    assert_eq!(host.banyan(&["stop", "-t", "0", "one"]).code, 0);
    assert_eq!(host.banyan(&["rm", "one"]).code, 0);
    assert_eq!(host.banyan(&["inspect", "one"]).code, 1);
}

/// Kills the shim of a container, as its record names it, and waits until that shows.
fn kill_shim(host: &Host, id: &str) {
    let record = fs::read_to_string(host.path("state/containers").join(id).join("record.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let shim = record["processes"][1]["pid"].as_i64().unwrap().to_string();
    Command::new("kill").args(["-9", &shim]).status().unwrap();
    eventually("the loss shows", || {
        host.banyan(&["ls"]).out.contains("without its shim")
    });
}

#[test]
fn a_killed_shim_leaves_a_container_that_can_be_removed() {
    let Some(host) = Host::new() else { return };
    let id = host.sleeper("orphan", &[]);
    kill_shim(&host, &id);
    assert!(host.banyan(&["logs", "orphan"]).code == 0);
    assert_eq!(host.banyan(&["rm", "-f", "orphan"]).code, 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for mount in mounts
        .lines()
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| line.split(' ').nth(4))
    {
        assert!(!Path::new(mount).join(format!("banyan-{id}")).exists(), "{mount}");
    }
}

#[test]
fn a_killed_shim_loses_no_line_and_no_exit_status() {
    if kernel() < (6, 15) {
        eprintln!(
            "skipped: this kernel does not tell how a process ended that is not ours (PIDFD_GET_INFO, Linux 6.15)"
        );
        return;
    }
    let Some(host) = Host::new() else { return };
    let root = host.path("root");
    let script = "echo before; until [ -e /tmp/alone ]; do sleep 0.01; done; echo alone; touch /tmp/said; \
                  until [ -e /tmp/end ]; do sleep 0.01; done; echo after; exit 4";
    let words = [
        "run",
        "-d",
        "--name",
        "kept",
        "--rootfs",
        root.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        script,
    ];
    let id = host.banyan(&words).out.trim().to_owned();
    eventually("the first line", || {
        host.banyan(&["logs", "kept"]).out == "before\n"
    });
    kill_shim(&host, &id);
    fs::write(root.join("tmp/alone"), "").unwrap();
    eventually("the container writes without a shim", || {
        root.join("tmp/said").exists()
    });
    // Any command that needs the container brings its shim back.
    assert!(host.banyan(&["top", "kept"]).out.contains("sh -c"));
    eventually("what was written alone", || {
        host.banyan(&["logs", "kept"]).out == "before\nalone\n"
    });
    fs::write(root.join("tmp/end"), "").unwrap();
    eventually("the end", || host.banyan(&["ls", "-a"]).out.contains("Exited"));
    assert_eq!(host.banyan(&["wait", "kept"]).out, "4\n");
    assert_eq!(host.banyan(&["logs", "kept"]).out, "before\nalone\nafter\n");
}

#[test]
fn every_line_is_logged_once_and_in_order() {
    let Some(host) = Host::new() else { return };
    let root = host.path("root");
    let count = 200_000;
    let ran = host.banyan(&[
        "run",
        "-d",
        "--name",
        "fast",
        "--log-opt",
        "max-size=1m",
        "--rootfs",
        root.to_str().unwrap(),
        "--",
        "seq",
        &count.to_string(),
    ]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    assert_eq!(host.banyan(&["wait", "fast"]).out, "0\n");
    let out = host.banyan(&["logs", "fast"]).out;
    assert_eq!(out.lines().count(), count);
    assert!(
        out.lines()
            .enumerate()
            .all(|(index, line)| line == (index + 1).to_string())
    );
}

#[test]
fn a_detached_container_removes_itself() {
    let Some(host) = Host::new() else { return };
    let id = host.sleeper("brief", &["--rm"]);
    let state = host.path("state/containers").join(&id);
    assert!(state.exists());
    let ran = host.banyan(&["kill", "brief"]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    eventually("the removal", || !state.exists());
    assert!(!host.path("state/run/containers").join(&id).exists());
    host.sleeper("stopped", &["--rm"]);
    let ran = host.banyan(&["stop", "-t", "0", "stopped"]);
    assert_eq!(
        (ran.code, host.banyan(&["ls", "-aq"]).out.as_str()),
        (0, ""),
        "{}",
        ran.error
    );
}
