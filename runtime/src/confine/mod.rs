//! What a container is not allowed: capabilities (capabilities(7)) and system calls (seccomp(2)).
//!
//! 1. [`Capabilities`]: the sets a process gets, as data.
//! 2. [`capabilities`]: dropping to them, in the order that changing the user demands.
//! 3. [`SeccompProfile`]: which calls; [`Compiled`] keeps the program for the next container.
//!
//! Deliberately absent: AppArmor and SELinux (labels are the host's business; see `docs/container-launch.md`).

pub mod capabilities;
mod compiled;
mod profile;
mod seccomp;

pub use capabilities::Capabilities;
pub(crate) use compiled::{Compiled, decode};
pub use profile::SeccompProfile;
pub use seccomp::ProfileError;

use crate::sys::seccomp::Instruction;
use std::io;

/// The compiled filter of a profile for a process with these capabilities; empty: everything is allowed.
///
/// # Errors
/// `InvalidInput` for a custom profile that cannot be used; see [`check`] for the reason.
pub(crate) fn filter(profile: &SeccompProfile, sets: &Capabilities) -> io::Result<Vec<Instruction>> {
    match profile {
        SeccompProfile::Unconfined => Ok(Vec::new()),
        SeccompProfile::Default => Ok(seccomp::compile(&seccomp::default_profile(sets))),
        SeccompProfile::Custom(text) => {
            let profile = seccomp::parse(text, sets).map_err(|_| io::ErrorKind::InvalidInput)?;
            Ok(seccomp::compile(&profile))
        }
    }
}

/// `SECCOMP_FILTER_FLAG_*` that a profile asks for.
pub(crate) fn filter_flags(profile: &SeccompProfile) -> u64 {
    match profile {
        SeccompProfile::Custom(text) => seccomp::flags(text).unwrap_or_default(),
        SeccompProfile::Default | SeccompProfile::Unconfined => 0,
    }
}

/// Whether a profile can be used.
///
/// # Errors
/// Says what is wrong with it.
pub fn check(profile: &SeccompProfile) -> Result<(), ProfileError> {
    match profile {
        SeccompProfile::Custom(text) => {
            seccomp::flags(text)?;
            seccomp::parse(text, &Capabilities::default()).map(drop)
        }
        SeccompProfile::Default | SeccompProfile::Unconfined => Ok(()),
    }
}
