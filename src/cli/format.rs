//! `--format` of listings: a table, JSON, or a template as docker has it, `{{.Name}} is {{.State}}`.

use super::table;
use serde_json::Value;
use std::str::FromStr;

/// How a listing is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// Columns of ours.
    Table,
    /// One JSON object a line.
    Json,
    /// One line an object; with a header when it began with `table`.
    Template { header: bool, pieces: Vec<Piece> },
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it stands.
    Text(String),
    /// `{{.Name}}`.
    Field(String),
    /// `{{json .}}`, `{{json .Name}}`.
    Json(Option<String>),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (header, template) = match text {
            "table" | "" => return Ok(Self::Table),
            "json" => return Ok(Self::Json),
            _ => match text.strip_prefix("table ") {
                Some(rest) => (true, rest.trim_start()),
                None => (false, text),
            },
        };
        if !template.contains("{{") {
            return Err("write `table`, `json` or a template such as `{{.Name}}`".into());
        }
        let template = template.replace("\\t", "\t").replace("\\n", "\n");
        let (mut pieces, mut rest) = (Vec::new(), template.as_str());
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, after) = after.split_once("}}").ok_or("a `{{` is not closed by `}}`")?;
            pieces.extend((!before.is_empty()).then(|| Piece::Text(before.to_owned())));
            pieces.push(piece(action.trim())?);
            rest = after;
        }
        pieces.extend((!rest.is_empty()).then(|| Piece::Text(rest.to_owned())));
        Ok(Self::Template { header, pieces })
    }
}

fn piece(action: &str) -> Result<Piece, String> {
    let name = |text: &str| {
        let name = text.strip_prefix('.')?;
        (!name.is_empty() && name.chars().all(char::is_alphanumeric)).then(|| name.to_owned())
    };
    let made = match action.strip_prefix("json ").map(str::trim) {
        Some(".") => Some(Piece::Json(None)),
        Some(field) => name(field).map(|name| Piece::Json(Some(name))),
        None => name(action).map(Piece::Field),
    };
    made.ok_or_else(|| format!("`{{{{{action}}}}}` is not supported; known are `{{{{.Field}}}}`, `{{{{json .}}}}` and `{{{{json .Field}}}}`"))
}

impl Format {
    /// The text of objects for JSON and templates; `None` for our own table.
    ///
    /// # Errors
    /// A field that the objects have not, with those they have.
    pub(super) fn render(&self, objects: &[Value]) -> Result<Option<String>, String> {
        let (header, pieces) = match self {
            Self::Table => return Ok(None),
            Self::Json => return Ok(Some(objects.iter().map(|object| format!("{object}\n")).collect())),
            Self::Template { header, pieces } => (*header, pieces),
        };
        let mut lines = Vec::new();
        for object in objects {
            let mut line = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => line += text,
                    Piece::Json(None) => line += &object.to_string(),
                    Piece::Json(Some(name)) => line += &field(object, name)?.to_string(),
                    Piece::Field(name) => match field(object, name)? {
                        Value::String(text) => line += text,
                        other => line += &other.to_string(),
                    },
                }
            }
            lines.push(line);
        }
        if !header {
            return Ok(Some(lines.iter().map(|line| format!("{line}\n")).collect()));
        }
        let title = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(name) | Piece::Json(Some(name)) => name.to_uppercase(),
            Piece::Json(None) => "JSON".into(),
        };
        let header: String = pieces.iter().map(title).collect();
        let header: Vec<&str> = header.split('\t').collect();
        let rows: Vec<_> = lines
            .iter()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect();
        Ok(Some(table::table(&header, &rows)))
    }
}

fn field<'a>(object: &'a Value, name: &str) -> Result<&'a Value, String> {
    object.get(name).ok_or_else(|| {
        let known: Vec<_> = object
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        format!("there is no field `{name}`; there are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_filled_in() {
        let objects = [json!({"Name": "a", "N": 1}), json!({"Name": "long", "N": 22})];
        let render = |text: &str| text.parse::<Format>().unwrap().render(&objects).unwrap();
        assert_eq!(render("table"), None);
        assert_eq!(render("{{.Name}}={{ .N }}!").unwrap(), "a=1!\nlong=22!\n");
        assert_eq!(render("{{json .Name}}").unwrap(), "\"a\"\n\"long\"\n");
        assert_eq!(
            render("json").unwrap(),
            "{\"Name\":\"a\",\"N\":1}\n{\"Name\":\"long\",\"N\":22}\n"
        );
        assert_eq!(
            render("table {{.Name}}\\t{{.N}}").unwrap(),
            "NAME   N\na      1\nlong   22\n"
        );
        let unknown = "{{.Nothing}}"
            .parse::<Format>()
            .unwrap()
            .render(&objects)
            .unwrap_err();
        assert_eq!(unknown, "there is no field `Nothing`; there are Name, N");
        for wrong in ["plain", "{{.Name", "{{range .}}", "{{.}}"] {
            assert!(wrong.parse::<Format>().is_err(), "{wrong}");
        }
    }
}
