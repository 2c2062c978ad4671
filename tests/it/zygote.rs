//! Launchers of many containers: shims copied from a zygote.

use crate::support::{BANYAN, can_run_containers};
use banyan_runtime::{
    container::{Container, ContainerDir, Extras, Launcher, Running, Settings, remove},
    namespace::Namespace,
    rootfs::RootFs,
};
use std::{fs, os::unix::fs::symlink, path::Path, process::Command, time::Duration};

/// Children of this thread, other tests' not among them: what they are called now, and their numbers.
fn children() -> Vec<(String, String)> {
    let text = fs::read_to_string("/proc/thread-self/children").unwrap();
    let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    text.split_whitespace()
        .map(|pid| (name(pid).trim().to_owned(), pid.to_owned()))
        .collect()
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = children().into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

fn kill_all(name: &str) {
    let victims: Vec<_> = children()
        .into_iter()
        .filter(|(called, _)| called == name)
        .collect();
    assert!(!victims.is_empty(), "no {name} among {:?}", children());
    for (_, pid) in victims {
        assert!(
            Command::new("kill")
                .args(["-9", &pid])
                .status()
                .unwrap()
                .success()
        );
        // Dead, not merely told: the socket is closed then.
        while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|text| !text.contains(") Z ")) {
            std::thread::yield_now();
        }
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for folder in ["bin", "proc", "sys", "dev", "etc"] {
            fs::create_dir_all(place.path().join("root").join(folder)).unwrap();
        }
        let bin = place.path().join("root/bin");
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in ["sh", "sleep"] {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        Self(place)
    }

    fn settings(&self, name: &str, script: &str) -> (Settings, ContainerDir) {
        let dir = ContainerDir::new(
            self.0.path().join("state").join(name),
            self.0.path().join("run").join(name),
        );
        let root = RootFs::overlay(
            vec![self.0.path().join("root")],
            dir.state.join("upper"),
            dir.state.join("work"),
        );
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        let id = format!("zygote-{}-{name}", std::process::id());
        (Settings::new(&id, root, words), dir)
    }

    /// Runs a container to its end and gives its exit code.
    fn run(&self, launcher: &Launcher, name: &str) -> i32 {
        let (settings, dir) = self.settings(name, "test $$ = 1 && exit 7");
        let mut running = launcher
            .create(&settings, &dir, Extras::default())
            .unwrap()
            .start()
            .unwrap();
        let exit = running.wait(None).unwrap().unwrap();
        remove(&dir, false).unwrap();
        running.settle();
        exit.code()
    }

    /// A container that goes on running.
    fn start(&self, launcher: &Launcher, name: &str, network: Namespace) -> Container<Running> {
        let (mut settings, dir) = self.settings(name, "exec sleep 1000");
        settings.namespaces.net = network;
        let created = launcher.create(&settings, &dir, Extras::default()).unwrap();
        created.start().unwrap()
    }
}

#[test]
fn shims_are_copied_and_whatever_is_killed_comes_again() {
    if !can_run_containers() {
        return;
    }
    let place = Place::new();
    let launcher = Launcher::for_many(Path::new(BANYAN)).unwrap();
    assert_eq!(place.run(&launcher, "first"), 7);
    // The zygote, and a shim that waits for the next container.
    assert_eq!(names(), ["banyan-shim", "banyan-zygote"]);
    assert_eq!(place.run(&launcher, "second"), 7);

    kill_all("banyan-shim");
    assert_eq!(place.run(&launcher, "without-a-spare"), 7);
    kill_all("banyan-zygote");
    assert_eq!(place.run(&launcher, "from-the-last-spare"), 7);
    kill_all("banyan-zygote");
    kill_all("banyan-shim");
    assert_eq!(place.run(&launcher, "without-both"), 7);

    launcher.rest();
    let left: Vec<_> = names()
        .into_iter()
        .filter(|name| name == "banyan-zygote")
        .collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(place.run(&launcher, "at-rest"), 7);
    assert_eq!(names(), [""; 0]);
    launcher.expect_many();
    assert_eq!(place.run(&launcher, "after-a-rest"), 7);
    assert_eq!(names(), ["banyan-shim", "banyan-zygote"]);
    drop(launcher);
    assert_eq!(names(), [""; 0], "every process was waited for");
}

/// A shim that is made ahead makes a network namespace too, which only a container of its own kind gets.
#[test]
fn a_network_made_ahead_is_one_containers_only() {
    if !can_run_containers() {
        return;
    }
    let place = Place::new();
    let launcher = Launcher::for_many(Path::new(BANYAN)).unwrap();
    let network = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    let mut seen = vec![host.clone()];
    let mut running = Vec::new();
    for round in 0..6 {
        if round % 2 == 0 {
            // Long enough for the next shim to be done with it; without, it may be asked before.
            std::thread::park_timeout(Duration::from_millis(50));
        }
        let own = place.start(&launcher, &format!("own-{round}"), Namespace::Private);
        let found = network(own.pid());
        assert!(!seen.contains(&found), "{found:?} is somebody's: {seen:?}");
        seen.push(found);
        let links = fs::read_to_string(format!("/proc/{}/net/dev", own.pid())).unwrap();
        let names: Vec<_> = links
            .lines()
            .skip(2)
            .filter_map(|line| line.split(':').next())
            .collect();
        assert_eq!(names, ["    lo"]);
        std::thread::park_timeout(Duration::from_millis(50));
        let shared = place.start(&launcher, &format!("host-{round}"), Namespace::Host);
        assert_eq!(network(shared.pid()), host);
        for container in [own, shared] {
            assert_eq!(
                network(container.shim_pid()),
                host,
                "a shim stayed in a container's network"
            );
            running.push(container);
        }
    }
    for mut container in running {
        remove(&container.dir().clone(), true).unwrap();
        container.settle();
    }
}
