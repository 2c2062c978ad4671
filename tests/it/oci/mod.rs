//! `banyan oci`: bundles made of a static busybox, looked at from inside and outside.
//!
//! 1. [`life`]: the commands, states, streams. 2. [`fields`]: what `config.json` may ask for, property by property.
//! 3. [`namespaces`]: joined, user and time namespaces. 4. [`podman`]: an engine that knows nothing of us.
//! 5. [`scopes`]: cgroups made by systemd.

mod fields;
mod life;
mod namespaces;
mod podman;
mod scopes;

use super::support::{BANYAN, can_run_containers};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Seek},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// Programs of busybox that bundles use.
const APPLETS: [&str; 34] = [
    "sh",
    "cat",
    "ls",
    "id",
    "true",
    "false",
    "sleep",
    "mount",
    "hostname",
    "env",
    "stat",
    "readlink",
    "touch",
    "mkdir",
    "echo",
    "tty",
    "kill",
    "chrt",
    "ionice",
    "uname",
    "grep",
    "cut",
    "head",
    "dd",
    "wc",
    "test",
    "mknod",
    "stty",
    "dnsdomainname",
    "ps",
    "nproc",
    "tr",
    "seq",
    "chmod",
];

/// A place for bundles and their state.
struct Place {
    dir: TempDir,
}

/// What a command gave.
struct Ran {
    code: i32,
    out: String,
    error: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Place {
    fn new() -> Option<Self> {
        if !can_run_containers() {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("banyan-oci-").tempdir().unwrap();
        let place = Self { dir };
        make_root(&place.path("root"));
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A name that no other test's cgroup has.
    fn id(&self, name: &str) -> String {
        let own = self
            .dir
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .replace('-', "_");
        format!("{own}.{name}")
    }

    fn oci(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BANYAN);
        command
            .args(["oci", "--root"])
            .arg(self.path("state"))
            .args(words)
            .stdin(Stdio::null());
        command
    }

    /// Through files, not pipes: a container that stays keeps its streams, and a pipe would never end.
    fn run(&self, words: &[&str]) -> Ran {
        let mut files = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        let status = self
            .oci(words)
            .stdout(files[0].try_clone().unwrap())
            .stderr(files[1].try_clone().unwrap())
            .status()
            .unwrap();
        let [out, error] = files.each_mut().map(|file| {
            let mut text = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        Ran {
            code: status.code().unwrap_or(-1),
            out,
            error,
        }
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, 0, "oci {words:?}: {}", ran.error);
        ran.out
    }

    /// Writes a bundle whose shell runs `script`; `change` is given its config.json.
    fn bundle(&self, name: &str, script: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
        let bundle = self.path(&format!("bundle-{name}"));
        fs::create_dir_all(&bundle).unwrap();
        let _ = fs::remove_file(bundle.join("config.json"));
        self.ok(&["spec", "--bundle", bundle.to_str().unwrap()]);
        let text = fs::read(bundle.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", script]);
        config["root"]["path"] = json!(self.path("root"));
        change(&mut config);
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        bundle
    }

    /// `run` of a bundle that exists.
    fn run_bundle(&self, name: &str, bundle: &Path) -> Ran {
        self.run(&["run", "--bundle", bundle.to_str().unwrap(), &self.id(name)])
    }

    /// Runs `script` in a bundle changed by `change`.
    #[track_caller]
    fn inside(&self, name: &str, script: &str, change: impl FnOnce(&mut Value)) -> String {
        let bundle = self.bundle(name, script, change);
        let ran = self.run_bundle(name, &bundle);
        assert_eq!(ran.code, 0, "{name}: {}{}", ran.out, ran.error);
        ran.out
    }

    /// A container that sleeps, started, with a pid.
    fn sleeper(&self, name: &str, change: impl FnOnce(&mut Value)) -> (String, i64) {
        let bundle = self.bundle(name, "trap 'exit 3' TERM; while :; do sleep 0.1; done", change);
        let id = self.id(name);
        self.ok(&["create", "--bundle", bundle.to_str().unwrap(), &id]);
        self.ok(&["start", &id]);
        let state = self.state(&id);
        (id, state["pid"].as_i64().unwrap())
    }

    fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.ok(&["state", id])).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for id in self.run(&["list", "-q"]).out.lines() {
            self.run(&["delete", "--force", id]);
        }
        if std::thread::panicking() {
            return;
        }
        let left: Vec<_> = fs::read_dir(self.path("state"))
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        assert!(left.is_empty(), "{left:?}");
        let own = self.id("");
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            for entry in fs::read_dir(hierarchy.path()).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                assert!(
                    !name.contains(&own),
                    "the cgroup {} is left",
                    entry.path().display()
                );
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(self.dir.path().to_str().unwrap()),
            "a mount is left"
        );
    }
}

fn make_root(root: &Path) {
    for folder in ["bin", "etc", "proc", "sys", "dev", "tmp", "mnt"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::set_permissions(root, PermissionsExt::from_mode(0o755)).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:w:/srv/web:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:34:\n").unwrap();
}

/// Adds to a list in the configuration.
fn push(list: &mut Value, value: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().unwrap().push(value);
}

/// Gives capabilities.
fn grant(config: &mut Value, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        for name in names {
            push(&mut config["process"]["capabilities"][set], json!(name));
        }
    }
}
