//! Output of the containers that are chosen, read on a thread of its own.
//!
//! Logs are polled, a few files eight times a second: that costs less than being woken for every line, and one that
//! talks without end cannot make us read without end: we skip to its end, and say so.

use crate::logs::text;
use banyan_runtime::log::{Entry, Reader, ReaderOptions, Stream};
use std::{
    path::PathBuf,
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(125);
/// Lines shown of what was written before.
const BEFORE: usize = 500;
/// Lines read of one log in one look; what is more is skipped.
const MOST: usize = 2000;

/// A line of output, fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Which of the logs shown: its place in the list.
    pub of: usize,
    /// The text, without anything that moves a cursor.
    pub text: String,
    /// From standard error.
    pub error: bool,
}

/// A log to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Log {
    /// Whose it is.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// Lines of a choice.
#[derive(Debug)]
pub(super) struct Heard {
    /// Which choice: they are counted.
    pub choice: u64,
    /// The lines, in order of time.
    pub lines: Vec<Line>,
}

/// Follows what was chosen last, until nobody chooses or hears any more.
pub(super) fn follow(choices: &mpsc::Receiver<(u64, Vec<Log>)>, mut tell: impl FnMut(Heard) -> bool) {
    let (mut choice, mut logs, mut readers) = (0, Vec::new(), Vec::new());
    loop {
        match choices.recv_timeout(LOOK) {
            Ok((number, chosen)) => {
                (choice, logs) = (number, chosen);
                readers = logs.iter().map(|log| opened(log, BEFORE)).collect();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let mut read: Vec<(i64, Line)> = Vec::new();
        for (of, reader) in readers.iter_mut().enumerate() {
            let Some(open) = reader else {
                // Not there yet, or gone for a moment.
                *reader = logs.get(of).and_then(|log| opened(log, BEFORE));
                continue;
            };
            let before = read.len();
            while let Ok(Some(entry)) = open.next() {
                read.push((entry.time, line(of, &entry)));
                if read.len() - before == MOST {
                    let last = entry.time;
                    *reader = logs.get(of).and_then(|log| opened(log, BEFORE));
                    let text = "… it writes faster than it can be read here; lines are left out".to_owned();
                    read.push((
                        last,
                        Line {
                            of,
                            text,
                            error: true,
                        },
                    ));
                    break;
                }
            }
        }
        // Stable: lines of one log stay in their order.
        read.sort_by_key(|(time, _)| *time);
        let lines: Vec<Line> = read.into_iter().map(|(_, line)| line).collect();
        if !lines.is_empty() && !tell(Heard { choice, lines }) {
            return;
        }
    }
}

fn opened(log: &Log, tail: usize) -> Option<Reader> {
    let options = ReaderOptions {
        tail: Some(tail),
        ..ReaderOptions::default()
    };
    Reader::open(&log.folder, options).ok()
}

fn line(of: usize, entry: &Entry) -> Line {
    Line {
        of,
        text: clean(&text(entry)),
        error: entry.stream == Stream::Stderr,
    }
}

/// Text that moves no cursor and changes no colour: escape sequences (ECMA-48) and control characters are left out, a
/// tabulator becomes blanks, and of a line that was written over with carriage returns the last version stays.
pub(super) fn clean(text: &str) -> String {
    let last = text
        .trim_end_matches('\r')
        .rsplit('\r')
        .next()
        .unwrap_or_default();
    let mut out = String::with_capacity(last.len());
    let mut characters = last.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => match characters.next() {
                Some('[') => {
                    // Parameters, then one final character.
                    while characters.next().is_some_and(|c| !('\x40'..='\x7e').contains(&c)) {}
                }
                Some(']' | 'P' | '^' | '_' | 'X') => {
                    // A text that ends with BEL or ESC \.
                    while let Some(c) = characters.next() {
                        if c == '\x07' || (c == '\x1b' && characters.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\t' => {
                let column = out.chars().count();
                out.extend(std::iter::repeat_n(' ', 8 - column % 8));
            }
            character if character.is_control() => {}
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_moves_no_cursor() {
        let table = [
            ("plain", "plain"),
            ("\x1b[31;1mred\x1b[0m text", "red text"),
            ("\x1b]0;title\x07after", "after"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("10%\r50%\r100%", "100%"),
            ("dos\r", "dos"),
            ("a\tb", "a       b"),
            ("bell\x07 \u{9b}31m", "bell 31m"),
            ("\x1b[2J\x1b[Hcleared", "cleared"),
            ("cut \x1b[3", "cut "),
            ("ümläut €", "ümläut €"),
        ];
        for (text, expected) in table {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }
}
