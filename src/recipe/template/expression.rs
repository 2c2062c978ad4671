//! What stands in a `[[ … ]]`: pipelines, commands, operands.

use super::{
    Value, Wrong,
    lexer::{Placed, Token},
    parser::Parser,
};

/// `$name := a | b c`
#[derive(Debug)]
pub(super) struct Pipeline {
    /// The variable that takes the result, and whether it is a new one.
    pub(super) variable: Option<(String, bool)>,
    pub(super) commands: Vec<Vec<Operand>>,
    pub(super) at: usize,
}

/// `.A.B`, `$x.A`, `"text"`, `(pipeline).A`, `name`.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) path: Vec<(String, usize)>,
    pub(super) at: usize,
}

#[derive(Debug)]
pub(super) enum Base {
    Dot,
    /// `$` alone is the empty name.
    Variable(String),
    Constant(Value),
    Group(Box<Pipeline>),
    Function(String),
}

impl Parser<'_> {
    pub(super) fn pipeline(&mut self) -> Result<Pipeline, Wrong> {
        self.deeper()?;
        let at = self.at();
        let mut variable = None;
        if let Some(Token::Variable(name)) = self.peek().cloned() {
            let mark = self.words.get(self.next + 1).map(|placed| &placed.token);
            if let Some(Token::Mark(mark @ (":=" | "="))) = mark {
                variable = Some((name, *mark == ":="));
                self.next += 2;
            }
        }
        let mut commands = vec![self.command()?];
        while self.is_mark("|") {
            self.next += 1;
            commands.push(self.command()?);
        }
        self.depth -= 1;
        Ok(Pipeline {
            variable,
            commands,
            at,
        })
    }

    fn command(&mut self) -> Result<Vec<Operand>, Wrong> {
        let mut operands = Vec::new();
        loop {
            match self.peek() {
                None | Some(Token::Close | Token::Mark("|" | ")")) => break,
                Some(_) => operands.push(self.operand()?),
            }
        }
        if operands.is_empty() {
            return Err(Wrong::new(self.at(), "a value is missing here"));
        }
        Ok(operands)
    }

    fn operand(&mut self) -> Result<Operand, Wrong> {
        let at = self.at();
        let token = self.peek().cloned();
        self.next += 1;
        let mut path = Vec::new();
        let base = match token {
            Some(Token::Field(name)) => {
                if !name.is_empty() {
                    path.push((name, at));
                }
                Base::Dot
            }
            Some(Token::Variable(name)) => Base::Variable(name),
            Some(Token::Text(text)) => Base::Constant(Value::Text(text)),
            Some(Token::Number(number)) => Base::Constant(Value::Int(number)),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Base::Constant(Value::Bool(true)),
                "false" => Base::Constant(Value::Bool(false)),
                "nil" => Base::Constant(Value::Nothing),
                _ => Base::Function(word),
            },
            Some(Token::Mark("(")) => {
                let inner = self.pipeline()?;
                if !self.is_mark(")") {
                    return Err(Wrong::new(at, "this `(` has no `)`"));
                }
                self.next += 1;
                Base::Group(Box::new(inner))
            }
            _ => return Err(Wrong::new(at, "a value is expected here")),
        };
        while let Some(Placed {
            token: Token::Field(name),
            at,
            apart: false,
        }) = self.words.get(self.next)
        {
            if name.is_empty() {
                return Err(Wrong::new(*at, "a name is missing after `.`"));
            }
            path.push((name.clone(), *at));
            self.next += 1;
        }
        Ok(Operand { base, path, at })
    }
}
