//! The sockets: one UDP and one TCP listener per gateway address and port.

use super::{
    answer::{Decision, Query, Transport, decide},
    forward::Forwarder,
    wire::{self, Answer, Code},
    zone::Zones,
};
use banyan_runtime::{
    network::{Hall, HallError},
    sys::socket::{Carries, bound_shared},
};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

/// Queries answered per wake-up before other tasks get a turn.
const BURST: usize = 64;
/// Forwarded queries under way at once, per listener; docker's number.
const FORWARDED: usize = 1024;
/// Connections at once, per listener and per client: one client cannot crowd out its neighbours.
const CONNECTIONS: usize = 1024;
const CONNECTIONS_PER_CLIENT: usize = 32;
/// How long a connection may be silent between queries, or take to send one or to take an answer (RFC 7766 section
/// 6.2.3 wants seconds).
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest query over UDP; ordinary ones have less than 300 bytes.
const LARGEST_QUERY: usize = 4096;

/// The port of the service.
const PORT: u16 = 53;

/// Sockets at one gateway.
#[derive(Debug)]
pub struct Listener {
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The hall could not be entered.
    #[error(transparent)]
    Hall(#[from] HallError),
    /// The address is not to be had.
    #[error("cannot listen for names at `{address}` in the hall")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

/// Binds the sockets for a gateway: port 53, and the port at which `127.0.0.11` arrives (one of
/// [`FORWARDED_DNS_PORTS`](banyan_runtime::network::FORWARDED_DNS_PORTS)). Blocks for some ten microseconds.
///
/// # Errors
/// When the gateway's address is not there yet, or somebody else serves it.
pub fn bind(hall: &Hall, gateway: IpAddr, forwarded: u16) -> Result<Vec<Listener>, BindError> {
    hall.run(|| {
        [PORT, forwarded]
            .into_iter()
            .map(|port| {
                let address = SocketAddr::new(gateway, port);
                listen(address).map_err(|cause| BindError::Bind { address, cause })
            })
            .collect()
    })?
}

fn listen(address: SocketAddr) -> io::Result<Listener> {
    // Shared, so that a successor can start before its predecessor has ended; both answer from the same zones.
    let udp = bound_shared(Carries::Datagrams, address)?.into();
    let tcp = bound_shared(Carries::Streams, address)?.into();
    Ok(Listener { udp, tcp })
}

/// Serves one network's listeners until `shutdown` changes or its sender is dropped. Ends with every connection of
/// its own closed.
///
/// # Errors
/// When a listener cannot be handed to tokio.
pub async fn serve(
    listeners: Vec<Listener>,
    zones: Arc<Zones>,
    forwarder: Arc<Forwarder>,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    for listener in listeners {
        let server = Arc::new(Server {
            zones: Arc::clone(&zones),
            forwarder: Arc::clone(&forwarder),
        });
        tasks.spawn(serve_udp(
            Arc::new(UdpSocket::from_std(listener.udp)?),
            Arc::clone(&server),
        ));
        tasks.spawn(serve_tcp(TcpListener::from_std(listener.tcp)?, server));
    }
    // Any change ends it, even one that was taken back before this task ran; an error means that the sender is gone,
    // which is an end as well.
    if !*shutdown.borrow_and_update() {
        let _ = shutdown.changed().await;
    }
    // Dropping the set aborts its tasks, which drop theirs.
    tasks.shutdown().await;
    Ok(())
}

struct Server {
    zones: Arc<Zones>,
    forwarder: Arc<Forwarder>,
}

impl Server {
    fn decide(&self, source: IpAddr, transport: Transport, message: &[u8], out: &mut Vec<u8>) -> Decision {
        decide(
            &self.zones.index(),
            source.to_canonical(),
            transport,
            message,
            || self.zones.turn(),
            out,
        )
    }

    /// Asks others and puts the answer together.
    async fn forward(&self, query: &Query, message: &[u8]) -> Vec<u8> {
        self.forwarder.answer(query, message).await
    }
}

/// Answers datagrams. Our own names are answered on the spot, without a task and without allocating.
async fn serve_udp(socket: Arc<UdpSocket>, server: Arc<Server>) {
    let mut forwarded = JoinSet::new();
    let slots = Arc::new(Semaphore::new(FORWARDED));
    let mut message = vec![0; LARGEST_QUERY];
    let mut out = Vec::with_capacity(LARGEST_QUERY);
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        for _ in 0..BURST {
            let Ok((length, source)) = socket.try_recv_from(&mut message) else {
                break;
            };
            match server.decide(source.ip(), Transport::Udp, &message[..length], &mut out) {
                Decision::Reply => send(&socket, &out, source).await,
                Decision::Silence => {}
                Decision::Forward(query) => {
                    let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                        Answer::begin(&mut out, &message, &query.question, query.limit).finish(Code::Refused);
                        send(&socket, &out, source).await;
                        continue;
                    };
                    let (socket, server) = (Arc::clone(&socket), Arc::clone(&server));
                    let message = message[..length].to_vec();
                    forwarded.spawn(async move {
                        let answer = server.forward(&query, &message).await;
                        let _ = socket.send_to(&answer, source).await;
                        drop(slot);
                    });
                }
            }
        }
        while forwarded.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
}

/// Sends an answer; one that cannot be sent is lost, as in any network, and the client asks again.
async fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    if let Err(error) = socket.try_send_to(answer, to)
        && error.kind() == io::ErrorKind::WouldBlock
    {
        // The buffer is full, or the socket so new that tokio has not heard yet that it can be written to.
        let _ = socket.send_to(answer, to).await;
    }
}

/// Accepts connections, within bounds.
async fn serve_tcp(listener: TcpListener, server: Arc<Server>) {
    let mut connections = JoinSet::new();
    let clients: Arc<Mutex<HashMap<IpAddr, usize>>> = Arc::default();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors: let some connection end first.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Some(place) = Place::take(&clients, peer.ip()) else {
            continue;
        };
        let server = Arc::clone(&server);
        connections.spawn(async move {
            // Whatever goes wrong with a connection ends it; there is nobody to tell.
            let _ = serve_stream(stream, peer.ip(), &server).await;
            drop(place);
        });
    }
}

/// A client's claim to one connection.
struct Place {
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl Place {
    fn take(clients: &Arc<Mutex<HashMap<IpAddr, usize>>>, client: IpAddr) -> Option<Self> {
        let mut counts = clients.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let mine = counts.entry(client).or_default();
        if *mine >= CONNECTIONS_PER_CLIENT || all >= CONNECTIONS {
            return None;
        }
        *mine += 1;
        Some(Self {
            clients: Arc::clone(clients),
            client,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Answers the queries of one connection, one after the other.
async fn serve_stream(mut stream: TcpStream, client: IpAddr, server: &Server) -> io::Result<()> {
    let mut out = Vec::new();
    let mut message = Vec::new();
    loop {
        // One deadline for length and message together, so that a byte now and then does not keep a place.
        let read = async {
            let length = stream.read_u16().await?;
            message.resize(length.into(), 0);
            stream.read_exact(&mut message).await
        };
        timeout(PATIENCE, read).await??;
        match server.decide(client, Transport::Tcp, &message, &mut out) {
            Decision::Reply => {}
            Decision::Silence => return Ok(()),
            Decision::Forward(query) => out = server.forward(&query, &message).await,
        }
        let length = u16::try_from(out.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut framed = Vec::with_capacity(out.len() + 2);
        framed.extend(length.to_be_bytes());
        framed.extend(&out);
        timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
}

/// An answer with nothing but a code, to a question that was forwarded in vain.
pub(super) fn bare(query: &Query, message: &[u8], code: Code) -> Vec<u8> {
    let mut out = Vec::new();
    if message.len() < query.question.end {
        return out;
    }
    wire::Answer::begin(&mut out, message, &query.question, query.limit).finish(code);
    out
}

#[cfg(test)]
mod tests;
