//! `watch`: files changed beside a running project get into its containers.

use crate::support::{Project, Root, can_run_containers, wait_until};
use std::{
    fs,
    process::{Child, Stdio},
};

/// A watch under way; interrupted at the end.
struct Watching(Child);

impl Watching {
    fn start(project: &Project<'_>, arguments: &[&str]) -> Self {
        let log = fs::File::create(project.folder.join("../watch.log")).unwrap();
        let child = project
            .command(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let watching = Self(child);
        wait_until(30, "watching", || {
            watching.said(project).contains("watch: watching").then_some(())
        });
        watching
    }

    fn said(&self, project: &Project<'_>) -> String {
        fs::read_to_string(project.folder.join("../watch.log")).unwrap()
    }

    fn interrupt(mut self) -> i32 {
        let pid = self.0.id().to_string();
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap();
        self.0.wait().unwrap().code().unwrap_or(-1)
    }
}

fn read(project: &Project<'_>, path: &str) -> Option<String> {
    let ran = project.run(&["exec", "-T", "web", "cat", path]);
    (ran.code == 0).then_some(ran.stdout)
}

const TEXT: &str = r#"
services:
  web:
    build: {context: ., dockerfile_inline: "FROM busybox\nCOPY version /version\n"}
    command: ["sh", "-c", "echo start; exec sleep 1000"]
    stop_signal: SIGKILL
    develop:
      watch:
        - {path: ./src, action: sync, target: /app, ignore: ["*.tmp", "cache/"], initial_sync: true}
        - {path: ./conf, action: sync+restart, target: /conf, include: ["*.conf"]}
        - {path: ./hooks, action: sync+exec, target: /hooks, exec: {command: ["sh", "-c", "date >> /ran"]}}
        - {path: ./version, action: rebuild}
        - {path: ./kick, action: restart}
"#;

#[test]
fn changes_are_synced_run_restarted_and_rebuilt_as_the_rules_say() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("watch", TEXT);
    let file = |path: &str, text: &str| {
        let path = project.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (path, text) in [
        ("src/a", "1"),
        ("conf/x.conf", "1"),
        ("hooks/h", "1"),
        ("version", "1"),
        ("kick", "1"),
    ] {
        file(path, text);
    }
    let watching = Watching::start(&project, &["watch"]);
    assert_eq!(read(&project, "/app/a").as_deref(), Some("1"), "the first sync");
    // Changed, new in a new folder, ignored, gone.
    file("src/a", "2");
    file("src/deep/er/b", "3");
    file("src/x.tmp", "no");
    file("src/cache/c", "no");
    wait_until(10, "the new file", || {
        (read(&project, "/app/deep/er/b").as_deref() == Some("3")
            && read(&project, "/app/a").as_deref() == Some("2"))
        .then_some(())
    });
    assert_eq!(read(&project, "/app/x.tmp"), None);
    assert_eq!(read(&project, "/app/cache/c"), None);
    fs::remove_dir_all(project.folder.join("src/deep")).unwrap();
    wait_until(10, "the removal", || {
        read(&project, "/app/deep/er/b").is_none().then_some(())
    });
    // An editor's way to save: a new file renamed over the old one.
    file("src/.a.new", "4");
    fs::rename(project.folder.join("src/.a.new"), project.folder.join("src/a")).unwrap();
    wait_until(10, "the renamed file", || {
        (read(&project, "/app/a").as_deref() == Some("4")).then_some(())
    });
    // sync+exec
    file("hooks/h", "2");
    wait_until(10, "the command", || {
        read(&project, "/ran").filter(|_| read(&project, "/hooks/h").as_deref() == Some("2"))
    });
    // sync+restart, for what is included only
    let starts = || {
        let log = project.ok(&["logs", "--no-log-prefix", "web"]);
        log.lines().filter(|line| *line == "start").count()
    };
    let id = project.id("web");
    file("conf/notes.txt", "no");
    file("conf/x.conf", "2");
    wait_until(10, "the restart", || {
        (starts() == 2 && read(&project, "/conf/x.conf").as_deref() == Some("2")).then_some(())
    });
    assert_eq!(read(&project, "/conf/notes.txt"), None);
    file("kick", "2");
    wait_until(10, "another restart", || (starts() == 3).then_some(()));
    assert_eq!(project.id("web"), id, "nothing was made anew so far");
    // rebuild
    file("version", "2");
    wait_until(30, "the new image", || {
        (read(&project, "/version").as_deref() == Some("2")).then_some(())
    });
    assert_ne!(project.id("web"), id);
    assert_eq!(watching.interrupt(), 0);
    assert_eq!(project.container("web")["State"], "running", "services go on");
}

#[test]
fn up_with_watch_follows_output_and_changes_and_needs_rules() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "upwatch",
        "services:\n  web: {image: busybox, command: [sleep, '9']}\n",
    );
    let ran = project.run(&["watch", "--no-up"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("no service says what to watch"),
        "{}",
        ran.all()
    );
    project.rewrite(
        r#"
services:
  web:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    develop: {watch: [{path: ./src, action: sync, target: /app}]}
"#,
    );
    fs::create_dir(project.folder.join("src")).unwrap();
    let watching = Watching::start(&project, &["up", "--watch"]);
    fs::write(project.folder.join("src/a"), "x").unwrap();
    wait_until(10, "the file", || read(&project, "/app/a"));
    assert_eq!(watching.interrupt(), 130);
    assert_eq!(project.container("web")["State"], "exited");
}
