//! Being connected to a container: its output to ours, our input, signals and window to it, until it ends or we leave.
//!
//! Output is read from the log, which begins before the program does, so that nothing is missed. Without a terminal,
//! input ends when ours ends. Our own terminal is raw meanwhile and always restored.

use super::{CommandError, Exit};
use banyan_runtime::{
    container::{Container, ContainerDir, Found, Running},
    log::{Entry, Reader, ReaderOptions, Stream, Watch},
    sys::raw_terminal::RawTerminal,
};
use std::{
    fs::File,
    io::{BufWriter, IsTerminal, Read, Write},
    os::fd::OwnedFd,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

/// How often it is looked whether the container has ended; its output wakes us at once.
const LOOK: Duration = Duration::from_millis(50);
/// Signals of ours that are passed on, and their numbers.
const INTERRUPT: i32 = 2;
const HANG_UP: i32 = 1;
const QUIT: i32 = 3;
const TERMINATE: i32 = 15;
const BROKEN_PIPE: i32 = 13;
/// So many interrupts in a row mean that the user wants to leave a container that ignores them.
const ENOUGH: u32 = 3;

/// What is connected, and how.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The container.
    pub dir: ContainerDir,
    /// It has a terminal.
    pub terminal: bool,
    /// It gets our input.
    pub input: bool,
    /// Signals of ours go to it.
    pub signals: bool,
    /// The container exists for this session alone (`run`): it ends when nobody reads it any more, or the user
    /// interrupts again and again. A terminal that went away does not end it.
    pub owned: bool,
    /// Keys that leave it (terminals only); empty: none.
    pub detach_keys: Vec<u8>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The container ended with this status.
    Exited(u8),
    /// The user left; it goes on.
    Left,
    /// The user's terminal went away, or they interrupted again and again.
    Gone(i32),
}

impl End {
    /// The exit status of a command that ended so; says what goes on when the user left.
    pub(super) fn exit(self, name: &str) -> Exit {
        let hint = |left: &str| {
            // Standard error may be closed.
            let _ = writeln!(std::io::stderr(), "{left} `{name}`, which goes on");
        };
        match self {
            Self::Exited(status) => Exit::Status(status),
            Self::Left => {
                hint("left");
                Exit::Success
            }
            Self::Gone(signal) => {
                hint("gave up watching");
                Exit::Status(128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)))
            }
        }
    }
}

enum Happened {
    Signal(i32),
    Resized,
    Left,
}

/// Follows until the end.
///
/// # Errors
/// When the container or the terminal cannot be used.
pub(super) fn follow(session: &Session) -> Result<End, CommandError> {
    let fail = |error: &(dyn std::error::Error + 'static)| {
        CommandError::caused(Exit::Host, "cannot connect to the container", error)
    };
    let options = ReaderOptions {
        tail: (!session.owned).then_some(0),
        ..ReaderOptions::default()
    };
    let log = session.dir.log();
    let watch = Watch::new(&log).map_err(|error| fail(&error))?;
    let mut reader = Reader::open(&log, options).map_err(|error| fail(&error))?;
    let mut running = match reopened(&session.dir)? {
        Again::Running(running) => running,
        Again::Ended(code) => {
            show(&mut reader, session.terminal)?;
            return Ok(End::Exited(code));
        }
    };
    let (send, happened) = mpsc::channel();
    listen(&send).map_err(|error| fail(&error))?;
    // Raw only when keys go to the container; restored when this value is dropped, on every way out.
    let raw = if session.terminal && session.input && std::io::stdin().is_terminal() {
        Some(RawTerminal::enter(std::io::stdin()).map_err(|error| fail(&error))?)
    } else {
        None
    };
    if session.terminal {
        resize(&running);
    }
    // A container that has just ended reads no more.
    if session.input
        && let Ok(attachment) = running.stdin()
    {
        let keys = if raw.is_some() {
            session.detach_keys.clone()
        } else {
            Vec::new()
        };
        pass_input(
            attachment.stdin,
            session.dir.clone(),
            session.terminal,
            keys,
            send,
        );
    }
    let end = watch_until_end(&mut running, &watch, &mut reader, &happened, session);
    drop(raw);
    end
}

fn watch_until_end(
    running: &mut Container<Running>,
    watch: &Watch,
    reader: &mut Reader,
    happened: &Receiver<Happened>,
    session: &Session,
) -> Result<End, CommandError> {
    let mut interrupts = 0;
    loop {
        watch.clear();
        let ended = running.try_wait();
        let heard = show(reader, session.terminal)?;
        if !heard && ended.as_ref().is_ok_and(Option::is_none) {
            return Ok(give_up(running, session, BROKEN_PIPE));
        }
        for happened in happened.try_iter() {
            match happened {
                Happened::Left => return Ok(End::Left),
                Happened::Resized => resize(running),
                Happened::Signal(signal) => {
                    interrupts += u32::from(matches!(signal, INTERRUPT | TERMINATE));
                    if !session.signals {
                        return Ok(End::Gone(signal));
                    }
                    // It may just have ended.
                    let _ = running.signal(signal);
                    if signal == HANG_UP {
                        return Ok(End::Gone(signal));
                    }
                    if interrupts >= ENOUGH {
                        return Ok(give_up(running, session, signal));
                    }
                }
            }
        }
        match ended {
            Ok(Some(exit)) => return Ok(End::Exited(u8::try_from(exit.code()).unwrap_or(u8::MAX))),
            Ok(None) => {
                let _changed = watch.wait(LOOK);
            }
            // Its shim was killed and is being replaced: look at the container anew.
            Err(_) => match reopened(&session.dir)? {
                Again::Running(again) => *running = again,
                Again::Ended(code) => {
                    show(reader, session.terminal)?;
                    return Ok(End::Exited(code));
                }
            },
        }
    }
}

/// Nobody wants it any more: what exists for this session alone is killed, everything else goes on.
fn give_up(running: &mut Container<Running>, session: &Session, signal: i32) -> End {
    if !session.owned {
        return End::Gone(signal);
    }
    let _ = running.kill();
    match running.wait(Some(Duration::from_secs(2))) {
        Ok(Some(exit)) => End::Exited(u8::try_from(exit.code()).unwrap_or(u8::MAX)),
        _ => End::Gone(signal),
    }
}

enum Again {
    Running(Container<Running>),
    Ended(u8),
}

/// The container as it is now. It may just be ending, or its shim was lost and a project's engine is giving it a new
/// one: then it is looked at again.
fn reopened(dir: &ContainerDir) -> Result<Again, CommandError> {
    for _ in 0..40 {
        match banyan_runtime::container::open(dir) {
            Ok(Found::Running(running)) => return Ok(Again::Running(running)),
            Ok(Found::Stopped(exit)) => {
                return Ok(Again::Ended(u8::try_from(exit.code()).unwrap_or(u8::MAX)));
            }
            _ => thread::park_timeout(LOOK),
        }
    }
    Err(CommandError::new(Exit::Host, "lost sight of the container"))
}

/// Writes everything there is now, unfinished lines too; false when standard output has no reader any more.
fn show(reader: &mut Reader, terminal: bool) -> Result<bool, CommandError> {
    let mut out = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    let mut complain = std::io::stderr().lock();
    let mut heard = true;
    let mut write = |line: &Entry| {
        let end: &[u8] = if line.partial || line.bytes.ends_with(b"\n") {
            b""
        } else {
            b"\n"
        };
        if line.stream == Stream::Stderr && !terminal {
            // What was written before it is seen before it; a closed standard error has no reader to lose.
            heard &= out.flush().is_ok();
            let _ = complain
                .write_all(&line.bytes)
                .and_then(|()| complain.write_all(end));
        } else {
            heard &= out
                .write_all(&line.bytes)
                .and_then(|()| out.write_all(end))
                .is_ok();
        }
        heard
    };
    let fail = |error| CommandError::caused(Exit::Host, "cannot read the container's output", &error);
    while let Some(line) = reader.next().map_err(fail)? {
        if !write(&line) {
            return Ok(false);
        }
    }
    for line in reader.flush() {
        write(&line);
    }
    heard &= out.flush().is_ok();
    Ok(heard)
}

fn resize(running: &Container<Running>) {
    if let Some(size) = super::terminal_session::size() {
        // A container that just ended has no terminal.
        let _ = running.resize(size);
    }
}

/// Copies our input on a thread of its own, which ends with this process.
fn pass_input(to: OwnedFd, dir: ContainerDir, terminal: bool, keys: Vec<u8>, left: Sender<Happened>) {
    thread::spawn(move || {
        let mut to = File::from(to);
        let mut from = std::io::stdin().lock();
        let mut buffer = vec![0; 16 << 10];
        let mut detach = super::detach_keys::Matcher::new(keys);
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let (bytes, matched) = detach.pass(&buffer[..length]);
            if to.write_all(&bytes).is_err() {
                return;
            }
            if matched {
                let _ = left.send(Happened::Left);
                return;
            }
        }
        drop(to);
        // A terminal has no end of input but the key for it.
        if !terminal && let Ok(Found::Running(container)) = banyan_runtime::container::open(&dir) {
            let _ = container.close_stdin();
        }
    });
}

/// Tells signals and changes of the window's size.
fn listen(to: &Sender<Happened>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    // Registered here, not on the thread, so that no signal after this call can end the process with a raw terminal.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (mut hang_up, mut quit) = (signal(SignalKind::hangup())?, signal(SignalKind::quit())?);
    let mut resized = signal(SignalKind::window_change())?;
    drop(entered);
    let to = to.clone();
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let happened = tokio::select! {
                    _ = interrupt.recv() => Happened::Signal(INTERRUPT),
                    _ = terminate.recv() => Happened::Signal(TERMINATE),
                    _ = hang_up.recv() => Happened::Signal(HANG_UP),
                    _ = quit.recv() => Happened::Signal(QUIT),
                    _ = resized.recv() => Happened::Resized,
                };
                if to.send(happened).is_err() {
                    return;
                }
            }
        });
    });
    Ok(())
}
