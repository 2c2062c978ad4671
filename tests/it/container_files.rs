//! `container cp|export|diff`: files of running and stopped containers, in both directions and as streams.

use super::support::{Root, can_run_containers};
use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
    process::{Output, Stdio},
};

struct Host {
    root: Root,
}

impl Host {
    fn new() -> Option<Self> {
        can_run_containers().then(|| Self { root: Root::new() })
    }

    fn container(&self, words: &[&str]) -> Output {
        self.root.banyan().arg("container").args(words).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let output = self.container(words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "container {words:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn local(&self, name: &str) -> PathBuf {
        self.root.path().join("local").join(name)
    }

    /// A container from `busybox` that has run `script`; kept running by `sleep` or stopped.
    fn with(&self, name: &str, flags: &[&str], script: &str) {
        fs::create_dir_all(self.root.path().join("local")).unwrap();
        let mut words = vec!["run", "-d", "--name", name];
        words.extend(flags);
        words.extend(["busybox", "sleep", "1000"]);
        self.ok(&words);
        self.ok(&["exec", name, "sh", "-c", script]);
    }

    fn stop(&self, name: &str) {
        self.ok(&["stop", "-t", "0", name]);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for id in String::from_utf8_lossy(&self.container(&["ls", "-aq", "--no-trunc"]).stdout).lines() {
            self.container(&["rm", "-f", id]);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        if !std::thread::panicking() {
            assert!(
                !mounts.contains(self.root.path().to_str().unwrap()),
                "a mount is left"
            );
        }
    }
}

#[test]
fn files_go_both_ways_running_and_stopped() {
    let Some(host) = Host::new() else { return };
    host.with(
        "c",
        &["-v", "data:/data"],
        "echo in > /root/in; echo vol > /data/vol; mkdir -p /d/e; echo x > /d/e/x",
    );
    fs::write(host.local("up"), "up\n").unwrap();
    fs::set_permissions(host.local("up"), PermissionsExt::from_mode(0o751)).unwrap();
    std::os::unix::fs::chown(host.local("up"), Some(1234), Some(1234)).unwrap();
    for state in ["running", "stopped"] {
        let local = |name: &str| host.local(&format!("{state}-{name}")).display().to_string();
        host.ok(&["cp", "c:/root/in", &local("in")]);
        assert_eq!(fs::read_to_string(local("in")).unwrap(), "in\n", "{state}");
        // A volume's file, which is not in the container's own layers.
        host.ok(&["cp", "c:data/vol", &local("vol")]);
        assert_eq!(fs::read_to_string(local("vol")).unwrap(), "vol\n", "{state}");
        host.ok(&["cp", "c:/d", &local("d")]);
        assert_eq!(fs::read_to_string(local("d/e/x")).unwrap(), "x\n", "{state}");
        let up = host.local("up").display().to_string();
        host.ok(&["cp", &up, &format!("c:/root/{state}")]);
        host.ok(&["cp", "-a", &up, &format!("c:/data/{state}")]);
        if state == "running" {
            let seen = host.ok(&[
                "exec",
                "c",
                "stat",
                "-c",
                "%u:%g %a",
                "/root/running",
                "/data/running",
            ]);
            assert_eq!(seen, "0:0 751\n1234:1234 751\n");
            host.stop("c");
        }
    }
    host.ok(&["start", "c"]);
    let seen = host.ok(&[
        "exec",
        "c",
        "stat",
        "-c",
        "%u:%g %a",
        "/root/stopped",
        "/data/stopped",
    ]);
    assert_eq!(seen, "0:0 751\n1234:1234 751\n");
    assert_eq!(host.ok(&["exec", "c", "cat", "/data/stopped"]), "up\n");
}

#[test]
fn streams_are_tar() {
    let Some(host) = Host::new() else { return };
    host.with(
        "c",
        &[],
        "mkdir -p /s/t; echo one > /s/t/one; ln -s one /s/t/link; ln /s/t/one /s/t/hard",
    );
    let output = host.container(&["cp", "c:/s", "-"]);
    let mut archive = tar::Archive::new(&output.stdout[..]);
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["s/", "s/t/", "s/t/hard", "s/t/link", "s/t/one"]);
    let mut child = host
        .root
        .banyan()
        .args(["container", "cp", "-", "c:/tmp"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&output.stdout).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(host.ok(&["exec", "c", "cat", "/tmp/s/t/link"]), "one\n");
    assert_eq!(
        host.ok(&["exec", "c", "stat", "-c", "%h", "/tmp/s/t/hard"]),
        "2\n"
    );
    let refused = host.container(&["cp", "-", "c:/etc/passwd"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`/etc/passwd` is not a directory"));
}

#[test]
fn a_hostile_container_cannot_lead_a_copy_to_the_host() {
    let Some(host) = Host::new() else { return };
    fs::create_dir_all(host.root.path().join("local")).unwrap();
    let victim = host.local("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("secret"), "host").unwrap();
    let path = victim.display();
    host.with(
        "c",
        &[],
        &format!("ln -s {path} /tmp/out; ln -s /proc/self/root/{path} /tmp/magic; ln -s ../../../../../..{path} /tmp/up"),
    );
    fs::write(host.local("mine"), "mine").unwrap();
    let mine = host.local("mine").display().to_string();
    for state in ["running", "stopped"] {
        for link in ["out", "magic", "up"] {
            let stolen = host.local("stolen").display().to_string();
            let output = host.container(&["cp", "-L", &format!("c:/tmp/{link}/secret"), &stolen]);
            assert_eq!(output.status.code(), Some(1), "{state} {link}");
            let output = host.container(&["cp", &mine, &format!("c:/tmp/{link}/planted")]);
            assert_eq!(output.status.code(), Some(1), "{state} {link}");
        }
        if state == "running" {
            host.stop("c");
        }
    }
    let left: Vec<_> = fs::read_dir(&victim)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["secret"]);
    assert!(!host.local("stolen").exists());
}

#[test]
fn links_are_copied_as_links_unless_asked() {
    let Some(host) = Host::new() else { return };
    host.with("c", &[], "echo t > /root/target; ln -s target /root/link");
    let (link, followed) = (host.local("link"), host.local("followed"));
    host.ok(&["cp", "c:/root/link", link.to_str().unwrap()]);
    assert_eq!(fs::read_link(&link).unwrap(), PathBuf::from("target"));
    host.ok(&["cp", "-L", "c:/root/link", followed.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&followed).unwrap(), "t\n");
    symlink("/nosuch", host.local("dangling")).unwrap();
    host.ok(&["cp", host.local("dangling").to_str().unwrap(), "c:/root/"]);
    assert_eq!(
        host.ok(&["exec", "c", "ls", "-l", "/root/dangling"])
            .split(" -> ")
            .nth(1),
        Some("/nosuch\n")
    );
}

#[test]
fn mistakes_say_what_is_wrong() {
    let Some(host) = Host::new() else { return };
    host.with("c", &["--read-only", "--tmpfs", "/tmp"], "true");
    fs::write(host.local("f"), "f").unwrap();
    let f = host.local("f").display().to_string();
    let folder = host.root.path().join("local").display().to_string();
    for (words, code, text) in [
        (
            &["cp", "c:/nosuch", &f][..],
            1,
            "could not find the file `/nosuch` in container `c`",
        ),
        (&["cp", "nosuch:/x", &f], 1, "no such container: `nosuch`"),
        (&["cp", &f, &f], 64, "CONTAINER:PATH"),
        (
            &["cp", "c:/etc", "c:/tmp"],
            64,
            "copying between containers is not supported",
        ),
        (&["cp", &f, "c:/no/such/f"], 1, "there is no directory `/no/such`"),
        (
            &["cp", &folder, "c:/etc/passwd"],
            1,
            "cannot copy a directory onto the file",
        ),
        (&["cp", &f, "c:/root/f"], 1, "read-only file system"),
    ] {
        let output = host.container(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {error}");
        assert!(error.contains(text), "{words:?}: {error}");
    }
    // Its tmpfs can be written while it runs.
    host.ok(&["cp", &f, "c:/tmp/f"]);
    assert_eq!(host.ok(&["exec", "c", "cat", "/tmp/f"]), "f");
}

#[test]
fn export_is_the_root_without_volumes() {
    let Some(host) = Host::new() else { return };
    host.with(
        "c",
        &["-v", "data:/data"],
        "echo vol > /data/vol; echo own > /root/own",
    );
    let file = host.local("c.tar");
    for state in ["running", "stopped"] {
        host.ok(&["export", "-o", file.to_str().unwrap(), "c"]);
        let mut archive = tar::Archive::new(fs::File::open(&file).unwrap());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        let has = |name: &str| names.iter().any(|known| known == name);
        assert!(has("bin/busybox") && has("root/own"), "{state}: {names:?}");
        assert!(
            has("data/") && !has("data/vol") && !has("proc/self"),
            "{state}: {names:?}"
        );
        if state == "running" {
            host.stop("c");
        }
    }
    assert_eq!(file.metadata().unwrap().uid(), 0);
}

#[test]
fn diff_shows_what_the_container_did_and_nothing_else() {
    let Some(host) = Host::new() else { return };
    host.with("quiet", &["-v", "data:/data"], "true");
    assert_eq!(host.ok(&["diff", "quiet"]), "");
    host.with(
        "c",
        &[],
        "echo new > /root/new; rm /www/index.html; chmod 700 /tmp; echo x >> /etc/group",
    );
    for state in ["running", "stopped"] {
        let seen = host.ok(&["diff", "c"]);
        let expected = "C /etc\nC /etc/group\nC /root\nA /root/new\nC /tmp\nC /www\nD /www/index.html\n";
        assert_eq!(seen, expected, "{state}");
        if state == "running" {
            host.stop("c");
        }
    }
}
