//! The zygote: a small process that shims are copied from, for launchers that make many containers.
//!
//! Starting our binary costs more than a container's own namespaces do: loading it, relocating it, setting its C library
//! up. The zygote has that behind it and sleeps; a shim is a copy of it (`clone3`), which shares nearly all memory with it
//! and with the other shims. `CLONE_PARENT` makes the launcher the shim's parent, as if it had started it itself.
//!
//! It ends when its launcher does, or drops it. When it was killed, the next shim starts a new one.

use super::{
    message::{self, Reply, Request},
    shim,
};
use crate::{
    container::record::boot_id,
    failure::{At, Failure, Step},
    sys::clone::{self, Copied, CopyOptions},
};
use std::os::fd::{AsFd, OwnedFd};

/// Serves the launcher at the other end of the socket until it is gone. In a copy: that shim's exit status.
pub(crate) fn run(launcher: OwnedFd) -> u8 {
    let _ = rustix::thread::set_name(c"banyan-zygote");
    // Every shim writes it: read here, all have it.
    let _ = boot_id();
    loop {
        let Ok(Some((Request::Fork, descriptors))) = message::receive::<Request>(&launcher) else {
            return 0;
        };
        let Some(socket) = descriptors.into_iter().next() else {
            continue;
        };
        match copy(&launcher, &socket) {
            Ok(Copied::Child) => {
                drop(launcher);
                return shim::run_copied(socket);
            }
            Ok(Copied::Parent { pid, .. }) => {
                let pid = pid.as_raw_nonzero().get();
                let _ = message::send(&socket, &Reply::Born { pid }, &[]);
            }
            Err(failure) => {
                let _ = message::send(&socket, &Reply::Failed(failure), &[]);
            }
        }
    }
}

/// A copy of this process that goes on with these descriptors only: not with other shims' sockets.
fn copy(launcher: &OwnedFd, socket: &OwnedFd) -> Result<Copied, Failure> {
    let options = CopyOptions {
        sibling: true,
        keep: Some(&[launcher.as_fd(), socket.as_fd()]),
        ..CopyOptions::default()
    };
    clone::copy_process(&options).at(Step::Clone, "shim")
}
