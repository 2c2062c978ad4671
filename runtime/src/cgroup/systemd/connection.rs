//! A connection to systemd: found, authenticated, and asked, never for longer than the caller's patience.
//!
//! 1. `/run/systemd/private` leads to systemd itself and takes root only: no bus between, no name to ask for.
//! 2. Where that is missing, the system bus.
//!
//! Who we are is what the kernel says of the socket (EXTERNAL, D-Bus specification, "Authentication Protocol").

use super::{
    SystemdError,
    message::{self, Body, Method, PREFIX, Received},
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Where systemd listens itself.
const PRIVATE: &str = "/run/systemd/private";
/// Where the system's bus listens.
const BUS: &str = "/run/dbus/system_bus_socket";

/// The most signals of others that are kept while an answer is waited for.
const MOST_SIGNALS: usize = 4096;

#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    path: PathBuf,
    serial: u32,
    /// Read and not yet taken apart.
    read: Vec<u8>,
    /// Signals that came before the answer that was waited for.
    signals: Vec<(String, Body)>,
    deadline: Instant,
    patience: Duration,
}

impl Connection {
    /// Connects and tells systemd that we want to hear of jobs.
    pub(super) fn open(patience: Duration) -> Result<Self, SystemdError> {
        let private = Self::at(Path::new(PRIVATE), patience);
        let unreachable = |error: &SystemdError| matches!(error, SystemdError::Unreachable { .. });
        match private {
            Err(error) if unreachable(&error) && Path::new(BUS).exists() => {
                let mut connection = Self::at(Path::new(BUS), patience)?;
                connection.join_bus()?;
                Ok(connection)
            }
            Ok(connection) => {
                connection.check_peer()?;
                Ok(connection)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn at(path: &Path, patience: Duration) -> Result<Self, SystemdError> {
        let fail = |cause: io::Error| SystemdError::Unreachable {
            path: path.to_path_buf(),
            cause,
        };
        let stream = connect(path, patience).map_err(fail)?;
        let mut connection = Self {
            stream,
            path: path.to_path_buf(),
            serial: 0,
            read: Vec::new(),
            signals: Vec::new(),
            deadline: Instant::now() + patience,
            patience,
        };
        connection.authenticate()?;
        Ok(connection)
    }

    /// Process ids that we name must mean to systemd what they mean to us: its own must be 1 here too.
    fn check_peer(&self) -> Result<(), SystemdError> {
        let peer = sockopt::socket_peercred(&self.stream).map_err(|errno| self.lost(errno.into()))?;
        if peer.pid.as_raw_nonzero().get() == 1 {
            return Ok(());
        }
        Err(self.lost(io::Error::other("systemd there is that of another pid namespace")))
    }

    fn lost(&self, cause: io::Error) -> SystemdError {
        let late = matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        if late {
            return SystemdError::Silent {
                path: self.path.clone(),
                seconds: self.patience.as_secs(),
            };
        }
        SystemdError::Lost {
            path: self.path.clone(),
            cause,
        }
    }

    fn garbled(&self) -> SystemdError {
        self.lost(io::Error::new(
            io::ErrorKind::InvalidData,
            "what it says is not D-Bus",
        ))
    }

    fn left(&self) -> Result<Duration, SystemdError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.lost(io::ErrorKind::TimedOut.into()));
        }
        Ok(left)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SystemdError> {
        let left = self.left()?;
        let written = self
            .stream
            .set_write_timeout(Some(left))
            .and_then(|()| self.stream.write_all(bytes));
        written.map_err(|cause| self.lost(cause))
    }

    /// Reads what there is, waiting for it.
    fn read_more(&mut self) -> Result<(), SystemdError> {
        let mut buffer = [0; 4096];
        let left = self.left()?;
        let read = loop {
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(&mut buffer));
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|cause| self.lost(cause))?,
            }
        };
        if read == 0 {
            return Err(self.lost(io::ErrorKind::UnexpectedEof.into()));
        }
        self.read.extend(&buffer[..read]);
        Ok(())
    }

    fn authenticate(&mut self) -> Result<(), SystemdError> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let digits: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        // The second line may be sent without waiting for the answer to the first, as sd-bus does it.
        self.write(format!("\0AUTH EXTERNAL {digits}\r\nBEGIN\r\n").as_bytes())?;
        let end = loop {
            match self.read.windows(2).position(|pair| pair == b"\r\n") {
                Some(end) => break end,
                None if self.read.len() > 1024 => return Err(self.garbled()),
                None => self.read_more()?,
            }
        };
        let line: Vec<u8> = self.read.drain(..end + 2).collect();
        if line.starts_with(b"OK ") {
            return Ok(());
        }
        let answer = String::from_utf8_lossy(&line[..end]).into_owned();
        Err(SystemdError::Rejected {
            path: self.path.clone(),
            answer,
        })
    }

    /// A bus wants to be greeted, and passes on only what was asked for.
    fn join_bus(&mut self) -> Result<(), SystemdError> {
        let bus = |name, signature| Method {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            name,
            signature,
        };
        self.call(&bus("Hello", ""), &[], "the bus")?;
        let mut body = super::wire::Writer::default();
        body.text(
            "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',\
             member='JobRemoved'",
        );
        self.call(&bus("AddMatch", "s"), &body.into_bytes(), "the bus")?;
        self.call(&super::manager::method("Subscribe", ""), &[], "systemd")
            .map(drop)
    }

    /// Calls a method and waits for its answer; `about` is what the error names.
    pub(super) fn call(&mut self, method: &Method, body: &[u8], about: &str) -> Result<Body, SystemdError> {
        self.serial += 1;
        let serial = self.serial;
        self.write(&message::call(serial, method, body))?;
        loop {
            match self.receive()? {
                Received::Reply { to, body } if to == serial => return Ok(body),
                Received::Error { to, name, body } if to == serial => {
                    return Err(SystemdError::Refused {
                        method: method.name,
                        unit: about.to_owned(),
                        text: body.text().unwrap_or("it does not say why").to_owned(),
                        name,
                    });
                }
                Received::Signal { member, body } if self.signals.len() < MOST_SIGNALS => {
                    self.signals.push((member, body));
                }
                _ => {}
            }
        }
    }

    /// The next signal, of those that came already or that comes.
    pub(super) fn signal(&mut self) -> Result<(String, Body), SystemdError> {
        if !self.signals.is_empty() {
            return Ok(self.signals.remove(0));
        }
        loop {
            if let Received::Signal { member, body } = self.receive()? {
                return Ok((member, body));
            }
        }
    }

    fn receive(&mut self) -> Result<Received, SystemdError> {
        let length = loop {
            if let Some(prefix) = self.read.get(..PREFIX) {
                break message::length(prefix).map_err(|_| self.garbled())?;
            }
            self.read_more()?;
        };
        while self.read.len() < length {
            self.read_more()?;
        }
        let bytes: Vec<u8> = self.read.drain(..length).collect();
        message::parse(&bytes).map_err(|_| self.garbled())
    }
}

/// Connects within `patience`: a listener whose queue is full would else hold us for ever.
fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
    loop {
        match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map(|()| socket.into()).map_err(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// Something that listens like systemd, says `words` to whoever comes, and reads on.
    fn listener(words: &'static [u8]) -> (tempfile::TempDir, std::thread::JoinHandle<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = vec![0; 1 + b"AUTH EXTERNAL ".len()];
            stream.read_exact(&mut heard).unwrap();
            stream.write_all(words).unwrap();
            stream.read_to_end(&mut heard).unwrap();
            heard
        });
        (folder, heard)
    }

    const SHORT: Duration = Duration::from_millis(200);

    #[test]
    fn whoever_is_accepted_may_begin() {
        let (folder, heard) = listener(b"OK 0123\r\n");
        drop(Connection::at(&folder.path().join("socket"), SHORT).unwrap());
        let heard = String::from_utf8(heard.join().unwrap()).unwrap();
        assert!(
            heard.starts_with("\0AUTH EXTERNAL 3") && heard.ends_with("\r\nBEGIN\r\n"),
            "{heard:?}"
        );
    }

    #[test]
    fn a_rejection_and_nonsense_are_told() {
        for (words, expected) in [
            (&b"REJECTED EXTERNAL\r\n"[..], "does not accept"),
            (b"OK 0\r\nnonsense that is no message", "is not D-Bus"),
        ] {
            let (folder, heard) = listener(words);
            let answer = Connection::at(&folder.path().join("socket"), SHORT)
                .and_then(|mut connection| connection.signal().map(drop));
            let error = answer.unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let told = format!("{error}: {}", cause.unwrap_or_default());
            assert!(told.contains(expected), "{told}");
            heard.join().unwrap();
        }
    }

    #[test]
    fn silence_ends_when_patience_does() {
        let (folder, heard) = listener(b"OK 0\r\n");
        let mut connection = Connection::at(&folder.path().join("socket"), SHORT).unwrap();
        let error = connection.signal().unwrap_err();
        assert!(matches!(error, SystemdError::Silent { .. }), "{error}");
        drop(connection);
        heard.join().unwrap();
        let nobody = Connection::at(&folder.path().join("nobody"), SHORT).unwrap_err();
        assert!(matches!(nobody, SystemdError::Unreachable { .. }), "{nobody}");
    }
}
