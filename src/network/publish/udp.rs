//! Datagrams: each client has a session with a socket of its own inside, so that answers find their way back.

use banyan_runtime::network::HallSockets;
use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// A session ends when neither side has sent anything for so long; docker-proxy has the same.
const IDLE: Duration = Duration::from_secs(90);
/// Sessions at once; beyond, new clients are not served until some have ended.
const SESSIONS: usize = 16_384;
/// Datagrams handled per wake-up before other tasks get a turn.
const BURST: usize = 64;
/// Largest datagram.
const LARGEST: usize = 65_535;

/// A client's session.
#[derive(Debug)]
struct Session {
    inside: UdpSocket,
    /// Whom it speaks with; a new target means a new session.
    target: SocketAddr,
    /// Last datagram either way; written by both tasks.
    active: Mutex<Instant>,
}

impl Session {
    fn touch(&self) {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn expires(&self) -> Instant {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) + IDLE
    }
}

type Sessions = Arc<Mutex<HashMap<SocketAddr, Arc<Session>>>>;

/// Carries until it is aborted.
pub(super) async fn serve(
    outside: Arc<UdpSocket>,
    inside: Arc<HallSockets>,
    target: watch::Receiver<Option<SocketAddr>>,
) {
    let sessions = Sessions::default();
    let mut answering = JoinSet::new();
    let mut datagram = vec![0; LARGEST];
    loop {
        if outside.readable().await.is_err() {
            return;
        }
        for _ in 0..BURST {
            let (length, client) = match outside.try_recv_from(&mut datagram) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error about an answer sent earlier.
                Err(_) => continue,
            };
            let Some(target) = *target.borrow() else { continue };
            let known = sessions
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&client)
                .cloned();
            let session = match known.filter(|s| s.target == target) {
                Some(session) => session,
                None => match open(&sessions, &inside, client, target).await {
                    Ok(session) => {
                        let (outside, sessions) = (Arc::clone(&outside), Arc::clone(&sessions));
                        answering.spawn(answer(outside, sessions, client, Arc::clone(&session)));
                        session
                    }
                    Err(error) => {
                        tracing::debug!(%error, %client, "no session for a datagram");
                        continue;
                    }
                },
            };
            session.touch();
            // Lost when the container listens no more, as UDP has it. Not `try_send`: on a new socket tokio does not
            // know yet that it can be written to.
            let _ = session.inside.send(&datagram[..length]).await;
        }
        while answering.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
}

async fn open(
    sessions: &Sessions,
    inside: &HallSockets,
    client: SocketAddr,
    target: SocketAddr,
) -> io::Result<Arc<Session>> {
    if sessions.lock().unwrap_or_else(PoisonError::into_inner).len() >= SESSIONS {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    let socket = std::net::UdpSocket::from(inside.udp(target.is_ipv6())?);
    let socket = UdpSocket::from_std(socket)?;
    socket.connect(target).await?;
    let session = Arc::new(Session {
        inside: socket,
        target,
        active: Mutex::new(Instant::now()),
    });
    sessions
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(client, Arc::clone(&session));
    Ok(session)
}

/// Carries one session's answers back until it has been idle for long enough.
async fn answer(outside: Arc<UdpSocket>, sessions: Sessions, client: SocketAddr, session: Arc<Session>) {
    // Pages of it that no datagram reaches are never touched, so it costs what is used.
    let mut datagram = vec![0; LARGEST];
    loop {
        let expires = session.expires();
        if expires <= Instant::now() {
            break;
        }
        tokio::select! {
            ready = session.inside.readable() => {
                if ready.is_err() {
                    break;
                }
                // An error means that nobody listens inside (yet): the client may try again.
                if let Ok(length) = session.inside.try_recv(&mut datagram) {
                    session.touch();
                    let _ = outside.send_to(&datagram[..length], client).await;
                }
            }
            () = sleep_until(expires) => {}
        }
    }
    let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
    // A newer session of the same client stays.
    if sessions
        .get(&client)
        .is_some_and(|current| Arc::ptr_eq(current, &session))
    {
        sessions.remove(&client);
    }
}
