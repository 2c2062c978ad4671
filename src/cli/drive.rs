//! Asks an engine and shows what it answers, with Ctrl-C passed on: once interrupts, twice gives up watching.

use super::{CommandError, Exit, Global, interrupt, progress::View, terminal};
use crate::api::{
    client::{Answer, Client, ClientError},
    wire::{Failure, Fault, Level, Message, Request},
};
use std::{
    io::Write,
    ops::ControlFlow,
    os::unix::net::UnixStream,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

#[derive(Debug)]
enum Heard {
    /// When asked, and again before the first message: an engine that was just ending has been replaced by then.
    Connected(UnixStream),
    Message(Box<Message>),
    End(Result<(), ClientError>),
    Signal,
}

/// An engine that has done what was asked and does the rest when it is let go.
#[derive(Debug)]
pub(super) struct Held {
    stream: UnixStream,
    heard: mpsc::Receiver<Heard>,
}

impl Held {
    /// Lets the engine do the rest; returns when it has.
    pub(super) fn release(self) {
        // A connection that is gone already is as good.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        // Interrupts until now were for others; one from now on means that nobody wants to wait.
        for heard in self.heard.try_iter() {
            if matches!(heard, Heard::End(_)) {
                return;
            }
        }
        while let Ok(heard) = self.heard.recv() {
            if matches!(heard, Heard::End(_) | Heard::Signal) {
                return;
            }
        }
    }
}

/// Asks and shows progress until the end; other messages go to `also`.
///
/// # Errors
/// What the engine reports; or that it could not be reached.
pub(super) fn drive(
    global: &Global,
    client: &Client,
    request: &Request,
    mut also: impl FnMut(&Message),
) -> Result<(), CommandError> {
    let until = |message: &Message| {
        also(message);
        ControlFlow::Continue(())
    };
    drive_until(global, client, request, until).map(|_| ())
}

/// The same until `also` breaks it off: the engine is then held, and does what remains when it is released.
///
/// # Errors
/// As [`drive`].
pub(super) fn drive_until(
    global: &Global,
    client: &Client,
    request: &Request,
    mut also: impl FnMut(&Message) -> ControlFlow<()>,
) -> Result<Option<Held>, CommandError> {
    let (send, heard) = mpsc::channel();
    let forwarded = send.clone();
    // First: a Ctrl-C that came right after the request would end this command, and the operation would go on.
    interrupt::forward(forwarded, || Heard::Signal)
        .map_err(|error| CommandError::caused(Exit::Host, "cannot listen for signals", &error))?;
    let answer = client.ask(request).map_err(unreachable)?;
    let mut view = View::new(terminal::progress(global), terminal::Style::stderr(global));
    thread::spawn(move || listen(answer, &send));
    let (mut signals, mut connection) = (0, None::<UnixStream>);
    loop {
        let news = heard.recv_timeout(Duration::from_millis(100));
        match news {
            Ok(Heard::Message(message)) => match *message {
                Message::Done => {
                    view.finish();
                    return Ok(None);
                }
                Message::Failed(failure) => {
                    view.finish();
                    return Err(failed(&failure));
                }
                message => {
                    if !hidden(global, &message) {
                        view.take(&message);
                    }
                    if also(&message).is_break() {
                        view.finish();
                        return Ok(connection.map(|stream| Held { stream, heard }));
                    }
                }
            },
            Ok(Heard::Signal) => {
                signals += 1;
                if signals > 1 {
                    view.finish();
                    let hint = "`banyan ps` shows what runs; `banyan down` removes it";
                    return Err(
                        CommandError::new(Exit::Interrupted, "interrupted twice: gave up watching")
                            .hint(hint),
                    );
                }
                if let Some(stream) = &connection {
                    interrupt_operation(stream);
                }
            }
            Ok(Heard::Connected(stream)) => {
                if signals > 0 {
                    interrupt_operation(&stream);
                }
                connection = Some(stream);
            }
            Ok(Heard::End(end)) => {
                view.finish();
                end.map_err(unreachable)?;
                let what = "the engine ended before the operation did";
                return Err(CommandError::new(Exit::Internal, what)
                    .hint("run the command again: it continues where this one ended"));
            }
            Err(RecvTimeoutError::Timeout) => view.tick(),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(CommandError::new(
                    Exit::Internal,
                    "nobody listens to the engine any more",
                ));
            }
        }
    }
}

/// Asks the operation of this connection to stop.
fn interrupt_operation(mut stream: &UnixStream) {
    let mut line = serde_json::to_vec(&Request::Interrupt).unwrap_or_default();
    line.push(b'\n');
    // An engine that cannot be told is gone, and the stream ends by itself.
    let _ = stream.write_all(&line);
}

/// What `--quiet-pull` and `--quiet-build` leave out.
fn hidden(global: &Global, message: &Message) -> bool {
    match message {
        Message::Transfer { .. } => global.quiet_pull,
        Message::Note { level, .. } => global.quiet_build && *level == Level::Output,
        _ => false,
    }
}

fn listen(mut answer: Answer, to: &mpsc::Sender<Heard>) {
    // Whoever has gone hears nothing.
    let tell = |answer: &Answer| {
        if let Ok(stream) = answer.stream() {
            let _ = to.send(Heard::Connected(stream));
        }
    };
    tell(&answer);
    let mut connected = false;
    loop {
        let heard = match answer.read() {
            Ok(Some(message)) => Heard::Message(Box::new(message)),
            Ok(None) => Heard::End(Ok(())),
            Err(error) => Heard::End(Err(error)),
        };
        // An engine that was just ending has been replaced by another.
        if !connected {
            connected = true;
            tell(&answer);
        }
        let over = matches!(heard, Heard::End(_));
        if to.send(heard).is_err() || over {
            return;
        }
    }
}

/// The engine could not be reached.
pub(super) fn unreachable(error: ClientError) -> CommandError {
    CommandError::caused(Exit::Host, "cannot reach the project's engine", &error)
}

/// What the engine reported, for the reader.
pub(super) fn failed(failure: &Failure) -> CommandError {
    let exit = match failure.fault {
        Fault::Asked => Exit::Failed,
        Fault::ProjectFile => Exit::ProjectFile,
        Fault::Host => Exit::Host,
        Fault::Interrupted => Exit::Interrupted,
        Fault::Internal => Exit::Internal,
    };
    let mut details = failure.details.clone().unwrap_or_default();
    for line in &failure.cleanup {
        if !details.is_empty() && !details.ends_with('\n') {
            details.push('\n');
        }
        details += &format!("  clean-up: {line}\n");
    }
    CommandError {
        exit,
        status: failure.status,
        what: failure.what.clone(),
        because: failure.because.clone(),
        at: failure.at.clone(),
        hint: failure.hint.clone(),
        details: (!details.is_empty()).then_some(details),
    }
}
