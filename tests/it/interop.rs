//! Docker and Podman: they load and run what we save, we load and run what they save.
//!
//! Run with `BANYAN_TESTS_INTEROP=1 cargo test --test it interop::`. Docker's programs are taken out of Debian's packages
//! into a folder of the test, and its daemon runs there on a socket of its own; Podman's are the installed ones.

use crate::support::{Ran, Root, can_run_containers, skip};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Whether these long tests were asked for.
fn is_asked_for() -> bool {
    if std::env::var_os("BANYAN_TESTS_INTEROP").is_none() {
        eprintln!("skipped: set BANYAN_TESTS_INTEROP=1 to try other engines");
        return false;
    }
    can_run_containers()
}

const DOCKERFILE: &str = r#"FROM busybox
RUN echo one > /one && ln /one /same && chown 1000:7 /one && chmod 4755 /one && mkdir -p /d/sub && echo x > /d/sub/x
RUN rm /www/index.html && rm -r /d && mkdir /d && echo new > /d/y
ENV WHO=Ada
WORKDIR /d
CMD ["sh", "-c", "echo $WHO $(pwd) $(ls /d) $(stat -c '%a %u:%g %h' /one) $(ls /www | wc -l)"]
"#;

/// What a container of it prints.
const SAYS: &str = "Ada /d y 4755 1000:7 2 0\n";

#[track_caller]
fn ok(root: &Root, words: &[&str]) -> String {
    let ran = Ran::new(words, root.banyan().args(words).output().unwrap());
    assert_eq!(ran.code, 0, "banyan {words:?}\n{}", ran.all());
    ran.stdout
}

/// Builds our image as `ours`.
fn build(root: &Root) {
    let folder = root.path().join("context");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("Dockerfile"), DOCKERFILE).unwrap();
    ok(root, &["image", "build", "-t", "ours", folder.to_str().unwrap()]);
    assert_eq!(ok(root, &["container", "run", "--rm", "ours"]), SAYS);
}

fn inspect(root: &Root, image: &str) -> Value {
    serde_json::from_str::<Value>(&ok(root, &["image", "inspect", image])).unwrap()[0].take()
}

/// Another engine with all its state in one folder.
trait Peer {
    /// Its command line.
    fn command(&self) -> Command;

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let ran = Ran::new(
            words,
            self.command().args(words).stdin(Stdio::null()).output().unwrap(),
        );
        assert_eq!(ran.code, 0, "{words:?}\n{}", ran.all());
        ran.stdout
    }

    /// Flags of `run` that this machine needs.
    fn run_flags(&self) -> Vec<&'static str>;

    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        let flags = [&["run", "--network", "none"], self.run_flags().as_slice(), words].concat();
        self.ok(&flags)
    }
}

/// Ours to them and back, and theirs to us. `forms`: our `--format`, theirs.
fn exchange(root: &Root, peer: &dyn Peer, forms: &[(&str, &[&str])]) {
    let ours = inspect(root, "ours");
    for (form, save_flags) in forms {
        let file = root.path().join(format!("{form}.tar"));
        let file = file.to_str().unwrap();
        ok(root, &["image", "save", "--format", form, "-o", file, "ours"]);
        peer.ok(&["load", "-i", file]);
        assert_eq!(peer.run(&["--rm", "docker.io/library/ours"]), SAYS, "{form}");
        // The same image comes back.
        let back = root.path().join(format!("{form}-back.tar"));
        let back = back.to_str().unwrap();
        peer.ok(&[&["save"], *save_flags, &["-o", back, "docker.io/library/ours"]].concat());
        ok(root, &["image", "tag", "ours", "kept"]);
        ok(root, &["image", "rm", "ours"]);
        ok(root, &["image", "load", "-i", back]);
        let again = inspect(root, "ours");
        assert_eq!(again["RootFS"], ours["RootFS"], "{form}");
        for key in ["Env", "Cmd", "WorkingDir"] {
            assert_eq!(again["Config"][key], ours["Config"][key], "{form}");
        }
        assert_eq!(ok(root, &["container", "run", "--rm", "ours"]), SAYS);
    }
    // One that they made.
    let script = "rm /d/y && echo theirs > /d/z && chown 9:8 /d/z && chmod 2711 /d/z && mkdir -m 1777 /t";
    peer.run(&["--name", "made", "docker.io/library/ours", "sh", "-c", script]);
    peer.ok(&["commit", "-c", "ENV WHO=Bob", "made", "theirs"]);
    peer.ok(&["rm", "made"]);
    let file = root.path().join("theirs.tar");
    let file = file.to_str().unwrap();
    peer.ok(&["save", "-o", file, "theirs"]);
    let loaded = ok(root, &["image", "load", "-i", file]);
    let name = loaded.trim().trim_start_matches("Loaded image: ");
    let look = "echo $WHO; ls /d; stat -c '%a %u:%g' /d/z /t";
    assert_eq!(
        ok(root, &["container", "run", "--rm", name, "sh", "-c", look]),
        "Bob\nz\n2711 9:8\n1777 0:0\n"
    );
}

struct Podman {
    folder: tempfile::TempDir,
    runtime: &'static str,
}

impl Peer for Podman {
    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        let path = |name: &str| self.folder.path().join(name);
        command
            .args([
                "--storage-driver",
                "vfs",
                "--cgroup-manager",
                "cgroupfs",
                "--events-backend",
                "none",
            ])
            .args(["--runtime", self.runtime])
            .arg("--root")
            .arg(path("root"))
            .arg("--runroot")
            .arg(path("run"))
            .arg("--tmpdir")
            .arg(path("tmp"));
        command
    }

    fn run_flags(&self) -> Vec<&'static str> {
        // Podman raises these limits unless it is told values, which needs a privilege that not every machine gives.
        vec!["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
    }
}

#[test]
fn podman_and_we_take_each_others_images() {
    if !is_asked_for() {
        return;
    }
    if Command::new("podman").arg("--version").output().is_err() {
        return skip("podman is not installed");
    }
    let root = Root::new();
    build(&root);
    let mut podman = Podman {
        folder: tempfile::tempdir().unwrap(),
        runtime: "runc",
    };
    let file = root.path().join("try.tar");
    ok(&root, &["image", "save", "-o", file.to_str().unwrap(), "ours"]);
    podman.ok(&["load", "-i", file.to_str().unwrap()]);
    // Which of its runtimes works depends on the machine's cgroups.
    let works = ["runc", "crun"].into_iter().find(|runtime| {
        podman.runtime = runtime;
        let words = [
            &["run", "--rm", "--network", "none"],
            podman.run_flags().as_slice(),
            &["docker.io/library/ours"],
        ]
        .concat();
        podman
            .command()
            .args(words)
            .output()
            .is_ok_and(|output| output.status.success())
    });
    let Some(runtime) = works else {
        return skip("podman cannot run containers on this machine");
    };
    podman.runtime = runtime;
    exchange(
        &root,
        &podman,
        &[
            ("docker-archive", &["--format", "docker-archive"]),
            ("oci-archive", &["--format", "oci-archive"]),
        ],
    );
}

/// Docker's daemon in a folder of its own; ended with the test.
struct Docker {
    folder: tempfile::TempDir,
    daemon: Child,
}

impl Peer for Docker {
    fn command(&self) -> Command {
        let mut command = Command::new(self.folder.path().join("usr/bin/docker"));
        command
            .arg("--config")
            .arg(self.folder.path().join("config"))
            .arg("--host")
            .arg(format!(
                "unix://{}",
                self.folder.path().join("docker.sock").display()
            ));
        command
    }

    fn run_flags(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // SIGTERM, by its own pid: it ends its containerd and unmounts.
        let pid = self.daemon.id().to_string();
        let _ = Command::new("kill").arg(&pid).status();
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.daemon.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > deadline {
                let _ = self.daemon.kill();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Takes packages apart into a folder, without installing them.
fn unpack(folder: &Path, packages: &[&str]) -> bool {
    let downloaded = Command::new("apt-get")
        .arg("download")
        .args(packages)
        .current_dir(folder)
        .output();
    if !downloaded.is_ok_and(|output| output.status.success()) {
        return false;
    }
    let files = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let packages: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "deb"))
        .collect();
    packages.iter().all(|package| {
        let output = Command::new("dpkg").arg("-x").arg(package).arg(folder).output();
        output.is_ok_and(|output| output.status.success())
    })
}

/// Starts it. `Err`: why it does not run here.
fn docker() -> Result<Docker, String> {
    let folder = tempfile::tempdir().unwrap();
    if !unpack(folder.path(), &["docker.io", "containerd", "runc"]) {
        return Err("Docker's Debian packages cannot be had".into());
    }
    let path = |name: &str| folder.path().join(name);
    let programs = format!(
        "{0}/usr/bin:{0}/usr/sbin:{1}",
        folder.path().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let log = fs::File::create(path("log")).unwrap();
    // In a mount namespace of its own, so that no mount is left whatever happens.
    let daemon = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(path("usr/sbin/dockerd"))
        .args([
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ])
        .args(["--userland-proxy=false", "--storage-driver=vfs"])
        .arg("--data-root")
        .arg(path("data"))
        .arg("--exec-root")
        .arg(path("exec"))
        .arg("--pidfile")
        .arg(path("docker.pid"))
        .arg("--host")
        .arg(format!("unix://{}", path("docker.sock").display()))
        .env("PATH", programs)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut docker = Docker { folder, daemon };
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let words = docker.command().arg("version").output();
        if words.is_ok_and(|output| output.status.success()) {
            return Ok(docker);
        }
        if docker.daemon.try_wait().unwrap().is_some() || Instant::now() > deadline {
            let log = fs::read_to_string(docker.folder.path().join("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            return Err(format!("dockerd does not start: {}", last.join(" / ")));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn docker_and_we_take_each_others_images() {
    if !is_asked_for() {
        return;
    }
    let docker = match docker() {
        Ok(docker) => docker,
        Err(reason) => return skip(&reason),
    };
    let root = Root::new();
    build(&root);
    exchange(&root, &docker, &[("docker-archive", &[])]);
}
