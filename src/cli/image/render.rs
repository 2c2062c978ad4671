//! Progress of image work on standard error: plain lines, or a line that is rewritten on a terminal.

use crate::cli::{Global, Progress as Mode};
use banyan_runtime::image::{Event, Progress, progress::Doing};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Renders events.
#[derive(Debug)]
pub(in crate::cli) struct Printer {
    mode: Mode,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Tenths of each named work that were printed.
    tenths: BTreeMap<String, u64>,
    /// The rewritten line is on the screen.
    is_open: bool,
    last: Option<Instant>,
}

impl Printer {
    pub(in crate::cli) fn new(global: &Global) -> Self {
        let mode = match global.progress {
            Mode::Auto if std::io::stderr().is_terminal() => Mode::Tty,
            Mode::Auto => Mode::Plain,
            other => other,
        };
        Self {
            mode,
            state: Mutex::default(),
        }
    }

    fn line(state: &mut State, text: &str) {
        let mut err = std::io::stderr().lock();
        let clear = if std::mem::take(&mut state.is_open) {
            "\r\x1b[K"
        } else {
            ""
        };
        // Standard error may be closed; the work goes on.
        let _ = writeln!(err, "{clear}{text}");
    }

    /// A line that the next one replaces; on a terminal at most twenty times a second, elsewhere once per tenth.
    fn moving(&self, state: &mut State, what: &str, done: u64, total: u64) {
        let tenth = (done * 10).checked_div(total).unwrap_or(10);
        if self.mode == Mode::Tty {
            let is_due = state.last.is_none_or(|last| last.elapsed().as_millis() >= 50) || done == total;
            if is_due {
                state.last = Some(Instant::now());
                state.is_open = true;
                let mut err = std::io::stderr().lock();
                let bar: String = (0..20).map(|n| if n < tenth * 2 { '#' } else { '.' }).collect();
                let _ = write!(err, "\r\x1b[K[{bar}] {what} {}/{}", amount(done), amount(total));
                let _ = err.flush();
            }
            return;
        }
        let known = state.tenths.get(what).copied();
        if known.is_none_or(|known| tenth >= known + 3 || tenth == 10 && known < 10 || tenth < known) {
            state.tenths.insert(what.to_owned(), tenth);
            Self::line(state, &format!("{what} {}/{}", amount(done), amount(total)));
        }
    }
}

impl Progress for Printer {
    fn event(&self, event: Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        match (self.mode, event) {
            (_, Event::Notice(text)) => Self::line(state, &format!("notice: {text}")),
            (Mode::Quiet, _) => {}
            (Mode::Json, event) => Self::line(state, &json(&event)),
            (_, Event::Work { what, done, total }) => self.moving(state, what, done, total),
            (
                _,
                Event::Layer {
                    id,
                    doing: Doing::Present,
                    ..
                },
            ) => Self::line(state, &format!("{id} is here already")),
            (
                _,
                Event::Layer {
                    id,
                    doing: Doing::Done,
                    done,
                    ..
                },
            ) => {
                Self::line(state, &format!("{id} done ({})", amount(done)));
            }
            (
                _,
                Event::Layer {
                    id,
                    doing,
                    done,
                    total: Some(total),
                },
            ) if doing != Doing::Waiting => {
                self.moving(state, id, done, total);
            }
            (_, Event::Layer { .. }) => {}
            (
                _,
                Event::Step {
                    number,
                    total,
                    stage,
                    text,
                },
            ) => {
                let first = text.lines().next().unwrap_or("");
                Self::line(state, &format!("#{number}/{total} [{stage}] {first}"));
            }
            (
                _,
                Event::StepDone {
                    number,
                    total,
                    cached,
                    seconds,
                },
            ) => {
                let how = if cached {
                    "cached".to_owned()
                } else {
                    format!("done {seconds:.2}s")
                };
                Self::line(state, &format!("#{number}/{total} {how}"));
            }
            (_, Event::Output { bytes, .. }) => {
                let _ = std::io::stderr().write_all(bytes);
            }
        }
    }
}

fn json(event: &Event<'_>) -> String {
    let value = match event {
        Event::Layer {
            id,
            doing,
            done,
            total,
        } => {
            serde_json::json!({"layer": id, "doing": format!("{doing:?}").to_lowercase(), "done": done, "total": total})
        }
        Event::Work { what, done, total } => serde_json::json!({"work": what, "done": done, "total": total}),
        Event::Step {
            number,
            total,
            stage,
            text,
        } => {
            serde_json::json!({"step": number, "total": total, "stage": stage, "text": text})
        }
        Event::StepDone {
            number,
            total,
            cached,
            seconds,
        } => {
            serde_json::json!({"stepDone": number, "total": total, "cached": cached, "seconds": seconds})
        }
        Event::Output { step, bytes } => {
            serde_json::json!({"output": String::from_utf8_lossy(bytes), "step": step})
        }
        Event::Notice(text) => serde_json::json!({"notice": text}),
    };
    value.to_string()
}

/// Bytes as Docker shows them: powers of 1000, three digits. Small numbers are counts.
pub(super) fn amount(bytes: u64) -> String {
    if bytes < 1000 {
        return bytes.to_string();
    }
    size(bytes)
}

/// Bytes as Docker shows them: `1.23GB`.
pub(in crate::cli) fn size(bytes: u64) -> String {
    let mut unit = "B";
    let mut divisor = 1_u64;
    for next in ["kB", "MB", "GB", "TB"] {
        if bytes / divisor < 1000 {
            break;
        }
        divisor *= 1000;
        unit = next;
    }
    if divisor == 1 {
        return format!("{bytes}B");
    }
    let hundredths = (u128::from(bytes) * 100 + u128::from(divisor) / 2) / u128::from(divisor);
    let (whole, part) = (hundredths / 100, hundredths % 100);
    match whole {
        0..=9 => format!("{whole}.{part:02}{unit}"),
        10..=99 => format!("{whole}.{}{unit}", part / 10),
        _ => format!("{whole}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_docker_prints_them() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (97_200_000, "97.2MB"),
            (1_234_567_890, "1.23GB"),
            (123_456, "123kB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
