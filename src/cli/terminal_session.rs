//! A terminal passed through: ours is raw while a process in a container has its own, sizes follow, and ours is always
//! restored.

use super::{CommandError, Exit, Outcome, interrupt};
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
        mpsc,
    },
    thread,
    time::Duration,
};

/// How soon a signal that asks us to end is heard; the end of the process is seen at once.
const LOOK: Duration = Duration::from_millis(50);

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
    // Before the terminal is raw, so that no signal can end us with it.
    let asked = follow_signals(master.try_clone().map_err(fail)?).map_err(fail)?;
    let raw = RawTerminal::enter(std::io::stdin()).map_err(fail)?;
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
    let status = loop {
        if let Ok(signal) = asked.try_recv() {
            // The process loses its terminal with us, and gets SIGHUP.
            drop(raw);
            return Ok(Exit::Status(128 + u8::try_from(signal).unwrap_or(0)));
        }
        match execution.wait(Some(LOOK)) {
            Ok(None) => {}
            ended => break ended,
        }
    };
    drop(master);
    // A child of the process may keep the terminal open for ever; what was written until now is shown, however slow
    // our own terminal is.
    let (mut seen, mut idle) = (shown.load(Ordering::SeqCst), 0);
    while !output.is_finished() && idle < 20 {
        thread::park_timeout(Duration::from_millis(5));
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

/// Passes on every change of our terminal's size, and tells which signal asks us to end.
fn follow_signals(master: std::os::fd::OwnedFd) -> std::io::Result<mpsc::Receiver<i32>> {
    let (send, asked) = mpsc::channel();
    let signals = [
        interrupt::RESIZED,
        interrupt::HANG_UP,
        interrupt::INTERRUPT,
        interrupt::TERMINATE,
    ];
    interrupt::listen(&signals, move |signal| {
        if signal != interrupt::RESIZED {
            return send.send(signal).is_ok();
        }
        match host::terminal_size(std::io::stdin()) {
            Some((rows, columns)) => host::set_terminal_size(&master, rows, columns).is_ok(),
            None => true,
        }
    })?;
    Ok(asked)
}
