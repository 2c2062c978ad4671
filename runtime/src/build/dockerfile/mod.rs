//! Dockerfiles: text in, instructions with line numbers out.
//!
//! 1. [`lines`]: parser directives, comments, continuations, here-documents;
//! 2. [`instruction`]: each logical line by its own grammar;
//! 3. [`words`]: quotes and `${variables}`, applied when the values are known.

pub mod instruction;
pub mod lines;
pub mod words;

pub use instruction::{Command, CopyFlags, Instruction, RunFlags, RunMount};
pub use lines::{Directives, Heredoc, Line};

/// A mistake in a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Dockerfile:{line}: {reason}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what is expected.
    pub reason: String,
}

/// An instruction and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// First line, from 1.
    pub line: usize,
    /// As written, continuations joined.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// `# escape=` and so on.
    pub directives: Directives,
    /// The instructions, in order.
    pub steps: Vec<Step>,
}

/// Parses a Dockerfile. Stages are not looked at yet.
pub fn parse(text: &str) -> Result<Dockerfile, ParseError> {
    let (directives, lines) = lines::split(text)?;
    let mut steps = Vec::new();
    for line in lines {
        let instruction = instruction::parse(&line, directives.escape)?;
        steps.push(Step {
            line: line.number,
            text: line.text,
            instruction,
        });
    }
    if steps.is_empty() {
        return Err(ParseError {
            line: 1,
            reason: "the Dockerfile has no instructions".into(),
        });
    }
    Ok(Dockerfile { directives, steps })
}

#[cfg(test)]
mod tests;
