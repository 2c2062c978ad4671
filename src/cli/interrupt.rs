//! Ctrl-C and its relatives, as messages on a channel.

use std::{future::poll_fn, sync::mpsc::Sender, task::Poll, thread};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP: the terminal went away.
pub(super) const HANG_UP: i32 = 1;
/// SIGINT.
pub(super) const INTERRUPT: i32 = 2;
/// SIGTERM.
pub(super) const TERMINATE: i32 = 15;
/// SIGWINCH: the terminal has another size.
pub(super) const RESIZED: i32 = 28;
/// What asks a process to end.
const ENDING: [i32; 3] = [HANG_UP, INTERRUPT, TERMINATE];

/// Sends `make()` for each SIGINT, SIGTERM and SIGHUP of this process, for as long as it lives.
pub(super) fn forward<T: Send + 'static>(
    to: Sender<T>,
    make: impl Fn() -> T + Send + 'static,
) -> std::io::Result<()> {
    listen(&ENDING, move |_| to.send(make()).is_ok())
}

/// Sends the number of each SIGINT, SIGTERM and SIGHUP of this process, for as long as it lives.
pub(super) fn forward_each(to: Sender<i32>) -> std::io::Result<()> {
    listen(&ENDING, move |number| to.send(number).is_ok())
}

/// Calls `heard` with the number of each of these signals until it gives false.
pub(super) fn listen(signals: &[i32], heard: impl Fn(i32) -> bool + Send + 'static) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    // Registered here, not on the thread, so that no signal after this call can end the process.
    let mut listening: Vec<(i32, Signal)> = Vec::new();
    for number in signals {
        listening.push((*number, signal(SignalKind::from_raw(*number))?));
    }
    drop(entered);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let number = poll_fn(|context| {
                    for (number, signal) in &mut listening {
                        if signal.poll_recv(context).is_ready() {
                            return Poll::Ready(*number);
                        }
                    }
                    Poll::Pending
                })
                .await;
                if !heard(number) {
                    return;
                }
            }
        });
    });
    Ok(())
}
