//! Engine, shims and command line are killed at random moments of `up`, of a running project and of `down`.
//!
//! After every kill: a container that ran goes on and answers, another `up` converges, no line of a log is lost or
//! doubled, no byte of a volume changes, and `down` leaves the machine as it was.
//!
//! `BANYAN_KILLS=100` kills as often (default 12); `BANYAN_SEED=N` repeats a run, `BANYAN_ROUND=N`
//! from its round N on. A binary of its own, and one test,
//! because the census looks at the whole machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "it/support/mod.rs"]
mod support;

use std::{
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};
use support::{
    Project, Root, can_run_containers,
    census::Census,
    http_get,
    victims::{kill, processes_of},
    wait_until,
};

const PROJECT: &str = r#"
services:
  web:
    image: busybox
    command: ["httpd", "-f", "-p", "80", "-h", "/www"]
    ports: ["127.0.0.1::80"]
    stop_signal: SIGKILL
  counter:
    image: busybox
    command: ["sh", "-c", "i=0; while :; do echo line $$i; i=$$((i+1)); sleep 0.002; done"]
    stop_signal: SIGKILL
    depends_on: [web]
    volumes: ["data:/data"]
volumes: {data: {}}
"#;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Pseudo-random numbers that a seed repeats (Steele, Lea, Flood: SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What is going on when the kill comes.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Up,
    Running,
    Down,
}

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Engine,
    Shim,
    Cli,
    EngineAndShims,
}

#[test]
fn whoever_is_killed_whenever_nothing_is_lost_and_nothing_is_left() {
    if !can_run_containers() {
        return;
    }
    let (kills, seed) = (number("BANYAN_KILLS", 12), number("BANYAN_SEED", 1));
    let root = Root::new();
    let project = root.project("chaos", PROJECT);
    project.ok(&["up", "-d"]);
    project.ok(&["down", "-v", "-t", "0"]);
    let folders: [&Path; 2] = [root.path(), Path::new("/run/banyan")];
    let before = settled(&folders);
    let first = number("BANYAN_ROUND", 0);
    for round in first..first + kills {
        let mut random = Random(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let phase = [Phase::Up, Phase::Running, Phase::Down][usize::try_from(random.below(3)).unwrap()];
        let victims = [Victim::Engine, Victim::Shim, Victim::Cli, Victim::EngineAndShims];
        // With all who hold the hall killed at once, its network is gone: docs/failure.md. It must still come down.
        let choice = if matches!(phase, Phase::Down) { 4 } else { 3 };
        let victim = victims[usize::try_from(random.below(choice)).unwrap()];
        let after = Duration::from_micros(random.below(150_000));
        let what = format!("BANYAN_SEED={seed}, round {round}: {victim:?} killed {after:?} into {phase:?}");
        eprintln!("{what}");
        match phase {
            Phase::Up => during_up(&root, &project, victim, after, &mut random),
            Phase::Running => while_running(&root, &project, victim, after, &mut random, &what),
            Phase::Down => during_down(&root, &project, victim, after, &mut random),
        }
        let ran = project.run(&["down", "-v", "-t", "0"]);
        assert_eq!(ran.code, 0, "{what}\n{}", ran.all());
        nothing_left(&before, &folders, &what);
    }
}

/// Kills while `up` works; the next `up` brings everything.
fn during_up(root: &Root, project: &Project<'_>, victim: Victim, after: Duration, random: &mut Random) {
    let mut cli = start(project, &["up", "-d"]);
    strike(root, victim, &mut cli, after, random);
    converge(project);
}

/// Kills while everything runs; the containers go on as they are.
fn while_running(
    root: &Root,
    project: &Project<'_>,
    victim: Victim,
    after: Duration,
    random: &mut Random,
    what: &str,
) {
    project.ok(&["up", "-d"]);
    let port = project.port("web");
    let ids = [project.id("web"), project.id("counter")];
    let write = "dd if=/dev/urandom of=/data/bytes bs=64k count=4 2>/dev/null; wc -c < /data/bytes";
    assert_eq!(
        project.ok(&["exec", "-T", "counter", "sh", "-c", write]).trim(),
        "262144"
    );
    let volume = std::fs::read(volume_file(root)).unwrap();
    let mut cli = start(project, &["logs", "-f"]);
    strike(root, victim, &mut cli, after, random);
    answers(project, port);
    converge(project);
    assert_eq!(
        [project.id("web"), project.id("counter")],
        ids,
        "{what}: recreated"
    );
    assert_eq!(
        std::fs::read(volume_file(root)).unwrap(),
        volume,
        "{what}: other bytes"
    );
    let lines_until = |count: usize| {
        wait_until(10, what, || {
            let text = project.ok(&["logs", "--no-log-prefix", "counter"]);
            (text.lines().count() > count).then_some(text)
        })
    };
    let some = lines_until(10).lines().count();
    let text = lines_until(some + 20);
    for (index, line) in text.lines().enumerate() {
        assert_eq!(line, format!("line {index}"), "{what}: lost or doubled");
    }
}

/// Kills while `down` works.
fn during_down(root: &Root, project: &Project<'_>, victim: Victim, after: Duration, random: &mut Random) {
    project.ok(&["up", "-d"]);
    let mut cli = start(project, &["down", "-t", "0"]);
    strike(root, victim, &mut cli, after, random);
}

/// An `up` after the kill succeeds, and everything runs and answers.
fn converge(project: &Project<'_>) {
    let ran = project.run(&["up", "-d"]);
    assert_eq!(ran.code, 0, "up after the kill: {}", ran.all());
    for service in ["web", "counter"] {
        assert_eq!(project.container(service)["State"], "running");
    }
    answers(project, project.port("web"));
}

/// The page answers; if not, everything that tells why is shown.
fn answers(project: &Project<'_>, port: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = http_get(port, "/index.html") {
        if Instant::now() > deadline {
            let log = project
                .root
                .path()
                .join("projects")
                .join(&project.name)
                .join("engine.log");
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let events = project.run(&["events", "--until", "0s", "--json"]).stdout;
            panic!(
                "no answer at port {port}: {error}\n{:#?}\n{log}\n{events}",
                project.ps()
            );
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn start(project: &Project<'_>, arguments: &[&str]) -> Child {
    let mut command = project.command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Processes that shims of a root's engines are copied from, and copies that wait for work: they hold nothing of the root yet.
fn nurseries_of(root: &Root) -> Vec<String> {
    let children = |engine: &String| {
        let threads = std::fs::read_dir(format!("/proc/{engine}/task"));
        let lists = threads.into_iter().flatten().flatten();
        let lists = lists.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        lists.collect::<Vec<_>>().join(" ")
    };
    let engines = processes_of(root, "engine");
    let shims = processes_of(root, "banyan-shim");
    let all = engines.iter().map(children).collect::<Vec<_>>().join(" ");
    all.split_whitespace()
        .map(str::to_owned)
        .filter(|pid| !shims.contains(pid))
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|command| command.starts_with("banyan-shim"))
        })
        .collect()
}

/// Waits, kills, and waits for the command line's end.
fn strike(root: &Root, victim: Victim, cli: &mut Child, after: Duration, random: &mut Random) {
    std::thread::park_timeout(after);
    let mut one_of = |list: Vec<String>| {
        let count = u64::try_from(list.len()).unwrap();
        let index = usize::try_from(random.below(count.max(1))).unwrap();
        list.into_iter().nth(index)
    };
    let victims: Vec<String> = match victim {
        Victim::Engine => processes_of(root, "engine"),
        Victim::Shim => {
            let mut all = processes_of(root, "banyan-shim");
            all.extend(nurseries_of(root));
            one_of(all).into_iter().collect()
        }
        Victim::Cli => vec![cli.id().to_string()],
        Victim::EngineAndShims => {
            let mut all = processes_of(root, "engine");
            all.extend(processes_of(root, "banyan-shim"));
            all
        }
    };
    for pid in victims {
        // It may have ended by itself meanwhile.
        kill(&pid);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    if matches!(victim, Victim::Cli) {
        cli.wait().unwrap();
        return;
    }
    // `logs -f` follows as long as something runs.
    let follows = std::fs::read_to_string(format!("/proc/{}/cmdline", cli.id()))
        .is_ok_and(|command| command.contains("\0logs\0"));
    if follows {
        cli.kill().unwrap();
    }
    while cli.try_wait().unwrap().is_none() {
        assert!(
            Instant::now() < deadline,
            "the command hangs after {victim:?} was killed"
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn volume_file(root: &Root) -> std::path::PathBuf {
    let volumes = root.path().join("volumes");
    let found = std::fs::read_dir(&volumes).unwrap().flatten().find_map(|entry| {
        let candidates = [
            entry.path().join("bytes"),
            entry.path().join("data/bytes"),
            entry.path().join("_data/bytes"),
        ];
        candidates.into_iter().find(|path| path.exists())
    });
    found.unwrap_or_else(|| panic!("no file `bytes` in a volume below {}", volumes.display()))
}

/// The census once it no longer changes: the kernel frees namespaces a little later.
fn settled(folders: &[&Path]) -> Census {
    wait_until(10, "a machine that does not change", || {
        let first = Census::take(folders, &[]);
        std::thread::park_timeout(Duration::from_millis(300));
        (Census::take(folders, &[]) == first).then_some(first)
    })
}

fn nothing_left(before: &Census, folders: &[&Path], what: &str) {
    let mut leaks = Vec::new();
    // The kernel removes the namespaces of those that were killed in its own time, one after the other.
    for _ in 0..600 {
        leaks = Census::take(folders, &["src"]).leaks(before);
        if leaks.is_empty() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!(
        "{what}; left behind:\n{}\n{}",
        leaks.join("\n"),
        what_is_known(folders[0])
    );
}

/// Links with the namespaces they lead to, processes, and what the engines said: for whoever looks for the cause.
fn what_is_known(root: &Path) -> String {
    let script = "ip -d -o link; ps -eo pid,ppid,stat,etime,args | tail -n 20; ls -l run/projects/chaos projects/chaos; \
                  cat run/projects/chaos/uplink projects/chaos/engine.log; tail -n 3 projects/chaos/events.jsonl";
    let told = std::process::Command::new("sh")
        .args(["-c", script])
        .current_dir(root)
        .output()
        .unwrap();
    String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr)
}
