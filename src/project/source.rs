//! The texts that were read, and where in them something stands.

use crate::model::Place;
use std::path::{Path, PathBuf};

/// A stretch of a source: byte offsets into the text of file `file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) file: u16,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// Of something that stands in no file: a default, a flag.
    pub(crate) const NONE: Self = Self {
        file: u16::MAX,
        start: 0,
        end: 0,
    };

    /// The span from here to the end of `other`, when both are in one file.
    pub(crate) fn to(self, other: Self) -> Self {
        if self.file == other.file {
            Self {
                end: other.end.max(self.end),
                ..self
            }
        } else {
            self
        }
    }

    /// A part of this span: `length` bytes from `offset`.
    pub(crate) fn part(self, offset: usize, length: usize) -> Self {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let start = self.start.saturating_add(offset).min(self.end);
        Self {
            start,
            end: start.saturating_add(length).min(self.end),
            ..self
        }
    }
}

/// One text.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: String,
    /// Byte offset of the start of each line.
    lines: Vec<u32>,
}

/// All texts of one load, by number.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// Keeps `text` and gives it a number. After 65,534 files the last number is given again; positions in such files
    /// are then wrong, nothing else.
    pub(crate) fn add(&mut self, path: &Path, text: String) -> u16 {
        let starts = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(i, _)| i + 1);
        let lines = std::iter::once(0)
            .chain(starts)
            .map(|i| u32::try_from(i).unwrap_or(u32::MAX))
            .collect();
        self.0.push(Source {
            path: path.to_owned(),
            text,
            lines,
        });
        u16::try_from(self.0.len() - 1).unwrap_or(u16::MAX - 1)
    }

    /// The text of file `file`.
    pub(crate) fn text(&self, file: u16) -> &str {
        self.0.get(usize::from(file)).map_or("", |source| &source.text)
    }

    /// The text that `span` covers.
    pub(crate) fn slice(&self, span: Span) -> &str {
        self.text(span.file)
            .get(span.start as usize..span.end as usize)
            .unwrap_or("")
    }

    /// File, line and column of the start of `span`.
    pub(crate) fn place(&self, span: Span) -> Option<Place> {
        let source = self.0.get(usize::from(span.file))?;
        let (line, start) = source.line(span.start);
        let before = source.text.get(start as usize..span.start as usize).unwrap_or("");
        Some(Place {
            file: source.path.clone(),
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
        })
    }

    /// The line that `span` starts in, without its end, and how many characters of it the span covers (at least one).
    pub(crate) fn excerpt(&self, span: Span) -> Option<(String, u32)> {
        let source = self.0.get(usize::from(span.file))?;
        let (line, start) = source.line(span.start);
        let end = source
            .lines
            .get(line + 1)
            .map_or(source.text.len(), |next| *next as usize);
        let text = source
            .text
            .get(start as usize..end)?
            .trim_end_matches(['\n', '\r']);
        let from = (span.start - start) as usize;
        let to = ((span.end - start) as usize).min(text.len()).max(from);
        let covered = text
            .get(from..to)
            .map_or(1, |part| part.trim_end().chars().count().max(1));
        Some((text.to_owned(), u32::try_from(covered).unwrap_or(1)))
    }
}

impl Source {
    /// The number (from 0) and start of the line that holds byte `offset`.
    fn line(&self, offset: u32) -> (usize, u32) {
        let line = self
            .lines
            .partition_point(|start| *start <= offset)
            .saturating_sub(1);
        (line, self.lines.get(line).copied().unwrap_or(0))
    }
}

impl Sources {
    /// The number of the file at `path`, for ordering.
    pub(crate) fn number(&self, path: &Path) -> usize {
        self.0
            .iter()
            .position(|source| source.path == path)
            .unwrap_or(usize::MAX)
    }
}
