//! Launchers of many containers: shims copied from a zygote.

use crate::support::{BANYAN, can_run_containers};
use banyan_runtime::{
    container::{ContainerDir, Extras, Launcher, Settings, remove},
    rootfs::RootFs,
};
use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

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
        symlink("busybox", bin.join("sh")).unwrap();
        Self(place)
    }

    /// Runs a container to its end and gives its exit code.
    fn run(&self, launcher: &Launcher, name: &str) -> i32 {
        let dir = ContainerDir::new(
            self.0.path().join("state").join(name),
            self.0.path().join("run").join(name),
        );
        let root = RootFs::overlay(
            vec![self.0.path().join("root")],
            dir.state.join("upper"),
            dir.state.join("work"),
        );
        let words = ["sh", "-c", "test $$ = 1 && exit 7"].map(str::to_owned).to_vec();
        let settings = Settings::new(&format!("zygote-{}-{name}", std::process::id()), root, words);
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
