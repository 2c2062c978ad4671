//! How an operation looks while it runs: a live view on a terminal, plain lines elsewhere, JSON for programs.
//!
//! A step's line says what, how far, how long. The live view keeps one line per thing (container, image, network,
//! volume) and shows what a waiting one waits for.

use super::{
    Progress,
    terminal::{self, Style},
};
use crate::{
    api::wire::{Level, Message, StepState},
    plan::{Action, Step},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
    time::{Duration, Instant},
};

/// Lines of build output kept under the live view.
const OUTPUT_LINES: usize = 6;

/// Draws the messages of one operation.
#[derive(Debug)]
pub(super) struct View {
    mode: Progress,
    style: Style,
    steps: BTreeMap<u32, Line>,
    /// Things in the order in which they first appeared.
    rows: Vec<Row>,
    output: VecDeque<String>,
    /// Lines of the live view now on the screen.
    drawn: usize,
    last_draw: Option<Instant>,
    started: Instant,
}

/// A step and the row it belongs to.
#[derive(Debug)]
struct Line {
    row: usize,
    step: Step,
    begun: Option<Instant>,
}

/// One thing on the screen.
#[derive(Debug)]
struct Row {
    kind: &'static str,
    name: String,
    state: String,
    mark: Mark,
    begun: Option<Instant>,
    took: Option<Duration>,
    transfer: Option<(String, u64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Waiting,
    Busy,
    Done,
    Failed,
}

impl View {
    /// A view in the given mode (`auto` resolved).
    pub(super) fn new(mode: Progress, style: Style) -> Self {
        Self {
            mode,
            style,
            steps: BTreeMap::new(),
            rows: Vec::new(),
            output: VecDeque::new(),
            drawn: 0,
            last_draw: None,
            started: Instant::now(),
        }
    }

    /// Takes one message.
    pub(super) fn take(&mut self, message: &Message) {
        if self.mode == Progress::Json {
            if let Ok(line) = serde_json::to_string(message) {
                say(&line);
            }
            return;
        }
        match message {
            Message::Waiting { for_whom } => {
                self.note(Level::Notice, None, &format!("waiting for {for_whom}"))
            }
            Message::Plan { steps, .. } => self.plan(steps),
            Message::Step { step, state } => self.step(*step, state),
            Message::Note { service, level, text } => {
                self.note(*level, service.as_ref().map(|name| name.as_str()), text);
            }
            Message::Transfer {
                service,
                what,
                done,
                total,
            } => {
                if let Some(row) = self.rows.iter_mut().find(|row| row.name == service.as_str()) {
                    row.transfer = Some((what.clone(), *done, *total));
                }
            }
            Message::Event(_)
            | Message::Containers { .. }
            | Message::Networks { .. }
            | Message::Done
            | Message::Failed(_) => {}
        }
        self.draw(false);
    }

    fn plan(&mut self, steps: &[(u32, Step)]) {
        for (id, step) in steps {
            let (kind, name) = subject(&step.action);
            let row = self
                .rows
                .iter()
                .position(|row| row.kind == kind && row.name == name)
                .unwrap_or_else(|| {
                    self.rows.push(Row {
                        kind,
                        name,
                        state: "waiting".into(),
                        mark: Mark::Waiting,
                        begun: None,
                        took: None,
                        transfer: None,
                    });
                    self.rows.len() - 1
                });
            self.steps.insert(
                *id,
                Line {
                    row,
                    step: step.clone(),
                    begun: None,
                },
            );
        }
    }

    fn step(&mut self, id: u32, state: &StepState) {
        let Some(line) = self.steps.get_mut(&id) else {
            return;
        };
        let row = &mut self.rows[line.row];
        let (doing, done) = verbs(&line.step.action);
        match state {
            StepState::Begun => {
                line.begun = Some(Instant::now());
                row.begun.get_or_insert_with(Instant::now);
                row.mark = Mark::Busy;
                row.state = doing.into();
                return;
            }
            StepState::Done => {
                row.mark = Mark::Done;
                row.state = done.into();
            }
            StepState::Skipped(why) => {
                row.mark = Mark::Done;
                row.state.clone_from(why);
            }
            StepState::Failed => {
                row.mark = Mark::Failed;
                row.state = format!("failed ({doing})");
            }
            StepState::Undone => {
                row.mark = Mark::Failed;
                row.state = "undone".into();
            }
        }
        row.transfer = None;
        let took = line.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        row.took = row.begun.map(|begun| begun.elapsed());
        if self.mode == Progress::Plain {
            let text = format!(
                "{:<9} {:<24} {:<12} {}",
                row.kind,
                row.name,
                row.state,
                seconds(took)
            );
            say(text.trim_end());
        }
    }

    fn note(&mut self, level: Level, service: Option<&str>, text: &str) {
        let prefix = service.map(|name| format!("{name}: ")).unwrap_or_default();
        match (level, self.mode) {
            (_, Progress::Quiet) => {}
            (Level::Output, Progress::Tty) => {
                self.output.push_back(format!("{prefix}{text}"));
                while self.output.len() > OUTPUT_LINES {
                    self.output.pop_front();
                }
            }
            (Level::Output, _) => say(&format!("{prefix}{text}")),
            (Level::Notice, _) => self.above(&format!("{prefix}{text}")),
            (Level::Warning, _) => {
                let warning = self.style.paint("33", "warning:");
                self.above(&format!("{warning} {prefix}{text}"));
            }
        }
    }

    /// A line that stays, above the live view.
    fn above(&mut self, line: &str) {
        let erase = self.erase();
        say(&format!("{erase}{line}"));
        self.draw(true);
    }

    /// Something may have changed by the mere passing of time.
    pub(super) fn tick(&mut self) {
        self.draw(false);
    }

    fn draw(&mut self, now: bool) {
        if self.mode != Progress::Tty || self.rows.is_empty() {
            return;
        }
        if !now
            && self
                .last_draw
                .is_some_and(|last| last.elapsed() < Duration::from_millis(40))
        {
            return;
        }
        self.last_draw = Some(Instant::now());
        let width = terminal::width();
        let mut screen = self.erase();
        let mut lines = vec![self.headline()];
        lines.extend(self.rows.iter().map(|row| row.line(self.style, width)));
        lines.extend(
            self.output
                .iter()
                .map(|text| self.style.paint("2", &clip(&format!("   {text}"), width))),
        );
        self.drawn = lines.len();
        screen += &lines.join("\n");
        screen.push('\n');
        // A terminal that went away cannot be drawn on; the operation goes on.
        let _ = io::stderr().write_all(screen.as_bytes());
    }

    fn headline(&self) -> String {
        let done = self.rows.iter().filter(|row| row.mark == Mark::Done).count();
        let text = format!(
            "{done}/{} ready  {}",
            self.rows.len(),
            seconds(self.started.elapsed())
        );
        self.style.paint("1", &text)
    }

    fn erase(&mut self) -> String {
        let text = if self.drawn == 0 {
            String::new()
        } else {
            format!("\x1b[{}F\x1b[J", self.drawn)
        };
        self.drawn = 0;
        text
    }

    /// The last picture; afterwards the terminal is as it was.
    pub(super) fn finish(&mut self) {
        self.output.clear();
        self.draw(true);
        self.drawn = 0;
    }
}

impl Row {
    fn line(&self, style: Style, width: usize) -> String {
        let (mark, colour) = match self.mark {
            Mark::Waiting => ("·", "2"),
            Mark::Busy => ("▸", "36"),
            Mark::Done => ("✔", "32"),
            Mark::Failed => ("✘", "31"),
        };
        let time = self
            .took
            .or_else(|| self.begun.map(|begun| begun.elapsed()))
            .map(seconds)
            .unwrap_or_default();
        let state = match &self.transfer {
            Some((what, done, total)) if *total > 0 => {
                format!("{} {what} {}", self.state, bar(*done, *total))
            }
            Some((what, ..)) => format!("{} {what}", self.state),
            None => self.state.clone(),
        };
        let text = clip(
            &format!("{:<9} {:<24} {state}", self.kind, self.name),
            width.saturating_sub(12),
        );
        format!(
            " {} {text:<pad$} {time:>6}",
            style.paint(colour, mark),
            pad = width.saturating_sub(12).min(68)
        )
    }
}

fn subject(action: &Action) -> (&'static str, String) {
    match action {
        Action::Image { service } => ("image", service.to_string()),
        Action::Network { key } => ("network", key.clone()),
        Action::Volume { key } => ("volume", key.clone()),
        Action::Await { service, .. } => ("wait", service.to_string()),
        Action::Create { slot, .. }
        | Action::Start { slot }
        | Action::Stop { slot, .. }
        | Action::Remove { slot, .. } => ("container", slot.to_string()),
    }
}

fn verbs(action: &Action) -> (&'static str, &'static str) {
    use crate::model::Condition;
    match action {
        Action::Image { .. } => ("getting", "ready"),
        Action::Network { .. } | Action::Volume { .. } | Action::Create { .. } => ("creating", "created"),
        Action::Start { .. } => ("starting", "started"),
        Action::Stop { .. } => ("stopping", "stopped"),
        Action::Remove { .. } => ("removing", "removed"),
        Action::Await {
            condition: Condition::ServiceCompletedSuccessfully,
            ..
        } => ("waiting for it to complete", "completed"),
        Action::Await { .. } => ("waiting until healthy", "healthy"),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

fn bar(done: u64, total: u64) -> String {
    let tenths = usize::try_from(done.saturating_mul(20) / total.max(1))
        .unwrap_or(20)
        .min(20);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "[{}{}] {:.1}/{:.1} MiB",
        "█".repeat(tenths),
        "░".repeat(20 - tenths),
        mib(done),
        mib(total)
    )
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn say(line: &str) {
    // Diagnostics without a reader are lost, not an error of the operation.
    let _ = writeln!(io::stderr(), "{line}");
}
