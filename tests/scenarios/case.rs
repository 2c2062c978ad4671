//! What a scenario file says. `docs/testing.md` is its reference.

use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// One file: scenarios about one subject.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Files of every scenario here, by path in the project's folder.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// The scenarios.
    pub(crate) scenarios: Vec<Scenario>,
}

/// Files, commands, observations.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The behaviour, as a sentence.
    pub(crate) it: String,
    /// Files beside, or instead of, those of the whole file.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// What is done and seen, in order.
    pub(crate) steps: Vec<Step>,
}

/// One step: exactly one of the actions, and what is expected of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Action: `banyan` with these words.
    pub(crate) run: Option<String>,
    /// Action: `banyan` with these words in the background.
    pub(crate) begin: Option<String>,
    /// Action: wait for what was begun, after sending it this signal (empty: none).
    pub(crate) finish: Option<String>,
    /// Action: a line for `/bin/sh` in the project's folder; `$BANYAN` is the program, `$BANYAN_ROOT` is set.
    pub(crate) host: Option<String>,
    /// Action: write files.
    pub(crate) write: Option<BTreeMap<String, String>>,
    /// Observation: all containers, as `a-1 running`, `a-1 exited 3`, `a-1 running healthy`.
    pub(crate) containers: Option<Vec<String>>,
    /// Action: remember which containers there are.
    #[serde(default)]
    pub(crate) remember: bool,
    /// Observation: these are the remembered ones.
    pub(crate) kept: Option<Vec<String>>,
    /// Observation: these were made anew since they were remembered.
    pub(crate) recreated: Option<Vec<String>>,

    /// Standard input of the action.
    pub(crate) stdin: Option<String>,
    /// Variables of the action's environment.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// Do it again until it is as expected, at most so many seconds.
    pub(crate) within: Option<u64>,
    /// Expected exit status; 0 when not said.
    #[serde(default)]
    pub(crate) exit: i32,
    /// Expected standard output, exactly (but for the last line's end).
    pub(crate) out: Option<String>,
    /// Expected standard output by lines: `*` stands for anything, and blanks count once.
    pub(crate) like: Option<String>,
    /// Expected number of lines.
    pub(crate) lines: Option<usize>,
    /// Values in the JSON of the output's first line, by pointer (`/State`).
    pub(crate) json: Option<BTreeMap<String, serde_json::Value>>,
    /// Texts that standard output has.
    #[serde(default)]
    pub(crate) has: Vec<String>,
    /// Texts that it has not.
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
    /// Texts that standard error has.
    #[serde(default)]
    pub(crate) err: Vec<String>,
    /// Texts that standard error has not.
    #[serde(default)]
    pub(crate) err_lacks: Vec<String>,
}

impl File {
    /// Reads one.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// A line's words as a shell would part them: quotes, no variables.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ' | '\n') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    assert!(quote.is_none(), "a quote is not closed in: {line}");
    words.extend(word);
    words
}
