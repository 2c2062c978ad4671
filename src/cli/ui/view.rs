//! What is shown, folded from what was seen and from keys: pure, without clock or terminal.

use super::{
    keys::Key,
    output::{Heard, Line},
    row::Row,
};
use std::collections::{BTreeSet, VecDeque};

/// Lines of output kept.
const KEPT: usize = 5000;

/// What a key asks for beyond the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// To leave.
    Quit,
    /// A command of ours, in the background: `restart web`.
    Do(Vec<String>),
    /// A command of ours whose output is shown.
    Tell(Vec<String>),
    /// A command of ours that gets the terminal.
    Hand(Vec<String>),
    /// An address, for the machine's browser.
    Open(String),
}

/// Text shown over everything until a key closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Panel {
    /// Its heading.
    pub title: String,
    /// Its lines.
    pub lines: Vec<String>,
    /// The first line shown.
    pub top: usize,
}

/// What was last said to the user: in the corner, until the next thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// One line.
    pub text: String,
    /// It went wrong.
    pub bad: bool,
}

/// How many lines each part has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Of the list, without its heading.
    pub list: usize,
    /// Of the output.
    pub output: usize,
    /// Of a panel.
    pub panel: usize,
}

/// Everything shown.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The project's name.
    pub project: String,
    /// Its containers and services.
    pub rows: Vec<Row>,
    /// They were seen at least once.
    pub seen: bool,
    /// The name of the row that keys are about.
    pub selected: Option<String>,
    /// Names of rows whose output is shown together.
    pub marked: BTreeSet<String>,
    /// The first row shown.
    pub top: usize,
    /// Only rows whose name has this text.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// Output.
    pub lines: VecDeque<Line>,
    /// Lines that the output is scrolled back.
    pub back: usize,
    /// Characters that the output is shifted to the left.
    pub shift: usize,
    /// The output has the whole screen.
    pub zoomed: bool,
    /// Text over everything.
    pub panel: Option<Panel>,
    /// What was last said.
    pub note: Option<Note>,
    /// How many lines each part has.
    pub parts: Parts,
    choice: u64,
    chosen: Vec<(String, String)>,
}

const HELP: &str = "\
↑ ↓  j k      choose a container;  Home, G: the first, the last
space         show its output together with others
Enter         output on the whole screen, and back
PgUp PgDn     scroll the output;  End follows it again
← →           shift long lines
/             only names with a text;  Esc shows all

r             restart the service
s             stop it
u             bring it up
p             freeze it, and let it go on
e             a shell in the container
o             open its published port in the browser
w             why it is as it is

q  Ctrl-C     leave; the project goes on";

impl View {
    /// Nothing seen yet.
    pub(super) fn new(project: &str) -> Self {
        Self {
            project: project.to_owned(),
            ..Self::default()
        }
    }

    /// Rows that the filter leaves.
    pub(super) fn shown(&self) -> Vec<&Row> {
        let wanted = |row: &&Row| row.name.contains(self.filter.as_str());
        self.rows.iter().filter(wanted).collect()
    }

    fn place(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.shown().iter().position(|row| row.name == *selected)
    }

    /// The row that keys are about.
    pub(super) fn row(&self) -> Option<&Row> {
        self.shown().get(self.place()?).copied()
    }

    /// Takes what exists now. Whatever was chosen stays chosen; where it vanished, its neighbour is.
    pub(super) fn take_rows(&mut self, rows: Vec<Row>) {
        let before = self.place();
        self.rows = rows;
        self.seen = true;
        let names: BTreeSet<&str> = self.rows.iter().map(|row| row.name.as_str()).collect();
        self.marked.retain(|name| names.contains(name.as_str()));
        self.reselect(before.unwrap_or(0));
    }

    fn reselect(&mut self, place: usize) {
        if self.place().is_none() {
            let name = {
                let shown = self.shown();
                let row = shown.get(place.min(shown.len().saturating_sub(1)));
                row.map(|row| row.name.clone())
            };
            self.selected = name;
        }
        self.fit(self.parts);
    }

    /// Names and containers whose output is to be shown: what is marked, else what is selected.
    pub(super) fn to_follow(&self) -> Vec<(String, String)> {
        let selected = self.row().map(|row| row.name.as_str());
        let wanted = |row: &&Row| {
            if self.marked.is_empty() {
                Some(row.name.as_str()) == selected
            } else {
                self.marked.contains(&row.name)
            }
        };
        let rows = self.rows.iter().filter(wanted).filter(|row| !row.id.is_empty());
        rows.map(|row| (row.name.clone(), row.id.clone())).collect()
    }

    /// The number of a new choice of output, when it is not the one shown.
    pub(super) fn new_choice(&mut self) -> Option<u64> {
        let wanted = self.to_follow();
        if wanted == self.chosen {
            return None;
        }
        self.chosen = wanted;
        self.choice += 1;
        self.lines.clear();
        (self.back, self.shift) = (0, 0);
        Some(self.choice)
    }

    /// Names of the logs shown, as [`Line::of`] counts them.
    pub(super) fn names(&self) -> Vec<&str> {
        self.chosen.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Takes output of the present choice.
    pub(super) fn take_lines(&mut self, heard: Heard) {
        if heard.choice != self.choice {
            return;
        }
        if self.back > 0 {
            // What is being read stays where it is.
            self.back += heard.lines.len();
        }
        self.lines.extend(heard.lines);
        let over = self.lines.len().saturating_sub(KEPT);
        self.lines.drain(..over);
        self.fit(self.parts);
    }

    /// Says something in the corner.
    pub(super) fn say(&mut self, text: impl Into<String>, bad: bool) {
        let text = text.into();
        self.note = Some(Note { text, bad });
    }

    /// Shows a text over everything.
    pub(super) fn show(&mut self, title: impl Into<String>, text: &str) {
        self.panel = Some(Panel {
            title: title.into(),
            lines: text.lines().map(super::output::clean).collect(),
            top: 0,
        });
    }

    /// The parts have so many lines; what is selected stays in sight.
    pub(super) fn fit(&mut self, parts: Parts) {
        self.parts = parts;
        let (count, place) = (self.shown().len(), self.place().unwrap_or(0));
        let most = count.saturating_sub(parts.list);
        let first = (place + 1).saturating_sub(parts.list);
        self.top = self.top.max(first).min(place).min(most);
        self.back = self.back.min(self.lines.len().saturating_sub(parts.output));
        if let Some(panel) = &mut self.panel {
            panel.top = panel.top.min(panel.lines.len().saturating_sub(parts.panel));
        }
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: Key) -> Option<Asked> {
        if key == Key::Ctrl('c') {
            return Some(Asked::Quit);
        }
        let asked = if self.panel.is_some() {
            self.press_in_panel(key);
            None
        } else if self.typing {
            self.press_in_filter(key);
            None
        } else {
            self.press_in_list(key)
        };
        self.fit(self.parts);
        asked
    }

    fn press_in_panel(&mut self, key: Key) {
        let page = self.parts.panel.max(1);
        let Some(panel) = &mut self.panel else { return };
        match key {
            Key::Up | Key::Char('k') => panel.top = panel.top.saturating_sub(1),
            Key::Down | Key::Char('j') => panel.top += 1,
            Key::PageUp => panel.top = panel.top.saturating_sub(page),
            Key::PageDown | Key::Char(' ') => panel.top += page,
            Key::Home => panel.top = 0,
            Key::End => panel.top = panel.lines.len(),
            _ => self.panel = None,
        }
    }

    fn press_in_filter(&mut self, key: Key) {
        let place = self.place().unwrap_or(0);
        match key {
            Key::Char(character) => self.filter.push(character),
            Key::Backspace => drop(self.filter.pop()),
            Key::Ctrl('u') => self.filter.clear(),
            Key::Escape => {
                self.filter.clear();
                self.typing = false;
            }
            Key::Enter => self.typing = false,
            Key::Up => self.step(-1),
            Key::Down => self.step(1),
            _ => {}
        }
        self.reselect(place);
    }

    fn press_in_list(&mut self, key: Key) -> Option<Asked> {
        let page = self.parts.output.max(2) - 1;
        match key {
            Key::Char('q') => return Some(Asked::Quit),
            Key::Up | Key::Char('k') => self.step(-1),
            Key::Down | Key::Char('j') => self.step(1),
            Key::Home => self.step(isize::MIN),
            Key::Char('G') => self.step(isize::MAX),
            Key::PageUp => self.back += page,
            Key::PageDown => self.back = self.back.saturating_sub(page),
            Key::End => self.back = 0,
            Key::Left => self.shift = self.shift.saturating_sub(16),
            Key::Right => self.shift += 16,
            Key::Enter => self.zoomed = !self.zoomed,
            Key::Char('/') => self.typing = true,
            Key::Char('?' | 'h') => self.show("keys", HELP),
            Key::Char(' ') => self.mark(),
            Key::Escape => {
                // The nearest thing that can be left.
                if self.zoomed {
                    self.zoomed = false;
                } else if !self.filter.is_empty() {
                    let place = self.place().unwrap_or(0);
                    self.filter.clear();
                    self.reselect(place);
                } else {
                    self.marked.clear();
                }
            }
            Key::Char(character) => return self.act(character),
            _ => {}
        }
        None
    }

    /// Keys that do something to a service.
    fn act(&mut self, character: char) -> Option<Asked> {
        let row = self.row()?.clone();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let service = row.service.as_str();
        let number = row.number.to_string();
        let none = row.number == 0;
        let refuse = |view: &mut Self, why: &str| {
            view.say(format!("{}: {why}", row.name), true);
            None
        };
        match character {
            'r' | 's' | 'p' if none => refuse(self, "it has no container; u brings it up"),
            'r' => Some(Asked::Do(words(&["restart", service]))),
            's' => Some(Asked::Do(words(&["stop", service]))),
            'u' => Some(Asked::Do(words(&["up", "-d", service]))),
            'p' if row.paused => Some(Asked::Do(words(&["unpause", service]))),
            'p' => Some(Asked::Do(words(&["pause", service]))),
            'w' if none => refuse(self, "it has no container yet, so there is nothing to tell"),
            'w' => Some(Asked::Tell(words(&["why", service]))),
            'e' if !row.up => refuse(self, "it does not run"),
            'e' => {
                // Whatever shell the image has.
                let shell = "command -v bash >/dev/null 2>&1 && exec bash; exec sh";
                Some(Asked::Hand(words(&[
                    "exec", "--index", &number, service, "sh", "-c", shell,
                ])))
            }
            'o' => match row.address.clone() {
                Some(address) => Some(Asked::Open(address)),
                None => refuse(self, "it publishes no TCP port"),
            },
            _ => None,
        }
    }

    fn step(&mut self, by: isize) {
        let shown = self.shown();
        let last = shown.len().saturating_sub(1);
        let place = self.place().unwrap_or(0).saturating_add_signed(by).min(last);
        self.selected = shown.get(place).map(|row| row.name.clone());
    }

    fn mark(&mut self) {
        let Some(name) = self.selected.clone() else { return };
        if !self.marked.remove(&name) {
            self.marked.insert(name);
        }
        self.step(1);
    }

    /// Running and all containers and services, for the heading.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.rows.iter().filter(|row| row.up).count(), self.rows.len())
    }
}
