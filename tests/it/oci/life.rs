//! Commands, states, streams.

use super::{Place, Ran};
use crate::support::wait_until;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::Read,
    os::{fd::AsFd, unix::net::UnixListener},
    process::Stdio,
};

#[test]
fn a_container_lives_as_the_specification_says() {
    let Some(place) = Place::new() else { return };
    let bundle = place.bundle(
        "life",
        "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done",
        |config| {
            config["annotations"] = json!({ "org.example.key": "value" });
        },
    );
    let (id, pid_file) = (place.id("life"), place.path("pid"));
    let (bundle_text, pid_text) = (bundle.to_str().unwrap(), pid_file.to_str().unwrap());
    place.ok(&["create", "-b", bundle_text, "--pid-file", pid_text, &id]);
    let state = place.state(&id);
    assert_eq!(state["status"], "created");
    assert_eq!(state["ociVersion"], "1.2.1");
    assert_eq!(state["bundle"], bundle_text);
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert_eq!(state["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    let again = place.run(&["create", "-b", bundle_text, &id]);
    assert!(
        again.code == 1 && again.error.contains("exists already"),
        "{}",
        again.error
    );
    place.ok(&["start", &id]);
    assert_eq!(place.state(&id)["status"], "running");
    let twice = place.run(&["start", &id]);
    assert!(
        twice.error.contains("is running: cannot start it"),
        "{}",
        twice.error
    );
    let refused = place.run(&["delete", &id]);
    assert!(
        refused.code == 1 && refused.error.contains("is running: cannot delete it"),
        "{}",
        refused.error
    );
    assert!(place.ok(&["list"]).contains(&id));
    let listed: Value = serde_json::from_str(&place.ok(&["list", "-f", "json"])).unwrap();
    assert_eq!(listed[0]["id"], json!(id));
    let pids: Vec<i64> = serde_json::from_str(&place.ok(&["ps", "-f", "json", &id])).unwrap();
    assert!(pids.contains(&state["pid"].as_i64().unwrap()));
    place.ok(&["pause", &id]);
    assert_eq!(place.state(&id)["status"], "paused");
    place.ok(&["resume", &id]);
    assert_eq!(place.state(&id)["status"], "running");
    place.ok(&["kill", &id, "TERM"]);
    wait_until(10, "the end", || {
        (place.state(&id)["status"] == "stopped").then_some(())
    });
    let dead = place.run(&["kill", &id, "KILL"]);
    assert!(
        dead.error.contains("is stopped: cannot signal it"),
        "{}",
        dead.error
    );
    place.ok(&["delete", &id]);
    let gone = place.run(&["state", &id]);
    assert!(
        gone.code == 1 && gone.error.contains("does not exist"),
        "{}",
        gone.error
    );
    place.ok(&["delete", "--force", &id]);
}

#[test]
fn run_gives_the_programs_streams_and_status() {
    let Some(place) = Place::new() else { return };
    let bundle = place.bundle("run", "cat; echo out; echo err >&2; exit 7", |_| {});
    let input = place.path("input");
    fs::write(&input, "in\n").unwrap();
    let output = place
        .oci(&["run", "-b", bundle.to_str().unwrap(), &place.id("run")])
        .stdin(File::open(&input).unwrap())
        .output();
    let ran = Ran::from(output.unwrap());
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.error.as_str()),
        (7, "in\nout\n", "err\n")
    );
    let killed = place.bundle(
        "killed",
        "kill -9 $$; sleep 1; sh -c 'kill -9 $$'; exit $?",
        |_| {},
    );
    assert_eq!(place.run_bundle("killed", &killed).code, 137);
    let kept = place.bundle("kept", "exit 0", |_| {});
    place.ok(&["run", "--keep", "-b", kept.to_str().unwrap(), &place.id("kept")]);
    assert_eq!(place.state(&place.id("kept"))["status"], "stopped");
}

#[test]
fn what_cannot_be_executed_is_known_at_creation() {
    let Some(place) = Place::new() else { return };
    for (arguments, text) in [
        (
            json!(["nosuch"]),
            "cannot run `nosuch`: no such file or directory",
        ),
        (
            json!(["/etc/passwd"]),
            "cannot run `/etc/passwd`: permission denied",
        ),
        (json!([]), "no command is given"),
    ] {
        let bundle = place.bundle("bad", "", |config| config["process"]["args"] = arguments);
        let log = place.path("log");
        let words = ["create", "-b", bundle.to_str().unwrap(), &place.id("bad")];
        let mut all = vec!["--log", log.to_str().unwrap(), "--log-format", "json"];
        all.extend(words);
        let ran = place.run(&all);
        assert!(ran.code == 1 && ran.error.contains(text), "{}", ran.error);
        let line: Value =
            serde_json::from_str(fs::read_to_string(&log).unwrap().lines().last().unwrap()).unwrap();
        assert_eq!(line["level"], "error");
        assert!(line["msg"].as_str().unwrap().contains(text));
        assert_eq!(place.ok(&["list", "-q"]).trim(), "");
    }
}

/// Prints the shell's descriptors. Not through a pipe: the shell itself may still hold an end of it.
const SHOW: &str = "(ls /proc/$$/fd >/dev/shm/fds); tr '\\n' ' ' </dev/shm/fds";

#[test]
fn kept_descriptors_arrive_and_no_others() {
    let Some(place) = Place::new() else { return };
    let file = place.path("kept");
    fs::write(&file, "kept\n").unwrap();
    let bundle = place.bundle("fds", &format!("cat <&3; cat <&4; {SHOW}"), |_| {});
    let script = format!("exec 3<{0} 4<{0} 5<{0} 6<{0}; exec \"$@\"", file.display());
    let output = std::process::Command::new("sh")
        .args(["-c", &script, "sh", crate::support::BANYAN, "oci", "--root"])
        .arg(place.path("state"))
        .args([
            "run",
            "--preserve-fds",
            "2",
            "-b",
            bundle.to_str().unwrap(),
            &place.id("fds"),
        ])
        .stdin(Stdio::null())
        .output();
    let ran = Ran::from(output.unwrap());
    assert_eq!(ran.out, "kept\nkept\n0 1 2 3 4 ", "{}", ran.error);
    let plain = place.inside("plain", SHOW, |_| {});
    assert_eq!(plain, "0 1 2 ");
}

#[test]
fn a_terminal_goes_to_the_console_socket() {
    let Some(place) = Place::new() else { return };
    let bundle = place.bundle("tty", "tty; stty size; sleep 100", |config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({ "height": 7, "width": 11 });
    });
    let words = ["create", "-b", bundle.to_str().unwrap(), &place.id("tty")];
    let without = place.run(&words);
    assert!(
        without.error.contains("needs --console-socket"),
        "{}",
        without.error
    );
    let socket = place.path("console");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut all = words.to_vec();
    all.splice(1..1, ["--console-socket", socket.to_str().unwrap()]);
    place.ok(&all);
    let (stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 64];
    let (_, mut descriptors) = banyan_runtime::sys::message::wait_for(stream.as_fd(), &mut buffer).unwrap();
    let mut master = File::from(descriptors.pop().unwrap());
    place.ok(&["start", &place.id("tty")]);
    let mut text = String::new();
    while !text.contains("7 11") {
        let mut piece = [0; 100];
        let length = master.read(&mut piece).unwrap();
        text += &String::from_utf8_lossy(&piece[..length]);
    }
    assert!(
        text.starts_with("/dev/console\r\n") || text.starts_with("/dev/pts/0\r\n"),
        "{text}"
    );
}

#[test]
fn exec_is_confined_as_it_is_told() {
    let Some(place) = Place::new() else { return };
    let (id, _) = place.sleeper("exec", |_| {});
    let ran = place.run(&[
        "exec",
        "--env",
        "A=b",
        "--cwd",
        "/tmp",
        "-u",
        "33:34",
        &id,
        "sh",
        "-c",
        "id; pwd; echo $A; exit 9",
    ]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (9, "uid=33(web) gid=34(web)\n/tmp\nb\n"),
        "{}",
        ran.error
    );
    let caps = |flags: &[&str]| {
        let mut words = vec!["exec"];
        words.extend(flags);
        words.extend([id.as_str(), "grep", "CapEff", "/proc/self/status"]);
        place.ok(&words).trim().to_owned()
    };
    assert!(caps(&[]).ends_with("20000420"), "{}", caps(&[]));
    assert!(caps(&["--cap", "CAP_SYS_ADMIN"]).ends_with("20200420"));
    let file = place.path("process.json");
    let process = json!({
        "cwd": "/", "args": ["sh", "-c", "id -u; id -G; echo $X; umask"], "env": ["PATH=/bin", "X=y"],
        "user": { "uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 0o077 },
    });
    fs::write(&file, process.to_string()).unwrap();
    let out = place.ok(&["exec", "--process", file.to_str().unwrap(), &id]);
    assert_eq!(out, "5\n6 7 8\ny\n0077\n");
    let pid_file = place.path("exec.pid");
    place.ok(&[
        "exec",
        "-d",
        "--pid-file",
        pid_file.to_str().unwrap(),
        &id,
        "sleep",
        "1000",
    ]);
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert!(place.ok(&["ps", &id]).contains(&format!("{pid}  ")));
    place.ok(&["pause", &id]);
    let paused = place.run(&["exec", &id, "true"]);
    assert!(paused.error.contains("is paused"), "{}", paused.error);
    place.ok(&["resume", &id]);
    let missing = place.run(&["exec", &id, "nosuch"]);
    assert!(
        missing.code == 1 && missing.error.contains("no such file"),
        "{}",
        missing.error
    );
}

#[test]
fn limits_are_changed_and_reported() {
    let Some(place) = Place::new() else { return };
    let (id, _) = place.sleeper("limits", |config| {
        config["linux"]["resources"]["pids"] = json!({ "limit": 50 });
        config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
    });
    let stats = |id: &str| -> Value { serde_json::from_str(&place.ok(&["events", "--stats", id])).unwrap() };
    let before = stats(&id);
    assert_eq!(before["type"], "stats");
    assert_eq!(before["data"]["pids"]["limit"], 50);
    assert_eq!(before["data"]["memory"]["usage"]["limit"], 64 << 20);
    assert!(before["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0);
    place.ok(&["update", "--pids-limit", "70", "--memory", "33554432", &id]);
    let file = place.path("resources.json");
    fs::write(
        &file,
        json!({ "cpu": { "quota": 50_000, "period": 100_000 } }).to_string(),
    )
    .unwrap();
    place.ok(&["update", "--resources", file.to_str().unwrap(), &id]);
    let after = stats(&id);
    assert_eq!(after["data"]["pids"]["limit"], 70);
    assert_eq!(after["data"]["memory"]["usage"]["limit"], 32 << 20);
}

#[test]
fn features_are_those_of_this_runtime() {
    let Some(place) = Place::new() else { return };
    let features: Value = serde_json::from_str(&place.ok(&["features"])).unwrap();
    assert_eq!(features["ociVersionMax"], "1.2.1");
    assert_eq!(features["linux"]["cgroup"]["systemd"], true);
    assert_eq!(features["linux"]["apparmor"]["enabled"], false);
    // Every mount option named there is taken.
    let refused = [
        "rnorelatime",
        "rnostrictatime",
        "idmap",
        "ridmap",
        "unbindable",
        "runbindable",
    ];
    let options: Vec<Value> = features["mountOptions"].as_array().unwrap().clone();
    for option in options
        .into_iter()
        .filter(|option| !refused.contains(&option.as_str().unwrap()))
    {
        let bound = option.as_str().unwrap().contains("bind");
        let out = place.inside("options", "echo ran", |config| {
            let (kind, source) = if bound {
                ("bind", "/etc")
            } else {
                ("tmpfs", "tmpfs")
            };
            let mount = json!({ "destination": "/mnt", "type": kind, "source": source, "options": [option] });
            super::push(&mut config["mounts"], mount);
        });
        assert_eq!(out, "ran\n", "{option}");
    }
}
