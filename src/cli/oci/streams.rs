//! Terminals, console sockets, kept descriptors, files of process ids.

use super::Failed;
use banyan_runtime::{
    oci::attend,
    sys::{close_range, message},
    terminal::RawMode,
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

/// Our own standard streams, to hand on.
pub(super) fn own() -> Result<[OwnedFd; 3], Failed> {
    let copies = || -> io::Result<[OwnedFd; 3]> {
        Ok([
            io::stdin().as_fd().try_clone_to_owned()?,
            io::stdout().as_fd().try_clone_to_owned()?,
            io::stderr().as_fd().try_clone_to_owned()?,
        ])
    };
    copies().map_err(|error| Failed::caused("cannot hand over our streams", &error))
}

/// Descriptors from 3 on that a process is to keep: as many as asked for, and those of socket activation
/// (sd_listen_fds(3)).
pub(super) fn preserved(wanted: u16) -> Result<Vec<OwnedFd>, Failed> {
    let listening = std::env::var("LISTEN_FDS")
        .ok()
        .and_then(|text| text.parse::<u16>().ok());
    let count = i32::from(wanted) + i32::from(listening.unwrap_or(0));
    close_range::inherited(3, count)
        .map_err(|error| Failed::caused("a descriptor to be preserved is not open", &error))
}

/// Whether terminal, console socket and detachment go together.
pub(super) fn check_console(terminal: bool, detached: bool, socket: Option<&Path>) -> Result<(), Failed> {
    match (terminal, detached, socket) {
        (true, true, None) => Err(Failed::new(
            "a process with a terminal that is not attended needs --console-socket",
        )),
        (false, _, Some(_)) => Err(Failed::new("--console-socket needs a process with a terminal")),
        _ => Ok(()),
    }
}

/// Sends a terminal's master to the socket of whoever attends it.
pub(super) fn send_console(socket: &Path, master: &OwnedFd) -> Result<(), Failed> {
    let sent = UnixStream::connect(socket)
        .and_then(|stream| message::send(&stream, b"/dev/ptmx", &[master.as_fd()]));
    sent.map_err(|error| {
        Failed::caused(
            &format!("cannot send the terminal to `{}`", socket.display()),
            &error,
        )
    })
}

/// Writes a process id where the engine expects it, whole or not at all.
pub(super) fn write_pid(path: Option<&Path>, pid: i32) -> Result<(), Failed> {
    let Some(path) = path else { return Ok(()) };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let written = fs_err::write(&new, pid.to_string()).and_then(|()| fs_err::rename(&new, path));
    written.map_err(|error| Failed::caused("cannot write the process id", &error))
}

/// Attends a process in the foreground: signals, and the terminal if it has one. Gives its exit status.
pub(super) fn attend(pidfd: &OwnedFd, terminal: Option<OwnedFd>) -> Result<u8, Failed> {
    let raw = match &terminal {
        Some(_) => RawMode::enter().ok().flatten(),
        None => None,
    };
    let size = terminal
        .as_ref()
        .and_then(|_| banyan_runtime::sys::host::terminal_size(io::stdin().as_fd()));
    if let (Some(master), Some((rows, columns))) = (&terminal, size) {
        let _ = banyan_runtime::sys::host::set_terminal_size(master, rows, columns);
    }
    let output = terminal.as_ref().map(pass_terminal);
    let code = attend::wait(pidfd.as_fd(), terminal.as_ref().map(AsFd::as_fd))
        .map_err(|error| Failed::caused("cannot wait for the process", &error))?;
    if let Some(output) = output {
        // It ends when the last process has closed the terminal.
        let _ = output.join();
    }
    drop(raw);
    Ok(u8::try_from(code).unwrap_or(255))
}

/// Copies between our streams and the terminal; the thread given back copies its output.
fn pass_terminal(master: &OwnedFd) -> std::thread::JoinHandle<()> {
    if let Ok(mut to) = master.try_clone().map(File::from) {
        std::thread::spawn(move || {
            let mut from = io::stdin().lock();
            let mut buffer = vec![0; 4096];
            while let Ok(length) = from.read(&mut buffer) {
                if length == 0 || to.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        });
    }
    let from = master.try_clone().map(File::from);
    std::thread::spawn(move || {
        let Ok(mut from) = from else { return };
        let mut out = io::stdout().lock();
        let mut buffer = vec![0; 16 << 10];
        // EIO says that the last process has closed the terminal (pty(7)).
        while let Ok(length) = from.read(&mut buffer) {
            let shown = out.write_all(&buffer[..length]).and_then(|()| out.flush());
            if length == 0 || shown.is_err() {
                return;
            }
        }
    })
}
