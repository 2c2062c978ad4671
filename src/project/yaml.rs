//! YAML text into trees with positions.
//!
//! Scalars are read as docker compose's YAML library reads them (YAML 1.2 with the integers of 1.1: `0777` is octal,
//! `1_000` a thousand; `yes` and `on` are text). Duplicate keys, aliases of unknown anchors, and documents that grow
//! beyond all reason through aliases are refused.

use super::{
    diagnostic::Report,
    node::{Entry, Map, Mark, Node, Value},
    source::Span,
};
use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use std::collections::HashMap;

/// Deepest nesting; a project file needs about ten.
const DEPTH: usize = 64;
/// Most nodes that aliases may add to a document. Real files reach tens of thousands; docker compose has the
/// same bound.
const EXPANSION: usize = 100_000;

/// How far a text could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// To its end.
    Complete,
    /// Up to a mistake; what follows is unknown.
    Broken,
}

/// Reads the documents of file `file`; mistakes go to `report`, and what could be read is given back.
pub(crate) fn parse(file: u16, report: &mut Report) -> (Vec<Node>, Reading) {
    let text = report.sources.text(file).to_owned();
    let text = text.strip_prefix('\u{feff}').map_or(text.as_str(), |rest| rest);
    let shift = report.sources.text(file).len() - text.len();
    let mut builder = Builder {
        file,
        shift,
        report,
        documents: vec![],
        stack: vec![],
        anchors: HashMap::new(),
        added: 0,
    };
    for step in Parser::new_from_str(text) {
        match step {
            Ok((event, span)) => {
                if builder.event(event, span).is_none() {
                    return (builder.documents, Reading::Broken);
                }
            }
            Err(error) => {
                builder.syntax(&error, text);
                return (builder.documents, Reading::Broken);
            }
        }
    }
    (builder.documents, Reading::Complete)
}

/// A collection that is not complete yet.
enum Open {
    List {
        items: Vec<Node>,
        span: Span,
        anchor: usize,
        mark: Mark,
    },
    Map {
        map: Map,
        merges: Vec<Node>,
        key: Option<(String, Span, bool)>,
        span: Span,
        anchor: usize,
        mark: Mark,
        size: usize,
    },
}

struct Builder<'a> {
    file: u16,
    shift: usize,
    report: &'a mut Report,
    documents: Vec<Node>,
    stack: Vec<Open>,
    /// Finished anchored nodes and how many nodes each holds.
    anchors: HashMap<usize, (Node, usize)>,
    added: usize,
}

impl Builder<'_> {
    /// Takes one event; `None` stops the reading.
    fn event(&mut self, event: Event<'_>, span: granit_parser::Span) -> Option<()> {
        let span = self.span(&span);
        match event {
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id) else {
                    let name = self.report.sources.slice(span).to_owned();
                    self.report
                        .error(span, format!("`{name}` refers to an anchor that contains it"));
                    return None;
                };
                self.added += size;
                if self.added > EXPANSION {
                    self.report
                        .error(span, "the aliases of this file expand to too many values")
                        .because(format!(
                            "more than {EXPANSION} values would come from aliases alone"
                        ));
                    return None;
                }
                let node = node.clone();
                self.place(node, span)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let (mark, kind) = self.tag(tag.as_deref(), span);
                let value = scalar(&text, style, kind);
                let odd = style == ScalarStyle::Plain && !matches!(value, Value::Str(_));
                let mut node = Node::new(value, span);
                node.mark = mark;
                if let Some(Open::Map { key: key @ None, .. }) = self.stack.last_mut() {
                    *key = Some((text.into_owned(), span, odd));
                    if anchor != 0 {
                        self.anchors.insert(anchor, (node, 1));
                    }
                    return Some(());
                }
                if anchor != 0 {
                    self.anchors.insert(anchor, (node.clone(), 1));
                }
                self.place(node, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let (mark, _) = self.tag(tag.as_deref(), span);
                self.open(
                    Open::List {
                        items: vec![],
                        span,
                        anchor,
                        mark,
                    },
                    span,
                )
            }
            Event::MappingStart(_, anchor, tag) => {
                let (mark, _) = self.tag(tag.as_deref(), span);
                let open = Open::Map {
                    map: Map::new(),
                    merges: vec![],
                    key: None,
                    span,
                    anchor,
                    mark,
                    size: 1,
                };
                self.open(open, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::DocumentEnd => {
                self.anchors.clear();
                Some(())
            }
            _ => Some(()),
        }
    }

    fn open(&mut self, open: Open, span: Span) -> Option<()> {
        if let Some(Open::Map { key: None, .. }) = self.stack.last() {
            self.report
                .error(span, "a list or mapping cannot be a key")
                .hint("write the key as text");
            return None;
        }
        if self.stack.len() >= DEPTH {
            self.report
                .error(span, format!("values are nested more than {DEPTH} deep"));
            return None;
        }
        self.stack.push(open);
        Some(())
    }

    fn close(&mut self, end: Span) -> Option<()> {
        let (node, anchor) = match self.stack.pop()? {
            Open::List {
                items,
                span,
                anchor,
                mark,
            } => (
                Node {
                    value: Value::List(items),
                    span: span.to(end),
                    mark,
                },
                anchor,
            ),
            Open::Map {
                mut map,
                merges,
                span,
                anchor,
                mark,
                ..
            } => {
                for source in merges {
                    self.merge_key(&mut map, source);
                }
                (
                    Node {
                        value: Value::Map(map),
                        span: span.to(end),
                        mark,
                    },
                    anchor,
                )
            }
        };
        if anchor != 0 {
            let size = size(&node);
            self.anchors.insert(anchor, (node.clone(), size));
            self.added += size;
        }
        let span = node.span;
        self.place(node, span)
    }

    /// Puts a finished node into what is open.
    fn place(&mut self, node: Node, span: Span) -> Option<()> {
        match self.stack.last_mut() {
            None => self.documents.push(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map {
                map,
                merges,
                key,
                size,
                ..
            }) => {
                let Some((name, key_span, odd_key)) = key.take() else {
                    // An alias as key: its text is the key.
                    let Some(text) = node.scalar_text() else {
                        self.report.error(span, "a list or mapping cannot be a key");
                        return None;
                    };
                    *key = Some((text, span, false));
                    return Some(());
                };
                *size += 1;
                if name == "<<" && !odd_key && self.report.sources.slice(key_span) == "<<" {
                    merges.push(node);
                } else if let Some(first) = map.get(&name) {
                    let first = first.key;
                    self.report
                        .error(key_span, format!("the key `{name}` is written twice"))
                        .related(first, "first written")
                        .hint("remove one of the two, or put their values together");
                } else {
                    map.insert(
                        name,
                        Entry {
                            key: key_span,
                            odd_key,
                            node,
                        },
                    );
                }
            }
        }
        Some(())
    }

    /// Adds what `<<: *anchor` brings: keys that are not there yet.
    fn merge_key(&mut self, map: &mut Map, source: Node) {
        match source.value {
            Value::Map(entries) => {
                for (name, entry) in entries {
                    map.entry(name).or_insert(entry);
                }
            }
            Value::List(list) if list.iter().all(|node| node.as_map().is_some()) => {
                list.into_iter().for_each(|node| self.merge_key(map, node));
            }
            _ => {
                let kind = source.kind();
                self.report
                    .error(
                        source.span,
                        format!("`<<` takes a mapping, or a list of mappings, not {kind}"),
                    )
                    .hint("write `<<: *name`, where `&name` marks a mapping");
            }
        }
    }

    /// What a tag means: a mark for the merge, and a forced kind of scalar.
    fn tag(&mut self, tag: Option<&Tag>, span: Span) -> (Mark, Option<Kind>) {
        let Some(tag) = tag else {
            return (Mark::Plain, None);
        };
        if let Some(core) = tag.core_suffix() {
            let kind = match core {
                "str" => Some(Kind::Str),
                "int" => Some(Kind::Int),
                "float" => Some(Kind::Float),
                "bool" => Some(Kind::Bool),
                "null" => Some(Kind::Null),
                _ => None,
            };
            return (Mark::Plain, kind);
        }
        match tag.suffix() {
            "reset" => (Mark::Reset, None),
            "override" => (Mark::Override, None),
            _ => {
                self.report
                    .warning(
                        span,
                        format!("the tag `{}` means nothing here and is ignored", tag.original()),
                    )
                    .hint("known tags: `!reset` and `!override`");
                (Mark::Plain, None)
            }
        }
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let offset = |marker: &Marker| {
            u32::try_from(marker.byte_offset().unwrap_or(0) + self.shift).unwrap_or(u32::MAX)
        };
        let (start, end) = (offset(&span.start), offset(&span.end));
        Span {
            file: self.file,
            start,
            end: end.max(start),
        }
    }

    /// A syntax error, in words for somebody who does not know the grammar.
    fn syntax(&mut self, error: &ScanError, text: &str) {
        let offset = error.marker().byte_offset().unwrap_or(0).min(text.len());
        let line_start = text
            .get(..offset)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |i| i + 1);
        let line = text
            .get(line_start..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or("");
        let indent = line.len() - line.trim_start().len();
        let at = |offset: usize, length: usize| {
            let start = u32::try_from(offset + self.shift).unwrap_or(u32::MAX);
            Span {
                file: self.file,
                start,
                end: start.saturating_add(u32::try_from(length).unwrap_or(1)),
            }
        };
        if let Some(tab) = line.get(..indent).and_then(|space| space.find('\t')) {
            self.report
                .error(at(line_start + tab, 1), "a tab is used for indentation")
                .because("YAML allows only spaces before a key or a `-`")
                .hint("replace the tab by spaces (two for each level)");
            return;
        }
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            self.report.error(at(offset, 1), "values are nested too deep");
            return;
        }
        let before = text.get(..offset).unwrap_or("");
        if let Some((open, bracket)) = unclosed(before) {
            let close = if bracket == '[' { ']' } else { '}' };
            self.report
                .error(
                    at(open, 1),
                    format!("a `{bracket}` is never closed, or a `,` is missing after it"),
                )
                .hint(format!("add the missing `{close}` or `,`"));
            return;
        }
        let (message, hint) = explain(error, line);
        let span = if offset >= text.len() {
            at(text.trim_end().len().saturating_sub(1), 1)
        } else {
            at(offset, 1)
        };
        self.report.error(span, message).maybe_hint(hint.map(Into::into));
    }
}

/// The last bracket of `text` that is open at its end, outside of quotes and comments: offset and bracket.
fn unclosed(text: &str) -> Option<(usize, char)> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut quote: Option<char> = None;
    let mut comment = false;
    let mut before = ' ';
    for (i, c) in text.char_indices() {
        let starts = before.is_whitespace() || matches!(before, '[' | '{' | ',' | ':');
        match (c, quote) {
            ('\n', _) => comment = false,
            _ if comment => {}
            (c, Some(q)) => quote = (c != q || before == '\\').then_some(q),
            ('#', None) if before.is_whitespace() => comment = true,
            ('"' | '\'', None) if starts => quote = Some(c),
            ('[' | '{', None) if starts => open.push((i, c)),
            (']' | '}', None) => {
                open.pop();
            }
            _ => {}
        }
        before = c;
    }
    if quote.is_some() { None } else { open.pop() }
}

/// A syntax error's message and way out.
fn explain(error: &ScanError, line: &str) -> (String, Option<&'static str>) {
    let quote = "put the value in quotes";
    let indent =
        "keys of one mapping start in the same column; check the indentation of this line and the one above";
    match error.kind() {
        ErrorKind::UnknownAnchor => (
            "this alias refers to an anchor that is not defined above".into(),
            Some("define it with `&name` before using `*name`"),
        ),
        ErrorKind::UnexpectedEofFlowSequence => ("a `[` is never closed".into(), Some("add the missing `]`")),
        ErrorKind::UnexpectedEofFlowMapping | ErrorKind::UnexpectedEofImplicitFlowMapping => {
            ("a `{` is never closed".into(), Some("add the missing `}`"))
        }
        ErrorKind::UnexpectedCharacter { character } if matches!(character, '@' | '`' | '%') => {
            (format!("a value cannot start with {character:?}"), Some(quote))
        }
        ErrorKind::TabInBlockIndentation | ErrorKind::TabNotAllowed => {
            ("a tab is not allowed here".into(), Some("replace it by spaces"))
        }
        ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry => (
            "this line is indented differently from its neighbours".into(),
            Some(indent),
        ),
        _ if line.matches('"').count() % 2 == 1 => (
            "a `\"` is never closed".into(),
            Some("close the quote at the end of the value"),
        ),
        _ if line.matches('\'').count() % 2 == 1 => (
            "a `'` is never closed".into(),
            Some("close the quote at the end of the value; inside, write `''` for one `'`"),
        ),
        _ if line.matches(": ").count() > 1 => (
            "this line cannot be read as YAML".into(),
            Some("a value that contains `: ` must be in quotes"),
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "a `:` is missing after this key, or the indentation is wrong".into(),
            Some(indent),
        ),
        _ => ("this line cannot be read as YAML".into(), Some(indent)),
    }
}

/// How many nodes a tree holds.
pub(crate) fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(list) => 1 + list.iter().map(size).sum::<usize>(),
        Value::Map(map) => 1 + map.values().map(|entry| 1 + size(&entry.node)).sum::<usize>(),
        _ => 1,
    }
}

/// A kind forced by a tag of the core schema.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Str,
    Int,
    Float,
    Bool,
    Null,
}

/// The value of a scalar.
fn scalar(text: &str, style: ScalarStyle, kind: Option<Kind>) -> Value {
    match kind {
        Some(Kind::Str) => Value::Str(text.into()),
        Some(Kind::Null) => Value::Null,
        Some(Kind::Float) => text
            .parse()
            .map_or_else(|_| Value::Str(text.into()), Value::Float),
        Some(Kind::Int | Kind::Bool) => resolve(text),
        None if style == ScalarStyle::Plain => resolve(text),
        None => Value::Str(text.into()),
    }
}

/// The value of a plain scalar, as `gopkg.in/yaml.v3` resolves it (`resolve.go`).
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if !numeric || !text.contains(|c: char| c.is_ascii_digit()) {
        return Value::Str(text.into());
    }
    let plain = text.replace('_', "");
    if let Some(number) = integer(&plain) {
        return Value::Int(number);
    }
    if is_float(&plain)
        && (plain.contains(['.', 'e', 'E']) || plain.len() < 18)
        && let Ok(number) = plain.parse::<f64>()
    {
        return Value::Float(number);
    }
    Value::Str(text.into())
}

/// `12`, `-5`, `0x1F`, `0b11`, `0o17`, `017`.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// Digits with at most one point and an exponent.
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        ),
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let whole = mantissa.split_once('.').map_or(digits(mantissa), |(a, b)| {
        digits(a) && digits(b) && a.len() + b.len() > 0
    });
    whole && !mantissa.is_empty() && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}
