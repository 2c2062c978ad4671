//! Runs a command in a container and keeps the beginning of its output: probes and hooks.
//!
//! A command that leaves children behind which hold its output open does not hold us up: after its end, what is there
//! is taken, and no more is waited for (containerd CVE-2026-53495 is about the opposite).

use super::{Engine, execute::container_dir};
use banyan_runtime::container::{ContainerError, ExecSettings, ExecStreams, Execution, Found, Process};
use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, Interest, unix::AsyncFd},
    net::unix::pipe,
    time::Instant,
};

/// How long output that is still on its way is waited for after the command's end.
const DRAIN: Duration = Duration::from_millis(100);

/// What a command gave.
#[derive(Debug)]
pub struct Captured {
    /// Its exit status; `None`: it took too long and was killed.
    pub status: Option<i32>,
    /// The beginning of its output and errors, in the order written.
    pub output: Vec<u8>,
}

/// Why a command could not be run.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The container does not run.
    #[error("the container does not run")]
    NotRunning,
    /// It could not be executed.
    #[error(transparent)]
    Exec(#[from] ContainerError),
    /// Its output or end cannot be followed.
    #[error("cannot follow the command")]
    Follow(#[from] io::Error),
}

/// Runs `process` in the container `id`, at most `limit` long, keeping `keep` bytes of output.
///
/// # Errors
/// When it cannot be executed.
pub async fn capture(
    engine: &Arc<Engine>,
    id: &str,
    process: Process,
    limit: Duration,
    keep: usize,
) -> Result<Captured, CaptureError> {
    let deadline = Instant::now() + limit;
    let (reader, writer) = io::pipe()?;
    let (launching, dir) = (engine.clone(), container_dir(engine, id));
    let executed = tokio::task::spawn_blocking(move || {
        let Found::Running(container) = banyan_runtime::container::open(&dir)? else {
            return Err(CaptureError::NotRunning);
        };
        let streams = ExecStreams {
            input: std::fs::File::open("/dev/null")?.into(),
            output: writer.try_clone()?.into(),
            error: OwnedFd::from(writer),
        };
        let settings = ExecSettings {
            process,
            unconfined: false,
        };
        Ok(launching.launcher.exec(&container, &settings, Some(streams))?)
    });
    let execution = Arc::new(executed.await.map_err(io::Error::other)??);
    let mut output = pipe::Receiver::from_owned_fd(reader.into())?;
    let mut kept = Vec::new();
    let end = readable(execution.pidfd().try_clone_to_owned()?)?;
    let mut chunk = vec![0; 4096];
    let mut open = true;
    loop {
        tokio::select! {
            read = output.read(&mut chunk), if open => match read? {
                0 => open = false,
                length => take(&mut kept, &chunk[..length], keep),
            },
            ended = end.readable() => {
                ended?.retain_ready();
                break;
            }
            () = tokio::time::sleep_until(deadline) => {
                // Gone in this very moment is as good as killed.
                let _ = execution.signal(9);
                reap(execution).await?;
                return Ok(Captured { status: None, output: kept });
            }
        }
    }
    let drained = Instant::now() + DRAIN;
    while open {
        match tokio::time::timeout_at(drained, output.read(&mut chunk)).await {
            Ok(Ok(length)) if length > 0 => take(&mut kept, &chunk[..length], keep),
            _ => open = false,
        }
    }
    Ok(Captured {
        status: reap(execution).await?,
        output: kept,
    })
}

/// A descriptor that can be waited for until it is readable.
///
/// # Errors
/// When there are too many open files.
#[expect(
    deprecated,
    reason = "its safe replacement does not exist; an owned descriptor is the sound use of it"
)]
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

fn take(kept: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let room = most.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

async fn reap(execution: Arc<Execution>) -> Result<Option<i32>, CaptureError> {
    let reaped = tokio::task::spawn_blocking(move || execution.wait(Some(Duration::from_secs(10))));
    Ok(reaped.await.map_err(io::Error::other)??)
}
