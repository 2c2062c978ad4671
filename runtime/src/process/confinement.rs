//! From "root in the container" to what the settings allow, and exec: the last steps of `init` and of `exec`.

use super::{bundled::Supervisor, user::Identity};
use crate::{
    confine::{Capabilities, capabilities},
    container::{DEFAULT_PATH, Exact, Process},
    failure::{At, Failure, Step},
    sys,
};
use rustix::{
    fs::Mode,
    process::{Resource, Rlimit},
    thread::{Gid, Uid},
};
use std::{ffi::CString, io, os::fd::AsFd, path::Path};

/// What [`become_program`] needs beside the process's own settings.
#[derive(Debug)]
pub(crate) struct Confined<'a> {
    pub(crate) process: &'a Process,
    pub(crate) identity: &'a Identity,
    pub(crate) host_name: &'a str,
    /// Compiled seccomp filter; empty: none.
    pub(crate) filter: &'a [sys::seccomp::Instruction],
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(crate) filter_flags: u64,
    /// Gets the filter's listener, when the profile passes calls on.
    pub(crate) supervisor: Option<&'a Supervisor>,
}

/// Gives up everything the settings do not allow and executes the program. Returns only with a failure.
///
/// The order: limits while still privileged; bounding set before the user changes (needs CAP_SETPCAP); groups before
/// the user (needs CAP_SETGID); the working directory as the new user (so that its permissions count); seccomp last
/// of all, since the filter may forbid any of the calls before it. Without no-new-privileges, installing a filter needs
/// CAP_SYS_ADMIN, which the new user may lack: then it goes before the capabilities are dropped.
pub(crate) fn become_program(confined: &Confined<'_>) -> Failure {
    match confine(confined) {
        Ok(()) => run(confined),
        Err(failure) => failure,
    }
}

fn confine(confined: &Confined<'_>) -> Result<(), Failure> {
    let Confined {
        process, identity, ..
    } = confined;
    sys::signals::reset();
    set_limits(process)?;
    let exact = process.exact.as_deref();
    if let Some(exact) = exact {
        schedule(exact)?;
    }
    rustix::process::umask(Mode::from_raw_mode(process.umask));
    let possible = capabilities::possible(&process.capabilities).at(Step::Capabilities, &process.user)?;
    let sets = process.capabilities.limited_to(possible);
    capabilities::before_changing_user(&sets).at(Step::Capabilities, &process.user)?;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at(Step::NoNewPrivileges, &process.user)?;
    } else {
        install_filter(confined)?;
    }
    change_user(identity, &sets)?;
    rustix::process::chdir(process.cwd.as_str()).at(Step::Cwd, &process.cwd)?;
    // A descriptor of the host as working directory would be a way out (CVE-2024-21626).
    let here = rustix::process::getcwd(Vec::new()).at(Step::Cwd, &process.cwd)?;
    if !here.to_bytes().starts_with(b"/") {
        return Err(rustix::io::Errno::NOENT).at(Step::Cwd, &process.cwd);
    }
    let kept = exact.map_or(0, |exact| exact.preserved);
    sys::close_range::cloexec_from(3 + kept).at(Step::Descriptors, "3-")?;
    if process.no_new_privileges {
        install_filter(confined)?;
    }
    Ok(())
}

fn install_filter(confined: &Confined<'_>) -> Result<(), Failure> {
    if confined.filter.is_empty() {
        return Ok(());
    }
    let Some(supervisor) = confined.supervisor else {
        sys::seccomp::install(confined.filter, confined.filter_flags).at(Step::Seccomp, "profile")?;
        return Ok(());
    };
    let listener = sys::seccomp::install_listening(confined.filter, confined.filter_flags)
        .at(Step::Seccomp, "profile")?;
    sys::message::send(&supervisor.socket, &supervisor.state, &[listener.as_fd()])
        .at(Step::Seccomp, "listener")
}

/// Processor time and execution domain, while we may still raise them.
fn schedule(exact: &Exact) -> Result<(), Failure> {
    if let Some(scheduler) = &exact.scheduler {
        sys::schedule::set(scheduler).at(Step::Scheduler, "scheduler")?;
    }
    if let Some((class, priority)) = exact.io_priority {
        sys::schedule::set_io_priority(class, priority).at(Step::Scheduler, "ioPriority")?;
    }
    if let Some(list) = &exact.affinity {
        sys::schedule::set_affinity(list).at(Step::Scheduler, list)?;
    }
    if let Some(domain) = exact.personality {
        sys::schedule::set_personality(domain).at(Step::Personality, domain)?;
    }
    Ok(())
}

fn change_user(identity: &Identity, sets: &Capabilities) -> Result<(), Failure> {
    let groups: Vec<Gid> = identity.groups.iter().map(|id| Gid::from_raw(*id)).collect();
    rustix::thread::set_thread_groups(&groups).at(Step::Group, identity.gid)?;
    let gid = Gid::from_raw(identity.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).at(Step::Group, identity.gid)?;
    let uid = Uid::from_raw(identity.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).at(Step::User, identity.uid)?;
    capabilities::after_changing_user(sets).at(Step::Capabilities, identity.uid)
}

/// Sets the resource limits of this process.
pub(crate) fn set_limits(process: &Process) -> Result<(), Failure> {
    for (name, (soft, hard)) in &process.rlimits {
        set_limit(name, *soft, *hard).at(Step::Rlimit, name)?;
    }
    Ok(())
}

fn set_limit(name: &str, soft: u64, hard: u64) -> io::Result<()> {
    let resource = match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let bound = |value: u64| (value != u64::MAX).then_some(value);
    Ok(rustix::process::setrlimit(
        resource,
        Rlimit {
            current: bound(soft),
            maximum: bound(hard),
        },
    )?)
}

/// Variables with those added that every container has.
pub(crate) fn environment(process: &Process, home: &str, host_name: &str) -> Vec<String> {
    let mut list = process.environment.clone();
    let mut add = |name: &str, value: &str| {
        let known = list
            .iter()
            .any(|entry| entry.split_once('=').is_some_and(|(known, _)| known == name));
        if !known {
            list.push(format!("{name}={value}"));
        }
    };
    add("HOME", home);
    if process.exact.is_some() {
        return list;
    }
    add("PATH", DEFAULT_PATH);
    add("HOSTNAME", host_name);
    if process.terminal.is_some() {
        add("TERM", "xterm");
    }
    list
}

/// Whether the program is there and may be executed, as far as that can be told before: OCI engines want to hear of it when
/// the container is created, not when it is started.
pub(crate) fn check_program(process: &Process) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let name = process.arguments.first().map_or("", String::as_str);
    let executable = |path: &Path| match std::fs::metadata(path) {
        Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => Ok(()),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EACCES)),
        Err(error) => Err(error),
    };
    if name.contains('/') {
        return executable(&Path::new(&process.cwd).join(name)).at(Step::Exec, name);
    }
    let path = process
        .environment
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    let mut best = io::Error::from_raw_os_error(libc::ENOENT);
    for directory in path.split(':') {
        match executable(&Path::new(&process.cwd).join(directory).join(name)) {
            Ok(()) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => best = error,
            Err(_) => {}
        }
    }
    Err(best).at(Step::Exec, name)
}

/// Executes the program, looked up in `PATH` as execvp(3) does. Gives the failure that says most: "permission denied"
/// over "not found".
fn run(confined: &Confined<'_>) -> Failure {
    let Confined {
        process,
        identity,
        host_name,
        ..
    } = confined;
    let environment = environment(process, &identity.home, host_name);
    let name = process.arguments.first().cloned().unwrap_or_default();
    let fail = |error: io::Error| {
        Err::<(), _>(error)
            .at(Step::Exec, &name)
            .expect_err("made from an error")
    };
    let texts = |list: &[String]| {
        list.iter()
            .map(|text| CString::new(text.as_str()))
            .collect::<Result<Vec<_>, _>>()
    };
    let (Ok(arguments), Ok(variables)) = (texts(&process.arguments), texts(&environment)) else {
        return fail(io::ErrorKind::InvalidInput.into());
    };
    if name.is_empty() {
        return fail(io::Error::from_raw_os_error(libc::ENOENT));
    }
    if name.contains('/') {
        return fail(sys::exec::exec(&arguments[0], &arguments, &variables));
    }
    let path = environment
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    let mut best = io::Error::from_raw_os_error(libc::ENOENT);
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let Ok(candidate) = CString::new(format!("{directory}/{name}")) else {
            continue;
        };
        let error = sys::exec::exec(&candidate, &arguments, &variables);
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV) => {}
            Some(libc::EACCES) => best = error,
            _ => return fail(error),
        }
    }
    fail(best)
}
