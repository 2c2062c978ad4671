//! Processes of ours that a test kills, found by what the kernel says of them.

use super::Root;
use std::process::Command;

/// Process ids of a root's engines (`engine`), attendants (`container-attendant`) or shims (`banyan-shim`).
pub(crate) fn processes_of(root: &Root, kind: &str) -> Vec<String> {
    let mark = root.path().display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let Ok(command) = std::fs::read_to_string(entry.path().join("cmdline")) else {
            continue;
        };
        let ours = match kind {
            "engine" => command.contains("\0engine\0") && command.contains(&mark),
            "container-attendant" => command.contains("\0container-attendant\0") && command.contains(&mark),
            // A shim's command line names nothing, but it holds files of the root.
            _ => {
                command.starts_with(kind)
                    && std::fs::read_dir(entry.path().join("fd"))
                        .into_iter()
                        .flatten()
                        .flatten()
                        .any(|fd| {
                            std::fs::read_link(fd.path())
                                .is_ok_and(|target| target.display().to_string().contains(&mark))
                        })
            }
        };
        if ours {
            found.push(pid);
        }
    }
    found
}

/// Kills it with SIGKILL; false when it has ended by itself.
pub(crate) fn kill(pid: &str) -> bool {
    Command::new("kill")
        .args(["-9", pid])
        .output()
        .is_ok_and(|output| output.status.success())
}
