//! Ctrl-C and its relatives, as messages on a channel.

use std::{sync::mpsc::Sender, thread};
use tokio::signal::unix::SignalKind;

/// Sends `make()` for each SIGINT, SIGTERM and SIGHUP of this process, for as long as it lives.
pub(super) fn forward<T: Send + 'static>(
    to: Sender<T>,
    make: impl Fn() -> T + Send + 'static,
) -> std::io::Result<()> {
    listen(move |_| to.send(make()).is_ok())
}

/// Sends the number of each SIGINT, SIGTERM and SIGHUP of this process, for as long as it lives.
pub(super) fn forward_each(to: Sender<i32>) -> std::io::Result<()> {
    listen(move |kind| to.send(kind.as_raw_value()).is_ok())
}

/// Calls `heard` for each until it gives false.
fn listen(heard: impl Fn(SignalKind) -> bool + Send + 'static) -> std::io::Result<()> {
    use tokio::signal::unix::signal;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    // Registered here, not on the thread, so that no signal after this call can end the process.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(entered);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let kind = tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = terminate.recv() => SignalKind::terminate(),
                    _ = hangup.recv() => SignalKind::hangup(),
                };
                if !heard(kind) {
                    return;
                }
            }
        });
    });
    Ok(())
}
