//! Netlink sockets: netlink(7), rtnetlink(7), and the nf_tables subsystem behind `NETLINK_NETFILTER`.
//!
//! A netlink socket talks to the network namespace in which it was *opened*, whoever uses it later.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// Which part of the kernel a socket speaks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes, neighbours: rtnetlink(7).
    Route,
    /// nf_tables and conntrack.
    Netfilter,
}

/// How long the kernel may take to answer; it answers within the request's own system call, so this only guards
/// against waiting for ever on a reply that was lost for want of memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Receive buffer: a dump of some thousand links or rules must not overrun it between two reads.
const RECEIVE_BUFFER: libc::c_int = 1 << 20;

/// Opens a blocking netlink socket in the calling thread's network namespace, with extended acknowledgements
/// (Linux 4.12) and short acknowledgements (4.3) where the kernel has them.
///
/// # Errors
/// What socket(2) and bind(2) report; `EPROTONOSUPPORT` means that the kernel lacks the subsystem.
pub fn open(family: Family) -> io::Result<OwnedFd> {
    let protocol = match family {
        Family::Route => libc::NETLINK_ROUTE,
        Family::Netfilter => libc::NETLINK_NETFILTER,
    };
    // SAFETY: socket(2) takes no pointers.
    let raw = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `raw` was returned by socket(2) just above and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // Both are conveniences for error texts; kernels without them refuse the option, which costs nothing.
    let _ = set_option(&socket, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, &1_i32);
    let _ = set_option(&socket, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, &1_i32);
    // Needs privilege; without it the default buffer has to do.
    let _ = set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER);
    let timeout = libc::timeval {
        tv_sec: libc::time_t::try_from(ANSWER_TIMEOUT.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: 0,
    };
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &timeout)?;
    Ok(socket)
}

/// Sends one datagram, which may hold several messages, to the kernel.
///
/// # Errors
/// What send(2) reports: `EPERM` without `CAP_NET_ADMIN`, `EMSGSIZE` when larger than the send buffer.
pub fn send(socket: &OwnedFd, datagram: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length describe `datagram`, which outlives the call.
    let sent = unsafe { libc::send(socket.as_raw_fd(), datagram.as_ptr().cast(), datagram.len(), 0) };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Receives one datagram into `buffer` and gives its length.
///
/// # Errors
/// What recv(2) reports; `EAGAIN` after ten seconds without an answer; `EMSGSIZE` (made here) when `buffer` is too small.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe `buffer`, which is exclusively borrowed for the call.
    let length = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_TRUNC,
        )
    };
    let Ok(length) = usize::try_from(length) else {
        return Err(io::Error::last_os_error());
    };
    if length > buffer.len() {
        Err(io::Error::from_raw_os_error(libc::EMSGSIZE))
    } else {
        Ok(length)
    }
}

/// The cookie of the network namespace in which `socket` was opened: unique among all namespaces since boot, and
/// never used again (socket(7), `SO_NETNS_COOKIE`, Linux 5.14).
///
/// # Errors
/// `ENOPROTOOPT` on older kernels.
pub fn namespace_cookie(socket: &OwnedFd) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).expect("eight fits any integer");
    // SAFETY: `cookie` is eight writable bytes, which is what `length` says; both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(cookie)
    }
}

fn set_option<T: Copy>(socket: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: pointer and length describe `*value`, a plain integer or `timeval`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const *value).cast(),
            length,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
