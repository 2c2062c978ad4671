//! Secrets reach the service and nobody else: a canary's bytes are looked for everywhere banyan writes.

use crate::support::{Root, can_run_containers, engines};
use std::{fs, path::Path};

/// The canaries, in two parts each so that this test's own files and arguments do not hold them.
fn canaries() -> [String; 3] {
    ["file", "variable", "command"].map(|source| format!("canary-{source}-{}", 7_919 * 104_729))
}

/// Files below `folder` that hold one of `needles`, but `but`.
fn holding(folder: &Path, needles: &[String], but: &[&Path], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if but.contains(&path.as_path()) {
            continue;
        }
        if kind.is_dir() {
            holding(&path, needles, but, found);
        } else if kind.is_file()
            && let Ok(bytes) = fs::read(&path)
        {
            for needle in needles {
                if bytes.windows(needle.len()).any(|part| part == needle.as_bytes()) {
                    found.push(format!("{needle} in {}", path.display()));
                }
            }
        }
    }
}

#[test]
fn the_bytes_of_a_secret_are_in_no_file_output_or_environment_of_ours() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let [in_file, in_variable, by_command] = canaries();
    let project = root.project(
        "canary",
        r#"
services:
  web:
    image: busybox
    command: ["sh", "-c", "echo up; sleep 1000"]
    stop_signal: SIGKILL
    restart: always
    secrets:
      - file
      - {source: variable, target: /etc/variable, uid: "1000", gid: "1000", mode: 0400}
      - command
secrets:
  file: {file: ./secret.txt}
  variable: {environment: CANARY}
  command: {x-banyan: {command: [sh, -c, "rev secret.rev || true"]}}
"#,
    );
    let secret = project.folder.join("secret.txt");
    fs::write(&secret, &in_file).unwrap();
    // A password manager: the command's own text does not hold what it prints.
    let vault = project.folder.join("vault");
    fs::write(&vault, &by_command).unwrap();
    let text = fs::read_to_string(project.folder.join("compose.yaml")).unwrap();
    project.rewrite(&text.replace(
        "[sh, -c, \"rev secret.rev || true\"]",
        &format!("[cat, \"{}\"]", vault.display()),
    ));
    let up = project
        .command(&["up", "-d"])
        .env("CANARY", &in_variable)
        .output()
        .unwrap();
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    // They are there, as asked for, in memory.
    let read = |path: &str| project.ok(&["exec", "-T", "web", "cat", path]);
    assert_eq!(read("/run/secrets/file"), in_file);
    assert_eq!(read("/etc/variable"), in_variable);
    assert_eq!(read("/run/secrets/command"), by_command);
    let listed = project.ok(&["exec", "-T", "web", "stat", "-c", "%u %g %a", "/etc/variable"]);
    assert_eq!(listed, "1000 1000 400\n");
    for path in ["/run/secrets/file", "/etc/variable", "/run/secrets/command"] {
        let kind = project.ok(&["exec", "-T", "web", "stat", "-f", "-c", "%T", path]);
        assert!(
            kind.starts_with("tmpfs") || kind.starts_with("ramfs"),
            "{path}: {kind}"
        );
    }
    // They are nowhere else: no output,
    let needles = canaries();
    let id = project.id("web");
    let mut said = up.stdout;
    said.extend(up.stderr);
    for arguments in [
        vec!["config"],
        vec!["config", "--format", "json"],
        vec!["ps", "--all", "--format", "json"],
        vec!["logs"],
        vec!["events", "--history"],
        vec!["why", "web"],
        vec!["container", "inspect", &id],
        vec!["graph"],
    ] {
        // `events` goes on for ever; what it has said by then is enough.
        let mut command = project.command(&arguments);
        command.env("CANARY", &in_variable);
        let output = if arguments[0] == "events" {
            let mut timed = std::process::Command::new("timeout");
            timed.arg("1").arg(command.get_program()).args(command.get_args());
            timed.current_dir(&project.folder).output().unwrap()
        } else {
            command.output().unwrap()
        };
        said.extend(output.stdout);
        said.extend(output.stderr);
    }
    for needle in &needles {
        assert!(
            !said.windows(needle.len()).any(|part| part == needle.as_bytes()),
            "{needle} was printed"
        );
    }
    // no file,
    let mut found = Vec::new();
    holding(root.path(), &needles, &[&secret, &vault], &mut found);
    // no environment or argument of a process of ours or of the container.
    let mut processes = engines(&project);
    let shims = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|text| text.starts_with("banyan-shim"))
    });
    processes.extend(shims.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let inside = project.container("web");
    assert_eq!(inside["State"], "running");
    assert!(processes.len() >= 2, "{processes:?}");
    for pid in processes {
        for file in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            for needle in &needles {
                if bytes.windows(needle.len()).any(|part| part == needle.as_bytes()) {
                    found.push(format!("{needle} in {file} of process {pid}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(read("/proc/1/environ").matches("canary-").count(), 0);
}
