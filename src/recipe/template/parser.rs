//! Words into a tree: text and blocks. What stands in them is [`super::expression`]'s.

use super::{
    Wrong,
    expression::Pipeline,
    lexer::{self, Placed, Token},
};

/// A part of a template.
#[derive(Debug)]
pub(super) enum Piece {
    Plain(String),
    Print(Pipeline),
    /// `if` and `else if`, in order; then `else`.
    If(Vec<(Pipeline, Vec<Piece>)>, Vec<Piece>),
    Range {
        key: Option<String>,
        value: Option<String>,
        over: Pipeline,
        body: Vec<Piece>,
        otherwise: Vec<Piece>,
    },
    With(Pipeline, Vec<Piece>, Vec<Piece>),
}

/// Deepest nesting of blocks and parentheses.
const DEPTH: usize = 50;

pub(super) fn parse(text: &str) -> Result<Vec<Piece>, Wrong> {
    let words = lexer::words(text)?;
    let mut parser = Parser {
        words: &words,
        next: 0,
        end: text.len(),
        depth: 0,
    };
    let (pieces, stop) = parser.block()?;
    match stop {
        Stop::End(at) | Stop::Else(at, _) => Err(Wrong::new(at, "there is no block open here")),
        Stop::Text => Ok(pieces),
    }
}

/// What ended a block.
enum Stop {
    Text,
    End(usize),
    /// `else`, or `else if` with its condition.
    Else(usize, Option<Pipeline>),
}

pub(super) struct Parser<'a> {
    pub(super) words: &'a [Placed],
    pub(super) next: usize,
    end: usize,
    pub(super) depth: usize,
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.words.get(self.next).map(|placed| &placed.token)
    }

    pub(super) fn at(&self) -> usize {
        self.words.get(self.next).map_or(self.end, |placed| placed.at)
    }

    pub(super) fn is_mark(&self, mark: &str) -> bool {
        matches!(self.peek(), Some(Token::Mark(found)) if *found == mark)
    }

    fn close(&mut self) -> Result<(), Wrong> {
        if self.peek() == Some(&Token::Close) {
            self.next += 1;
            return Ok(());
        }
        Err(Wrong::new(self.at(), "`]]` is expected here"))
    }

    pub(super) fn deeper(&mut self) -> Result<(), Wrong> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Wrong::new(self.at(), format!("more than {DEPTH} levels")));
        }
        Ok(())
    }

    /// Pieces up to `end`, `else` or the end of the text.
    fn block(&mut self) -> Result<(Vec<Piece>, Stop), Wrong> {
        self.deeper()?;
        let mut pieces = Vec::new();
        while let Some(token) = self.peek().cloned() {
            let at = self.at();
            self.next += 1;
            if let Token::Plain(text) = token {
                pieces.push(Piece::Plain(text));
                continue;
            }
            let Some(Token::Word(word)) = self.peek().cloned() else {
                if self.peek() == Some(&Token::Close) {
                    return Err(Wrong::new(at, "there is nothing between `[[` and `]]`"));
                }
                pieces.push(Piece::Print(self.pipeline()?));
                self.close()?;
                continue;
            };
            match word.as_str() {
                "end" => {
                    self.next += 1;
                    self.close()?;
                    self.depth -= 1;
                    return Ok((pieces, Stop::End(at)));
                }
                "else" => {
                    self.next += 1;
                    let condition = if self.peek() == Some(&Token::Word("if".into())) {
                        self.next += 1;
                        Some(self.pipeline()?)
                    } else {
                        None
                    };
                    self.close()?;
                    self.depth -= 1;
                    return Ok((pieces, Stop::Else(at, condition)));
                }
                "if" => {
                    self.next += 1;
                    let condition = self.pipeline()?;
                    self.close()?;
                    pieces.push(self.branches(condition, at)?);
                }
                "range" => {
                    self.next += 1;
                    let (key, value) = self.loop_variables()?;
                    let over = self.pipeline()?;
                    self.close()?;
                    let (body, otherwise) = self.two(at, "range")?;
                    pieces.push(Piece::Range {
                        key,
                        value,
                        over,
                        body,
                        otherwise,
                    });
                }
                "with" => {
                    self.next += 1;
                    let subject = self.pipeline()?;
                    self.close()?;
                    let (body, otherwise) = self.two(at, "with")?;
                    pieces.push(Piece::With(subject, body, otherwise));
                }
                "define" | "template" | "block" | "break" | "continue" => {
                    return Err(Wrong::new(
                        self.at(),
                        format!("`{word}` is not part of this template language"),
                    ));
                }
                _ => {
                    pieces.push(Piece::Print(self.pipeline()?));
                    self.close()?;
                }
            }
        }
        self.depth -= 1;
        Ok((pieces, Stop::Text))
    }

    fn branches(&mut self, condition: Pipeline, open: usize) -> Result<Piece, Wrong> {
        let mut branches = Vec::new();
        let mut condition = condition;
        loop {
            let (body, stop) = self.block()?;
            branches.push((condition, body));
            match stop {
                Stop::Text => return Err(Wrong::new(open, "this `if` has no `end`")),
                Stop::End(_) => return Ok(Piece::If(branches, vec![])),
                Stop::Else(_, Some(next)) => condition = next,
                Stop::Else(_, None) => {
                    let (otherwise, stop) = self.block()?;
                    return match stop {
                        Stop::End(_) => Ok(Piece::If(branches, otherwise)),
                        Stop::Else(at, _) => Err(Wrong::new(at, "a second `else`")),
                        Stop::Text => Err(Wrong::new(open, "this `if` has no `end`")),
                    };
                }
            }
        }
    }

    /// A body and what is after its `else`.
    fn two(&mut self, open: usize, word: &str) -> Result<(Vec<Piece>, Vec<Piece>), Wrong> {
        let missing = || Wrong::new(open, format!("this `{word}` has no `end`"));
        let (body, stop) = self.block()?;
        match stop {
            Stop::End(_) => Ok((body, vec![])),
            Stop::Text => Err(missing()),
            Stop::Else(at, Some(_)) => Err(Wrong::new(at, format!("`{word}` has no `else if`"))),
            Stop::Else(_, None) => match self.block()? {
                (otherwise, Stop::End(_)) => Ok((body, otherwise)),
                (_, Stop::Else(at, _)) => Err(Wrong::new(at, "a second `else`")),
                (_, Stop::Text) => Err(missing()),
            },
        }
    }

    /// `$i, $v :=` or `$v :=`, when they are there.
    fn loop_variables(&mut self) -> Result<(Option<String>, Option<String>), Wrong> {
        let name = |token: Option<&Placed>| match token.map(|placed| &placed.token) {
            Some(Token::Variable(name)) => Some(name.clone()),
            _ => None,
        };
        let mark = |token: Option<&Placed>, wanted: &str| matches!(token.map(|placed| &placed.token), Some(Token::Mark(found)) if *found == wanted);
        let ahead = |n: usize| self.words.get(self.next + n);
        let (first, second) = (name(ahead(0)), name(ahead(2)));
        if first.is_some() && mark(ahead(1), ",") {
            if second.is_none() || !mark(ahead(3), ":=") {
                return Err(Wrong::new(self.at(), "write `range $key, $value := …`"));
            }
            self.next += 4;
            return Ok((first, second));
        }
        if first.is_some() && mark(ahead(1), ":=") {
            self.next += 2;
            return Ok((None, first));
        }
        Ok((None, None))
    }
}
