//! How lines of output look: an aligned, coloured name, an optional time, the line.

use super::terminal::Style;
use banyan_runtime::log::{Entry, Stream};
use std::io::{self, Write};

/// Colours of names, in turn (docker compose uses the same six and their bright twins).
const COLOURS: [&str; 12] = [
    "36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1", "31;1", "31",
];

/// How lines are printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineStyle {
    /// Colours.
    pub style: Style,
    /// With names.
    pub prefix: bool,
    /// With times.
    pub timestamps: bool,
    /// Width of the longest name.
    pub width: usize,
}

/// Prints one entry; containers are told apart by `index`.
///
/// # Errors
/// When the reader went away.
pub(super) fn print(entry: &Entry, name: &str, index: usize, how: LineStyle) -> io::Result<()> {
    let mut line = Vec::with_capacity(entry.bytes.len() + 64);
    if how.prefix {
        let prefix = format!("{name:<width$} | ", width = how.width);
        line.extend_from_slice(
            how.style
                .paint(COLOURS[index % COLOURS.len()], &prefix)
                .as_bytes(),
        );
    }
    if how.timestamps {
        let time = jiff::Timestamp::from_nanosecond(i128::from(entry.time)).unwrap_or_default();
        line.extend_from_slice(format!("{time:.9} ").as_bytes());
    }
    line.extend_from_slice(&entry.bytes);
    if !entry.bytes.ends_with(b"\n") {
        line.push(b'\n');
    }
    match entry.stream {
        Stream::Stdout => io::stdout().lock().write_all(&line),
        Stream::Stderr => io::stderr().lock().write_all(&line),
    }
}
