//! What an output must be like.

use crate::case::Step;
use std::fmt::Write;

/// What an action gave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Everything that is not as the step expects; nothing when all is well.
pub(crate) fn differences(step: &Step, seen: &Seen) -> String {
    let mut wrong = String::new();
    let mut say = |text: String| writeln!(wrong, "  {text}").unwrap_or_default();
    if seen.exit != step.exit {
        say(format!("exit status {} instead of {}", seen.exit, step.exit));
    }
    if let Some(out) = &step.out
        && seen.out.trim_end_matches('\n') != out.trim_end_matches('\n')
    {
        say(format!("the output is not `{}`", out.trim_end()));
    }
    if let Some(pattern) = &step.like {
        let (want, got): (Vec<_>, Vec<_>) =
            (pattern.trim_end().lines().collect(), seen.out.lines().collect());
        if want.len() != got.len() {
            say(format!("{} lines instead of {}", got.len(), want.len()));
        }
        for (want, got) in want.iter().zip(&got) {
            if !matches(&squeezed(want), &squeezed(got)) {
                say(format!("the line `{got}` is not like `{want}`"));
            }
        }
    }
    if let Some(lines) = step.lines
        && seen.out.lines().count() != lines
    {
        say(format!("{} lines instead of {lines}", seen.out.lines().count()));
    }
    if let Some(values) = &step.json {
        let first = seen.out.lines().next().unwrap_or_default();
        let parsed: serde_json::Value = serde_json::from_str(first)
            .or_else(|_| serde_json::from_str(&seen.out))
            .unwrap_or_default();
        for (pointer, value) in values {
            let got = parsed.pointer(pointer);
            if got != Some(value) {
                say(format!("{pointer} is {got:?} instead of {value}"));
            }
        }
    }
    for (texts, in_what, name, wanted) in [
        (&step.has, &seen.out, "output", true),
        (&step.lacks, &seen.out, "output", false),
        (&step.err, &seen.err, "standard error", true),
        (&step.err_lacks, &seen.err, "standard error", false),
    ] {
        for text in texts {
            if in_what.contains(text.as_str()) != wanted {
                let has = if wanted { "lacks" } else { "has" };
                say(format!("{name} {has} `{text}`"));
            }
        }
    }
    wrong
}

fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether `text` is like `pattern`, where `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(head) else {
        return false;
    };
    let starts = (0..=text.len()).filter(|at| text.is_char_boundary(*at));
    starts.into_iter().any(|at| matches(rest, &text[at..]))
}
