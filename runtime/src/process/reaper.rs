//! Process 1 of a container that asked for an init: runs one program, passes signals on, reaps orphans.

use crate::sys::{clone, exec, signals};
use rustix::process::{Pid, WaitOptions};
use std::ffi::CString;

/// Where our own binary is mounted in containers with `init`; the name Docker uses.
pub(crate) const PATH: &str = "/sbin/docker-init";

/// Runs `arguments` (after `--`) as the only child and gives its status: its own, or 128 + signal.
pub(crate) fn run(arguments: &[String]) -> u8 {
    let arguments = match arguments {
        [dashes, rest @ ..] if dashes == "--" => rest,
        rest => rest,
    };
    // Blocked before the copy: nothing may arrive between it and the loop.
    if signals::block_all().is_err() {
        return 125;
    }
    match clone::fork() {
        Ok(None) => exec::leave(i32::from(become_program(arguments))),
        Ok(Some(child)) => wait(child),
        Err(_) => 125,
    }
}

/// The child: its own process group in the foreground of the terminal, if there is one.
fn become_program(arguments: &[String]) -> u8 {
    // Both fail without a terminal, which is fine. Before signals are unblocked: taking the terminal from a background
    // group raises SIGTTOU.
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
    signals::reset();
    let Some(Ok(program)) = arguments.first().map(|text| CString::new(text.as_str())) else {
        return 127;
    };
    let texts = |list: Vec<String>| {
        list.into_iter()
            .filter_map(|text| CString::new(text).ok())
            .collect::<Vec<_>>()
    };
    let argv = texts(arguments.to_vec());
    let variables: Vec<(String, String)> = std::env::vars().collect();
    let envp = texts(
        variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
    );
    let name = program.to_string_lossy();
    let error = if name.contains('/') {
        exec::exec(&program, &argv, &envp)
    } else {
        let path = variables
            .iter()
            .find(|(name, _)| name == "PATH")
            .map_or("/usr/bin:/bin", |(_, value)| value);
        let mut last = std::io::Error::from_raw_os_error(libc::ENOENT);
        for directory in path.split(':') {
            let Ok(candidate) = CString::new(format!("{directory}/{name}")) else {
                continue;
            };
            let error = exec::exec(&candidate, &argv, &envp);
            if error.raw_os_error() != Some(libc::ENOENT) {
                last = error;
            }
        }
        last
    };
    let _ = rustix::io::write(
        rustix::stdio::stderr(),
        format!("init: cannot run `{name}`: {error}\n").as_bytes(),
    );
    if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

/// Waits for signals: SIGCHLD reaps, all others go to the child.
fn wait(child: Pid) -> u8 {
    loop {
        // Reap first: a child may have ended before the signal was looked for.
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == child {
                let code = status
                    .exit_status()
                    .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                return code.and_then(|code| u8::try_from(code).ok()).unwrap_or(125);
            }
        }
        match signals::wait_any() {
            Ok(libc::SIGCHLD) => {}
            Ok(number) => signals::send(child, number),
            Err(_) => {}
        }
    }
}
