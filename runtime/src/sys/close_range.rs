//! `close_range`: all descriptors from a number on, at once.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

/// Marks every descriptor from `first` on close-on-exec (close_range(2) with `CLOSE_RANGE_CLOEXEC`, Linux 5.11).
///
/// Marking is safe where closing would not be: owned descriptors stay valid until `exec`.
///
/// # Errors
/// `ENOSYS` and `EINVAL` on kernels before 5.11.
pub fn cloexec_from(first: u32) -> io::Result<()> {
    // SAFETY: the flag only changes what happens at exec; no descriptor is closed here.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes `number` a copy of `descriptor` that stays open across exec (dup3(2)); what had the number is closed.
///
/// The caller must know that nothing it still uses has this number.
///
/// # Errors
/// `EBADF` for a number beyond the limit.
pub(crate) fn replace(descriptor: &OwnedFd, number: i32) -> io::Result<()> {
    if descriptor.as_raw_fd() == number {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: both are plain numbers; the caller promises that nobody owns the one that is replaced.
    match unsafe { libc::dup3(descriptor.as_raw_fd(), number, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Copies of the descriptors `first`, `first + 1`, … that this process was started with.
///
/// # Errors
/// `EBADF` when one of them is not open.
pub fn inherited(first: i32, count: i32) -> io::Result<Vec<OwnedFd>> {
    (first..first + count)
        .map(|number| {
            // SAFETY: the descriptor is only copied, during this call; when nothing has this number the kernel says so.
            let given = unsafe { BorrowedFd::borrow_raw(number) };
            Ok(rustix::io::fcntl_dupfd_cloexec(given, 3)?)
        })
        .collect()
}

/// Closes every descriptor but the standard streams and `keep` (close_range(2), Linux 5.9).
///
/// For a copy of this process that goes on with `keep` alone and never returns into the code that owns the others:
/// nothing may use or drop them afterwards.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub(super) fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().map(Some).chain([None]) {
        let last = fd.map_or(u32::MAX, |fd| fd.wrapping_sub(1));
        if fd.is_none_or(|fd| fd > first) {
            // SAFETY: the caller gives up all descriptors that are not kept, as documented.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        first = fd.map_or(first, |fd| first.max(fd + 1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::sys::clone::{Copied, CopyOptions};
    use std::os::fd::AsFd;

    #[test]
    fn only_kept_descriptors_stay_open() {
        let open = || std::fs::File::open("/dev/null").expect("it exists");
        let files: Vec<_> = (0..6).map(|_| open()).collect();
        let kept = [files[4].as_fd(), files[1].as_fd()];
        let (ours, theirs) = rustix::pipe::pipe().expect("a pipe");
        let keep = [kept[0], kept[1], theirs.as_fd()];
        let options = CopyOptions {
            keep: Some(&keep),
            ..CopyOptions::default()
        };
        match crate::sys::clone::copy_process(&options).expect("a copy") {
            Copied::Child => {
                // Only system calls here: the test's process has threads.
                let is_open = |index: usize| rustix::io::fcntl_getfd(&files[index]).is_ok();
                let states = [0, 1, 2, 3, 4, 5].map(|index| u8::from(is_open(index)));
                let _ = rustix::io::write(&theirs, &states);
                crate::sys::exec::leave(0);
            }
            Copied::Parent { .. } => {
                let mut states = [9; 6];
                rustix::io::read(&ours, &mut states).expect("the copy's answer");
                assert_eq!(states, [0, 1, 0, 0, 1, 0]);
            }
        }
    }
}
