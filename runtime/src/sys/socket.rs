//! Sockets with options that the standard library does not offer: socket(7), ip(7), ipv6(7).

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with,
    sockopt::{
        set_ipv6_v6only, set_socket_recv_buffer_size_force, set_socket_reuseaddr, set_socket_reuseport,
    },
};
use std::{io, net::SocketAddr, os::fd::OwnedFd};

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Receive buffer of a datagram listener, in bytes: all clients share it.
const DATAGRAM_BUFFER: usize = 1 << 20;

/// What a socket carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carries {
    /// TCP.
    Streams,
    /// UDP.
    Datagrams,
}

/// A non-blocking socket of the calling thread's network namespace, not bound yet.
///
/// # Errors
/// `EAFNOSUPPORT`: the kernel has no IPv6; `EMFILE`: no descriptors left.
pub fn unbound(carries: Carries, ipv6: bool) -> io::Result<OwnedFd> {
    let family = if ipv6 {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let (kind, protocol) = match carries {
        Carries::Streams => (SocketType::STREAM, ipproto::TCP),
        Carries::Datagrams => (SocketType::DGRAM, ipproto::UDP),
    };
    Ok(socket_with(
        family,
        kind,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(protocol),
    )?)
}

/// A non-blocking socket bound to `address`; TCP listens. An IPv6 one takes IPv6 only, so that `0.0.0.0` and `[::]` are
/// two sockets, as they are two addresses.
///
/// # Errors
/// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` (ports below `net.ipv4.ip_unprivileged_port_start`), `EAFNOSUPPORT`.
pub fn bound(carries: Carries, address: SocketAddr) -> io::Result<OwnedFd> {
    bind_to(unbound(carries, address.is_ipv6())?, carries, address)
}

/// Like [`bound`], but another socket of the same user may be bound to the same address in this way
/// (`SO_REUSEPORT`); the kernel then deals clients out among them.
///
/// # Errors
/// As [`bound`].
pub fn bound_shared(carries: Carries, address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = unbound(carries, address.is_ipv6())?;
    set_socket_reuseport(&socket, true)?;
    bind_to(socket, carries, address)
}

fn bind_to(socket: OwnedFd, carries: Carries, address: SocketAddr) -> io::Result<OwnedFd> {
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    if carries == Carries::Streams {
        // Connections of a predecessor in TIME_WAIT do not hold the port; a listener does.
        set_socket_reuseaddr(&socket, true)?;
    } else {
        // Needs privilege; without it the default has to do.
        let _ = set_socket_recv_buffer_size_force(&socket, DATAGRAM_BUFFER);
    }
    bind(&socket, &address)?;
    if carries == Carries::Streams {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}
