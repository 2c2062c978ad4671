//! What init does for OCI bundles only: hooks in the container's namespaces, the barrier without a shim, the supervisor of
//! system calls (runtime-spec, runtime.md, "Lifecycle"; config.md, "POSIX-platform Hooks").

use super::message::{self, InitMessage};
use crate::{
    container::{Bundle, Hook},
    failure::{At, Failure, Step},
    sys::{exec, signals},
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use std::{
    io::Write,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Who hears of calls passed on, and what is told first.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) socket: OwnedFd,
    /// The container process's state as JSON.
    pub(crate) state: Vec<u8>,
}

/// Connects while the host's tree is still there.
pub(super) fn connect_supervisor(bundle: &Bundle) -> Result<Option<Supervisor>, Failure> {
    let Some(listener) = &bundle.listener else {
        return Ok(None);
    };
    let object = listener.path.display();
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .at(Step::Socket, object)?;
    SocketAddrUnix::new(&listener.path)
        .and_then(|address| rustix::net::connect(&socket, &address))
        .at(Step::Socket, listener.path.display())?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let state = serde_json::json!({
        "ociVersion": bundle.state["ociVersion"],
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": listener.metadata,
        "state": with_status(bundle, "creating", pid),
    });
    Ok(Some(Supervisor {
        socket,
        state: state.to_string().into_bytes(),
    }))
}

fn with_status(bundle: &Bundle, status: &str, pid: i32) -> serde_json::Value {
    let mut state = bundle.state.clone();
    state["status"] = status.into();
    state["pid"] = pid.into();
    state
}

/// Lets the caller run its hooks, then runs `createContainer`.
pub(super) fn run_hooks_before_root(bundle: &Bundle, channel: &OwnedFd) -> Result<(), Failure> {
    message::send(channel, &InitMessage::Mounted, &[]).at(Step::Hook, "createRuntime")?;
    match message::receive::<InitMessage>(channel).at(Step::Hook, "createRuntime")? {
        Some((InitMessage::Start, _)) => {}
        _ => exec::leave(125),
    }
    run_hooks(bundle, &bundle.create_container, "creating")
}

/// Runs `startContainer` in the container's own root.
pub(super) fn run_start_hooks(bundle: &Bundle) -> Result<(), Failure> {
    run_hooks(bundle, &bundle.start_container, "created")
}

fn run_hooks(bundle: &Bundle, hooks: &[Hook], status: &str) -> Result<(), Failure> {
    if hooks.is_empty() {
        return Ok(());
    }
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let state = with_status(bundle, status, pid).to_string();
    hooks.iter().try_for_each(|hook| run_hook(hook, &state))
}

/// Runs one hook with the state on its standard input; waits for it as long as it may take.
pub(crate) fn run_hook(hook: &Hook, state: &str) -> Result<(), Failure> {
    let object = hook.path.display();
    let mut command = Command::new(&hook.path);
    command.env_clear().stdin(Stdio::piped());
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    command.envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    let mut child = command.spawn().at(Step::Hook, object)?;
    if let Some(mut input) = child.stdin.take() {
        // A hook that does not read its state is as good as one that does.
        let _ = input.write_all(state.as_bytes());
    }
    let deadline = hook
        .timeout
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let pidfd = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let pidfd = pidfd.ok_or(Errno::SRCH).at(Step::Hook, hook.path.display())?;
    let pidfd = crate::sys::pidfd::open(pidfd).at(Step::Hook, hook.path.display())?;
    let left = deadline.map_or(-1, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        i32::try_from(left).unwrap_or(i32::MAX)
    });
    if !crate::sys::pidfd::wait_end(&pidfd, left).at(Step::Hook, hook.path.display())? {
        let _ = child.kill();
        let _ = child.wait();
        return Err(Errno::TIMEDOUT).at(Step::Hook, hook.path.display());
    }
    let status = child.wait().at(Step::Hook, hook.path.display())?;
    if status.success() {
        Ok(())
    } else {
        Err(Errno::CANCELED).at(Step::Hook, format!("{} ({status})", hook.path.display()))
    }
}

/// The barrier: whoever connects and says so starts the program; others only look whether somebody waits here.
pub(super) fn wait_for_start(listener: &OwnedFd) -> Result<OwnedFd, Failure> {
    // Nothing but a kill ends the wait.
    signals::reset();
    let _ = rustix::io::ioctl_fionbio(listener, false);
    loop {
        let caller = match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            accepted => accepted.at(Step::Wait, "start")?,
        };
        if let Ok(Some((InitMessage::Start, _))) = message::receive::<InitMessage>(&caller) {
            return Ok(caller);
        }
    }
}
