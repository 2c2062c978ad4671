//! `.env` and `env_file` texts.
//!
//! The grammar is docker compose's (compose-go `dotenv`, `05-services.md` of the specification): `KEY=value` or
//! `KEY: value`, `export` in front allowed, a key alone takes the caller's value, `#` starts a comment (in an unquoted
//! value only after a space), single quotes are literal, double quotes know escapes and variables and may span lines.

use super::interpolate::{self, FaultKind, Lookup};
use std::collections::BTreeMap;

/// What is wrong with an env file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvFault {
    /// Byte offset in the text.
    pub(crate) at: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
}

/// The values of the caller's environment before those of the file read so far.
struct Chain<'a> {
    outer: &'a dyn Lookup,
    file: &'a BTreeMap<String, String>,
}

impl Lookup for Chain<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.outer
            .get(name)
            .or_else(|| self.file.get(name).map(String::as_str))
    }
}

/// Reads `text`; `outer` gives values for `$NAME` and for keys alone.
///
/// # Errors
/// The first line that cannot be read.
pub(crate) fn parse(text: &str, outer: &dyn Lookup) -> Result<BTreeMap<String, String>, EnvFault> {
    let mut values = BTreeMap::new();
    let mut at = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    while let Some(start) = statement(text, at) {
        let (key, value_at) = key(text, start)?;
        let Some(value_at) = value_at else {
            if let Some(value) = outer.get(key) {
                values.insert(key.to_owned(), value.to_owned());
            }
            at = end_of_line(text, start);
            continue;
        };
        let (value, next) = value(text, value_at, &Chain { outer, file: &values })?;
        if !key.starts_with(|c: char| c.is_ascii_digit()) {
            values.insert(key.to_owned(), value);
        }
        at = next;
    }
    Ok(values)
}

/// Reads `text` with `format: raw`: everything after the first `=` is the value, as it is.
pub(crate) fn parse_raw(text: &str) -> BTreeMap<String, String> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(k, v)| (k.trim().to_owned(), v.to_owned()))
        .collect()
}

/// The offset of the next statement from `at` on; empty lines and comments are skipped.
fn statement(text: &str, mut at: usize) -> Option<usize> {
    loop {
        at += text.get(at..)?.find(|c: char| !c.is_whitespace())?;
        if !text[at..].starts_with('#') {
            return Some(at);
        }
        at = end_of_line(text, at);
    }
}

fn end_of_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |i| at + i)
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

/// The key of the statement at `at`, and the offset of its value, if it has one.
fn key(text: &str, at: usize) -> Result<(&str, Option<usize>), EnvFault> {
    let mut start = at;
    if let Some(rest) = text[at..].strip_prefix("export")
        && rest.starts_with(char::is_whitespace)
    {
        let rest = rest.trim_start_matches(is_blank);
        start = text.len() - rest.len();
    }
    let line = &text[start..end_of_line(text, start)];
    for (i, c) in line.char_indices() {
        match c {
            '=' | ':' => {
                let key = line[..i].trim_end();
                if let Some(space) = key.find(char::is_whitespace) {
                    return Err(EnvFault {
                        at: start + space,
                        message: format!("the variable name `{key}` contains a space"),
                        hint: Some("write `NAME=value`, or put `#` before a comment"),
                    });
                }
                let after = &text[start + i + 1..];
                let blank = after.len() - after.trim_start_matches(is_blank).len();
                return Ok((key, Some(start + i + 1 + blank)));
            }
            '_' | '.' | '-' | '[' | ']' => {}
            c if c.is_alphanumeric() || is_blank(c) => {}
            c => {
                return Err(EnvFault {
                    at: start + i,
                    message: format!("`{c}` is not allowed in a variable name"),
                    hint: Some("names consist of letters, digits, `_`, `.`, `-`"),
                });
            }
        }
    }
    let key = line.trim_end();
    match key.find(char::is_whitespace) {
        Some(space) => Err(EnvFault {
            at: start + space,
            message: format!("the variable name `{key}` contains a space"),
            hint: Some("write `NAME=value`, or put `#` before a comment"),
        }),
        None => Ok((key, None)),
    }
}

/// The value at `at`, and the offset after it.
fn value(text: &str, at: usize, lookup: &Chain<'_>) -> Result<(String, usize), EnvFault> {
    let quote = match text[at..].chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => {
            let end = end_of_line(text, at);
            let line = &text[at..end];
            let line = line
                .find(" #")
                .map_or(line, |comment| &line[..comment])
                .trim_end();
            return Ok((expand(line, at, lookup)?, end));
        }
    };
    let mut raw = String::new();
    let mut escaped = false;
    for (i, c) in text[at + 1..].char_indices() {
        if c == quote && !escaped {
            let end = at + 1 + i + 1;
            let value = if quote == '"' {
                expand(&unescape(&raw), at, lookup)?
            } else {
                raw
            };
            return Ok((value, end));
        }
        if c == '\\' && !escaped {
            escaped = true;
            continue;
        }
        if escaped && c != quote {
            raw.push('\\');
        }
        escaped = false;
        raw.push(c);
    }
    Err(EnvFault {
        at,
        message: format!("the quote `{quote}` is never closed"),
        hint: Some("close the quote at the end of the value"),
    })
}

/// `\n`, `\t`, `\$` … and `\0ooo` of a double-quoted value; other backslashes stay. A dollar sign escaped becomes `$$`,
/// so that `expand` leaves it alone.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(slash) = rest.find('\\') {
        out.push_str(&rest[..slash]);
        let after = &rest[slash + 1..];
        let mut length = 1;
        match after.chars().next() {
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('v') => out.push('\u{b}'),
            Some('"') => out.push('"'),
            Some('\\') => out.push('\\'),
            Some('$') => out.push_str("$$"),
            Some('0') => {
                let digits = after[1..].bytes().take(3).take_while(u8::is_ascii_digit).count();
                let octal = u32::from_str_radix(&after[1..=digits], 8)
                    .ok()
                    .filter(|_| digits == 3);
                match octal.filter(|code| *code < 256).and_then(char::from_u32) {
                    Some(c) => {
                        out.push(c);
                        length = 4;
                    }
                    None => out.push_str("\\0"),
                }
            }
            _ => {
                out.push('\\');
                length = 0;
            }
        }
        rest = &after[length..];
    }
    out + rest
}

fn expand(text: &str, at: usize, lookup: &Chain<'_>) -> Result<String, EnvFault> {
    let mut unset = Vec::new();
    interpolate::substitute(text, lookup, &mut unset)
        .map(std::borrow::Cow::into_owned)
        .map_err(|fault| {
            let message = match fault.kind {
                FaultKind::Required { name, message } if message.is_empty() => {
                    format!("the variable `{name}` must be set")
                }
                FaultKind::Required { name, message } => {
                    format!("the variable `{name}` must be set: {message}")
                }
                _ => "a `${…}` in this value is not well formed".to_owned(),
            };
            EnvFault {
                at,
                message,
                hint: Some("write `${NAME}`, or `\\$` or single quotes for a literal `$`"),
            }
        })
}

#[cfg(test)]
mod tests;
