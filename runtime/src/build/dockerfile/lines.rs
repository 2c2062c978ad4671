//! Physical lines become logical ones.

use super::ParseError;

/// `# key=value` lines before everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// Continues lines and takes meaning away: `\` or `` ` ``.
    pub escape: char,
    /// A frontend image, accepted and not used: this parser is the frontend.
    pub syntax: Option<String>,
    /// Settings of the linter, accepted.
    pub check: Option<String>,
}

/// A here-document of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter.
    pub name: String,
    /// Whether variables are expanded (the delimiter was not quoted).
    pub expand: bool,
    /// Whether leading tabs go (`<<-`).
    pub chomp: bool,
    /// The lines in between, each with its newline.
    pub content: String,
}

/// A logical line: continuations joined, comments gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// First physical line, from 1.
    pub number: usize,
    /// The text.
    pub text: String,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
}

/// Longest Dockerfile, in bytes.
const MOST: usize = 16 << 20;

/// Splits a Dockerfile into logical lines.
pub fn split(text: &str) -> Result<(Directives, Vec<Line>), ParseError> {
    if text.len() > MOST {
        return Err(ParseError {
            line: 1,
            reason: format!("the Dockerfile is larger than {MOST} bytes"),
        });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let physical: Vec<&str> = text.lines().collect();
    let directives = directives(&physical)?;
    let mut lines = Vec::new();
    let mut at = 0;
    while at < physical.len() {
        let first = physical[at].trim();
        if first.is_empty() || first.starts_with('#') {
            at += 1;
            continue;
        }
        let number = at + 1;
        let mut joined = String::new();
        while let Some(raw) = physical.get(at) {
            at += 1;
            // Comments and empty lines may stand between continued lines.
            if !joined.is_empty() && (raw.trim().is_empty() || raw.trim_start().starts_with('#')) {
                continue;
            }
            let piece = if joined.is_empty() { raw.trim_start() } else { raw };
            match continued(piece, directives.escape) {
                Some(piece) => joined.push_str(piece),
                None => {
                    joined.push_str(piece);
                    break;
                }
            }
        }
        let text = joined.trim_end().to_owned();
        let mut heredocs = heredocs_of(&text);
        for heredoc in &mut heredocs {
            let opened = at;
            loop {
                let Some(raw) = physical.get(at) else {
                    let reason = format!("the here-document `<<{}` is not closed", heredoc.name);
                    return Err(ParseError {
                        line: opened.max(number),
                        reason,
                    });
                };
                at += 1;
                let line = if heredoc.chomp {
                    raw.trim_start_matches('\t')
                } else {
                    raw
                };
                if line == heredoc.name {
                    break;
                }
                heredoc.content.push_str(line);
                heredoc.content.push('\n');
            }
        }
        if !text.is_empty() {
            lines.push(Line {
                number,
                text,
                heredocs,
            });
        }
    }
    Ok((directives, lines))
}

fn continued(line: &str, escape: char) -> Option<&str> {
    line.trim_end_matches([' ', '\t', '\r']).strip_suffix(escape)
}

fn directives(lines: &[&str]) -> Result<Directives, ParseError> {
    let mut directives = Directives {
        escape: '\\',
        syntax: None,
        check: None,
    };
    for (index, line) in lines.iter().enumerate() {
        let Some((key, value)) = line
            .trim()
            .strip_prefix('#')
            .and_then(|rest| rest.split_once('='))
        else {
            break;
        };
        let (key, value) = (key.trim().to_lowercase(), value.trim());
        if !key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            break;
        }
        match key.as_str() {
            "escape" => {
                directives.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => {
                        let reason = format!("`escape` must be `\\` or a backtick, not `{value}`");
                        return Err(ParseError {
                            line: index + 1,
                            reason,
                        });
                    }
                }
            }
            "syntax" => directives.syntax = Some(value.to_owned()),
            "check" => directives.check = Some(value.to_owned()),
            _ => break,
        }
    }
    Ok(directives)
}

/// Finds `<<NAME`, `<<-NAME`, `<<"NAME"` words in instructions that may have them.
fn heredocs_of(text: &str) -> Vec<Heredoc> {
    let mut words = text.split_whitespace();
    let mut name = words.next().unwrap_or("").to_uppercase();
    if name == "ONBUILD" {
        name = words.next().unwrap_or("").to_uppercase();
    }
    if !matches!(name.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    shell_words(text)
        .iter()
        .filter_map(|word| heredoc(word))
        .collect()
}

fn heredoc(word: &str) -> Option<Heredoc> {
    let rest = word
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let quoted = rest
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .or_else(|| rest.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')));
    let name = quoted.unwrap_or(rest);
    let is_name =
        !name.is_empty() && !name.contains(['<', '"', '\'', '$', '`', '(', ')', ';', '&', '|', '>']);
    is_name.then(|| Heredoc {
        name: name.to_owned(),
        expand: quoted.is_none(),
        chomp,
        content: String::new(),
    })
}

/// Splits at white space outside of quotes; quotes stay.
fn shell_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in text.chars() {
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
    words.push(word);
    words
}
