//! Which system calls a container may make: a profile, compiled to classic BPF for seccomp(2).
//!
//! 1. [`Profile`]: rules, from our data ([`default`]) or from JSON in Docker's or the OCI specification's form.
//! 2. [`compile`]: every number of every kernel interface gets its action; runs of equal actions become a binary search
//!    ([`program`]), so a call costs about eight comparisons instead of several hundred.
//!
//! Calls newer than any we know answer ENOSYS instead of the default: C libraries try new calls first and fall back
//! only then. Interfaces we do not know (x32) answer ENOSYS as a whole.

mod default;
mod json;
mod names;
mod program;

pub(super) use default::default_profile;
pub use json::ProfileError;
pub(super) use json::{flags, parse};
pub(super) use program::compile;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    /// It fails with this errno.
    Errno(u16),
    KillThread,
    KillProcess,
    Trap,
    Trace(u16),
    Log,
    /// A supervisor decides (seccomp_unotify(2)).
    Notify,
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which argument, 0–5.
    pub(super) index: u32,
    pub(super) operator: Operator,
    pub(super) value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// Equal after masking the argument with this.
    MaskedEqual(u64),
}

/// Calls that get an action when all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    pub(super) action: Action,
    pub(super) conditions: Vec<Condition>,
}

/// A whole profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) default: Action,
    pub(super) rules: Vec<Rule>,
}

#[cfg(test)]
mod tests;
