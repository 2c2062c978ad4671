//! Mistakes and warnings: what, where, why, and what to type instead.

use super::source::{Sources, Span};
use crate::model::Place;
use serde::Serialize;
use std::{
    fmt::{self, Write as _},
    path::Path,
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The project cannot be used.
    Error,
    /// Something is ignored or unwise; the project works.
    Warning,
}

/// The line concerned and the part of it that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// The line, without its end.
    pub line: String,
    /// How many characters are meant, from the place's column on; at least 1.
    pub length: u32,
}

/// A second place that belongs to the story: "first defined here".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// What is there.
    pub message: String,
    /// Where.
    pub place: Place,
}

/// One mistake or warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: one sentence, lower case, no final period, names in backticks.
    pub message: String,
    /// Where; absent for mistakes that stand in no file (a flag, a missing file).
    pub place: Option<Place>,
    /// The line concerned.
    pub excerpt: Option<Excerpt>,
    /// Why it is wrong.
    pub reason: Option<String>,
    /// What to type instead.
    pub hint: Option<String>,
    /// Other places that matter.
    pub related: Vec<Related>,
}

/// Everything that is wrong with a project, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.0.iter().filter(|d| d.severity == Severity::Error).count();
        match self.0.iter().find(|d| d.severity == Severity::Error) {
            Some(first) if errors > 1 => write!(f, "{} (and {} more)", first.message, errors - 1),
            Some(first) => f.write_str(&first.message),
            None => f.write_str("the project file is wrong"),
        }
    }
}

impl Diagnostics {
    /// All of them as text, a blank line between two; paths below `base` are shown relative to it.
    #[must_use]
    pub fn to_text(&self, base: &Path) -> String {
        self.0
            .iter()
            .map(|d| d.to_text(base))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// One JSON object a line, for editors.
    #[must_use]
    pub fn to_json(&self) -> String {
        let lines = self
            .0
            .iter()
            .map(|d| serde_json::to_string(d).unwrap_or_default());
        lines.fold(String::new(), |all, line| all + &line + "\n")
    }
}

impl Diagnostic {
    /// The message, the place with the line and a caret under the part meant, the reason and the hint.
    ///
    /// ```text
    /// error: service `web` has no key `prots`
    ///   at compose.yaml:4:5
    ///     |
    ///   4 |     prots:
    ///     |     ^^^^^
    /// hint: did you mean `ports`?
    /// ```
    #[must_use]
    pub fn to_text(&self, base: &Path) -> String {
        let mut out = String::new();
        let word = if self.severity == Severity::Error {
            "error"
        } else {
            "warning"
        };
        let _ = writeln!(out, "{word}: {}", self.message);
        if let Some(place) = &self.place {
            let _ = writeln!(out, "  at {}", short(place, base));
            if let Some(excerpt) = &self.excerpt {
                draw(&mut out, place, excerpt);
            }
        }
        if let Some(reason) = &self.reason {
            let _ = writeln!(out, "  because: {reason}");
        }
        for related in &self.related {
            let _ = writeln!(out, "  {} at {}", related.message, short(&related.place, base));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "hint: {hint}");
        }
        out
    }
}

/// A place with its file relative to `base` where possible.
fn short(place: &Place, base: &Path) -> String {
    let file = place.file.strip_prefix(base).unwrap_or(&place.file);
    format!("{}:{}:{}", file.display(), place.line, place.column)
}

/// Longest part of a line shown; minified files have lines of a megabyte.
const SHOWN: usize = 120;

fn draw(out: &mut String, place: &Place, excerpt: &Excerpt) {
    let column = place.column.saturating_sub(1) as usize;
    let cut = column
        .saturating_sub(SHOWN / 2)
        .min(if column < SHOWN - 20 { 0 } else { column });
    let line: String = excerpt
        .line
        .chars()
        .skip(cut)
        .take(SHOWN)
        .map(|c| if c == '\t' { ' ' } else { c })
        .collect();
    let shown = line.chars().count();
    let from = column - cut;
    let length = (excerpt.length as usize).min(shown.saturating_sub(from)).max(1);
    let number = place.line.to_string();
    let pad = " ".repeat(number.len());
    let _ = writeln!(out, "  {pad} |");
    let _ = writeln!(out, "  {number} | {line}");
    let _ = writeln!(out, "  {pad} | {}{}", " ".repeat(from), "^".repeat(length));
}

/// Where mistakes are collected while a project is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) sources: Sources,
    /// Variables are not replaced in this run (`config --no-interpolate`), so values that hold one cannot be judged.
    pub(crate) raw: bool,
    /// Published ports made from ranges so far, for the bound on them.
    pub(crate) ports: usize,
    list: Vec<Diagnostic>,
    errors: usize,
}

/// No more than this many are kept: a file that is wrong as a whole would drown the reader.
const KEPT: usize = 200;

impl Report {
    /// Reports a mistake at `span`; refine it with the builder's methods.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) -> Entry<'_> {
        self.errors += 1;
        self.push(Severity::Error, span, message.into())
    }

    /// Reports a warning at `span`.
    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>) -> Entry<'_> {
        self.push(Severity::Warning, span, message.into())
    }

    fn push(&mut self, severity: Severity, span: Span, message: String) -> Entry<'_> {
        let diagnostic = Diagnostic {
            severity,
            message,
            place: self.sources.place(span),
            excerpt: self
                .sources
                .excerpt(span)
                .map(|(line, length)| Excerpt { line, length }),
            reason: None,
            hint: None,
            related: Vec::new(),
        };
        let same = |d: &&Diagnostic| d.place == diagnostic.place && d.message == diagnostic.message;
        if self.list.len() < KEPT && !self.list.iter().any(|d| same(&d)) {
            self.list.push(diagnostic);
            Entry {
                report: self,
                kept: true,
            }
        } else {
            Entry {
                report: self,
                kept: false,
            }
        }
    }

    /// How many mistakes there are so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// Everything reported, ordered by file and position, mistakes without a place first.
    pub(crate) fn finish(self) -> Vec<Diagnostic> {
        let mut list = self.list;
        let order = |d: &Diagnostic| {
            d.place
                .as_ref()
                .map(|p| (self.sources.number(&p.file), p.line, p.column))
        };
        list.sort_by_key(order);
        list
    }
}

/// A diagnostic just reported, to be completed.
pub(crate) struct Entry<'a> {
    report: &'a mut Report,
    kept: bool,
}

impl Entry<'_> {
    fn edit(self, change: impl FnOnce(&mut Diagnostic)) -> Self {
        if self.kept
            && let Some(last) = self.report.list.last_mut()
        {
            change(last);
        }
        self
    }

    /// Says why it is wrong.
    pub(crate) fn because(self, reason: impl Into<String>) -> Self {
        self.edit(|d| d.reason = Some(reason.into()))
    }

    /// Says what to type instead.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        self.edit(|d| d.hint = Some(hint.into()))
    }

    /// Says what to type instead, when that is known.
    pub(crate) fn maybe_hint(self, hint: Option<String>) -> Self {
        self.edit(|d| d.hint = hint.or(d.hint.take()))
    }

    /// Points at another place that matters.
    pub(crate) fn related(self, span: Span, message: impl Into<String>) -> Self {
        let place = self.report.sources.place(span);
        self.edit(|d| {
            if let Some(place) = place {
                d.related.push(Related {
                    message: message.into(),
                    place,
                });
            }
        })
    }
}
