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
        let stream = match self.connect() {
            Ok(stream) => stream,
            Err(_) => self.start_and_connect()?,
        };
        self.send(stream, request)
    }

    /// Asks only when an engine runs already.
    ///
    /// # Errors
    /// When it is lost while being asked.
    pub fn ask_running(&self, request: &Request) -> Result<Option<Answer>, ClientError> {
        match self.connect() {
            Ok(stream) => self.send(stream, request).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn send(&self, mut stream: UnixStream, request: &Request) -> Result<Answer, ClientError> {
        let lost = |cause| ClientError::Lost {
            project: self.project.clone(),
            cause,
        };
        let mut line = serde_json::to_vec(request)
            .map_err(io::Error::other)
            .map_err(lost)?;
        line.push(b'\n');
        stream.write_all(&line).map_err(lost)?;
        Ok(Answer {
            project: self.project.clone(),
            lines: BufReader::with_capacity(64 * 1024, stream),
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

/// The stream of messages that answers a request.
#[derive(Debug)]
pub struct Answer {
    project: ProjectName,
    lines: BufReader<UnixStream>,
}

impl Answer {
    /// The next message; `None` when the engine closed the connection without an end (it was killed).
    ///
    /// # Errors
    /// When reading fails or a line is not a message.
    pub fn read(&mut self) -> Result<Option<Message>, ClientError> {
        let lost = |cause| ClientError::Lost {
            project: self.project.clone(),
            cause,
        };
        let mut line = String::new();
        if self.lines.read_line(&mut line).map_err(lost)? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line)
            .map(Some)
            .map_err(io::Error::other)
            .map_err(lost)
    }

    /// The connection, for a caller that wants to shut it down from another thread.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn stream(&self) -> io::Result<UnixStream> {
        self.lines.get_ref().try_clone()
    }
}
