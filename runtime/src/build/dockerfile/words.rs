//! Quotes and variables in a Dockerfile's words (Dockerfile reference, "Environment replacement").
//!
//! `$name`, `${name}`, `${name:-word}`, `:+`, `:?` (and each without the colon), `#pattern`, `##`, `%`, `%%`,
//! `/pattern/replacement`, `//`. Quotes group words; single quotes take all meaning away.

use std::{iter::Peekable, str::Chars};

/// Looks variables up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Deepest nesting of `${a:-${b:-…}}`.
const DEPTH: usize = 32;

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    lookup: Lookup<'a>,
    depth: usize,
}

/// Expands one text into one word: quotes are removed, variables replaced.
pub fn expand(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    let mut reader = Reader {
        chars: text.chars().peekable(),
        escape,
        lookup,
        depth: 0,
    };
    reader.until(None)
}

/// Expands variables only; quotes and escapes stay (here-documents).
pub fn expand_raw(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    let mut reader = Reader {
        chars: text.chars().peekable(),
        escape,
        lookup,
        depth: 0,
    };
    let mut out = String::new();
    while let Some(c) = reader.chars.next() {
        match c {
            '$' => out.push_str(&reader.variable()?),
            c if c == escape => match reader.chars.peek() {
                Some('$') => {
                    reader.chars.next();
                    out.push('$');
                }
                _ => out.push(c),
            },
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Splits at white space outside of quotes; nothing is removed or replaced.
pub fn split(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == escape && quote != Some('\'') {
            word.push(c);
            word.extend(chars.next());
            continue;
        }
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

impl Reader<'_> {
    /// Reads to the end, or to an unquoted `stop`, which is consumed.
    fn until(&mut self, stop: Option<char>) -> Result<String, String> {
        let mut out = String::new();
        loop {
            let Some(c) = self.chars.next() else {
                return if stop.is_some() {
                    Err("a `${` is not closed".into())
                } else {
                    Ok(out)
                };
            };
            match c {
                c if Some(c) == stop => return Ok(out),
                '\'' => self.single(&mut out)?,
                '"' => self.double(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                // An escape at the very end stands for itself.
                c if c == self.escape => out.push(self.chars.next().unwrap_or(c)),
                c => out.push(c),
            }
        }
    }

    fn single(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.chars.next() {
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
                None => return Err("a single quote is not closed".into()),
            }
        }
    }

    fn double(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.chars.next() {
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.variable()?),
                Some(c) if c == self.escape => match self.chars.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => out.push(next),
                    Some(next) => out.extend([c, next]),
                    None => return Err("a double quote is not closed".into()),
                },
                Some(c) => out.push(c),
                None => return Err("a double quote is not closed".into()),
            }
        }
    }

    /// After a `$`.
    fn variable(&mut self) -> Result<String, String> {
        match self.chars.peek().copied() {
            Some('{') => {
                self.chars.next();
                self.depth += 1;
                if self.depth > DEPTH {
                    return Err(format!("variables are nested more than {DEPTH} deep"));
                }
                let value = self.braced();
                self.depth -= 1;
                value
            }
            Some(c) if is_start(c) => {
                let name = self.name();
                Ok((self.lookup)(&name).unwrap_or_default())
            }
            // `$1`, `$@` and their like are the shell's; here they are empty, as in BuildKit.
            Some(c) if c.is_ascii_digit() || matches!(c, '@' | '*' | '#' | '?' | '-' | '!' | '0') => {
                self.chars.next();
                Ok(String::new())
            }
            _ => Ok("$".into()),
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self
            .chars
            .peek()
            .copied()
            .filter(|c| is_start(*c) || c.is_ascii_digit())
        {
            name.push(c);
            self.chars.next();
        }
        name
    }

    fn braced(&mut self) -> Result<String, String> {
        let name = self.name();
        if name.is_empty() {
            return Err("`${` is not followed by a variable's name".into());
        }
        let value = (self.lookup)(&name);
        let operator = self.chars.next().ok_or("a `${` is not closed")?;
        let (colon, operator) = match operator {
            '}' => return Ok(value.unwrap_or_default()),
            ':' => (true, self.chars.next().ok_or("a `${` is not closed")?),
            other => (false, other),
        };
        // With a colon, an empty value counts as none.
        let set = value.clone().filter(|value| !(colon && value.is_empty()));
        match operator {
            '-' => {
                let word = self.until(Some('}'))?;
                Ok(set.unwrap_or(word))
            }
            '+' => {
                let word = self.until(Some('}'))?;
                Ok(if set.is_some() { word } else { String::new() })
            }
            '?' => {
                let word = self.until(Some('}'))?;
                let reason = if word.is_empty() {
                    "is not set".to_owned()
                } else {
                    word
                };
                set.ok_or_else(|| format!("`{name}`: {reason}"))
            }
            '#' | '%' if !colon => {
                let greedy = self.chars.peek() == Some(&operator);
                if greedy {
                    self.chars.next();
                }
                let pattern = self.pattern(&['}'])?.0;
                Ok(trim(
                    &value.unwrap_or_default(),
                    &pattern,
                    operator == '#',
                    greedy,
                ))
            }
            '/' if !colon => {
                let all = self.chars.peek() == Some(&'/');
                if all {
                    self.chars.next();
                }
                let (pattern, ended_by) = self.pattern(&['/', '}'])?;
                let replacement = if ended_by == '/' {
                    self.until(Some('}'))?
                } else {
                    String::new()
                };
                Ok(replace(&value.unwrap_or_default(), &pattern, &replacement, all))
            }
            other => Err(format!(
                "`${{{name}{}{other}` is not a modifier",
                if colon { ":" } else { "" }
            )),
        }
    }

    /// A pattern up to one of `stops`; an escaped character stands for itself.
    fn pattern(&mut self, stops: &[char]) -> Result<(Vec<Piece>, char), String> {
        let mut pieces = Vec::new();
        loop {
            match self.chars.next().ok_or("a `${` is not closed")? {
                c if stops.contains(&c) => return Ok((pieces, c)),
                '*' => pieces.push(Piece::Any),
                '?' => pieces.push(Piece::One),
                '$' => pieces.extend(self.variable()?.chars().map(Piece::Is)),
                c if c == self.escape => pieces.push(Piece::Is(self.chars.next().unwrap_or(c))),
                c => pieces.push(Piece::Is(c)),
            }
        }
    }
}

fn is_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Piece {
    Is(char),
    One,
    Any,
}

/// Whether the pattern fits the whole text. Quadratic at most: only the last `*` is ever taken back.
fn fits(pattern: &[Piece], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Piece::Any) => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some(Piece::One) => {
                p += 1;
                t += 1;
                continue;
            }
            Some(Piece::Is(c)) if *c == text[t] => {
                p += 1;
                t += 1;
                continue;
            }
            _ => {}
        }
        let Some((at, from)) = star else { return false };
        star = Some((at, from + 1));
        (p, t) = (at + 1, from + 1);
    }
    pattern[p..].iter().all(|piece| *piece == Piece::Any)
}

fn trim(value: &str, pattern: &[Piece], front: bool, greedy: bool) -> String {
    let chars: Vec<char> = value.chars().collect();
    let mut lengths: Vec<usize> = (0..=chars.len()).collect();
    if greedy {
        lengths.reverse();
    }
    for length in lengths {
        let split = if front { length } else { chars.len() - length };
        let (head, tail) = chars.split_at(split);
        let (cut, kept) = if front { (head, tail) } else { (tail, head) };
        if fits(pattern, cut) {
            return kept.iter().collect();
        }
    }
    value.to_owned()
}

fn replace(value: &str, pattern: &[Piece], replacement: &str, all: bool) -> String {
    let chars: Vec<char> = value.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        // The longest match at this place.
        let found = (at + 1..=chars.len())
            .rev()
            .find(|end| fits(pattern, &chars[at..*end]));
        match found {
            Some(end) => {
                out.push_str(replacement);
                at = end;
                if !all {
                    break;
                }
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out.extend(&chars[at..]);
    out
}
