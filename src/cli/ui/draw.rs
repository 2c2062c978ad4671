//! A view as characters and colours. Colours only repeat what words say, so that nothing is lost without them.

use super::{
    row::{Row, Tone},
    view::{Parts, View},
};
use crate::cli::usage::binary;
use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};
use unicode_width::UnicodeWidthStr as _;

/// From this many columns on, there is room for more about each container.
const WIDE: u16 = 112;
/// Colours of names beside output, in turn.
const NAMES: [Color; 6] = [
    Color::Cyan,
    Color::Yellow,
    Color::Green,
    Color::Magenta,
    Color::Blue,
    Color::LightRed,
];

/// How it is drawn, beside what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// With colours.
    pub colour: bool,
    /// Now, seconds since 1970.
    pub now: i64,
}

impl Look {
    fn of(self, tone: Tone) -> Style {
        self.coloured(match tone {
            Tone::Good => Color::Green,
            Tone::Busy => Color::Yellow,
            Tone::Bad => Color::Red,
            Tone::Quiet => return dim(),
        })
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// How many lines each part has on a screen of this size.
pub(super) fn parts(view: &View, area: Rect) -> Parts {
    let height = usize::from(area.height);
    let panel = height.saturating_sub(4);
    // The heading and the line of keys are always there.
    let room = height.saturating_sub(2);
    if view.zoomed {
        return Parts {
            list: 0,
            output: room.saturating_sub(1),
            panel,
        };
    }
    // Heading of the list, heading of the output.
    let inner = room.saturating_sub(2);
    let rows = view.shown().len().max(1);
    let list = rows.min((inner / 2).max(3)).min(inner);
    Parts {
        list,
        output: inner - list,
        panel,
    }
}

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, look: Look) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.height < 3 || area.width < 10 {
        return;
    }
    heading(buffer, area, view, look);
    let mut y = area.y + 1;
    if !view.zoomed {
        y = list(buffer, area, y, view, look);
    }
    output(buffer, area, y, view, look);
    keys(buffer, area, view);
    if let Some(panel) = &view.panel {
        self::panel(buffer, area, panel);
    }
}

/// `shop   3 of 4 run                     web restarted`
fn heading(buffer: &mut Buffer, area: Rect, view: &View, look: Look) {
    let (up, all) = view.counts();
    let count = match (view.seen, all) {
        (false, _) => "looking…".to_owned(),
        (true, 0) => "no containers".to_owned(),
        (true, _) => format!("{up} of {all} running"),
    };
    let (x, _) = buffer.set_stringn(area.x + 1, area.y, &view.project, width(area, 2), bold());
    let (x, _) = buffer.set_stringn(
        x + 3,
        area.y,
        &count,
        width(area, usize::from(x - area.x) + 4),
        dim(),
    );
    if let Some(note) = &view.note {
        let style = if note.bad {
            look.of(Tone::Bad)
        } else {
            Style::new()
        };
        let room = usize::from((area.right() - 1).saturating_sub(x + 3));
        let text = cut(&note.text, room);
        let at = area.right().saturating_sub(1 + columns(&text));
        buffer.set_stringn(at, area.y, &text, room, style);
    }
}

/// What a column says of a row.
type Cell<'a> = Box<dyn Fn(&Row) -> (String, Style) + 'a>;

/// A column: its heading, its width, and what it says of a row.
struct Column<'a> {
    heading: &'static str,
    width: usize,
    right: bool,
    of: Cell<'a>,
}

fn table<'a>(view: &View, area: Rect, look: Look) -> Vec<Column<'a>> {
    let wide = area.width >= WIDE;
    let longest = view.rows.iter().map(|row| row.name.width()).max().unwrap_or(0);
    let name = longest.clamp(7, if wide { 36 } else { 22 });
    let column = |heading, width, right, of: Cell<'a>| Column {
        heading,
        width,
        right,
        of,
    };
    let mut table = vec![
        column(
            "SERVICE",
            name,
            false,
            Box::new(|row| (row.name.clone(), Style::new())),
        ),
        column(
            "STATE",
            14,
            false,
            Box::new(move |row| {
                let tone = if row.health.is_empty() {
                    row.tone
                } else {
                    Tone::Good
                };
                (row.state.clone(), look.of(tone))
            }),
        ),
        column(
            "HEALTH",
            9,
            false,
            Box::new(move |row| (row.health.to_owned(), look.of(row.tone))),
        ),
    ];
    if wide {
        table.push(column(
            "SINCE",
            7,
            true,
            Box::new(move |row| (since(row, look.now), dim())),
        ));
    }
    table.push(column(
        "CPU",
        6,
        true,
        Box::new(|row| {
            let share = row.usage.and_then(|usage| usage.processor);
            (
                share.map_or(String::new(), |share| format!("{share:.1}%")),
                Style::new(),
            )
        }),
    ));
    table.push(column(
        "MEMORY",
        if wide { 19 } else { 8 },
        true,
        Box::new(move |row| {
            let Some(usage) = row.usage else {
                return (String::new(), Style::new());
            };
            let text = match usage.limit.filter(|_| wide) {
                Some(limit) => format!("{} / {}", binary(usage.memory), binary(limit)),
                None => binary(usage.memory),
            };
            (text, Style::new())
        }),
    ));
    table.push(column(
        "PORTS",
        if wide { 22 } else { usize::MAX },
        false,
        Box::new(|row| (row.ports.clone(), Style::new())),
    ));
    if wide {
        table.push(column(
            "IMAGE",
            usize::MAX,
            false,
            Box::new(|row| (row.image.clone(), dim())),
        ));
    }
    table
}

/// The list with its heading; gives the line after it.
fn list(buffer: &mut Buffer, area: Rect, y: u16, view: &View, look: Look) -> u16 {
    let table = table(view, area, look);
    let left = area.x + 5;
    let mut x = left;
    for column in &table {
        let room = column.width.min(usize::from(area.right().saturating_sub(x)));
        let text = padded(column.heading, room, column.right);
        buffer.set_stringn(x, y, text, room, dim());
        x = next(x, column, area);
    }
    let shown = view.shown();
    if shown.is_empty() {
        let text = match view.filter.is_empty() {
            _ if !view.seen => "",
            true => "nothing here yet: `banyan up -d` brings the project up",
            false => "no name has this text",
        };
        buffer.set_stringn(area.x + 3, y + 1, text, width(area, 4), dim());
    }
    for (index, row) in shown.iter().skip(view.top).take(view.parts.list).enumerate() {
        let y = y + 1 + u16::try_from(index).unwrap_or(0);
        let selected = view.selected.as_deref() == Some(row.name.as_str());
        if selected {
            buffer.set_stringn(area.x, y, ">", 1, bold());
        }
        if view.marked.contains(&row.name) {
            buffer.set_stringn(area.x + 1, y, "*", 1, bold());
        }
        let dot = if row.up { "●" } else { "○" };
        buffer.set_stringn(area.x + 3, y, dot, 1, look.of(row.tone));
        let mut x = left;
        for column in &table {
            let (text, style) = (column.of)(row);
            let room = column.width.min(usize::from(area.right().saturating_sub(x)));
            let style = if selected && column.heading == "SERVICE" {
                style.add_modifier(Modifier::BOLD)
            } else {
                style
            };
            buffer.set_stringn(x, y, padded(&text, room, column.right), room, style);
            x = next(x, column, area);
        }
    }
    y + 1 + u16::try_from(view.parts.list).unwrap_or(0)
}

/// Where the next column begins.
fn next(x: u16, column: &Column<'_>, area: Rect) -> u16 {
    let step = u16::try_from(column.width.saturating_add(2)).unwrap_or(u16::MAX);
    x.saturating_add(step).min(area.right())
}

/// The output with its heading, as far as there is room.
fn output(buffer: &mut Buffer, area: Rect, y: u16, view: &View, look: Look) {
    let bottom = area.bottom() - 1;
    if y >= bottom {
        return;
    }
    let names = view.names();
    let title = if names.is_empty() {
        "no output".to_owned()
    } else {
        names.join(", ")
    };
    let right = match (view.back, view.shift) {
        (0, 0) => String::new(),
        (0, shift) => format!(" from column {} ", shift + 1),
        (back, _) => format!(" {back} more below, End follows "),
    };
    let rule = "─".repeat(usize::from(area.width));
    buffer.set_stringn(area.x, y, &rule, width(area, 0), dim());
    let title = format!(
        " {} ",
        cut(
            &title,
            width(area, 8).saturating_sub(usize::from(columns(&right)))
        )
    );
    buffer.set_stringn(area.x + 2, y, title, width(area, 4), bold());
    let at = area.right().saturating_sub(2 + columns(&right));
    buffer.set_stringn(at, y, &right, width(area, 0), Style::new());
    let room = usize::from(bottom - y - 1);
    let end = view.lines.len().saturating_sub(view.back);
    let begin = end.saturating_sub(room);
    let prefix = names.iter().map(|name| name.width()).max().unwrap_or(0);
    for (index, line) in view.lines.range(begin..end).enumerate() {
        let y = y + 1 + u16::try_from(index).unwrap_or(0);
        let mut x = area.x + 1;
        if names.len() > 1 {
            let name = padded(names.get(line.of).copied().unwrap_or_default(), prefix, false);
            let colour = look.coloured(NAMES[line.of % NAMES.len()]);
            (x, _) = buffer.set_stringn(x, y, name, width(area, 2), colour);
            x += 2;
        }
        let text: String = line.text.chars().skip(view.shift).collect();
        let room = usize::from(area.right().saturating_sub(x));
        let style = if line.error {
            look.of(Tone::Busy)
        } else {
            Style::new()
        };
        buffer.set_stringn(x, y, text, room, style);
    }
}

/// What can be pressed, most useful first, as far as there is room.
fn keys(buffer: &mut Buffer, area: Rect, view: &View) {
    let y = area.bottom() - 1;
    if view.typing || (!view.filter.is_empty() && view.panel.is_none()) {
        let cursor = if view.typing { "▏" } else { "" };
        let what = if view.typing {
            "Enter keeps it, Esc shows all"
        } else {
            "/ changes it, Esc shows all"
        };
        let text = format!("only names with: {}{cursor}", view.filter);
        let (x, _) = buffer.set_stringn(area.x + 1, y, text, width(area, 2), bold());
        buffer.set_stringn(
            x + 3,
            y,
            what,
            usize::from(area.right().saturating_sub(x + 3)),
            dim(),
        );
        return;
    }
    let all: &[(&str, &str)] = if view.panel.is_some() {
        &[("↑↓", "scroll"), ("Esc", "close")]
    } else if view.zoomed {
        &[
            ("Enter", "list"),
            ("PgUp PgDn", "scroll"),
            ("End", "follow"),
            ("← →", "shift"),
            ("?", "help"),
            ("q", "leave"),
        ]
    } else {
        &[
            ("r", "restart"),
            ("s", "stop"),
            ("u", "up"),
            ("e", "shell"),
            ("o", "open"),
            ("w", "why"),
            ("/", "filter"),
            ("?", "help"),
            ("q", "leave"),
        ]
    };
    let mut x = area.x + 1;
    for (key, does) in all {
        if usize::from(x) + key.width() + does.width() + 1 > usize::from(area.right()) {
            break;
        }
        (x, _) = buffer.set_stringn(x, y, key, width(area, 0), bold());
        (x, _) = buffer.set_stringn(x + 1, y, does, width(area, 0), dim());
        x += 2;
    }
}

/// A text over everything but the heading and the line of keys.
fn panel(buffer: &mut Buffer, area: Rect, panel: &super::view::Panel) {
    let blank = " ".repeat(usize::from(area.width));
    for y in area.y + 1..area.bottom() - 1 {
        buffer.set_stringn(area.x, y, &blank, width(area, 0), Style::reset());
    }
    let rule = "─".repeat(usize::from(area.width));
    buffer.set_stringn(area.x, area.y + 1, rule, width(area, 0), dim());
    let title = format!(" {} ", panel.title);
    buffer.set_stringn(area.x + 2, area.y + 1, title, width(area, 4), bold());
    let room = usize::from(area.height.saturating_sub(4));
    for (index, line) in panel.lines.iter().skip(panel.top).take(room).enumerate() {
        let y = area.y + 2 + u16::try_from(index).unwrap_or(0);
        buffer.set_stringn(area.x + 2, y, line, width(area, 3), Style::new());
    }
    let below = panel.lines.len().saturating_sub(panel.top + room);
    if below > 0 {
        let text = format!("… {below} more below");
        buffer.set_stringn(area.x + 2, area.bottom() - 2, text, width(area, 3), dim());
    }
}

/// How long it has been so: `12 s`, `3 min`, `5 h`, `2 d`.
fn since(row: &Row, now: i64) -> String {
    let Some(since) = row.since else {
        return String::new();
    };
    let seconds = (now - since.div_euclid(1_000_000_000)).max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

/// Columns left of the area when `taken` are taken.
fn width(area: Rect, taken: usize) -> usize {
    usize::from(area.width).saturating_sub(taken)
}

fn columns(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// Text of at most so many columns; what is cut off is shown by `…`.
fn cut(text: &str, most: usize) -> String {
    if text.width() <= most {
        return text.to_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    for character in text.chars() {
        let columns = character.to_string().width();
        if used + columns + 1 > most {
            break;
        }
        used += columns;
        out.push(character);
    }
    if most > 0 {
        out.push('…');
    }
    out
}

/// Text of exactly so many columns, as far as that can be.
fn padded(text: &str, columns: usize, right: bool) -> String {
    let text = cut(text, columns);
    // A column without bounds needs no blanks after it.
    let blanks = columns.saturating_sub(text.width()).min(400);
    if right {
        format!("{}{text}", " ".repeat(blanks))
    } else {
        format!("{text}{}", " ".repeat(blanks))
    }
}
