//! What launcher, shim and init say to each other: one message per packet (unix(7), `SOCK_SEQPACKET`), descriptors
//! beside it.

use crate::{
    cgroup::{Cgroup, CgroupView},
    container::{Exit, Revive, TerminalSize},
    failure::Failure,
    log::LogSettings,
    sys::message,
};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

/// The largest message: a plan with a long command line stays far below.
const LARGEST: usize = 64 << 10;

/// What the shim must know; everything else is init's, which reads the settings itself.
///
/// Descriptors sent along, in this order: the gate, the engine's pidfd (when `revive` is there), the granted files (when
/// `grants`), then those to keep.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) id: String,
    /// Directory of state that survives a reboot.
    pub(crate) state: PathBuf,
    /// Directory of sockets and mount points.
    pub(crate) run: PathBuf,
    /// Our own binary, as the launcher knows it.
    pub(crate) binary: PathBuf,
    pub(crate) clone_flags: i32,
    /// The pid namespace to start the container in.
    pub(crate) join_pid: Option<PathBuf>,
    /// It starts in a user namespace of somebody else's.
    #[serde(default)]
    pub(crate) join_user: bool,
    pub(crate) uid_map: Option<String>,
    pub(crate) gid_map: Option<String>,
    pub(crate) cgroup: Cgroup,
    pub(crate) cgroup_view: CgroupView,
    /// Kill everything in the cgroup when process 1 ends (shared pid namespace).
    pub(crate) kill_cgroup: bool,
    pub(crate) terminal: Option<TerminalSize>,
    pub(crate) stdin: bool,
    pub(crate) log: LogSettings,
    pub(crate) grants: bool,
    pub(crate) revive: Option<Revive>,
    /// Remove both directories at the end, and these files.
    #[serde(default)]
    pub(crate) remove_at_end: Option<Vec<PathBuf>>,
    /// How many descriptors to keep.
    pub(crate) keep: usize,
    /// The seccomp program ([`crate::confine::Compiled`]); `None`: init compiles it itself.
    #[serde(default)]
    pub(crate) filter: Option<String>,
}

/// A running container to take over. Its pidfd comes along.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Adoption {
    pub(crate) plan: Plan,
    pub(crate) pid: i32,
    /// Inode numbers of its output pipes.
    pub(crate) pipes: Vec<u64>,
    /// When it was started, as well as that is known.
    pub(crate) started: i64,
}

/// To the shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Make the container (first message on the inherited socket).
    Launch(Box<Plan>),
    /// Take over a running container whose shim was killed (first message on the inherited socket).
    Adopt(Box<Adoption>),
    /// Be a zygote (first message on the inherited socket).
    Zygote,
    /// To a zygote: copy yourself; the copy is a shim, whose own socket comes along.
    Fork,
    /// Lift the barrier.
    Start,
    /// Give me a way to write to its standard input (or its terminal).
    Stdin,
    /// Close the shim's own hold on standard input: it ends when the last writer closes.
    CloseStdin,
    /// Set the terminal's size.
    Resize(TerminalSize),
    /// I am the engine now; my pidfd comes along.
    Engine,
    /// Write to the eventfd that comes along whenever output was logged, for as long as this connection lives. No answer.
    Follow,
}

/// From the shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// First message to whoever connects.
    Hello(Hello),
    /// From a zygote, on the new shim's socket: its process id. May come after what the shim says itself.
    Born { pid: i32 },
    /// The container waits at the barrier; its pidfd comes along.
    Created(Hello),
    /// Launch or start failed; the shim ends.
    Failed(Failure),
    /// `exec` succeeded.
    Started { at: i64 },
    /// The descriptor comes along, if there is one.
    Stdin,
    /// Done.
    Done,
    /// The container has ended and its end is recorded.
    Exited(Exit),
}

/// Where a container stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) pid: i32,
    pub(crate) shim: i32,
    /// When `exec` succeeded, nanoseconds since 1970.
    pub(crate) started: Option<i64>,
    /// Numbers of the kept descriptors in the shim.
    pub(crate) keep: Vec<i32>,
}

/// Between shim and init.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum InitMessage {
    /// To init: your id maps are written.
    Mapped,
    /// To init: go on.
    Start,
    /// From init (bundles): everything is mounted, the host's tree is still there; hooks may run.
    Mounted,
    /// From init: at the barrier. With a terminal, its master comes along.
    Ready,
    /// From init: it is over.
    Failed(Failure),
}

/// Two connected sockets, close-on-exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one message.
pub(crate) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    message::send(socket, &serde_json::to_vec(message)?, descriptors)
}

/// Receives one message; `None` when the other end is closed.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    receive_with(socket, RecvFlags::empty())
}

/// The same without waiting: `WouldBlock` when there is none.
pub(crate) fn try_receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    receive_with(socket, RecvFlags::DONTWAIT)
}

fn receive_with<T: DeserializeOwned>(
    socket: impl AsFd,
    flags: RecvFlags,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    // Look at its length first: a shim should not touch more memory than a message has.
    let length = loop {
        match rustix::net::recv(
            &socket,
            &mut [0_u8; 1][..],
            flags | RecvFlags::PEEK | RecvFlags::TRUNC,
        ) {
            Ok((_, length)) => break length.min(LARGEST),
            // The other end was killed with unread messages, which is told once; what it had sent is still to be read.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            Err(errno) => return Err(errno.into()),
        }
    };
    let mut buffer = vec![0; length.max(1)];
    let (length, descriptors) = match message::receive(socket, &mut buffer, flags) {
        // The other end was killed with unread messages: the same as a closed end to us.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        result => result?,
    };
    if length == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&buffer[..length])?, descriptors)))
}
