//! Signals: dispositions as a new program expects them, and waiting for signals like for everything else.

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

/// Signals that wait to be taken instead of interrupting.
#[derive(Debug)]
pub struct Queue {
    signals: SignalFd,
}

impl Queue {
    /// Blocks these signals in this thread, and in those it starts later, and queues them (signalfd(2)). Signals that are
    /// ignored stay ignored.
    ///
    /// # Errors
    /// `InvalidInput` for a number that is no signal; when there are too many open files.
    pub fn new(numbers: &[i32]) -> io::Result<Self> {
        let mut set = SigSet::empty();
        for number in numbers {
            set.add(Signal::try_from(*number)?);
        }
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { signals })
    }

    /// The next one; `None` when there is none.
    pub fn take(&mut self) -> Option<i32> {
        let next = self.signals.read_signal().ok()??;
        i32::try_from(next.ssi_signo).ok()
    }
}

impl AsFd for Queue {
    /// Readable when there is one.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

/// Gives every signal its default disposition and unblocks all (signal(7)): exec(2) keeps "ignored", and Rust's start-up
/// code (SIGPIPE), `nohup`, and posix_spawn(3) (the C library's own two, which signal(3) will not touch: so the kernel is
/// asked) leave some ignored.
pub fn reset() {
    /// The kernel's `struct sigaction` (rt_sigaction(2), "C library/kernel differences"), zeroed: SIG_DFL, no flags. It is
    /// four words on all of our architectures.
    const DEFAULT: [u64; 4] = [0; 4];
    for number in 1..=64_i32 {
        // SAFETY: `DEFAULT` outlives the call and is as large as what the kernel reads; SIG_DFL is not a function of ours;
        // signals that cannot be changed give an error, which is harmless.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<libc::c_void>(),
                8_usize,
            )
        };
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
