//! This process and its host: who it is, whose children it inherits, how many files it may open.

use rustix::process::{Resource, Rlimit};
use std::{io, os::fd::OwnedFd, path::Path};

/// Whether this process runs as the superuser.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Leaves the session of whoever started us, so that a closed terminal does not concern us (setsid(2)). A process that
/// leads its group already stays where it is.
pub fn detach_session() {
    // The only error is that we lead a group already, which comes to the same.
    let _ = rustix::process::setsid();
}

/// Makes orphaned descendants our children (PR_SET_CHILD_SUBREAPER, prctl(2), Linux 3.4), so that the end of a container
/// is not lost when its shim is killed.
///
/// # Errors
/// When the kernel refuses.
pub fn become_subreaper() -> io::Result<()> {
    let own = rustix::process::getpid();
    Ok(rustix::process::set_child_subreaper(Some(own))?)
}

/// Raises the number of files this process may open to what is allowed at most (getrlimit(2)).
///
/// # Errors
/// When the kernel refuses.
pub fn raise_open_files() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    Ok(rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )?)
}

/// A pidfd of this very process (pidfd_open(2), Linux 5.3), to be watched by others.
///
/// # Errors
/// When there are too many open files.
pub fn own_pidfd() -> io::Result<OwnedFd> {
    super::pidfd::open(rustix::process::getpid())
}

/// Major and minor number of a block device.
///
/// # Errors
/// When there is no such file, or it is not a block device.
pub fn block_device(path: &Path) -> io::Result<(u32, u32)> {
    let data = rustix::fs::stat(path)?;
    if rustix::fs::FileType::from_raw_mode(data.st_mode) != rustix::fs::FileType::BlockDevice {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((rustix::fs::major(data.st_rdev), rustix::fs::minor(data.st_rdev)))
}

/// Lines and characters per line of the terminal behind a descriptor; `None` when it is none.
pub fn terminal_size(terminal: impl std::os::fd::AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Sets the size of the terminal behind a descriptor; its foreground process gets SIGWINCH (ioctl_tty(2)).
///
/// # Errors
/// When the descriptor is not a terminal.
pub fn set_terminal_size(terminal: impl std::os::fd::AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = rustix::termios::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// A signal's number from its name, with or without `SIG`, in any case, or from its number; 1 to 64 (signal(7)).
#[must_use]
pub fn signal_number(text: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = text.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |name: &str, base: i32, sign: &str, step: i32| {
        let rest = name.strip_prefix(if base == 34 { "RTMIN" } else { "RTMAX" })?;
        let offset = if rest.is_empty() {
            0
        } else {
            rest.strip_prefix(sign)?.parse::<i32>().ok()?
        };
        (0..=30).contains(&offset).then_some(base + step * offset)
    };
    match name {
        "IOT" => Some(6),
        "POLL" => Some(29),
        "CLD" => Some(17),
        _ => NAMES
            .iter()
            .zip(1..)
            .find(|(known, _)| **known == name)
            .map(|(_, number)| number)
            .or_else(|| real_time(name, 34, "+", 1))
            .or_else(|| real_time(name, 64, "-", -1)),
    }
}

/// Whether the process of this number (as text, as in a file's name) runs. A zombie does not: it works on nothing more,
/// even if nobody has reaped it yet (proc(5), `/proc/pid/stat`).
#[must_use]
pub fn is_running(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(std::path::Path::new("/proc").join(pid).join("stat")) else {
        return false;
    };
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !state.starts_with(['Z', 'X'])
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn signals_are_known_by_name_and_number() {
        let table = [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGSYS", Some(31)),
            ("SIGRTMIN", Some(34)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("0", None),
            ("65", None),
            ("SIGNONSENSE", None),
            ("", None),
        ];
        for (text, number) in table {
            assert_eq!(signal_number(text), number, "{text}");
        }
    }
}
