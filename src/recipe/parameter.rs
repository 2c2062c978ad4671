//! Parameters under `custom`: what they may be, and what was given as they are meant.

use super::template::Value;
use serde::Deserialize;
use std::fmt;

/// A parameter of a recipe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// What it may be.
    pub kind: Kind,
    /// What it is when nothing is given.
    pub default: Option<serde_yaml::Value>,
    /// What it does, in one sentence.
    pub help: String,
    /// The words of a choice.
    #[serde(default)]
    pub choices: Vec<String>,
    /// Of a version: the one that Debian carries.
    #[serde(default)]
    pub carries: String,
    /// Of a version: beginnings of versions that programs written for them cannot do without, and which are refused.
    #[serde(default)]
    pub refuses: Vec<String>,
    /// Of a version: an image that has other versions; the version is put in for `*`.
    #[serde(default)]
    pub image: String,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One line of text.
    Text,
    /// A whole number, 0 or more.
    Number,
    /// `true` or `false`.
    Flag,
    /// Bytes, as PHP and MariaDB write them: `128M`.
    Size,
    /// An absolute path in the container.
    Path,
    /// Letters, digits, `_`, `-`, `.`.
    Name,
    /// A list of texts; one text is a list of one.
    Texts,
    /// A list of names.
    Names,
    /// One of several words.
    Choice,
    /// Name of a service of the project.
    Service,
    /// Names of services.
    Services,
    /// A version that Debian carries.
    Version,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Number => "a number",
            Self::Flag => "`true` or `false`",
            Self::Size => "a size such as `128M`",
            Self::Path => "an absolute path in the container",
            Self::Name => "a name of letters, digits, `_`, `-` and `.`",
            Self::Texts => "a list of texts",
            Self::Names => "a list of names of letters, digits, `_`, `-` and `.`",
            Self::Choice => "a word",
            Self::Service => "the name of a service",
            Self::Services => "a list of names of services",
            Self::Version => "a version",
        })
    }
}

/// What is wrong with a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// Which item of a list.
    pub(crate) item: Option<usize>,
    /// The parameter `x` … "must be a number", "is `2.7`, which Debian bookworm does not have".
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// It is used all the same.
    pub(crate) only_warn: bool,
}

pub(super) fn unfit(message: impl Into<String>) -> Unfit {
    Unfit {
        item: None,
        message: message.into(),
        hint: None,
        only_warn: false,
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

fn is_size(text: &str) -> bool {
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    text == "-1"
        || (text.len() - digits.len() <= 1
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_ascii_digit()))
}

fn is_line(text: &str) -> bool {
    !text.contains(['\n', '\r', '\0'])
}

impl Parameter {
    /// The default.
    pub(crate) fn fallback(&self) -> Value {
        fn value(yaml: &serde_yaml::Value) -> Value {
            match yaml {
                serde_yaml::Value::Bool(yes) => Value::Bool(*yes),
                serde_yaml::Value::Number(number) => match number.as_i64() {
                    Some(number) => Value::Int(number),
                    None => Value::text(number.to_string()),
                },
                serde_yaml::Value::String(text) => Value::text(text),
                serde_yaml::Value::Sequence(list) => Value::List(list.iter().map(value).collect()),
                _ => Value::Nothing,
            }
        }
        self.default.as_ref().map_or(Value::Nothing, value)
    }

    /// A given value as it is meant. `services` are the names of the project's services.
    ///
    /// # Errors
    /// Why it does not fit.
    pub(crate) fn take(&self, given: &Value, services: &[&str]) -> Result<Value, Unfit> {
        let must = || unfit(format!("must be {}, not {}", self.kind, given.kind()));
        let scalar = || match given {
            Value::Text(_) | Value::Int(_) | Value::Bool(_) => Ok(given.to_string()),
            _ => Err(must()),
        };
        let judged = |text: String, good: bool| {
            if good {
                Ok(Value::Text(text))
            } else {
                Err(unfit(format!("must be {}", self.kind)))
            }
        };
        match self.kind {
            Kind::Text => scalar().and_then(|text| judged(text.clone(), is_line(&text))),
            Kind::Number => match given {
                Value::Int(number) if *number >= 0 => Ok(given.clone()),
                Value::Text(text) => text.parse().map(Value::Int).map_err(|_| must()),
                _ => Err(must()),
            },
            Kind::Flag => match given {
                Value::Bool(_) => Ok(given.clone()),
                _ => Err(must()),
            },
            Kind::Size => scalar().and_then(|text| judged(text.clone(), is_size(&text))),
            Kind::Path => scalar().and_then(|text| {
                let good = text.starts_with('/') && is_line(&text) && !text.contains(['"', ' ']);
                judged(text, good)
            }),
            Kind::Name => scalar().and_then(|text| judged(text.clone(), is_name(&text))),
            Kind::Choice => {
                let text = scalar()?;
                if self.choices.contains(&text) {
                    return Ok(Value::Text(text));
                }
                let words: Vec<String> = self.choices.iter().map(|word| format!("`{word}`")).collect();
                Err(unfit(format!("must be {}, not `{text}`", words.join(" or "))))
            }
            Kind::Texts | Kind::Names | Kind::Services => self.list(given, services),
            Kind::Service => {
                let text = scalar()?;
                self.service(text, services)
            }
            Kind::Version => self.version(&scalar()?),
        }
    }

    fn list(&self, given: &Value, services: &[&str]) -> Result<Value, Unfit> {
        let items = match given {
            Value::List(list) => list.clone(),
            Value::Nothing => vec![],
            one => vec![one.clone()],
        };
        let mut taken = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            let text = item.to_string();
            let good = match self.kind {
                Kind::Names => is_name(&text),
                _ => is_line(&text) && !text.is_empty(),
            };
            let whole = matches!(item, Value::Text(_) | Value::Int(_) | Value::Bool(_));
            let result = if !whole || !good {
                Err(unfit(format!("must be {}", self.kind)))
            } else if self.kind == Kind::Services {
                self.service(text, services)
            } else {
                Ok(Value::Text(text))
            };
            taken.push(result.map_err(|unfit| Unfit {
                item: Some(number),
                ..unfit
            })?);
        }
        Ok(Value::List(taken))
    }

    fn service(&self, text: String, services: &[&str]) -> Result<Value, Unfit> {
        if services.contains(&text.as_str()) {
            return Ok(Value::Text(text));
        }
        let known: Vec<String> = services.iter().map(|name| format!("`{name}`")).collect();
        Err(Unfit {
            hint: Some(format!("services of this project: {}", known.join(", "))),
            ..unfit(format!("names `{text}`, which is no service of this project"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Parameter, Value};

    fn parameter(yaml: &str) -> Parameter {
        serde_yaml::from_str(&format!("{{help: x, {yaml}}}")).expect("a parameter")
    }

    #[test]
    fn a_value_is_taken_as_its_kind_or_refused_with_the_reason() {
        let text = |text: &str| Value::text(text);
        let said = |yaml: &str, value: Value| {
            parameter(yaml)
                .take(&value, &["db", "app"])
                .map_err(|unfit| unfit.message)
        };
        assert_eq!(said("kind: number", text("30")), Ok(Value::Int(30)));
        assert_eq!(
            said("kind: number", text("x")),
            Err("must be a number, not text".into())
        );
        assert_eq!(said("kind: size", text("128M")), Ok(text("128M")));
        assert!(said("kind: size", text("128MB")).is_err() && said("kind: size", text("M")).is_err());
        assert!(said("kind: path", text("www")).is_err() && said("kind: name", text("a;b")).is_err());
        assert_eq!(said("kind: texts", text("a")), Ok(Value::List(vec![text("a")])));
        assert_eq!(
            said("kind: services", Value::List(vec![text("db"), text("x")])),
            Err("names `x`, which is no service of this project".into())
        );
        assert_eq!(
            said("kind: choice, choices: [master, slave]", text("main")),
            Err("must be `master` or `slave`, not `main`".into())
        );
    }
}
