//! A tree and a view into text.

use super::{
    Value, View, Wrong,
    expression::{Base, Operand, Pipeline},
    functions, methods,
    parser::Piece,
};
use std::collections::HashMap;

/// Most bytes a template may make; the largest recipe makes a few thousand.
const BOUND: usize = 4 << 20;

/// The state of a run.
pub(super) struct Run<'a> {
    pub(super) view: View<'a>,
    /// Innermost last.
    variables: Vec<(String, Value)>,
    /// What `SetCustomValue` set: container, key, value.
    pub(super) set: HashMap<(usize, String), Value>,
    out: String,
}

pub(super) fn run(pieces: &[Piece], view: View<'_>) -> Result<String, Wrong> {
    let mut run = Run {
        view,
        variables: vec![(String::new(), Value::Root)],
        set: HashMap::new(),
        out: String::new(),
    };
    run.pieces(pieces, &Value::Root)?;
    Ok(run.out)
}

impl Run<'_> {
    /// Variables declared in the pieces end with them.
    fn pieces(&mut self, pieces: &[Piece], dot: &Value) -> Result<(), Wrong> {
        let depth = self.variables.len();
        for piece in pieces {
            self.piece(piece, dot)?;
        }
        self.variables.truncate(depth);
        Ok(())
    }

    fn piece(&mut self, piece: &Piece, dot: &Value) -> Result<(), Wrong> {
        match piece {
            Piece::Plain(text) => self.out.push_str(text),
            Piece::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variable.is_none() {
                    self.print(&value, pipeline.at)?;
                }
            }
            Piece::If(branches, otherwise) => {
                let depth = self.variables.len();
                let mut chosen = otherwise;
                for (condition, body) in branches {
                    if self.pipeline(condition, dot)?.is_true() {
                        chosen = body;
                        break;
                    }
                }
                self.pieces(chosen, dot)?;
                self.variables.truncate(depth);
            }
            Piece::With(subject, body, otherwise) => {
                let depth = self.variables.len();
                let value = self.pipeline(subject, dot)?;
                if value.is_true() {
                    self.pieces(body, &value)?;
                } else {
                    self.pieces(otherwise, dot)?;
                }
                self.variables.truncate(depth);
            }
            Piece::Range {
                key,
                value,
                over,
                body,
                otherwise,
            } => {
                let items = self.pipeline(over, dot)?;
                let items: Vec<(Value, Value)> = match items {
                    Value::Nothing => vec![],
                    Value::List(list) => (0..).map(Value::Int).zip(list).collect(),
                    Value::Map(map) => map.into_iter().map(|(k, v)| (Value::Text(k), v)).collect(),
                    other => {
                        let message = format!("`range` needs a list or a mapping, not {}", other.kind());
                        return Err(Wrong::new(over.at, message));
                    }
                };
                if items.is_empty() {
                    self.pieces(otherwise, dot)?;
                }
                for (index, item) in items {
                    let depth = self.variables.len();
                    self.variables.extend(key.clone().map(|name| (name, index)));
                    self.variables
                        .extend(value.clone().map(|name| (name, item.clone())));
                    self.pieces(body, &item)?;
                    self.variables.truncate(depth);
                }
            }
        }
        if self.out.len() > BOUND {
            return Err(Wrong::new(0, format!("the result is larger than {BOUND} bytes")));
        }
        Ok(())
    }

    fn print(&mut self, value: &Value, at: usize) -> Result<(), Wrong> {
        match value {
            Value::Nothing => Err(Wrong::new(
                at,
                "there is nothing to print here: give a default, or ask with `if` first",
            )),
            Value::Collection | Value::Root => {
                Err(Wrong::new(at, format!("{} cannot be printed", value.kind())))
            }
            Value::Container(number) => {
                let name = self
                    .view
                    .scene
                    .get(*number)
                    .map_or("", |container| container.name.as_str());
                self.out.push_str(name);
                Ok(())
            }
            value => {
                self.out.push_str(&value.to_string());
                Ok(())
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Wrong> {
        let mut result = None;
        for command in &pipeline.commands {
            result = Some(self.command(command, result.take(), dot)?);
        }
        let result = result.unwrap_or(Value::Nothing);
        match &pipeline.variable {
            Some((name, true)) => self.variables.push((name.clone(), result.clone())),
            Some((name, false)) => {
                let known = self.variables.iter_mut().rfind(|(known, _)| known == name);
                match known {
                    Some((_, value)) => *value = result.clone(),
                    None => return Err(Wrong::new(pipeline.at, format!("there is no variable `${name}`"))),
                }
            }
            None => {}
        }
        Ok(result)
    }

    /// The first operand with the others as arguments, and what came through the pipe as the last one.
    fn command(&mut self, operands: &[Operand], piped: Option<Value>, dot: &Value) -> Result<Value, Wrong> {
        let Some((first, rest)) = operands.split_first() else {
            return Ok(Value::Nothing);
        };
        if let Base::Function(name) = &first.base
            && matches!(name.as_str(), "and" | "or")
        {
            // The rest is not looked at once the answer is known, so that `and $x (eq $x.Type "y")` is safe.
            let mut last = Value::Nothing;
            for operand in rest {
                last = self.operand(operand, vec![], dot)?;
                if last.is_true() == (name == "or") {
                    return Ok(last);
                }
            }
            return Ok(piped.unwrap_or(last));
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, vec![], dot)?);
        }
        arguments.extend(piped);
        self.operand(first, arguments, dot)
    }

    fn operand(&mut self, operand: &Operand, arguments: Vec<Value>, dot: &Value) -> Result<Value, Wrong> {
        let mut arguments = Some(arguments);
        let mut value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Constant(value) => value.clone(),
            Base::Variable(name) => {
                let known = self.variables.iter().rfind(|(known, _)| known == name);
                known
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| Wrong::new(operand.at, format!("there is no variable `${name}`")))?
            }
            Base::Group(pipeline) => self.pipeline(pipeline, dot)?,
            Base::Function(name) => {
                let given = if operand.path.is_empty() {
                    arguments.take()
                } else {
                    None
                };
                functions::call(self, name, given.unwrap_or_default(), operand.at)?
            }
        };
        let last = operand.path.len().saturating_sub(1);
        for (i, (name, at)) in operand.path.iter().enumerate() {
            let given = if i == last { arguments.take() } else { None };
            value = methods::call(self, &value, name, given.unwrap_or_default(), *at)?;
        }
        match arguments {
            Some(left) if !left.is_empty() => Err(Wrong::new(
                operand.at,
                format!("{} takes no arguments", value.kind()),
            )),
            _ => Ok(value),
        }
    }
}
