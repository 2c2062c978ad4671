//! Sockets of a hall for someone outside it.
//!
//! A socket belongs to the namespace in which it was made, and can be used from anywhere. Entering a namespace takes
//! a thread, so one thread stays inside and makes sockets on request, some in advance.

use super::{Hall, HallError, hall::enter_thread};
use crate::sys::socket::{Carries, unbound};
use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

/// TCP sockets kept ready once the first was asked for. A relay under load asks faster than threads wake up.
const STOCK: usize = 32;

type Reply = mpsc::SyncSender<io::Result<OwnedFd>>;

enum Request {
    /// Make one and send it.
    Make(Carries, bool, Reply),
    /// Fill the stock up.
    Refill,
}

/// Makes non-blocking, unbound sockets inside a hall. Its thread ends with it.
#[derive(Debug)]
pub struct HallSockets {
    requests: mpsc::Sender<Request>,
    /// IPv4 TCP sockets: pushed by the thread, popped by callers.
    stock: Arc<Mutex<Vec<OwnedFd>>>,
}

impl HallSockets {
    /// Starts the thread inside `hall`.
    ///
    /// # Errors
    /// When the hall cannot be entered.
    pub fn start(hall: &Hall) -> Result<Self, HallError> {
        let (requests, inbox) = mpsc::channel();
        let stock: Arc<Mutex<Vec<OwnedFd>>> = Arc::default();
        let shelf = Arc::clone(&stock);
        enter_thread(hall.fd(), move || serve(&inbox, &shelf))?;
        Ok(Self { requests, stock })
    }

    /// A TCP socket.
    ///
    /// # Errors
    /// When the kernel has none to give.
    pub fn tcp(&self, ipv6: bool) -> io::Result<OwnedFd> {
        if ipv6 {
            return self.make(Carries::Streams, true);
        }
        let (socket, left) = {
            let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
            (stock.pop(), stock.len())
        };
        if left < STOCK / 2 {
            // The thread being gone shows in the next line, if it matters.
            let _ = self.requests.send(Request::Refill);
        }
        socket.map_or_else(|| self.make(Carries::Streams, false), Ok)
    }

    /// A UDP socket.
    ///
    /// # Errors
    /// When the kernel has none to give.
    pub fn udp(&self, ipv6: bool) -> io::Result<OwnedFd> {
        self.make(Carries::Datagrams, ipv6)
    }

    fn make(&self, carries: Carries, ipv6: bool) -> io::Result<OwnedFd> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        let (reply, answer) = mpsc::sync_channel(1);
        self.requests
            .send(Request::Make(carries, ipv6, reply))
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        answer.recv().map_err(gone)?
    }
}

fn serve(inbox: &mpsc::Receiver<Request>, shelf: &Mutex<Vec<OwnedFd>>) {
    for request in inbox {
        match request {
            Request::Make(carries, ipv6, reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(unbound(carries, ipv6));
            }
            Request::Refill => loop {
                let mut stock = shelf.lock().unwrap_or_else(PoisonError::into_inner);
                if stock.len() >= STOCK {
                    break;
                }
                let Ok(socket) = unbound(Carries::Streams, false) else {
                    break;
                };
                stock.push(socket);
            },
        }
    }
}
