//! What the command line uses: connect to a project's engine, or start it and wait until it is ready.

use super::wire::{Message, Request};
use crate::{model::ProjectName, state::Roots};
use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Why an engine could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The program could not be started again as an engine.
    #[error("cannot start the engine of project `{project}`")]
    Spawn {
        /// The project.
        project: ProjectName,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The engine ended before it was ready.
    #[error("the engine of project `{project}` did not start; its log is {log}", log = log.display())]
    NotReady {
        /// The project.
        project: ProjectName,
        /// Where it writes what goes wrong.
        log: PathBuf,
        /// What it said.
        #[source]
        cause: io::Error,
    },
    /// The connection failed.
    #[error("lost the engine of project `{project}`")]
    Lost {
        /// The project.
        project: ProjectName,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// How often an engine that ends just as it is asked is replaced.
const TRIES: u8 = 4;

/// A project's engine, to be asked.
#[derive(Debug, Clone)]
pub struct Client {
    roots: Roots,
    project: ProjectName,
}

impl Client {
    /// For this project under these roots.
    pub fn new(roots: Roots, project: ProjectName) -> Self {
        Self { roots, project }
    }

    /// Whether an engine answers now.
    pub fn is_up(&self) -> bool {
        self.connect().is_ok()
    }

    fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.roots.engine_socket(&self.project))
    }

    /// Asks, starting an engine when none runs.
    ///
    /// # Errors
    /// When no engine can be started or reached.
    pub fn ask(&self, request: &Request) -> Result<Answer, ClientError> {
        let line = self.line_of(request)?;
        let mut answer = self.ask_line(&line)?;
        answer.unheard = Unheard::Again(self.clone(), line, TRIES);
        Ok(answer)
    }

    fn ask_line(&self, line: &[u8]) -> Result<Answer, ClientError> {
        let mut tries = TRIES;
        loop {
            let stream = match self.connect() {
                Ok(stream) => stream,
                Err(_) => match self.start_and_connect() {
                    // Its predecessor, which was just ending, took the socket's folder away with its own.
                    Err(ClientError::NotReady { cause, .. }) if tries > 1 && is_gone(&cause) => {
                        tries -= 1;
                        continue;
                    }
                    started => started?,
                },
            };
            tries -= 1;
            // An engine with nothing left to do may end just as it is asked: then another is started.
            match self.send(stream, line) {
                Err(_) if tries > 0 => {}
                sent => return sent,
            }
        }
    }

    /// A request as one line.
    fn line_of(&self, request: &Request) -> Result<Vec<u8>, ClientError> {
        let mut line = serde_json::to_vec(request).map_err(|error| ClientError::Lost {
            project: self.project.clone(),
            cause: error.into(),
        })?;
        line.push(b'\n');
        Ok(line)
    }

    /// Asks only when an engine runs already. One that ends just as it is asked does not run: it answers nothing.
    ///
    /// # Errors
    /// When the request cannot be written as a message.
    pub fn ask_running(&self, request: &Request) -> Result<Option<Answer>, ClientError> {
        let line = self.line_of(request)?;
        let answer = self
            .connect()
            .ok()
            .and_then(|stream| self.send(stream, &line).ok());
        Ok(answer.map(|mut answer| {
            answer.unheard = Unheard::NotRunning;
            answer
        }))
    }

    fn send(&self, mut stream: UnixStream, line: &[u8]) -> Result<Answer, ClientError> {
        let lost = |cause| ClientError::Lost {
            project: self.project.clone(),
            cause,
        };
        stream.write_all(line).map_err(lost)?;
        let lines = BufReader::with_capacity(64 * 1024, stream);
        Ok(Answer {
            project: self.project.clone(),
            lines,
            unheard: Unheard::NotRunning,
        })
    }

    /// Starts an engine. Two that start at once race for the lock; the loser says ready as well, because the winner is.
    fn start_and_connect(&self) -> Result<UnixStream, ClientError> {
        let spawn = |cause| ClientError::Spawn {
            project: self.project.clone(),
            cause,
        };
        let folder = self.roots.project(&self.project);
        fs_err::create_dir_all(&folder).map_err(spawn)?;
        let log = folder.join("engine.log");
        let errors = fs_err::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(spawn)?;
        let mut child = Command::new("/proc/self/exe")
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| is_for_engine(&name.to_string_lossy())))
            .arg("engine")
            .arg("--state")
            .arg(&self.roots.state)
            .arg("--run")
            .arg(&self.roots.run)
            .arg("--name")
            .arg(self.project.as_str())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors.into_parts().0)
            .spawn()
            .map_err(spawn)?;
        let mut said = String::new();
        let not_ready = |cause| ClientError::NotReady {
            project: self.project.clone(),
            log: log.clone(),
            cause,
        };
        let output = child
            .stdout
            .take()
            .ok_or_else(|| spawn(io::Error::other("no readiness pipe")))?;
        BufReader::new(output).read_line(&mut said).map_err(not_ready)?;
        if said.trim() != "ready" {
            // It ended: reap it, and show what it left.
            let _ = child.wait();
            let why = std::fs::read_to_string(&log).unwrap_or_default();
            let last = why.lines().next_back().unwrap_or("it said nothing").to_owned();
            return Err(not_ready(io::Error::other(last)));
        }
        self.connect().map_err(not_ready)
    }
}

/// Whether an engine gets this variable of whoever starts it. An engine outlives the command by far, and what the caller
/// has in the environment for other programs, secrets among it, is not its business: values that a project refers to are
/// sent with the request and never stored.
fn is_for_engine(name: &str) -> bool {
    const NAMES: [&str; 24] = [
        "DBUS_SESSION_BUS_ADDRESS",
        "DISPLAY",
        "DOCKER_CONFIG",
        "GNUPGHOME",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LANG",
        "LOGNAME",
        "NO_PROXY",
        "ALL_PROXY",
        "PASSWORD_STORE_DIR",
        "PATH",
        "REGISTRY_AUTH_FILE",
        "RUST_BACKTRACE",
        "SHELL",
        "SSH_AUTH_SOCK",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TMPDIR",
        "TZ",
        "USER",
        "WAYLAND_DISPLAY",
        "XDG_RUNTIME_DIR",
    ];
    let upper = name.to_ascii_uppercase();
    NAMES.contains(&upper.as_str())
        || ["BANYAN_", "LC_", "XDG_", "DOCKER_"]
            .iter()
            .any(|prefix| upper.starts_with(prefix))
}

/// Whether a socket, or the folder it was in, is not there.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// The stream of messages that answers a request.
#[derive(Debug)]
pub struct Answer {
    project: ProjectName,
    lines: BufReader<UnixStream>,
    unheard: Unheard,
}

/// What it means when the engine closes the connection.
#[derive(Debug)]
enum Unheard {
    /// Nothing was heard, so it ended before it took the request: another is asked (by whom, what, how often).
    Again(Client, Vec<u8>, u8),
    /// Nothing was heard, so it had nothing left to do: as good as not running.
    NotRunning,
    /// Something was heard: it is lost.
    No,
}

impl Answer {
    /// The next message; `None` when the engine closed the connection without an end (it was killed).
    ///
    /// # Errors
    /// When reading fails or a line is not a message.
    pub fn read(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line);
            let lost = |cause| ClientError::Lost {
                project: self.project.clone(),
                cause,
            };
            match (read, std::mem::replace(&mut self.unheard, Unheard::No)) {
                (Ok(0) | Err(_), Unheard::Again(client, request, tries @ 1..)) => {
                    *self = client.ask_line(&request)?;
                    self.unheard = Unheard::Again(client, request, tries - 1);
                }
                (Ok(0), _) | (Err(_), Unheard::NotRunning) => return Ok(None),
                (Ok(_), _) => {
                    return serde_json::from_str(&line)
                        .map(Some)
                        .map_err(io::Error::other)
                        .map_err(lost);
                }
                (Err(cause), _) => return Err(lost(cause)),
            }
        }
    }

    /// The connection, for a caller that wants to shut it down from another thread.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn stream(&self) -> io::Result<UnixStream> {
        self.lines.get_ref().try_clone()
    }
}
