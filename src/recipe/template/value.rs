//! What an expression of a template can be.

use std::{cmp::Ordering, fmt};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing: a parameter that was not given, a container that does not exist.
    Nothing,
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
    /// A container, by its number in the scene.
    Container(usize),
    /// All containers.
    Collection,
    /// What `.` is at the top: `.Container`, `.Collection`, `.Port`.
    Root,
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// What `if` makes of it: nothing, `false`, 0 and what is empty are false.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Bool(yes) => *yes,
            Self::Int(number) => *number != 0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Container(_) | Self::Collection | Self::Root => true,
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Container(_) => "a container",
            Self::Collection => "the collection",
            Self::Root => "the template's data",
        }
    }

    /// Equal as Go's `eq` sees it; a number equals the text that writes it, because YAML decides which of the two it is.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self == other
            || match (self, other) {
                (
                    Self::Text(_) | Self::Int(_) | Self::Bool(_),
                    Self::Text(_) | Self::Int(_) | Self::Bool(_),
                ) => self.to_string() == other.to_string(),
                _ => false,
            }
    }

    /// Order of numbers and of texts; `None` for anything else.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing | Self::Collection | Self::Root => Ok(()),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::List(list) => {
                let texts: Vec<String> = list.iter().map(Self::to_string).collect();
                write!(f, "[{}]", texts.join(" "))
            }
            Self::Map(map) => {
                let texts: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{value}")).collect();
                write!(f, "map[{}]", texts.join(" "))
            }
            Self::Container(number) => write!(f, "{number}"),
        }
    }
}
