//! Hidden roles: the same binary, re-executed as something small and single-threaded.
//!
//! A role is recognised by `argv[0]`, which nobody gets by accident, and (shim, exec helper) by a socket on descriptor 0.

use crate::{
    process::{cloner, enter, reaper, shim},
    sys::clone,
};
use rustix::{
    fs::{Mode, OFlags},
    net::{SocketType, sockopt::socket_type},
};
use std::os::fd::OwnedFd;

/// `argv[0]` of a container's parent.
pub(crate) const SHIM: &str = "banyan-shim";
/// `argv[0]` of the helper that enters a container.
pub(crate) const ENTER: &str = "banyan-enter";

/// `argv[0]` of the helper that makes a container for a caller who is to be its parent.
pub(crate) const CLONER: &str = "banyan-clone";

/// Runs the hidden role this process was started for and gives its exit status, or `None` in an ordinary process.
///
/// Must be the first thing `main` does: roles clone processes, which only a single-threaded process may.
#[must_use]
pub fn run() -> Option<u8> {
    let mut arguments = std::env::args_os();
    let name = arguments.next()?;
    match name.to_str()? {
        SHIM if alone() => Some(take_socket().map_or(125, shim::run)),
        ENTER if alone() => Some(take_socket().map_or(125, enter::run)),
        CLONER if alone() => Some(take_socket().map_or(125, cloner::run)),
        SHIM | ENTER | CLONER => Some(125),
        reaper::PATH => {
            let arguments: Vec<String> = arguments
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect();
            Some(reaper::run(&arguments))
        }
        _ => None,
    }
}

/// Whether this process has one thread, as roles must. (The reaper runs where `/proc` may be anything; it is the first
/// thing its process does all the same.)
fn alone() -> bool {
    clone::is_single_threaded().unwrap_or(false)
}

/// Takes the socket away from descriptor 0, which becomes `/dev/null`.
fn take_socket() -> Option<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    if socket_type(stdin).ok()? != SocketType::SEQPACKET {
        return None;
    }
    let socket = rustix::io::fcntl_dupfd_cloexec(stdin, 3).ok()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()?;
    rustix::stdio::dup2_stdin(&null).ok()?;
    Some(socket)
}
