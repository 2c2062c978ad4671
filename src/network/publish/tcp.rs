//! Connections: accepted on the host, made again inside, and spliced together.

use banyan_runtime::{network::HallSockets, sys::splice::Pipe};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long a client waits for a container that is being made anew.
const TARGET_PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection inside may take; the container is on the same machine.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Pause after running out of descriptors, until some connection has ended.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(20);
/// Empty pipes kept for the next one who needs one.
const POOLED_PIPES: usize = 32;

/// Accepts and carries until it is aborted.
pub(super) async fn serve(
    listener: TcpListener,
    inside: Arc<HallSockets>,
    target: watch::Receiver<Option<SocketAddr>>,
) {
    let pipes = Arc::new(Pipes::default());
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                tracing::warn!(%error, "a published port cannot accept connections");
                sleep(OUT_OF_DESCRIPTORS).await;
                continue;
            }
        };
        let (inside, target, pipes) = (Arc::clone(&inside), target.clone(), Arc::clone(&pipes));
        connections.spawn(async move {
            match connect(&inside, target).await {
                Ok(server) => carry(client, server, &pipes).await,
                Err(error) => {
                    tracing::debug!(%error, "a connection to a published port found nobody inside");
                    reset(client);
                }
            }
        });
    }
}

/// Connects to the container, waiting for one if there is none at the moment.
async fn connect(
    inside: &HallSockets,
    mut target: watch::Receiver<Option<SocketAddr>>,
) -> io::Result<TcpStream> {
    let address = timeout(TARGET_PATIENCE, target.wait_for(Option::is_some))
        .await?
        .map_err(|_| io::ErrorKind::ConnectionRefused)?
        .ok_or(io::ErrorKind::ConnectionRefused)?;
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(inside.tcp(address.is_ipv6())?));
    timeout(CONNECT_PATIENCE, socket.connect(address)).await?
}

/// Carries bytes both ways until both sides have said that they are done, or one breaks off.
async fn carry(mut client: TcpStream, mut server: TcpStream, pipes: &Pipes) {
    // Small messages go out at once: the ends decide about batching, not we.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let done = {
        let (client_read, mut client_write) = client.split();
        let (server_read, mut server_write) = server.split();
        let there = async {
            copy(client_read.as_ref(), server_write.as_ref(), pipes).await?;
            server_write.shutdown().await
        };
        let back = async {
            copy(server_read.as_ref(), client_write.as_ref(), pipes).await?;
            client_write.shutdown().await
        };
        tokio::try_join!(there, back)
    };
    if done.is_err() {
        // One side broke off; the other learns it in the same way.
        reset(client);
        reset(server);
    }
}

/// Closes a connection with RST instead of FIN (socket(7), `SO_LINGER` with zero).
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}

/// Copies until the end of `from`. A pipe is held only while there is something to carry.
async fn copy(from: &TcpStream, to: &TcpStream, pipes: &Pipes) -> io::Result<()> {
    loop {
        from.readable().await?;
        let pipe = pipes.take()?;
        loop {
            match from.try_io(Interest::READABLE, || pipe.fill(from)) {
                Ok(0) => {
                    pipes.give_back(pipe);
                    return Ok(());
                }
                Ok(length) => drain(&pipe, to, length).await?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The pipe may hold bytes; it goes with the connection.
                Err(error) => return Err(error),
            }
        }
        pipes.give_back(pipe);
    }
}

async fn drain(pipe: &Pipe, to: &TcpStream, mut length: usize) -> io::Result<()> {
    while length > 0 {
        match to.try_io(Interest::WRITABLE, || pipe.drain(to, length)) {
            Ok(moved) => length -= moved.min(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Empty pipes, shared by the connections of a listener.
#[derive(Debug, Default)]
struct Pipes {
    empty: Mutex<Vec<Pipe>>,
}

impl Pipes {
    fn take(&self) -> io::Result<Pipe> {
        let kept = self.empty.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.map_or_else(Pipe::new, Ok)
    }

    /// Takes an empty pipe back.
    fn give_back(&self, pipe: Pipe) {
        let mut empty = self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        if empty.len() < POOLED_PIPES {
            empty.push(pipe);
        }
    }
}
