//! The leak census: everything of this machine that a run could leave behind, before and after.
//!
//! Counted: processes and zombies, mounts of our mount namespace and how many other ones exist, namespaces by kind,
//! links, routes and rules of the network, the nf_tables rule set, forwarding sysctls, cgroups of every hierarchy,
//! listening sockets and unix sockets, file locks, open descriptors of surviving processes of ours, and files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    time::Duration,
};

/// What there was at one moment, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Census {
    kinds: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Census {
    /// Takes it. `folders` are walked for files; names in `expected` (images, volumes) do not count there.
    pub(crate) fn take(folders: &[&Path], expected: &[&str]) -> Self {
        let mut kinds: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        kinds.insert("processes", processes());
        kinds.insert("mounts", lines("/proc/self/mountinfo"));
        kinds.insert("namespaces", namespaces());
        kinds.insert("links", links());
        kinds.insert("routes", lines("/proc/net/route"));
        kinds.insert("ipv6 routes", ipv6_routes());
        kinds.insert("nf_tables", output("nft", &["list", "ruleset"]));
        kinds.insert("iptables", output("iptables-save", &[]));
        kinds.insert("sysctls", sysctls());
        kinds.insert("cgroups", cgroups());
        kinds.insert("listening", listening());
        kinds.insert("unix sockets", unix_sockets());
        kinds.insert("locks", locks());
        kinds.insert("shared memory", entries("/dev/shm"));
        kinds.insert("loop devices", lines("/proc/partitions"));
        let mut files = BTreeSet::new();
        for folder in folders {
            walk(folder, expected, &mut files);
        }
        kinds.insert("files", files);
        Self { kinds }
    }

    /// What is there now and was not before.
    pub(crate) fn leaks(&self, before: &Self) -> Vec<String> {
        let mut leaks = Vec::new();
        for (kind, now) in &self.kinds {
            let old = before.kinds.get(kind);
            leaks.extend(
                now.iter()
                    .filter(|item| old.is_none_or(|old| !old.contains(*item)))
                    .map(|item| format!("{kind}: {item}")),
            );
        }
        leaks
    }
}

/// Network interfaces of this process's network: `/sys/class/net` has those of the network that `/sys` was mounted in.
fn links() -> BTreeSet<String> {
    let table = lines("/proc/net/dev");
    let names = table.iter().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

/// Asserts that nothing is left; the kernel frees namespaces and links a little later, so it may take a while.
#[track_caller]
pub(crate) fn assert_nothing_left(before: &Census, folders: &[&Path], expected: &[&str]) {
    let mut leaks = Vec::new();
    for _ in 0..100 {
        leaks = Census::take(folders, expected).leaks(before);
        if leaks.is_empty() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("left behind:\n{}", leaks.join("\n"));
}

fn pids() -> Vec<String> {
    entries("/proc")
        .into_iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .collect()
}

/// Whether a process is ours: it runs our program, lives in a container (another namespace of processes), or is a dead
/// child that nobody fetched.
fn is_ours(pid: &str) -> bool {
    let link = |path: &str| fs::read_link(path).ok();
    let runs_us = link(&format!("/proc/{pid}/exe")).is_some_and(|exe| exe.starts_with(super::BANYAN));
    let contained =
        link(&format!("/proc/{pid}/ns/pid")).is_some_and(|ns| Some(ns) != link("/proc/self/ns/pid"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let dead_child =
        fields.first() == Some(&"Z") && fields.get(1) == Some(&std::process::id().to_string().as_str());
    runs_us || contained || dead_child
}

fn processes() -> BTreeSet<String> {
    pids()
        .into_iter()
        .filter(|pid| is_ours(pid))
        .map(|pid| {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("{pid} {}", command.replace('\0', " "))
        })
        .collect()
}

fn namespaces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for pid in pids() {
        for kind in ["net", "mnt", "pid", "ipc", "uts", "user", "cgroup"] {
            if let Ok(link) = fs::read_link(format!("/proc/{pid}/ns/{kind}")) {
                found.insert(link.display().to_string());
            }
        }
    }
    found
}

fn ipv6_routes() -> BTreeSet<String> {
    // The counters of use change by themselves.
    let fields = |line: &String| {
        line.split_whitespace()
            .take(5)
            .chain(line.split_whitespace().last())
            .collect::<Vec<_>>()
            .join(" ")
    };
    lines("/proc/net/ipv6_route").iter().map(fields).collect()
}

fn sysctls() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in [
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv6/conf/all/forwarding",
    ] {
        found.insert(format!(
            "{path} {}",
            fs::read_to_string(path).unwrap_or_default().trim()
        ));
    }
    for link in entries("/proc/sys/net/ipv4/conf") {
        for key in ["forwarding", "route_localnet", "rp_filter"] {
            let path = format!("/proc/sys/net/ipv4/conf/{link}/{key}");
            found.insert(format!(
                "{path} {}",
                fs::read_to_string(&path).unwrap_or_default().trim()
            ));
        }
    }
    found
}

fn cgroups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.insert(entry.path().display().to_string());
                open.push(entry.path());
            }
        }
    }
    found
}

fn listening() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        for line in lines(&format!("/proc/net/{table}")) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let listens = fields
                .get(3)
                .is_some_and(|state| *state == "0A" || (table.starts_with("udp") && *state == "07"));
            if let (true, Some(address)) = (listens, fields.get(1)) {
                found.insert(format!("{table} {address}"));
            }
        }
    }
    found
}

fn unix_sockets() -> BTreeSet<String> {
    lines("/proc/net/unix")
        .iter()
        .filter_map(|line| line.split_whitespace().nth(7).map(str::to_owned))
        .filter(|path| path.contains("banyan"))
        .collect()
}

fn locks() -> BTreeSet<String> {
    let of = |line: &String| {
        let fields: Vec<_> = line.split_whitespace().collect();
        is_ours(fields.get(4)?).then(|| fields.join(" "))
    };
    lines("/proc/locks").iter().filter_map(of).collect()
}

fn walk(folder: &Path, expected: &[&str], found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if expected.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // An empty folder of ours is not a leak: the first run makes it.
            walk(&entry.path(), expected, found);
        } else {
            found.insert(entry.path().display().to_string());
        }
    }
}

fn lines(path: &str) -> BTreeSet<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn entries(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The lines a tool prints, without counters; nothing when the tool is not installed.
fn output(program: &str, arguments: &[&str]) -> BTreeSet<String> {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return BTreeSet::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.trim().to_owned())
        .collect()
}
