//! Signal dispositions as a new program expects them.

use std::io;

/// Gives every signal its default disposition and unblocks all (signal(7)): exec(2) keeps "ignored", and both Rust's
/// start-up code (SIGPIPE) and `nohup` leave some ignored.
pub fn reset() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is not a function of ours; signals that cannot be changed give an error, which is harmless.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    // An empty mask cannot be refused.
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Blocks all signals, so that a handler of the parent cannot run in a copy of it.
///
/// # Errors
/// Never on Linux; kept because the call can say so.
pub fn block_all() -> io::Result<()> {
    nix::sys::signal::SigSet::all()
        .thread_set_mask()
        .map_err(Into::into)
}

/// Waits for any (blocked) signal and takes it (sigwait(3)).
///
/// # Errors
/// As sigwaitinfo(2).
pub fn wait_any() -> io::Result<i32> {
    // SAFETY: `sigset_t` is plain data, filled by the next call.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid for writing.
    unsafe { libc::sigfillset(&raw mut set) };
    // SAFETY: `set` is initialised; a null siginfo is allowed.
    let number = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
    if number < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(number)
    }
}

/// Sends any signal, real-time ones too, to a child that is not yet reaped (kill(2)).
pub fn send(child: rustix::process::Pid, number: i32) {
    // SAFETY: kill touches no memory; the child is ours and unreaped, so the number cannot mean another process.
    unsafe { libc::kill(child.as_raw_nonzero().get(), number) };
}
