//! Where forwarded queries leave from: the host's namespace, or the hall.

use banyan_runtime::network::HallSockets;
use hickory_resolver::net::runtime::{
    RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime, iocompat::AsyncIoTokioAsStd,
};
use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Weak, time::Duration};
use tokio::{
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

/// How long a connection to a name server may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

type Making<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

/// Makes the resolver's sockets. Servers on a loopback are the host's own; others are asked from inside the hall while
/// there is one, so that a service's `dns:` server may be a container of the project.
#[derive(Clone)]
pub(super) struct Provider {
    host: TokioRuntimeProvider,
    /// Weak: a resolver must not keep a hall alive.
    hall: Weak<HallSockets>,
}

impl Provider {
    /// Sockets of the hall, or with a dangling reference the host's.
    pub(super) fn new(hall: Weak<HallSockets>) -> Self {
        Self {
            host: TokioRuntimeProvider::default(),
            hall,
        }
    }
}

impl RuntimeProvider for Provider {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> TokioHandle {
        self.host.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        bind: Option<SocketAddr>,
        patience: Option<Duration>,
    ) -> Making<Self::Tcp> {
        let Some(hall) = self.hall.upgrade().filter(|_| !server.ip().is_loopback()) else {
            return self.host.connect_tcp(server, bind, patience);
        };
        Box::pin(async move {
            let socket = TcpSocket::from_std_stream(hall.tcp(server.is_ipv6())?.into());
            drop(hall);
            let stream = timeout(patience.unwrap_or(CONNECT_PATIENCE), socket.connect(server)).await??;
            Ok(AsyncIoTokioAsStd(stream))
        })
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Making<UdpSocket> {
        let Some(hall) = self.hall.upgrade().filter(|_| !server.ip().is_loopback()) else {
            return self.host.bind_udp(local, server);
        };
        // Not bound here: the kernel gives it a random port with the first datagram.
        Box::pin(async move { UdpSocket::from_std(hall.udp(server.is_ipv6())?.into()) })
    }
}
