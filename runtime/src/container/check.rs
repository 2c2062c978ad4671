//! Settings that cannot work or would reach the host are refused before anything is made.

use super::{LaunchError, Settings};
use crate::namespace::Namespace;

/// Refuses settings that cannot work or would reach the host.
pub(super) fn check(settings: &Settings) -> Result<(), LaunchError> {
    let invalid = |text: String| Err(LaunchError::Invalid(text));
    let plain = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    if settings.id.is_empty() || settings.id.starts_with('.') || !settings.id.chars().all(plain) {
        return invalid(format!("`{}` cannot be a container's id", settings.id));
    }
    if settings.process.arguments.first().is_none_or(String::is_empty) {
        return invalid("no command is given".to_owned());
    }
    if !settings.process.cwd.starts_with('/') {
        return invalid(format!(
            "the working directory `{}` must be an absolute path",
            settings.process.cwd
        ));
    }
    for mount in &settings.mounts {
        if !mount.target.starts_with('/') || mount.target.trim_matches('/').is_empty() {
            return invalid(format!(
                "`{}` cannot be a mount's target: it must be an absolute path below /",
                mount.target
            ));
        }
        if mount.target.split('/').any(|part| part == "..") {
            return invalid(format!(
                "`{}` cannot be a mount's target: it contains `..`",
                mount.target
            ));
        }
    }
    if settings
        .cgroup_parent
        .as_ref()
        .is_some_and(|parent| parent.split('/').any(|part| part == ".."))
    {
        return invalid("the parent cgroup contains `..`".to_owned());
    }
    if let Err(error) = crate::confine::check(&settings.confinement.seccomp) {
        return invalid(error.to_string());
    }
    for name in settings.sysctls.keys() {
        check_sysctl(name, settings)?;
    }
    Ok(())
}

/// Only parameters that belong to a namespace of the container's own may be set; all others are the host's
/// (CVE-2022-0811 was a way around such a list).
fn check_sysctl(name: &str, settings: &Settings) -> Result<(), LaunchError> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let namespaces = &settings.namespaces;
    let value = &settings.sysctls[name];
    let (known, own) = if name.starts_with("net.") {
        (true, namespaces.net != Namespace::Host)
    } else if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        (true, namespaces.ipc != Namespace::Host)
    } else {
        (name == "kernel.domainname", namespaces.uts != Namespace::Host)
    };
    let written =
        !value.contains('\n') && !name.contains('/') && name.split('.').all(|part| !part.is_empty());
    match (known && written, own) {
        (true, true) => Ok(()),
        (true, false) => Err(LaunchError::Invalid(format!(
            "the kernel parameter `{name}` cannot be set in a container that shares the host's namespace of it"
        ))),
        (false, _) => Err(LaunchError::Invalid(format!(
            "the kernel parameter `{name}` is not a container's own"
        ))),
    }
}
