//! `banyan init`: its questions, at a keyboard and from a pipe, and what it does not overwrite.

use crate::support::{Ran, Root, pty::Pty};
use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

/// A folder with these files.
fn folder(root: &Root, files: &[(&str, &str)]) -> PathBuf {
    let folder = root.path().join("site");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    folder
}

fn init(root: &Root, folder: &PathBuf, arguments: &[&str]) -> Command {
    let mut command = root.banyan();
    command.args(arguments).arg("init").current_dir(folder);
    command
}

fn run(mut command: Command, arguments: &[&str]) -> Ran {
    Ran::new(arguments, command.args(arguments).output().unwrap())
}

#[test]
fn asks_at_a_keyboard_and_writes_what_was_answered() {
    let root = Root::empty();
    let folder = folder(&root, &[("index.php", "<?php")]);
    let mut pty = Pty::start(&init(&root, &folder, &[]));
    pty.wait_for("Web server: apache or nginx [apache]: ");
    pty.press("lighttpd\r");
    pty.wait_for("`lighttpd` is no answer: `apache` or `nginx`");
    pty.press("nginx\r");
    pty.wait_for("Database: mysql, postgresql or none [none]: ");
    pty.press("postgresql\r");
    pty.wait_for("Port of this machine [");
    pty.press("7654\r");
    pty.wait_for("next: banyan up -d --wait, then open http://localhost:7654");
    assert_eq!(pty.finish(), 0);
    let text = fs::read_to_string(folder.join("banyan.yaml")).unwrap();
    for part in ["type: nginx", "type: postgresql", "7654:80"] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn asks_nothing_with_yes_says_why_and_the_file_is_a_project() {
    let root = Root::empty();
    let folder = folder(&root, &[("index.php", "<?php new PDO('mysql:host=db');")]);
    let ran = run(init(&root, &folder, &[]), &["--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(!ran.stderr.contains("]: "), "{}", ran.all());
    for part in [
        "found index.php: PHP, behind apache",
        "found index.php: mysql",
        "wrote banyan.yaml",
        "next: banyan up",
    ] {
        assert!(ran.stderr.contains(part), "no `{part}` in {}", ran.all());
    }
    let config = Command::new(root.banyan().get_program())
        .args(["config", "--services"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&config.stdout), "db\napp\nweb\n");
}

#[test]
fn takes_answers_from_a_pipe_and_defaults_at_its_end() {
    let root = Root::empty();
    let folder = folder(&root, &[("app.py", "print(1)"), ("requirements.txt", "")]);
    let mut command = init(&root, &folder, &[]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"python -u app.py\n")
        .unwrap();
    let ran = Ran::new(&[], child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.all());
    let text = fs::read_to_string(folder.join("banyan.yaml")).unwrap();
    assert!(
        text.contains("exec python -u app.py") && !text.contains("mysql"),
        "{text}"
    );
}

#[test]
fn overwrites_nothing() {
    let root = Root::empty();
    for name in ["banyan.yaml", "compose.yml", ".gaudi.yml"] {
        let folder = folder(&root, &[("index.html", ""), (name, "mine")]);
        let ran = run(init(&root, &folder, &[]), &["--yes"]);
        assert!(
            ran.code == 1 && ran.stderr.contains(&format!("{name} already")),
            "{}",
            ran.all()
        );
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), "mine");
        fs::remove_file(folder.join(name)).unwrap();
    }
    let folder = folder(&root, &[("index.html", ""), ("other.yaml", "mine")]);
    let ran = run(init(&root, &folder, &["-f", "other.yaml"]), &["--yes"]);
    assert!(
        ran.code == 1 && ran.stderr.contains("other.yaml already"),
        "{}",
        ran.all()
    );
    // Without writing, the text is what is printed.
    let ran = run(init(&root, &folder, &["--dry-run"]), &["--yes"]);
    assert!(
        ran.code == 0 && ran.stdout.contains("type: nginx"),
        "{}",
        ran.all()
    );
    assert!(!folder.join("banyan.yaml").exists());
}

#[test]
fn a_folder_that_tells_nothing_is_told() {
    let root = Root::empty();
    let folder = folder(&root, &[("notes.txt", "x")]);
    let ran = run(init(&root, &folder, &[]), &["--yes"]);
    assert!(
        ran.code == 1 && ran.stderr.contains("tells what runs"),
        "{}",
        ran.all()
    );
    assert!(ran.stderr.contains("composer.json"), "{}", ran.all());
    assert!(!folder.join("banyan.yaml").exists());
}
