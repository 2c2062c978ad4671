//! Ctrl-C and its relatives, as messages on a channel.

use std::{sync::mpsc::Sender, thread};

/// Sends `make()` for each SIGINT, SIGTERM and SIGHUP of this process, for as long as it lives.
pub(super) fn forward<T: Send + 'static>(
    to: Sender<T>,
    make: impl Fn() -> T + Send + 'static,
) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
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
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if to.send(make()).is_err() {
                    return;
                }
            }
        });
    });
    Ok(())
}
