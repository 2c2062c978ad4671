//! Functions: Go's, gaudi's, and those that write Dockerfile instructions.

use super::{Value, View, Wrong, evaluate::Run, render};
use crate::recipe::{
    dockerfile,
    scene::{ADDED, Container, Script, TEMPLATE_SCRIPTS},
};

/// `name argument…`
pub(super) fn call(run: &mut Run<'_>, name: &str, arguments: Vec<Value>, at: usize) -> Result<Value, Wrong> {
    let count = |least: usize, most: usize| {
        if (least..=most).contains(&arguments.len()) {
            return Ok(());
        }
        Err(Wrong::new(
            at,
            format!("`{name}` takes {least} arguments, not {}", arguments.len()),
        ))
    };
    let text = |number: usize| arguments.get(number).map(Value::to_string).unwrap_or_default();
    Ok(match name {
        "not" => {
            count(1, 1)?;
            Value::Bool(!arguments[0].is_true())
        }
        "eq" => {
            count(2, usize::MAX)?;
            Value::Bool(arguments[1..].iter().any(|other| arguments[0].equals(other)))
        }
        "ne" => {
            count(2, 2)?;
            Value::Bool(!arguments[0].equals(&arguments[1]))
        }
        "lt" | "le" | "gt" | "ge" => {
            count(2, 2)?;
            let Some(order) = arguments[0].order(&arguments[1]) else {
                let (a, b) = (arguments[0].kind(), arguments[1].kind());
                return Err(Wrong::new(at, format!("{a} and {b} have no order")));
            };
            Value::Bool(match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            })
        }
        "len" => {
            count(1, 1)?;
            let length = match &arguments[0] {
                Value::List(list) => list.len(),
                Value::Map(map) => map.len(),
                Value::Text(text) => text.len(),
                Value::Nothing => 0,
                other => return Err(Wrong::new(at, format!("{} has no length", other.kind()))),
            };
            Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
        }
        "index" => {
            count(2, 2)?;
            match (&arguments[0], &arguments[1]) {
                (Value::List(list), Value::Int(number)) => {
                    let item = usize::try_from(*number).ok().and_then(|number| list.get(number));
                    item.cloned()
                        .ok_or_else(|| Wrong::new(at, format!("there is no item {number}")))?
                }
                (Value::Map(map), key) => {
                    let key = key.to_string();
                    let found = map.iter().find(|(name, _)| *name == key);
                    found.map_or(Value::Nothing, |(_, value)| value.clone())
                }
                (other, _) => return Err(Wrong::new(at, format!("{} has no items", other.kind()))),
            }
        }
        "print" | "println" => {
            let texts: Vec<String> = arguments.iter().map(Value::to_string).collect();
            let (between, end) = if name == "print" { ("", "") } else { (" ", "\n") };
            Value::Text(texts.join(between) + end)
        }
        "printf" => Value::Text(printf(&arguments, at)?),
        "ToUpper" => Value::Text(text(0).to_uppercase()),
        "ToLower" => Value::Text(text(0).to_lowercase()),
        // Name of a service as the link variables write it.
        "ToVariable" => Value::Text(text(0).to_uppercase().replace('-', "_")),
        "join" => {
            count(2, 2)?;
            match &arguments[0] {
                Value::List(list) => {
                    let texts: Vec<String> = list.iter().map(Value::to_string).collect();
                    Value::Text(texts.join(&text(1)))
                }
                Value::Nothing => Value::text(""),
                other => Value::Text(other.to_string()),
            }
        }
        // A text as YAML and JSON write it.
        "quote" => Value::Text(serde_json::Value::from(text(0)).to_string()),
        "shell" => Value::Text(dockerfile::shell(&text(0))),
        "pip" => Value::Text(dockerfile::pip(&flat(&arguments))),
        "fetch" => Value::Text(dockerfile::fetch(&text(0))),
        "gems" => Value::Text(dockerfile::gems(&flat(&arguments))),
        "installThen" => {
            count(2, usize::MAX)?;
            Value::Text(dockerfile::install(&flat(&arguments[1..]), Some(&text(0))))
        }
        "install" => Value::Text(dockerfile::install(&flat(&arguments), None)),
        "copy" => {
            count(2, 3)?;
            let content = included(run.view, &text(0), at)?;
            let mode = arguments.get(2).map(Value::to_string);
            Value::Text(dockerfile::copy(&content, &text(1), mode.as_deref()))
        }
        _ => of_gaudi(run, name, at)?,
    })
}

/// Texts, and those in lists.
fn flat(arguments: &[Value]) -> Vec<String> {
    let texts = arguments.iter().flat_map(|value| match value {
        Value::List(list) => list.iter().map(Value::to_string).collect(),
        Value::Nothing => vec![],
        other => vec![other.to_string()],
    });
    texts.filter(|text| !text.is_empty()).collect()
}

/// Another file of the recipe, rendered with the same view.
fn included(view: View<'_>, file: &str, at: usize) -> Result<String, Wrong> {
    let Some(content) = (view.files)(file) else {
        return Err(Wrong::new(
            at,
            format!("there is no file `{file}` beside this template"),
        ));
    };
    if file == "Dockerfile" {
        return Err(Wrong::new(at, "`copy` of the Dockerfile itself would never end"));
    }
    render(file, &content, view).map_err(|inner| Wrong {
        at,
        message: inner.to_string(),
        inner: Some(inner),
    })
}

/// gaudi's includes: instructions that most of its templates share. `packages` is our name for the first.
fn of_gaudi(run: &Run<'_>, name: &str, at: usize) -> Result<Value, Wrong> {
    let none = Container::default();
    let own = run.view.scene.get(run.view.own).unwrap_or(&none);
    let asked = |key: &str| -> Vec<String> {
        match own.parameter(key) {
            Some(Value::List(list)) => list.iter().map(Value::to_string).collect(),
            Some(value) => vec![value.to_string()],
            None => vec![],
        }
    };
    Ok(Value::Text(match name {
        "packages" => dockerfile::install(&own.packages, None),
        "updateApt" => dockerfile::install_anywhere(&own.packages),
        "addUserFiles" => {
            let added = own.added().map(|(_, files)| dockerfile::add(&files, Some(ADDED)));
            added.unwrap_or_default()
        }
        "beforeAfterScripts" => {
            let scripts = [&own.before, &own.after].into_iter().zip(TEMPLATE_SCRIPTS);
            let inline = scripts.filter_map(|(script, path)| match script {
                Some(Script::Inline(text)) => Some(dockerfile::copy(text, path, Some("755"))),
                _ => None,
            });
            inline.collect()
        }
        "installNodeJS" => dockerfile::install_anywhere(&["nodejs".into(), "npm".into()]),
        "installPython" => {
            let packages = ["python3", "python3-venv", "python-is-python3"].map(str::to_owned);
            let venv = "RUN python3 -m venv --system-site-packages /opt/venv\nENV PATH=/opt/venv/bin:$PATH\n";
            dockerfile::install_anywhere(&packages) + venv + &dockerfile::pip(&asked("pip_modules"))
        }
        "installRvm" => dockerfile::install_anywhere(&["ruby-full".into()]),
        "installDjango" => dockerfile::pip(&["django".into()]),
        _ => return Err(Wrong::new(at, format!("there is no function `{name}`"))),
    }))
}

/// `%s`, `%v`, `%d`, `%q` and `%%`.
fn printf(arguments: &[Value], at: usize) -> Result<String, Wrong> {
    let format = arguments.first().map(Value::to_string).unwrap_or_default();
    let mut rest = arguments.iter().skip(1);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some(verb @ ('s' | 'v' | 'd' | 'q')) => {
                let missing = || Wrong::new(at, "`printf` has more verbs than arguments");
                let value = rest.next().ok_or_else(missing)?.to_string();
                if verb == 'q' {
                    out += &serde_json::Value::from(value).to_string();
                } else {
                    out += &value;
                }
            }
            other => {
                let verb = other.map(String::from).unwrap_or_default();
                return Err(Wrong::new(at, format!("`printf` does not know `%{verb}`")));
            }
        }
    }
    Ok(out)
}
