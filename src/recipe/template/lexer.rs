//! A template's text as words, each with its byte.

use super::Wrong;

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// Outside of `[[ ]]`.
    Plain(String),
    /// `[[`
    Open,
    /// `]]`
    Close,
    /// `name`, `if`, `true`
    Word(String),
    /// `.name`; empty for a `.` alone
    Field(String),
    /// `$name`; empty for a `$` alone
    Variable(String),
    Text(String),
    Number(i64),
    /// `(`, `)`, `|`, `,`, `:=`, `=`
    Mark(&'static str),
}

/// Words with their bytes, and whether a blank stands before each: `$a.B` is one operand, `$a .B` are two.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) at: usize,
    pub(super) apart: bool,
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

pub(super) fn words(text: &str) -> Result<Vec<Placed>, Wrong> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while at < text.len() {
        let rest = &text[at..];
        let open = rest.find("[[");
        let plain = &rest[..open.unwrap_or(rest.len())];
        let mut shown = if trim {
            plain.trim_start_matches(BLANKS)
        } else {
            plain
        };
        let Some(open) = open else {
            push(&mut found, Token::Plain(shown.to_owned()), at, true);
            break;
        };
        let inside = at + open + 2;
        let trims = text[inside..].starts_with("- ") || text[inside..].starts_with("-\n");
        if trims {
            shown = shown.trim_end_matches(BLANKS);
        }
        if !shown.is_empty() {
            push(&mut found, Token::Plain(shown.to_owned()), at, true);
        }
        let start = inside + usize::from(trims);
        if let Some(comment) = text[start..].trim_start_matches(BLANKS).strip_prefix("/*") {
            let body = text.len() - comment.len();
            let end = comment.find("*/").map(|end| body + end + 2);
            let Some(end) = end else {
                return Err(Wrong::new(
                    inside - 2,
                    "this comment does not end: `*/]]` is missing",
                ));
            };
            let rest = text[end..].trim_start_matches(BLANKS);
            trim = rest.starts_with("-]]");
            let Some(rest) = rest.trim_start_matches('-').strip_prefix("]]") else {
                return Err(Wrong::new(end, "after a comment comes `]]`"));
            };
            at = text.len() - rest.len();
            continue;
        }
        push(&mut found, Token::Open, inside - 2, true);
        (at, trim) = action(text, start, inside - 2, &mut found)?;
    }
    Ok(found)
}

fn push(found: &mut Vec<Placed>, token: Token, at: usize, apart: bool) {
    found.push(Placed { token, at, apart });
}

/// The words of one `[[ … ]]`; gives where it ends and whether blanks after it go.
fn action(text: &str, start: usize, open: usize, found: &mut Vec<Placed>) -> Result<(usize, bool), Wrong> {
    let mut at = start;
    let mut apart = true;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            return Err(Wrong::new(open, "this `[[` has no `]]`"));
        };
        if BLANKS.contains(&first) {
            at += first.len_utf8();
            apart = true;
            continue;
        }
        if rest.starts_with("]]") || (apart && rest.starts_with("-]]")) {
            let trim = rest.starts_with('-');
            push(found, Token::Close, at, apart);
            return Ok((at + 2 + usize::from(trim), trim));
        }
        let name = |from: usize| -> usize {
            let tail = &rest[from..];
            tail.find(|c: char| !c.is_alphanumeric() && c != '_')
                .map_or(rest.len(), |end| from + end)
        };
        let (token, length) = match first {
            '.' => {
                let end = name(1);
                (Token::Field(rest[1..end].to_owned()), end)
            }
            '$' => {
                let end = name(1);
                (Token::Variable(rest[1..end].to_owned()), end)
            }
            '"' => quoted(rest, at)?,
            '`' => match rest[1..].find('`') {
                Some(end) => (Token::Text(rest[1..=end].to_owned()), end + 2),
                None => return Err(Wrong::new(at, "this text does not end: a backquote is missing")),
            },
            '(' => (Token::Mark("("), 1),
            ')' => (Token::Mark(")"), 1),
            '|' => (Token::Mark("|"), 1),
            ',' => (Token::Mark(","), 1),
            ':' if rest.starts_with(":=") => (Token::Mark(":="), 2),
            '=' => (Token::Mark("="), 1),
            c if c.is_ascii_digit() || (c == '-' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) => {
                let end = name(1);
                match rest[..end].parse() {
                    Ok(number) => (Token::Number(number), end),
                    Err(_) => return Err(Wrong::new(at, format!("`{}` is no whole number", &rest[..end]))),
                }
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = name(0);
                (Token::Word(rest[..end].to_owned()), end)
            }
            c => return Err(Wrong::new(at, format!("`{c}` means nothing here"))),
        };
        push(found, token, at, apart);
        at += length;
        apart = false;
    }
}

/// A `"text"` with `\n`, `\t`, `\\` and `\"`.
fn quoted(rest: &str, at: usize) -> Result<(Token, usize), Wrong> {
    let mut out = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(out), i + 1)),
            '\n' => break,
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, c @ ('\\' | '"'))) => out.push(c),
                Some((i, c)) => return Err(Wrong::new(at + i, format!("`\\{c}` is not known"))),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err(Wrong::new(at, "this text does not end: a `\"` is missing"))
}
