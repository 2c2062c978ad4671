//! What a container is, told from inside by the static `probe`: every property of the confinement, exactly.
//!
//! The probe reports, the tests judge. Facts are compared whole where they can be (devices, mounts, descriptors, limits), so
//! that something new inside is noticed too.

use super::support::{BANYAN, can_run_containers, skip};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A root filesystem with nothing but the probe, and a state root.
struct Inside {
    dir: TempDir,
}

/// What the probe said: lines by their first word.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    all: BTreeMap<String, Vec<String>>,
}

impl Facts {
    fn of(text: &str) -> Self {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            all.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        Self { all }
    }

    fn list(&self, name: &str) -> &[String] {
        self.all.get(name).map_or(&[], Vec::as_slice)
    }

    #[track_caller]
    fn one(&self, name: &str) -> &str {
        let [value] = self.list(name) else {
            panic!(
                "`{name}` is there {} times: {:?}",
                self.list(name).len(),
                self.list(name)
            );
        };
        value
    }

    /// Values of a name, with their own first word as the key.
    fn by_word(&self, name: &str) -> BTreeMap<&str, &str> {
        self.list(name)
            .iter()
            .map(|line| line.split_once(' ').unwrap_or((line, "")))
            .collect()
    }
}

/// The probe, built by `cargo build -p probe` (which `tests/run` does) beside the program; built anew when cargo runs this.
fn probe() -> Option<PathBuf> {
    let path = Path::new(BANYAN).with_file_name("probe");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--locked", "--offline", "-p", "probe"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "the probe cannot be built"
        );
    }
    if !path.exists() {
        skip("the probe is not built: cargo build -p probe");
        return None;
    }
    Some(path)
}

impl Inside {
    fn new() -> Option<Self> {
        if !can_run_containers() {
            return None;
        }
        let probe = probe()?;
        let dir = tempfile::Builder::new()
            .prefix("banyan-inside-")
            .tempdir()
            .unwrap();
        let inside = Self { dir };
        let root = inside.path("root");
        for folder in ["etc", "tmp"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::copy(probe, root.join("probe")).unwrap();
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/sh\n",
        )
        .unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nweb:x:34:\nextra:x:77:web\n").unwrap();
        Some(inside)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn banyan(&self, words: &[&str]) -> (i32, String, String) {
        let output = Command::new(BANYAN)
            .arg("--root")
            .arg(self.path("state"))
            .arg("container")
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    /// What the probe says in a new container with these flags.
    #[track_caller]
    fn says_in(&self, root: &str, flags: &[&str], words: &[&str]) -> String {
        let root = self.path(root);
        let all = [
            &["run", "--rm", "--rootfs", root.to_str().unwrap()],
            flags,
            &["--", "/probe"],
            words,
        ]
        .concat();
        let (code, out, error) = self.banyan(&all);
        assert_eq!(code, 0, "{all:?}: {error}{out}");
        out
    }

    #[track_caller]
    fn says(&self, flags: &[&str], words: &[&str]) -> String {
        self.says_in("root", flags, words)
    }

    #[track_caller]
    fn facts(&self, flags: &[&str]) -> Facts {
        Facts::of(&self.says(flags, &["facts"]))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let (_, all, _) = self.banyan(&["ls", "-a", "-q", "--no-trunc"]);
        for id in all.lines() {
            self.banyan(&["rm", "-f", id]);
        }
    }
}

/// The namespaces of this process, as the probe names its own.
fn own_namespaces() -> BTreeMap<String, String> {
    fs::read_dir("/proc/self/ns")
        .unwrap()
        .flatten()
        .map(|entry| {
            let target = fs::read_link(entry.path()).unwrap();
            (
                entry.file_name().into_string().unwrap(),
                target.display().to_string(),
            )
        })
        .collect()
}

#[test]
fn a_process_is_as_dockers() {
    let Some(inside) = Inside::new() else { return };
    let facts = inside.facts(&["--hostname", "box", "--domainname", "example"]);
    let descriptors: BTreeSet<&str> = facts.by_word("descriptor").into_keys().collect();
    assert_eq!(
        descriptors,
        BTreeSet::from(["0", "1", "2"]),
        "{:?}",
        facts.list("descriptor")
    );
    for (name, value) in [
        ("pid", "1"),
        ("parent", "0"),
        ("session", "1 1"),
        ("umask", "0022"),
        ("cwd", "/"),
        ("hostname", "box"),
        ("domainname", "example"),
        ("Uid", "0 0 0 0"),
        ("Gid", "0 0 0 0"),
        ("CapInh", "0000000000000000"),
        ("CapPrm", "00000000a80425fb"),
        ("CapEff", "00000000a80425fb"),
        ("CapBnd", "00000000a80425fb"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("SigBlk", "0000000000000000"),
        // The probe's own language ignores SIGPIPE, number 13.
        ("SigIgn", "0000000000001000"),
        ("TracerPid", "0"),
        ("Threads", "1"),
        ("interface", "lo"),
        ("ping", "0 2147483647"),
        ("ports", "0"),
        ("process", "1"),
    ] {
        assert_eq!(facts.one(name), value, "{name}");
    }
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(facts.one("oom-score"), own.trim());
    assert_eq!(
        facts.list("variable"),
        [
            "HOME=/root",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME=box"
        ]
    );
    // Private: everything but what a container has no own of.
    let own = own_namespaces();
    for (name, target) in facts.by_word("namespace") {
        let shared = ["user", "time", "time_for_children"].contains(&name);
        assert_eq!(own[name] == target, shared, "namespace {name}");
    }
    for line in facts.list("cgroup") {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap(), parts.next().unwrap());
        // Hierarchies without controllers of ours are the host's, and empty of limits.
        let ours = !controllers.starts_with("name=")
            && !matches!(
                controllers,
                "net_cls,net_prio" | "perf_event" | "hugetlb" | "rdma" | "misc"
            );
        let unified_beside_v1 = controllers.is_empty() && Path::new("/sys/fs/cgroup/memory").exists();
        assert!(path == "/" || !ours || unified_beside_v1, "{line}");
    }
}

#[test]
fn users_limits_and_scores_are_those_asked_for() {
    let Some(inside) = Inside::new() else { return };
    let facts = inside.facts(&[
        "--user",
        "web",
        "--group-add",
        "55",
        "--ulimit",
        "nofile=100:200",
        "--ulimit",
        "core=0",
        "--ulimit",
        "nproc=64:128",
        "--ulimit",
        "stack=1048576",
        "--oom-score-adj",
        "500",
        "-w",
        "/some/where",
        "-e",
        "A=1",
    ]);
    assert_eq!(facts.one("Uid"), "33 33 33 33");
    assert_eq!(facts.one("Gid"), "34 34 34 34");
    let groups: BTreeSet<&str> = facts.one("Groups").split(' ').collect();
    assert_eq!(groups, BTreeSet::from(["34", "55", "77"]));
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(facts.one(set), "0000000000000000", "{set}");
    }
    assert_eq!(facts.one("CapBnd"), "00000000a80425fb");
    assert_eq!(facts.one("cwd"), "/some/where");
    assert_eq!(facts.one("oom-score"), "500");
    let limits = facts.by_word("limit");
    for (name, value) in [
        ("nofile", "100 200"),
        ("core", "0 0"),
        ("nproc", "64 128"),
        ("stack", "1048576 1048576"),
    ] {
        assert_eq!(limits[name], value, "{name}");
    }
    let variables = facts.list("variable");
    assert!(
        variables.contains(&"A=1".to_owned()) && variables.contains(&"HOME=/var/www".to_owned()),
        "{variables:?}"
    );
    // What nobody asked about is as it is here.
    let plain = inside.facts(&[]);
    let here = fs::read_to_string("/proc/self/limits").unwrap();
    let here = here
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let words: Vec<&str> = here.split_whitespace().collect();
    assert_eq!(
        plain.by_word("limit")["nofile"],
        format!("{} {}", words[3], words[4])
    );
}

#[test]
fn devices_are_dockers_and_no_other() {
    let Some(inside) = Inside::new() else { return };
    let facts = inside.facts(&[]);
    assert_eq!(
        facts.list("device"),
        [
            "/dev/full c 1:7 0666",
            "/dev/null c 1:3 0666",
            "/dev/random c 1:8 0666",
            "/dev/tty c 5:0 0666",
            "/dev/urandom c 1:9 0666",
            "/dev/zero c 1:5 0666",
        ]
    );
    let links: Vec<&str> = facts
        .list("link")
        .iter()
        .map(String::as_str)
        .filter(|line| !line.starts_with("/dev/core "))
        .collect();
    assert_eq!(
        links,
        [
            "/dev/fd /proc/self/fd",
            "/dev/ptmx pts/ptmx",
            "/dev/stderr /proc/self/fd/2",
            "/dev/stdin /proc/self/fd/0",
            "/dev/stdout /proc/self/fd/1",
        ]
    );
    let out = inside.says(
        &[],
        &[
            "open",
            "/dev/null",
            "/dev/zero",
            "/dev/full",
            "/dev/random",
            "/dev/urandom",
            "/dev/ptmx",
            "/dev/tty",
        ],
    );
    assert_eq!(
        out,
        "open /dev/null ok\nopen /dev/zero ok\nopen /dev/full ok\nopen /dev/random ok\nopen /dev/urandom ok\nopen /dev/ptmx ok\nopen /dev/tty ENXIO\n",
        "without a terminal /dev/tty leads nowhere"
    );
    // Any node may be made, and none of these opened: memory, kernel log, a disk, KVM, FUSE.
    for (kind, major, minor) in [
        ("c", "1", "1"),
        ("c", "1", "11"),
        ("b", "8", "0"),
        ("b", "254", "0"),
        ("c", "10", "232"),
        ("c", "10", "229"),
    ] {
        let out = inside.says(&[], &["node", "/tmp/node", kind, major, minor]);
        assert_eq!(out, "made ok\nopen /tmp/node EPERM\n", "{kind} {major}:{minor}");
        fs::remove_file(inside.path("root/tmp/node")).unwrap();
    }
    // Unless a rule allows it (the log also wants a capability); to read alone is less than the probe asks for.
    for (rule, result) in [
        ("c 1:11 rwm", "ok"),
        ("c 1:* rw", "ok"),
        ("c 1:11 r", "EPERM"),
        ("c 1:12 rwm", "EPERM"),
    ] {
        let flags = ["--cap-add", "SYSLOG", "--device-cgroup-rule", rule];
        let out = inside.says(&flags, &["node", "/tmp/node", "c", "1", "11"]);
        assert_eq!(out, format!("made ok\nopen /tmp/node {result}\n"), "{rule}");
        fs::remove_file(inside.path("root/tmp/node")).unwrap();
    }
    let flags = ["--cap-add", "SYSLOG", "--device", "/dev/kmsg:/dev/there"];
    let passed = inside.says(&flags, &["open", "/dev/there"]);
    assert_eq!(passed, "open /dev/there ok\n");
}

#[test]
fn mounts_are_dockers_and_none_is_seen_by_others() {
    let Some(inside) = Inside::new() else { return };
    let facts = inside.facts(&[]);
    let mut seen = BTreeMap::new();
    for line in facts.list("mount") {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        assert!(line.ends_with("[]"), "shared with somebody: {line}");
        seen.insert(words[0], (words[1], words[2].to_owned()));
    }
    let has = |target: &str, kind: &str, options: &[&str]| {
        let (found, text) = seen
            .get(target)
            .unwrap_or_else(|| panic!("nothing is mounted at {target}: {seen:#?}"));
        assert_eq!(*found, kind, "{target}");
        let words: BTreeSet<&str> = text.split([',', ' ']).collect();
        for option in options {
            assert!(words.contains(option), "{target} lacks {option}: {text}");
        }
    };
    has("/proc", "proc", &["rw", "nosuid", "nodev", "noexec"]);
    has("/dev", "tmpfs", &["rw", "nosuid", "mode=755", "size=65536k"]);
    has(
        "/dev/pts",
        "devpts",
        &["nosuid", "noexec", "ptmxmode=666", "gid=5"],
    );
    has("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec", "size=65536k"]);
    has("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]);
    has("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]);
    for path in [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ] {
        if Path::new(path).exists() {
            has(path, "proc", &["ro"]);
        }
    }
    for target in seen.keys().filter(|target| target.starts_with("/sys/fs/cgroup/")) {
        has(target, "cgroup", &["ro", "nosuid", "nodev", "noexec"]);
    }
    let trigger = Path::new("/proc/sysrq-trigger").exists();
    for (path, look) in facts.by_word("hidden") {
        let open = ["/proc/version", "/sys/kernel"].contains(&path);
        assert_eq!(look == "content", open, "{path} is {look}");
    }
    let writable = facts.by_word("writable");
    for (path, wanted) in [
        ("/", "yes"),
        ("/dev/shm", "yes"),
        ("/proc/self/comm", "yes"),
        ("/proc/sys/kernel/hostname", "EROFS"),
        ("/proc/sys/net/ipv4/ip_forward", "EROFS"),
        ("/proc/sysrq-trigger", if trigger { "EROFS" } else { "ENOENT" }),
    ] {
        assert_eq!(writable[path], wanted, "{path}");
    }
    let readonly = inside.facts(&["--read-only", "--tmpfs", "/tmp"]);
    assert_eq!(readonly.by_word("writable")["/"], "EROFS");
    let privileged = inside.facts(&["--privileged"]);
    let writable = privileged.by_word("writable");
    assert_eq!(writable["/proc/sys/kernel/hostname"], "yes");
    assert_eq!(
        writable["/proc/sysrq-trigger"],
        if trigger { "yes" } else { "ENOENT" }
    );
    assert_eq!(
        privileged.by_word("hidden")["/proc/kcore"] == "content",
        Path::new("/proc/kcore").exists()
    );
    assert_eq!(privileged.one("NoNewPrivs"), "0");
    assert_eq!(privileged.one("Seccomp"), "0");
    assert!(privileged.list("device").len() > 6);
}

/// Calls of the probe's table that answer something else than "not permitted" or "not there".
const ALLOWED: [&str; 33] = [
    "read",
    "openat",
    "openat2",
    "statx",
    "futex",
    "mmap",
    "execve",
    "execveat",
    "wait4",
    "kill",
    "ptrace",
    "prctl",
    "seccomp",
    "capget",
    "mknodat",
    "fchownat",
    "name_to_handle_at",
    "memfd_create",
    "epoll_ctl",
    "inotify_add_watch",
    "io_setup",
    "pidfd_open",
    "process_vm_readv",
    "adjtimex",
    "mq_open",
    "shmget",
    "bind",
    "chroot",
    "socket: inet",
    "socket: unix",
    "socket: netlink",
    "personality: which",
    "clone: a bad process",
];

/// Calls that pretend not to exist.
const ABSENT: [&str; 5] = [
    "clone3",
    "a number of the future",
    "x32: getpid",
    "x32: mount",
    "32-bit: a number of the future",
];

fn calls(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .map(|line| line.strip_prefix("call ").unwrap().rsplit_once(": ").unwrap())
        .collect()
}

#[test]
#[cfg(target_arch = "x86_64")]
fn system_calls_are_allowed_refused_or_absent_as_in_dockers_profile() {
    let Some(inside) = Inside::new() else { return };
    let confined = inside.says(&["--security-opt", "no-new-privileges=false"], &["calls"]);
    let confined = calls(&confined);
    for (call, answer) in &confined {
        if ALLOWED.contains(call) || *call == "32-bit: getpid" {
            assert!(
                !["EPERM", "ENOSYS"].contains(answer),
                "{call} must be allowed: {answer}"
            );
        } else if ABSENT.contains(call) {
            assert_eq!(*answer, "ENOSYS", "{call}");
        } else {
            assert_eq!(*answer, "EPERM", "{call}");
        }
    }
    assert!(
        confined.len() > 85,
        "the table was made in full: {}",
        confined.len()
    );
    // The same with and without no-new-privileges, for root and for others, in `run` and `exec`.
    let other = inside.says(&["--user", "33"], &["calls"]);
    let differ: Vec<_> = calls(&other)
        .into_iter()
        .filter(|(call, answer)| confined[call] != *answer)
        .collect();
    assert!(
        differ
            .iter()
            .all(|(call, _)| ["chroot", "mknodat"].contains(call)),
        "{differ:?}"
    );
    // What refused them is the profile, not the lack of a capability or of the call.
    let open = inside.says(&["--privileged"], &["calls"]);
    let open = calls(&open);
    let still: Vec<_> = open.iter().filter(|(_, answer)| **answer == "EPERM").collect();
    assert!(
        still.is_empty(),
        "refused by something else than the profile: {still:?}"
    );
    // A capability brings its calls along, and no others.
    let admin = inside.says(&["--cap-add", "SYS_ADMIN"], &["calls"]);
    let admin = calls(&admin);
    for call in [
        "mount",
        "unshare",
        "setns",
        "fsopen",
        "bpf",
        "sethostname",
        "clone: a user namespace",
    ] {
        assert_ne!(admin[call], "EPERM", "{call}");
    }
    for call in [
        "keyctl",
        "kexec_load",
        "init_module",
        "reboot",
        "iopl",
        "swapon",
        "acct",
        "clock_settime",
    ] {
        assert_eq!(admin[call], "EPERM", "{call}");
    }
}

#[test]
fn limits_are_truly_enforced() {
    let Some(inside) = Inside::new() else { return };
    let root = inside.path("root");
    let root = root.to_str().unwrap();
    let (code, out, _) = inside.banyan(&[
        "run",
        "--name",
        "oom",
        "--memory",
        "24m",
        "--memory-swap",
        "24m",
        "--rootfs",
        root,
        "--",
        "/probe",
        "eat",
        "200",
    ]);
    assert_eq!(code, 137, "killed");
    let eaten = out.lines().filter(|line| line.starts_with("eaten ")).count();
    assert!((4..24).contains(&eaten), "it got {eaten} of 24 MiB");
    let (_, text, _) = inside.banyan(&["inspect", "oom"]);
    assert!(text.contains("\"OOMKilled\": true"), "{text}");
    let enough = inside.says(&["--memory", "64m"], &["eat", "16"]);
    assert!(enough.ends_with("all of 16 MiB\n"), "{enough}");
    // The probe itself is the first process.
    assert_eq!(
        inside.says(&["--pids-limit", "8"], &["fork", "50"]),
        "children 7 EAGAIN\n"
    );
    assert_eq!(inside.says(&[], &["fork", "50"]), "children 50 ok\n");
    assert_eq!(inside.says(&["--cpus", "0.3"], &["throttled"]), "throttled yes\n");
}

#[test]
fn a_hostile_root_filesystem_changes_nothing_inside_and_reaches_nothing_outside() {
    let Some(inside) = Inside::new() else { return };
    let plain = inside.facts(&["--hostname", "box"]);
    let outside = inside.path("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("kept"), "as it was").unwrap();
    let upwards = format!("../../../../../../..{}", outside.display());
    let hostile = |name: &str, spoil: &dyn Fn(&Path)| {
        let root = inside.path(name);
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(root.join("tmp")).unwrap();
        fs::copy(inside.path("root/probe"), root.join("probe")).unwrap();
        spoil(&root);
    };
    hostile("etc", &|root| {
        fs::remove_dir_all(root.join("etc")).unwrap();
        symlink(&upwards, root.join("etc")).unwrap();
    });
    hostile("files", &|root| {
        for name in ["hosts", "resolv.conf", "hostname"] {
            symlink(outside.join("kept"), root.join("etc").join(name)).unwrap();
        }
        symlink("/proc/self/environ", root.join("etc/passwd")).unwrap();
        symlink("/proc/1/root/etc/group", root.join("etc/group")).unwrap();
    });
    hostile("pipes", &|root| {
        for name in ["passwd", "group"] {
            Command::new("mkfifo")
                .arg(root.join("etc").join(name))
                .status()
                .unwrap();
        }
    });
    hostile("many", &|root| {
        fs::write(root.join("etc/passwd"), vec![b'x'; 1 << 20]).unwrap();
        fs::write(root.join("etc/group"), vec![b':'; 1 << 20]).unwrap();
    });
    hostile("cwd", &|root| symlink(&upwards, root.join("work")).unwrap());
    for name in ["etc", "files", "pipes", "many", "cwd"] {
        let mut flags = vec!["--hostname", "box", "--user", "0:0"];
        if name == "cwd" {
            flags.extend([
                "-w",
                "/work/deep",
                "-v",
                "/work/volume",
                "--tmpfs",
                "/work/memory",
            ]);
        }
        let facts = Facts::of(&inside.says_in(name, &flags, &["facts"]));
        for fact in [
            "device",
            "hidden",
            "writable",
            "limit",
            "CapBnd",
            "Seccomp",
            "NoNewPrivs",
            "Uid",
            "Gid",
            "interface",
            "descriptor",
        ] {
            let only_numbers = |list: &[String]| {
                list.iter()
                    .map(|line| line.split(" pipe:").next().unwrap().to_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                only_numbers(facts.list(fact)),
                only_numbers(plain.list(fact)),
                "{name}: {fact}"
            );
        }
        let now: Vec<_> = fs::read_dir(&outside)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(now, ["kept"], "{name}: something was made outside");
        assert_eq!(
            fs::read_to_string(outside.join("kept")).unwrap(),
            "as it was",
            "{name}"
        );
    }
    // A user by name cannot be found in such files, and looking for it neither blocks nor reads on for ever.
    for name in ["files", "pipes", "many"] {
        let root = inside.path(name);
        let (code, _, error) = inside.banyan(&[
            "run",
            "--rm",
            "--rootfs",
            root.to_str().unwrap(),
            "--user",
            "web",
            "--",
            "/probe",
            "facts",
        ]);
        assert_eq!(code, 125, "{name}: {error}");
        assert!(error.contains("web"), "{error}");
    }
}

#[test]
fn an_additional_process_is_confined_alike() {
    let Some(inside) = Inside::new() else { return };
    let root = inside.path("root");
    let (code, id, error) = inside.banyan(&[
        "run",
        "-d",
        "-i",
        "--name",
        "box",
        "--hostname",
        "box",
        "--rootfs",
        root.to_str().unwrap(),
        "--",
        "/probe",
        "wait",
    ]);
    assert_eq!(code, 0, "{error}{id}");
    let (code, out, error) = inside.banyan(&["exec", "box", "/probe", "facts"]);
    assert_eq!(code, 0, "{error}");
    let (facts, first) = (Facts::of(&out), inside.facts(&["--hostname", "box"]));
    for fact in [
        "umask",
        "cwd",
        "hostname",
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "SigBlk",
        "SigIgn",
        "limit",
        "device",
        "hidden",
        "writable",
        "interface",
        "mount",
        "variable",
        "cgroup",
    ] {
        assert_eq!(facts.list(fact), first.list(fact), "{fact}");
    }
    let descriptors: BTreeSet<&str> = facts.by_word("descriptor").into_keys().collect();
    assert_eq!(
        descriptors,
        BTreeSet::from(["0", "1", "2"]),
        "{:?}",
        facts.list("descriptor")
    );
    assert!(facts.list("process").contains(&"1".to_owned()));
    let (_, out, _) = inside.banyan(&["exec", "box", "/probe", "calls"]);
    let alike = inside.says(&[], &["calls"]);
    assert_eq!(calls(&out), calls(&alike));
}
