//! Asks an engine and shows what it answers, with Ctrl-C passed on: once interrupts, twice gives up watching.

use super::{CommandError, Exit, Global, interrupt, progress::View, terminal};
use crate::api::{
    client::{Answer, Client, ClientError},
    wire::{Failure, Fault, Message, Request},
};
use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

enum Heard {
    Message(Box<Message>),
    End(Result<(), ClientError>),
    Signal,
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
    let answer = client.ask(request).map_err(unreachable)?;
    let mut view = View::new(terminal::progress(global), terminal::Style::stderr(global));
    let (send, heard) = mpsc::channel();
    let forwarded = send.clone();
    interrupt::forward(forwarded, || Heard::Signal)
        .map_err(|error| CommandError::caused(Exit::Host, "cannot listen for signals", &error))?;
    thread::spawn(move || listen(answer, &send));
    let mut signals = 0;
    loop {
        match heard.recv_timeout(Duration::from_millis(100)) {
            Ok(Heard::Message(message)) => match *message {
                Message::Done => {
                    view.finish();
                    return Ok(());
                }
                Message::Failed(failure) => {
                    view.finish();
                    return Err(failed(&failure));
                }
                message => {
                    view.take(&message);
                    also(&message);
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
                // An engine that cannot be told is gone, and the stream ends by itself.
                let _ = client.ask_running(&Request::Interrupt);
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

fn listen(mut answer: Answer, to: &mpsc::Sender<Heard>) {
    loop {
        let heard = match answer.read() {
            Ok(Some(message)) => Heard::Message(Box::new(message)),
            Ok(None) => Heard::End(Ok(())),
            Err(error) => Heard::End(Err(error)),
        };
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
        what: failure.what.clone(),
        because: failure.because.clone(),
        at: failure.at.clone(),
        hint: failure.hint.clone(),
        details: (!details.is_empty()).then_some(details),
    }
}
