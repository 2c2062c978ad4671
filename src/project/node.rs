//! A YAML tree that remembers where each part stood.

use super::source::Span;
use indexmap::IndexMap;

/// A value and its position.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
    pub(crate) mark: Mark,
}

/// What a custom tag asks of the merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Plain,
    /// `!reset`: remove what is there.
    Reset,
    /// `!override`: replace what is there, without merging.
    Override,
}

/// The kinds of YAML values.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Node>),
    Map(Map),
    /// Something that was reported as wrong: present, but never looked at again.
    Bad,
}

/// A mapping in the order of the file.
pub(crate) type Map = IndexMap<String, Entry>;

/// A value in a mapping, with the position of its key.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Span,
    /// The key was written as something else than text: `80:`, `true:`.
    pub(crate) odd_key: bool,
    pub(crate) node: Node,
}

impl Entry {
    pub(crate) fn new(key: Span, node: Node) -> Self {
        Self {
            key,
            odd_key: false,
            node,
        }
    }
}

impl Node {
    pub(crate) fn new(value: Value, span: Span) -> Self {
        Self {
            value,
            span,
            mark: Mark::Plain,
        }
    }

    pub(crate) fn str(text: impl Into<String>, span: Span) -> Self {
        Self::new(Value::Str(text.into()), span)
    }

    pub(crate) fn bool(yes: bool, span: Span) -> Self {
        Self::new(Value::Bool(yes), span)
    }

    pub(crate) fn null(span: Span) -> Self {
        Self::new(Value::Null, span)
    }

    pub(crate) fn map(map: Map, span: Span) -> Self {
        Self::new(Value::Map(map), span)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Value::Str(text) = &self.value {
            Some(text)
        } else {
            None
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(yes) = self.value {
            Some(yes)
        } else {
            None
        }
    }

    pub(crate) fn as_int(&self) -> Option<i64> {
        if let Value::Int(number) = self.value {
            Some(number)
        } else {
            None
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        if let Value::List(list) = &self.value {
            Some(list)
        } else {
            None
        }
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        if let Value::Map(map) = &self.value {
            Some(map)
        } else {
            None
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        if let Value::Map(map) = &mut self.value {
            Some(map)
        } else {
            None
        }
    }

    /// The value under `key` of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key).map(|entry| &entry.node)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.as_map_mut()?.get_mut(key).map(|entry| &mut entry.node)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn is_bad(&self) -> bool {
        matches!(self.value, Value::Bad)
    }

    /// A scalar as text, as Go's `fmt.Sprint` writes it, which is what docker compose does with numbers and booleans in
    /// places for text.
    pub(crate) fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Str(text) => Some(text.clone()),
            Value::Bool(yes) => Some(yes.to_string()),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) => Some(go_float(*number)),
            _ => None,
        }
    }

    /// What kind of value this is, in words for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing (null)",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Str(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Bad => "something wrong",
        }
    }

    /// The same value, positions aside.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) | (Value::Bad, Value::Bad) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .all(|(key, a)| b.get(key).is_some_and(|b| a.node.same(&b.node)))
            }
            _ => false,
        }
    }
}

/// A float as Go's `fmt.Sprint` writes it: shortest digits, exponent form below 1e-4 and from 1e6 on (strconv,
/// `%g`).
fn go_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{number}")
}
