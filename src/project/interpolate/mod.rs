//! Variables in values: `$NAME`, `${NAME}`, `${NAME:-default}` and its relatives.
//!
//! The grammar is that of the Compose Specification (`12-interpolation.md`) with docker compose's additions `:+` and `+`.
//! The operator follows the name directly, and what follows the operator is interpolated in turn, only when it is used.

use std::borrow::Cow;

/// Where values come from.
pub(crate) trait Lookup {
    /// The value of `name`, when it is set.
    fn get(&self, name: &str) -> Option<&str>;
}

impl Lookup for std::collections::BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// What is wrong with a template, with the byte offset in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) kind: FaultKind,
}

/// The kinds of faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// `${` without its `}`.
    Unclosed,
    /// `${}`, `${ x}`, `${1}`.
    Name,
    /// `${x!}`: no operator.
    Operator(String),
    /// `${x:?message}` and `x` has no value.
    Required { name: String, message: String },
    /// Defaults within defaults beyond all reason.
    Deep,
}

/// A variable that has no value and no default: its name and offset.
pub(crate) type Unset = (String, usize);

/// Deepest nesting of defaults.
const DEPTH: usize = 32;

/// Replaces the variables of `text`; names without value and default are told in `unset`.
///
/// # Errors
/// The first fault.
pub(crate) fn substitute<'a>(
    text: &'a str,
    lookup: &dyn Lookup,
    unset: &mut Vec<Unset>,
) -> Result<Cow<'a, str>, Fault> {
    expand(text, 0, lookup, unset, 0)
}

fn expand<'a>(
    text: &'a str,
    base: usize,
    lookup: &dyn Lookup,
    unset: &mut Vec<Unset>,
    depth: usize,
) -> Result<Cow<'a, str>, Fault> {
    if depth > DEPTH {
        return Err(Fault {
            at: base,
            kind: FaultKind::Deep,
        });
    }
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let at = base + (text.len() - rest.len()) + dollar;
        let after = &rest[dollar + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(inside) = after.strip_prefix('{') {
            let end = closing(inside).ok_or(Fault {
                at,
                kind: FaultKind::Unclosed,
            })?;
            out.push_str(&braced(&inside[..end], at, lookup, unset, depth)?);
            rest = &inside[end + 1..];
        } else {
            let length = name_length(after);
            if length == 0 {
                out.push('$');
            } else {
                let name = &after[..length];
                match lookup.get(name) {
                    Some(value) => out.push_str(value),
                    None => unset.push((name.to_owned(), at)),
                }
            }
            rest = &after[length..];
        }
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// The value of what stands between `${` and `}`; `at` is the offset of the `$`.
fn braced(
    inside: &str,
    at: usize,
    lookup: &dyn Lookup,
    unset: &mut Vec<Unset>,
    depth: usize,
) -> Result<String, Fault> {
    let length = name_length(inside);
    if length == 0 {
        return Err(Fault {
            at,
            kind: FaultKind::Name,
        });
    }
    let (name, tail) = inside.split_at(length);
    let value = lookup.get(name);
    if tail.is_empty() {
        if value.is_none() {
            unset.push((name.to_owned(), at));
        }
        return Ok(value.unwrap_or_default().to_owned());
    }
    let (colon, operation) = match tail.strip_prefix(':') {
        Some(operation) => (true, operation),
        None => (false, tail),
    };
    let present = value.filter(|value| !colon || !value.is_empty());
    let operand = operation.get(1..).unwrap_or("");
    let from = at + 2 + length + usize::from(colon) + 1;
    match operation.chars().next() {
        Some('-') => match present {
            Some(value) => Ok(value.to_owned()),
            None => Ok(expand(operand, from, lookup, unset, depth + 1)?.into_owned()),
        },
        Some('+') => match present {
            Some(_) => Ok(expand(operand, from, lookup, unset, depth + 1)?.into_owned()),
            None => Ok(String::new()),
        },
        Some('?') => match present {
            Some(value) => Ok(value.to_owned()),
            None => {
                let message = expand(operand, from, lookup, unset, depth + 1)?.into_owned();
                Err(Fault {
                    at,
                    kind: FaultKind::Required {
                        name: name.to_owned(),
                        message,
                    },
                })
            }
        },
        _ => Err(Fault {
            at,
            kind: FaultKind::Operator(tail.to_owned()),
        }),
    }
}

/// The length of the name at the start of `text`: `[_a-zA-Z][_a-zA-Z0-9]*`.
fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    if !bytes
        .first()
        .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
    {
        return 0;
    }
    bytes
        .iter()
        .position(|b| !(b.is_ascii_alphanumeric() || *b == b'_'))
        .unwrap_or(bytes.len())
}

/// The offset of the `}` that closes a brace opened before `text`; braces inside are counted.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(i);
        }
    }
    None
}

/// A variable that a file asks for, for `config --variables`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Used when it has no value.
    pub default: String,
    /// Used when it has one.
    pub alternate: String,
    /// Whether the project cannot be read without it.
    pub required: bool,
}

/// The variables that `text` mentions, those in defaults left out.
pub(crate) fn variables(text: &str, found: &mut Vec<Variable>) {
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let after = &rest[dollar + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            rest = tail;
        } else if let Some(inside) = after.strip_prefix('{') {
            let end = closing(inside).unwrap_or(inside.len());
            let length = name_length(inside);
            let (name, tail) = inside[..end].split_at(length.min(end));
            let operation = tail.strip_prefix(':').unwrap_or(tail);
            let operand = operation.get(1..).unwrap_or("").to_owned();
            if !name.is_empty() {
                let mut variable = Variable {
                    name: name.into(),
                    ..Variable::default()
                };
                match operation.chars().next() {
                    Some('-') => variable.default = operand,
                    Some('+') => variable.alternate = operand,
                    Some('?') => variable.required = true,
                    _ => {}
                }
                found.push(variable);
            }
            rest = inside.get(end + 1..).unwrap_or("");
        } else {
            let length = name_length(after);
            if length > 0 {
                found.push(Variable {
                    name: after[..length].into(),
                    ..Variable::default()
                });
            }
            rest = &after[length..];
        }
    }
}

#[cfg(test)]
mod tests;
