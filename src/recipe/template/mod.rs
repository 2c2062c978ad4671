//! The template language of recipes: gaudi's, a part of Go's `text/template` with `[[` and `]]`.
//!
//! 1. [`lexer`]: text and, between `[[` and `]]`, words with their places (`[[-` and `-]]` trim blanks);
//! 2. [`parser`]: `if`, `else`, `else if`, `range`, `with`, `end`; [`expression`]: `$variable := pipeline`, pipelines,
//!    parentheses;
//! 3. [`evaluate`]: what a template sees is a [`View`]: `.Container` (this service), `.Collection` (all of them), `.Port`,
//!    and the functions of [`functions`].
//!
//! Deliberately absent: `define`, `template`, `block`, `break`, `continue`: no template of gaudi's uses them. Printing what
//! is not there is a mistake here, where Go prints `<no value>` into the middle of a configuration file.

mod evaluate;
mod expression;
mod functions;
mod lexer;
mod methods;
mod parser;
mod value;

pub(crate) use value::Value;

use super::scene::Scene;
use std::fmt;

/// What a template may look at.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) scene: &'a Scene,
    /// The container that the template is of.
    pub(crate) own: usize,
    /// Other files of the recipe, for `copy`; by name.
    pub(crate) files: &'a dyn Fn(&str) -> Option<String>,
}

/// A mistake in a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct TemplateError {
    /// The template's file.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// The byte of the text.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            ..
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

/// A mistake at a byte of the text, before it is known which line that is.
#[derive(Debug)]
struct Wrong {
    at: usize,
    message: String,
    /// The mistake is in another file, which `copy` rendered.
    inner: Option<TemplateError>,
}

impl Wrong {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            inner: None,
        }
    }
}

/// Whether a text has anything to render.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("[[") && text.contains("]]")
}

/// Renders `text`, the content of `file`.
///
/// # Errors
/// The first mistake, with its line and column.
pub(crate) fn render(file: &str, text: &str, view: View<'_>) -> Result<String, TemplateError> {
    let done = parser::parse(text).and_then(|pieces| evaluate::run(&pieces, view));
    done.map_err(|wrong| {
        wrong.inner.unwrap_or_else(|| {
            let before = text.get(..wrong.at).unwrap_or(text);
            let start = before.rfind('\n').map_or(0, |end| end + 1);
            TemplateError {
                file: file.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[start..].chars().count() + 1,
                at: before.len(),
                message: wrong.message,
            }
        })
    })
}

#[cfg(test)]
mod tests;
