//! Names that were checked once, at the edge.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("a {what} name cannot be empty")]
    Empty {
        /// The kind of thing named: `project`, `service`.
        what: &'static str,
    },
    /// A character outside the permitted set.
    #[error("`{name}` is not a {what} name: `{bad}` is not allowed; use {allowed}")]
    Character {
        /// The kind of thing named.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The first character refused.
        bad: char,
        /// The permitted characters in words.
        allowed: &'static str,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $first:expr, $rest:expr, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks `name`.
            ///
            /// # Errors
            /// When it is empty or holds a character that is not allowed.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                let (first, rest): (fn(char) -> bool, fn(char) -> bool) = ($first, $rest);
                if name.is_empty() {
                    return Err(NameError::Empty { what: $what });
                }
                let bad = name.chars().enumerate().find(|(i, c)| if *i == 0 { !first(*c) } else { !rest(*c) });
                match bad {
                    Some((_, bad)) => Err(NameError::Character { what: $what, name, bad, allowed: $allowed }),
                    None => Ok(Self(name)),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A project's name: lower-case letters, digits, `_` and `-`, starting with a letter or digit. Safe as a file name.
    ProjectName,
    "project",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-',
    "lower-case letters, digits, `-` and `_`, starting with a letter or digit"
);
name!(
    /// A service's name: letters, digits, `.`, `_` and `-`. May start with any of them, as in docker compose; `.` and
    /// `..` alone never become file names because containers are named `project-service-N`.
    ServiceName,
    "service",
    |c| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-',
    |c| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-',
    "letters, digits, `.`, `-` and `_`"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_names_are_safe_file_names() {
        for good in ["a", "0", "my-app_2"] {
            assert!(ProjectName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a/b", "a.b", "..", "é"] {
            assert!(ProjectName::new(bad).is_err(), "{bad}");
        }
    }
}
