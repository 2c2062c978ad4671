//! The harness: a root of one's own, projects in it, images made of busybox, waiting with a deadline.

#![allow(dead_code, reason = "each test binary uses its own part of the harness")]
#![allow(clippy::unwrap_used, reason = "a harness that cannot go on fails its test")]

pub(crate) mod census;
pub(crate) mod image;
pub(crate) mod pty;
pub(crate) mod registry;
pub(crate) mod screen;
pub(crate) mod victims;

use std::{
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The program under test.
pub(crate) const BANYAN: &str = env!("CARGO_BIN_EXE_banyan");

/// Says why a test does not run here, and whether it may be skipped.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("BANYAN_TESTS_MUST_RUN").is_none(),
        "this test must run, but: {reason}"
    );
    eprintln!("skipped: {reason}");
}

/// Whether containers can be made here; skips with a reason otherwise.
pub(crate) fn can_run_containers() -> bool {
    if !nix_is_root() {
        skip("containers need root");
        return false;
    }
    if !Path::new("/bin/busybox").exists() {
        skip("busybox-static is not installed; tests/run installs it");
        return false;
    }
    true
}

fn nix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|data| std::os::unix::fs::MetadataExt::uid(&data) == 0)
}

/// A root with the image `busybox` in it. Everything in it is taken down when it is dropped.
#[derive(Debug)]
pub(crate) struct Root {
    dir: TempDir,
}

impl Root {
    /// A root of one's own.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("banyan-test-").tempdir().unwrap();
        let root = Self { dir };
        image::import_busybox(&root);
        root
    }

    /// A root with nothing in it, for tests that need no container.
    pub(crate) fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("banyan-test-").tempdir().unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The program with this root.
    pub(crate) fn banyan(&self) -> Command {
        let mut command = Command::new(BANYAN);
        command
            .arg("--root")
            .arg(self.path())
            .stdin(Stdio::null())
            .env_remove("BANYAN_ROOT");
        command
    }

    /// A project in a folder of its own.
    pub(crate) fn project(&self, name: &str, compose: &str) -> Project<'_> {
        let folder = self.path().join("src").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("compose.yaml"), compose).unwrap();
        Project {
            root: self,
            name: name.to_owned(),
            folder,
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let Ok(projects) = fs::read_dir(self.path().join("projects")) else {
            return;
        };
        for project in projects.flatten() {
            let name = project.file_name();
            let _ = self
                .banyan()
                .arg("-p")
                .arg(name)
                .args(["down", "-t", "0", "-v", "--remove-orphans"])
                .current_dir("/")
                .output();
        }
    }
}

/// A project of a test.
#[derive(Debug)]
pub(crate) struct Project<'a> {
    pub(crate) root: &'a Root,
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

impl Project<'_> {
    /// Replaces the project file.
    pub(crate) fn rewrite(&self, compose: &str) {
        fs::write(self.folder.join("compose.yaml"), compose).unwrap();
    }

    /// The program in this project's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.root.banyan();
        command
            .args(["-p", &self.name, "-f", "compose.yaml"])
            .args(arguments)
            .current_dir(&self.folder);
        command
    }

    /// Runs it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::new(arguments, self.command(arguments).output().unwrap())
    }

    /// Runs it, and fails the test unless it succeeds.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "banyan {arguments:?}\n{}", ran.all());
        ran.stdout
    }

    /// `ps --all --format json`, one value a container.
    pub(crate) fn ps(&self) -> Vec<serde_json::Value> {
        let text = self.ok(&["ps", "--all", "--format", "json"]);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// One container of a service.
    pub(crate) fn container(&self, service: &str) -> serde_json::Value {
        let all = self.ps();
        all.iter()
            .find(|c| c["Service"] == service)
            .unwrap_or_else(|| panic!("no container of `{service}` in {all:?}"))
            .clone()
    }

    /// The id of a service's container.
    pub(crate) fn id(&self, service: &str) -> String {
        self.container(service)["ID"].as_str().unwrap().to_owned()
    }

    /// The host port that a service's first published port got.
    pub(crate) fn port(&self, service: &str) -> u16 {
        let container = self.container(service);
        let port = container["Publishers"][0]["PublishedPort"].as_u64();
        u16::try_from(port.unwrap_or_else(|| panic!("nothing published: {container}"))).unwrap()
    }
}

/// Process ids of the engine of a project.
pub(crate) fn engines(project: &Project<'_>) -> Vec<String> {
    let root = project.root.path().display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let Ok(command) = std::fs::read_to_string(entry.path().join("cmdline")) else {
            continue;
        };
        if command.contains("\0engine\0") && command.contains(&root) && command.contains(&project.name) {
            found.push(pid);
        }
    }
    found
}

/// The same command behind a wrapper, with signals that interrupt as they are by default: what whoever started the tests
/// ignores (`nohup … &`) would be ignored by the command as well.
pub(crate) fn hearing(command: &Command, wrapper: &[&str]) -> Command {
    let mut wrapped = Command::new("env");
    wrapped
        .arg("--default-signal=INT,QUIT,HUP")
        .args(wrapper)
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) arguments: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn new(arguments: &[&str], output: Output) -> Self {
        Self {
            arguments: arguments.join(" "),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Everything it said.
    pub(crate) fn all(&self) -> String {
        format!(
            "exit {}\n--- stdout\n{}--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

/// Waits until `ready` gives something, looking again and again, at most `seconds`.
#[track_caller]
pub(crate) fn wait_until<T>(seconds: u64, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {seconds} s in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The body that an HTTP server on the loopback interface answers with.
pub(crate) fn http_get(port: u16, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // At once: `write!` sends piece by piece, and PHP's own server closes without a word when a piece ends in a word.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(answer)),
    }
}

/// Posts a form to an HTTP server on the loopback interface.
pub(crate) fn http_post(port: u16, path: &str, form: &str) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.get(9..10) {
        Some("2" | "3") => Ok(()),
        _ => Err(std::io::Error::other(answer)),
    }
}

/// A port of the loopback interface that nobody has now.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Runs `work` on a thread in a network namespace.
pub(crate) fn in_network<T: Send>(namespace: impl AsFd + Send, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            banyan_runtime::sys::netns::enter(namespace).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}
