//! What a container is not allowed: capabilities (capabilities(7)) and system calls (seccomp(2)).
//!
//! 1. [`Capabilities`]: the sets a process gets, as data.
//! 2. [`capabilities`]: dropping to them, in the order that changing the user demands.
//! 3. [`SeccompProfile`]: which calls.
//!
//! Deliberately absent: AppArmor and SELinux (labels are the host's business; see `docs/container-launch.md`).

pub mod capabilities;
mod profile;

pub use capabilities::Capabilities;
pub use profile::SeccompProfile;

use crate::sys::seccomp::Instruction;

/// The compiled filter of a profile for a process with these capabilities; empty: everything is allowed.
pub(crate) fn filter(
    profile: &SeccompProfile,
    _capabilities: &Capabilities,
) -> std::io::Result<Vec<Instruction>> {
    match profile {
        SeccompProfile::Unconfined | SeccompProfile::Default => Ok(Vec::new()),
        SeccompProfile::Custom(_) => Err(std::io::ErrorKind::Unsupported.into()),
    }
}
