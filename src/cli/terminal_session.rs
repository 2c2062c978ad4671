//! A terminal passed through: ours is raw while a process in a container has its own, sizes follow, and ours is always
//! restored.

use super::{CommandError, Exit, Outcome};
use banyan_runtime::{
    container::{Execution, TerminalSize},
    sys::{host, raw_terminal::RawTerminal},
};
use std::{
    fs::File,
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// The size of our terminal.
pub fn size() -> Option<TerminalSize> {
    let (rows, columns) = host::terminal_size(std::io::stdin())?;
    Some(TerminalSize { rows, columns })
}

/// Passes bytes both ways until the process has ended, and gives its status.
///
/// # Errors
/// When the terminal cannot be used.
pub fn run(execution: Execution) -> Outcome {
    let fail = |error: std::io::Error| CommandError::caused(Exit::Host, "cannot use the terminal", &error);
    let mut execution = execution;
    let Some(master) = execution.terminal.take() else {
        return Err(CommandError::new(Exit::Internal, "the process got no terminal"));
    };
    let mut from = File::from(master.try_clone().map_err(fail)?);
    let mut to = File::from(master.try_clone().map_err(fail)?);
    let raw = RawTerminal::enter(std::io::stdin()).map_err(fail)?;
    let resized = master.try_clone().map_err(fail)?;
    follow_size(resized).map_err(fail)?;
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        let mut input = std::io::stdin();
        while let Ok(length @ 1..) = input.read(&mut bytes) {
            if to.write_all(&bytes[..length]).is_err() {
                return;
            }
        }
    });
    let shown = Arc::new(AtomicU64::new(0));
    let counted = shown.clone();
    let output = thread::spawn(move || {
        let mut bytes = [0; 16384];
        let mut screen = std::io::stdout();
        // EIO is how a terminal says that its last process is gone (pty(7)).
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            if screen
                .write_all(&bytes[..length])
                .and_then(|()| screen.flush())
                .is_err()
            {
                return;
            }
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let status = execution.wait(None);
    drop(master);
    // A child of the process may keep the terminal open for ever; what was written until now is shown, however slow
    // our own terminal is.
    let (mut seen, mut idle) = (shown.load(Ordering::SeqCst), 0);
    while !output.is_finished() && idle < 20 {
        thread::park_timeout(std::time::Duration::from_millis(5));
        let now = shown.load(Ordering::SeqCst);
        idle = if now == seen { idle + 1 } else { 0 };
        seen = now;
    }
    drop(raw);
    let status =
        status.map_err(|error| CommandError::caused(Exit::Host, "cannot wait for the command", &error))?;
    Ok(Exit::Status(
        status
            .and_then(|status| u8::try_from(status).ok())
            .unwrap_or(u8::MAX),
    ))
}

/// Passes on every change of our terminal's size.
fn follow_size(master: std::os::fd::OwnedFd) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let mut changed = signal(SignalKind::window_change())?;
    drop(entered);
    thread::spawn(move || {
        runtime.block_on(async {
            while changed.recv().await.is_some() {
                if let Some((rows, columns)) = host::terminal_size(std::io::stdin())
                    && host::set_terminal_size(&master, rows, columns).is_err()
                {
                    return;
                }
            }
        });
    });
    Ok(())
}
