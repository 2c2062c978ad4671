//! A user at a terminal: keys, Ctrl-C, windows that change, readers that go away, much output. The terminal is always
//! restored.

use crate::support::{Project, Root, can_run_containers, pty::Pty, wait_until};
use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
    time::{Duration, Instant},
};

const CTRL_C: &str = "\x03";
const DETACH: &str = "\x10\x11";

const PROJECT: &str = r#"
services:
  a:
    image: busybox
    command: [sleep, "1000"]
    stop_signal: SIGKILL
  shell:
    image: busybox
    command: [sh]
    tty: true
    stdin_open: true
    stop_signal: SIGKILL
    profiles: [shell]
"#;

fn start(project: &Project<'_>, arguments: &[&str]) -> Pty {
    Pty::start(&project.command(arguments))
}

/// A shell in the terminal answers, sees the window and its changes, gets Ctrl-C, and gives its status.
#[track_caller]
fn is_a_good_shell(mut terminal: Pty) {
    terminal.press("echo $((6*7))\r");
    terminal.wait_for("42");
    assert!(terminal.is_raw(), "keys must go straight to the container");
    terminal.press("busybox stty size\r");
    terminal.wait_for("24 80");
    terminal.resize(40, 132);
    // The change travels by signal.
    wait_until(10, "the new size", || {
        terminal.press("busybox stty size\r");
        std::thread::park_timeout(Duration::from_millis(100));
        terminal.text().contains("40 132").then_some(())
    });
    terminal.press("sleep 1000; echo woken=$?\r");
    std::thread::park_timeout(Duration::from_millis(200));
    terminal.press(CTRL_C);
    terminal.press("echo after-$((1+1))\r");
    terminal.wait_for("after-2");
    terminal.press("exit 3\r");
    assert_eq!(terminal.finish(), 3, "{}", terminal.text());
}

#[test]
fn exec_is_a_good_terminal() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", PROJECT);
    project.ok(&["up", "-d"]);
    is_a_good_shell(start(&project, &["exec", "a", "sh"]));
}

#[test]
fn run_is_a_good_terminal_and_leaves_nothing() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", PROJECT);
    is_a_good_shell(start(&project, &["run", "--rm", "a", "sh"]));
    assert!(project.ps().is_empty());
}

#[test]
fn keys_leave_a_container_that_goes_on_and_attach_comes_back() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", PROJECT);
    project.ok(&["--profile", "shell", "up", "-d", "shell"]);
    let mut terminal = start(&project, &["--profile", "shell", "attach", "shell"]);
    wait_until(10, "a raw terminal", || terminal.is_raw().then_some(()));
    terminal.press("NAME=kept; echo is-$NAME\r");
    terminal.wait_for("is-kept");
    terminal.press(DETACH);
    assert_eq!(terminal.finish(), 0, "{}", terminal.text());
    assert!(terminal.text().contains("goes on"));
    assert_eq!(project.container("shell")["State"], "running");
    let mut terminal = start(&project, &["--profile", "shell", "attach", "shell"]);
    wait_until(10, "a raw terminal", || terminal.is_raw().then_some(()));
    terminal.press("echo still-$NAME\r");
    terminal.wait_for("still-kept");
    terminal.press("exit 5\r");
    assert_eq!(terminal.finish(), 5);
}

#[test]
fn ctrl_c_of_up_stops_in_order_and_a_second_one_kills() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "t",
        r#"
services:
  good:
    image: busybox
    command: [sh, -c, 'trap "echo stopping well; exit 0" TERM; echo up-and-running; while :; do sleep 0.05; done']
  deaf:
    image: busybox
    command: [sleep, "1000"]
    stop_grace_period: 1h
"#,
    );
    let mut terminal = start(&project, &["up"]);
    terminal.wait_for("up-and-running");
    let begun = Instant::now();
    terminal.press(CTRL_C);
    terminal.wait_for("stopping well");
    terminal.wait_for("good-1 exited with code 0");
    assert_eq!(project.container("deaf")["State"], "running");
    terminal.press(CTRL_C);
    assert_eq!(terminal.finish(), 130, "{}", terminal.text());
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(project.container("good")["ExitCode"], 0);
    assert_eq!(project.container("deaf")["ExitCode"], 137);
}

#[test]
fn ctrl_c_of_up_while_it_waits_undoes_what_it_made() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "t",
        r#"
services:
  slow:
    image: busybox
    command: [sleep, "1000"]
    stop_signal: SIGKILL
    healthcheck: {test: [CMD, "false"], interval: 1s, retries: 1000}
  a:
    image: busybox
    command: [sleep, "1000"]
    depends_on: {slow: {condition: service_healthy}}
"#,
    );
    let mut terminal = start(&project, &["up"]);
    wait_until(10, "the first service", || {
        let runs = |c: &serde_json::Value| c["Service"] == "slow" && c["State"] == "running";
        project.ps().iter().any(runs).then_some(())
    });
    terminal.press(CTRL_C);
    assert_eq!(terminal.finish(), 130, "{}", terminal.text());
    assert!(project.ps().is_empty());
}

#[test]
fn ctrl_c_ends_what_only_watches_and_the_services_go_on() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", PROJECT);
    project.ok(&["up", "-d"]);
    for arguments in [
        &["logs", "-f"][..],
        &["stats"],
        &["events"],
        &["attach", "--sig-proxy=false", "a"],
    ] {
        let mut terminal = start(&project, arguments);
        std::thread::park_timeout(Duration::from_millis(700));
        terminal.press(CTRL_C);
        let status = terminal.finish();
        assert_ne!(status, 0, "{arguments:?}");
        assert_eq!(project.container("a")["State"], "running", "{arguments:?}");
    }
}

#[test]
fn ctrl_c_ends_a_copy_and_leaves_no_half_archive() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", PROJECT);
    project.ok(&["up", "-d"]);
    let mut terminal = start(&project, &["cp", "-", "a:/tmp"]);
    std::thread::park_timeout(Duration::from_millis(300));
    terminal.press(CTRL_C);
    assert_ne!(terminal.finish(), 0);
    assert_eq!(project.container("a")["State"], "running");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_and_what_it_started() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "t",
        r#"
services:
  a:
    image: busybox
    command: [sh, -c, "while :; do echo line; sleep 0.01; done"]
    stop_signal: SIGKILL
"#,
    );
    project.ok(&["up", "-d"]);
    for arguments in [
        &["logs", "-f", "--no-log-prefix"][..],
        &["exec", "-T", "a", "yes", "line"],
        &["run", "-T", "--rm", "a", "yes", "line"],
        &["attach", "--no-stdin", "a"],
    ] {
        let mut child = project
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "line\n", "{arguments:?}");
        drop(reader);
        wait_until(15, &format!("the end of {arguments:?}"), || {
            child.try_wait().unwrap()
        });
    }
    let all = project.ps();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["State"], "running");
}

/// So much output, in bytes and lines of `yes`.
const MUCH: u64 = 100_000_000;

#[test]
fn a_hundred_megabytes_come_through_pipes_whole() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", PROJECT);
    project.ok(&["up", "-d"]);
    let much = format!("yes 0123456789abcdef | head -c {MUCH}");
    for arguments in [
        &["exec", "-T", "a", "sh", "-c", &much][..],
        &["run", "-T", "--rm", "a", "sh", "-c", &much],
    ] {
        let mut child = project.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let (mut bytes, mut total, mut wrong) = (vec![0; 1 << 20], 0_u64, 0_u64);
        let pattern = b"0123456789abcdef\n";
        while let Ok(length @ 1..) = output.read(&mut bytes) {
            for byte in &bytes[..length] {
                let at = usize::try_from(total % 17).unwrap();
                wrong += u64::from(pattern[at] != *byte);
                total += 1;
            }
        }
        assert!(child.wait().unwrap().success(), "{arguments:?}");
        assert_eq!((total, wrong), (MUCH, 0), "{arguments:?}");
    }
}

#[test]
fn a_hundred_megabytes_come_through_a_terminal_whole() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", PROJECT);
    project.ok(&["up", "-d"]);
    let mut terminal = start(
        &project,
        &["exec", "a", "sh", "-c", &format!("yes 0123456 | head -c {MUCH}")],
    );
    // Slow on a machine that has other things to do: every few kilobytes wait for a thread of the kernel.
    assert_eq!(terminal.exit_status_within(300), 0);
    terminal.assert_restored();
    // A terminal makes two characters of each line's end.
    let expected = MUCH + MUCH / 8;
    wait_until(10, "the last bytes", || {
        (terminal.length() >= expected).then_some(())
    });
    assert_eq!(terminal.length(), expected);
}

#[test]
fn a_signal_that_ends_exec_leaves_the_terminal_as_it_was() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", PROJECT);
    project.ok(&["up", "-d"]);
    for (name, status) in [("TERM", 143), ("HUP", 129)] {
        let mut terminal = start(&project, &["exec", "a", "sh", "-c", "echo here; exec sleep 1000"]);
        terminal.wait_for("here");
        terminal.signal(name);
        assert_eq!(terminal.finish(), status, "{}", terminal.text());
        // Its terminal went away with the command.
        wait_until(10, "the end of the process", || {
            let top = project.ok(&["top", "a"]);
            (top.matches("sleep 1000").count() == 1).then_some(())
        });
    }
}

/// Two services, one with a published port, one that fails.
const VIEW: &str = r#"
services:
  web:
    image: busybox
    command: [sh, -c, "echo serving; exec sleep 1000"]
    stop_signal: SIGKILL
    ports: ["127.0.0.1::80"]
  job:
    image: busybox
    command: [sh, -c, "echo job says something; exit 3"]
"#;

#[test]
fn the_view_shows_the_project_acts_on_it_and_lends_its_terminal() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", VIEW);
    project.ok(&["up", "-d"]);
    let mut terminal = start(&project, &["ui"]);
    terminal.wait_to_see("1 of 2 running");
    terminal.wait_to_see("exited (3)");
    terminal.wait_to_see("job says something");
    assert!(terminal.is_raw());
    // The second line is `web-1`; the restart is the command's.
    terminal.press("j");
    terminal.wait_to_see("serving");
    let before = project.container("web")["ID"].clone();
    terminal.press("r");
    terminal.wait_to_see("restart web: done");
    assert_eq!(project.container("web")["ID"], before);
    // Replicas come and go.
    project.ok(&["scale", "web=3"]);
    terminal.wait_to_see("web-3");
    project.ok(&["scale", "web=1"]);
    terminal.wait_to_see("1 of 2 running");
    // A shell, and back.
    terminal.press("e");
    terminal.wait_to_see("/ #");
    terminal.press("echo in-$((40+2))\r");
    terminal.wait_to_see("in-42");
    let shown = terminal.length();
    terminal.press("exit\r");
    wait_until(10, "the view again", || {
        (terminal.length() > shown + 200).then_some(())
    });
    terminal.press("s");
    terminal.wait_to_see("stop web: done");
    assert_eq!(project.container("web")["State"], "exited");
    terminal.press("w");
    terminal.wait_to_see("── why web ──");
    terminal.press("\x1b");
    terminal.wait_to_see("SERVICE");
    terminal.resize(40, 140);
    terminal.wait_to_see("IMAGE");
    terminal.press("q");
    assert_eq!(terminal.finish(), 0, "{}", terminal.text());
    terminal.assert_left_other_screen();
}

#[test]
fn no_line_of_ps_is_broken_on_a_narrow_terminal_and_pipes_get_it_whole() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", VIEW);
    project.ok(&["up", "-d"]);
    let mut terminal = start(&project, &["ps", "-a"]);
    assert_eq!(terminal.finish(), 0);
    wait_until(10, "the table", || {
        terminal.text().contains("t-web-1").then_some(())
    });
    let text = terminal.text();
    assert!(
        text.lines().all(|line| line.trim_end().chars().count() <= 80),
        "{text}"
    );
    assert!(
        text.contains("STATUS") && text.contains("→80") && !text.contains("COMMAND"),
        "{text}"
    );
    let whole = project.ok(&["ps", "-a"]);
    assert!(whole.contains("COMMAND") && whole.contains("->80/tcp"), "{whole}");
}

#[test]
fn however_the_view_ends_the_terminal_is_as_it_was() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", VIEW);
    let opened = || {
        let terminal = start(&project, &["ui"]);
        terminal.wait_to_see("not created");
        terminal
    };
    let mut terminal = opened();
    terminal.press(CTRL_C);
    assert_eq!(terminal.finish(), 0);
    terminal.assert_left_other_screen();
    for (name, status) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut terminal = opened();
        terminal.signal(name);
        assert_eq!(terminal.finish(), status, "SIG{name}");
        terminal.assert_left_other_screen();
    }
}

#[test]
fn a_terminal_that_closes_ends_the_view_and_a_pipe_is_refused() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("t", VIEW);
    let terminal = start(&project, &["ui"]);
    terminal.wait_to_see("not created");
    let pids = terminal.processes();
    assert!(!pids.is_empty());
    terminal.close();
    wait_until(10, "the end of the view", || {
        pids.iter()
            .all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
            .then_some(())
    });
    let ran = project.run(&["ui"]);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("needs a terminal"), "{}", ran.all());
}
