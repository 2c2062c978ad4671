//! Device rules: v1 writes them as text; v2 runs them as a small program (see [`crate::sys`]).

use super::v1::{Write, write};

/// What to write into a v1 `devices` directory so that exactly `rules` are allowed.
pub(super) fn v1_writes(rules: &[String]) -> Vec<Write> {
    let mut list = vec![write("devices.deny", "a")];
    list.extend(rules.iter().map(|rule| write("devices.allow", rule)));
    list
}
