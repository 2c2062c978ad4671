//! Published ports: listeners of ours on the host, whose connections and datagrams are carried into a hall.
//!
//! 1. [`reserve`] binds the host's ports, before anything of the project starts: a taken port is an error then, not
//!    half an `up` later. Clients that come already wait in the listener's queue.
//! 2. [`Reservation::serve`] starts carrying: [`tcp`] with splice(2), [`udp`] by sessions.
//! 3. [`Published::retarget`] points it elsewhere when the container is made anew; the listener stays.
//!
//! The container sees connections coming from its network's gateway. As the listeners are ordinary sockets of the
//! host, the host's firewall decides who reaches them, `localhost` works, and a port bound to `127.0.0.1` cannot be
//! reached from outside by any routing trick.

mod holder;
mod tcp;
mod udp;

use crate::model::{Protocol, PublishedPort};
use banyan_runtime::{
    network::HallSockets,
    sys::socket::{Carries, bound},
};
pub use holder::Holder;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    sync::Arc,
};
use tokio::{sync::watch, task::JoinSet};

/// How often an ephemeral port is tried anew when only one address family has it free.
const EPHEMERAL_TRIES: usize = 32;

/// Why a port cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody has it.
    #[error("port {address}/{protocol} is in use{}", holder.as_ref().map(|h| format!(" by {h}")).unwrap_or_default())]
    InUse {
        /// The host's address and port.
        address: SocketAddr,
        /// Transport.
        protocol: Protocol,
        /// Who has it, where that can be found out.
        holder: Option<Holder>,
    },
    /// Every port of a range is in use.
    #[error("all ports from {first} to {last}/{protocol} are in use")]
    RangeInUse {
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
        /// Transport.
        protocol: Protocol,
    },
    /// The kernel refuses for another reason.
    #[error("cannot listen at {address}/{protocol}")]
    Bind {
        /// The host's address and port.
        address: SocketAddr,
        /// Transport.
        protocol: Protocol,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

impl PublishError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { address, holder, .. } => {
                let stop = holder
                    .as_ref()
                    .map_or_else(String::new, |h| format!("stop {h}, or "));
                Some(format!(
                    "{stop}publish another port instead of {}",
                    address.port()
                ))
            }
            Self::RangeInUse { .. } => Some("choose a wider range".into()),
            Self::Bind { address, cause, .. } => match cause.kind() {
                io::ErrorKind::AddrNotAvailable => Some(format!(
                    "`{}` is not an address of this host; see `ip addr`",
                    address.ip()
                )),
                io::ErrorKind::PermissionDenied => Some(
                    "ports below `net.ipv4.ip_unprivileged_port_start` need root; publish a higher one"
                        .into(),
                ),
                _ => None,
            },
        }
    }
}

/// Ports of the host, bound and waiting.
#[derive(Debug)]
pub struct Reservation {
    sockets: Vec<(SocketAddr, OwnedFd)>,
    protocol: Protocol,
}

/// Binds the host's ports for `port`. Without a host address: all IPv4 and, where there is IPv6, all IPv6 addresses, on
/// the same port number. Of a range, the first port that is free.
///
/// # Errors
/// When the port is in use, or the address is not the host's.
pub fn reserve(port: &PublishedPort) -> Result<Reservation, PublishError> {
    let hosts: &[IpAddr] = match &port.host_ip {
        Some(ip) => std::slice::from_ref(ip),
        None => &[
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ],
    };
    match port.published {
        Some((first, last)) if first != last => {
            for number in first..=last {
                match bind_all(hosts, number, port.protocol) {
                    Err(PublishError::InUse { .. }) => {}
                    outcome => return outcome,
                }
            }
            Err(PublishError::RangeInUse {
                first,
                last,
                protocol: port.protocol,
            })
        }
        Some((number, _)) if number != 0 => bind_all(hosts, number, port.protocol),
        _ => {
            let mut outcome = bind_all(hosts, 0, port.protocol);
            for _ in 0..EPHEMERAL_TRIES {
                match outcome {
                    Err(PublishError::InUse { .. }) => outcome = bind_all(hosts, 0, port.protocol),
                    _ => break,
                }
            }
            outcome
        }
    }
}

fn bind_all(hosts: &[IpAddr], mut number: u16, protocol: Protocol) -> Result<Reservation, PublishError> {
    let carries = match protocol {
        Protocol::Tcp => Carries::Streams,
        Protocol::Udp => Carries::Datagrams,
    };
    let mut sockets = Vec::new();
    for host in hosts {
        let address = SocketAddr::new(*host, number);
        match bound(carries, address) {
            Ok(socket) => {
                let actual = local_address(carries, &socket).map_err(|cause| PublishError::Bind {
                    address,
                    protocol,
                    cause,
                })?;
                // The first family chooses an ephemeral port, the second follows.
                number = actual.port();
                sockets.push((actual, socket));
            }
            // A host without IPv6: "all addresses" are the IPv4 ones.
            Err(_) if hosts.len() > 1 && host.is_ipv6() && !has_ipv6() => {}
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
                let holder = holder::find(protocol, address);
                return Err(PublishError::InUse {
                    address,
                    protocol,
                    holder,
                });
            }
            Err(cause) => {
                return Err(PublishError::Bind {
                    address,
                    protocol,
                    cause,
                });
            }
        }
    }
    Ok(Reservation { sockets, protocol })
}

fn has_ipv6() -> bool {
    fs_err::metadata("/proc/thread-self/net/if_inet6").is_ok_and(|_| {
        fs_err::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6")
            .is_ok_and(|text| text.trim() == "0")
    })
}

fn local_address(carries: Carries, socket: &OwnedFd) -> io::Result<SocketAddr> {
    let copy = socket.try_clone()?;
    match carries {
        Carries::Streams => std::net::TcpListener::from(copy).local_addr(),
        Carries::Datagrams => std::net::UdpSocket::from(copy).local_addr(),
    }
}

impl Reservation {
    /// The host's addresses, all with the same port.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address).collect()
    }

    /// Starts carrying into the hall that `inside` makes sockets in. Until [`Published::retarget`] names a target,
    /// clients wait. Call it on a tokio runtime.
    ///
    /// # Errors
    /// When a socket cannot be handed to tokio.
    pub fn serve(self, inside: Arc<HallSockets>) -> io::Result<Published> {
        let addresses = self.addresses();
        let (target, watched) = watch::channel(None);
        let mut tasks = JoinSet::new();
        for (_, socket) in self.sockets {
            let (inside, watched) = (Arc::clone(&inside), watched.clone());
            match self.protocol {
                Protocol::Tcp => {
                    let listener = tokio::net::TcpListener::from_std(socket.into())?;
                    tasks.spawn(tcp::serve(listener, inside, watched));
                }
                Protocol::Udp => {
                    let socket = tokio::net::UdpSocket::from_std(socket.into())?;
                    tasks.spawn(udp::serve(Arc::new(socket), inside, watched));
                }
            }
        }
        Ok(Published {
            addresses,
            protocol: self.protocol,
            target,
            tasks,
        })
    }
}

/// A published port at work. Dropping it closes the listener and every connection it carries.
#[derive(Debug)]
pub struct Published {
    addresses: Vec<SocketAddr>,
    protocol: Protocol,
    target: watch::Sender<Option<SocketAddr>>,
    tasks: JoinSet<()>,
}

impl Published {
    /// The host's addresses, all with the same port.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Transport.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Points new connections at `target`, an address in the hall; `None`: they wait for the next one. Connections
    /// under way stay with the container they are with.
    pub fn retarget(&self, target: Option<SocketAddr>) {
        self.target.send_replace(target);
    }

    /// Where new connections go; `None`: they wait.
    pub fn target(&self) -> Option<SocketAddr> {
        *self.target.borrow()
    }

    /// Closes the listener and all connections, and waits until they are closed.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
