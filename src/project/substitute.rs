//! Variables in all values of a tree, and what is said about those that have none.

use super::{
    diagnostic::Report,
    interpolate::{self, FaultKind, Variable},
    node::{Node, Value},
    source::Span,
    trail::Trail,
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

/// Replaces variables in the files of one project.
#[derive(Debug, Default)]
pub(crate) struct Substitute {
    /// Unset variables already told of: one warning each.
    told: HashSet<String>,
}

impl Substitute {
    /// Replaces the variables in every text of the tree; keys are left alone.
    pub(crate) fn tree(
        &mut self,
        node: &mut Node,
        values: &BTreeMap<String, String>,
        trail: &Trail<'_>,
        report: &mut Report,
    ) {
        let span = node.span;
        match &mut node.value {
            Value::Str(text) if text.contains('$') => {
                let mut unset = Vec::new();
                match interpolate::substitute(text, values, &mut unset) {
                    Ok(Cow::Borrowed(_)) => {}
                    Ok(Cow::Owned(new)) => {
                        for (name, at) in unset {
                            self.unset(
                                &name,
                                exact(span, text, at, name.len() + 1, report),
                                trail,
                                report,
                            );
                        }
                        *text = new;
                    }
                    Err(fault) => {
                        let at = exact(span, text, fault.at, 2, report);
                        fault_message(fault.kind, at, trail, report);
                        node.value = Value::Bad;
                    }
                }
            }
            Value::List(list) => {
                for (i, item) in list.iter_mut().enumerate() {
                    self.tree(item, values, &trail.index(i), report);
                }
            }
            Value::Map(map) => {
                for (key, entry) in map.iter_mut() {
                    self.tree(&mut entry.node, values, &trail.key(key), report);
                }
            }
            _ => {}
        }
    }

    fn unset(&mut self, name: &str, span: Span, trail: &Trail<'_>, report: &mut Report) {
        if self.told.insert(name.to_owned()) {
            report
                .warning(
                    span,
                    format!("the variable `{name}` is not set; `{trail}` gets an empty text for it"),
                )
                .hint(format!(
                    "set it in `.env`, or give a default: `${{{name}:-…}}`; `$$` stands for a dollar sign"
                ));
        }
    }
}

fn fault_message(kind: FaultKind, span: Span, trail: &Trail<'_>, report: &mut Report) {
    let dollar = "`${NAME}`, `${NAME:-default}`; `$$` stands for a dollar sign";
    match kind {
        FaultKind::Unclosed => {
            report
                .error(span, format!("`${{` in `{trail}` is never closed"))
                .hint(format!("write {dollar}"));
        }
        FaultKind::Name => {
            report
                .error(
                    span,
                    format!("`${{` in `{trail}` is not followed by a variable name"),
                )
                .because("names consist of letters, digits and `_`, and do not start with a digit")
                .hint(format!("write {dollar}"));
        }
        FaultKind::Operator(text) => {
            let text: String = text.chars().take(20).collect();
            report
                .error(span, format!("`{text}` after the variable name in `{trail}` means nothing"))
                .hint("after the name come `}`, `:-default`, `-default`, `:+value`, `+value`, `:?message` or `?message`");
        }
        FaultKind::Required { name, message } => {
            let message = if message.is_empty() {
                String::new()
            } else {
                format!(": {message}")
            };
            report
                .error(span, format!("the variable `{name}` must be set{message}"))
                .because(format!("`{trail}` requires it"))
                .hint(format!("add `{name}=…` to `.env`, or set it in the environment"));
        }
        FaultKind::Deep => {
            report.error(span, format!("the defaults in `{trail}` are nested too deep"));
        }
    }
}

/// The span of `length` bytes at offset `at` of a text, when the text stands in the source as it is; else all of it.
fn exact(span: Span, text: &str, at: usize, length: usize, report: &Report) -> Span {
    match report.sources.slice(span).find(text) {
        Some(start) => span.part(start + at, length.min(text.len().saturating_sub(at)).max(1)),
        None => span,
    }
}

/// The variables that a tree mentions, by name; the first mention counts.
pub(crate) fn variables(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Str(text) => {
            let mut list = Vec::new();
            interpolate::variables(text, &mut list);
            for variable in list {
                found.entry(variable.name.clone()).or_insert(variable);
            }
        }
        Value::List(list) => list.iter().for_each(|item| variables(item, found)),
        Value::Map(map) => map.values().for_each(|entry| variables(&entry.node, found)),
        _ => {}
    }
}
