//! Types and keys of one file: every value has the shape that `schema` gives it, and every key is known.
//!
//! What is wrong is reported and replaced by `Value::Bad`, so that the rest of the file is judged in the same run and
//! later stages never meet a value of the wrong kind. Numbers and booleans written as text (`"8080"`, `"yes"`) are
//! converted here, as docker compose does after interpolation.

use super::{
    diagnostic::Report,
    node::{Map, Mark, Node, Value},
    schema::{self, Record, Shape, Support},
    source::Span,
    suggest::{did_you_mean, quoted},
    trail::Trail,
};
use std::collections::HashSet;

/// Checks the files of one project.
#[derive(Debug, Default)]
pub(crate) struct Check {
    /// Keys already announced as ignored: one warning each for the whole project.
    ignored: HashSet<(&'static str, &'static str)>,
}

impl Check {
    /// Checks the top level of a file.
    pub(crate) fn project(&mut self, root: &mut Node, report: &mut Report) {
        self.record(root, &schema::PROJECT, &Trail::Root, report);
    }

    fn value(&mut self, node: &mut Node, shape: &Shape, trail: &Trail<'_>, report: &mut Report) {
        let variable = report.raw && node.as_str().is_some_and(|text| text.contains('$'));
        if node.mark == Mark::Reset || node.is_bad() || variable {
            return;
        }
        match shape {
            Shape::Any => {}
            Shape::Text => text(node, trail, report),
            Shape::Duration => match node.value {
                Value::Int(seconds) => {
                    report
                        .error(node.span, format!("`{trail}` is not a duration: `{seconds}`"))
                        .hint(format!("write the unit: `{seconds}s`"));
                    node.value = Value::Bad;
                }
                _ => text(node, trail, report),
            },
            Shape::Word(words) => word(node, words, trail, report),
            Shape::TextOrNumber | Shape::Bytes | Shape::Count => text_or_number(node, trail, report),
            Shape::TextOrBool => {
                if node.as_bool().is_none() {
                    text(node, trail, report);
                }
            }
            Shape::Int => int(node, trail, report),
            Shape::Float => float(node, trail, report),
            Shape::Bool => boolean(node, trail, report),
            Shape::External => match node.value {
                Value::Map(_) => self.record(node, &EXTERNAL, trail, report),
                _ => boolean(node, trail, report),
            },
            Shape::List(inner) => self.list(node, inner, trail, report),
            Shape::Devices => self.items(node, &schema::DEVICE, false, trail, report),
            Shape::Texts => self.list_or_one(node, &Shape::Text, trail, report),
            Shape::TextsOrNumbers => self.list(node, &Shape::TextOrNumber, trail, report),
            Shape::Map(inner) => self.free_map(node, inner, trail, report),
            Shape::Pairs | Shape::Labels => pairs(node, trail, report),
            Shape::Hosts => hosts(node, trail, report),
            Shape::Ssh => pairs(node, trail, report),
            Shape::Options => options(node, trail, report),
            Shape::Record(record) => self.record(node, record, trail, report),
            Shape::RecordOrNull(record) => {
                if !node.is_null() {
                    self.record(node, record, trail, report);
                }
            }
            Shape::Short(_, record) => {
                if node.as_str().is_none() {
                    self.record(node, record, trail, report);
                }
            }
            Shape::Command => {
                if !node.is_null() {
                    self.list_or_one(node, &Shape::Text, trail, report);
                }
            }
            Shape::Test => self.list_or_one(node, &Shape::Text, trail, report),
            Shape::Ports => self.items(node, &schema::PORT, true, trail, report),
            Shape::Mounts => self.items(node, &schema::MOUNT, false, trail, report),
            Shape::EnvFiles => {
                if node.as_str().is_none() {
                    self.items(node, &schema::ENV_FILE, false, trail, report);
                }
            }
            Shape::Include => self.items(node, &schema::INCLUDE, false, trail, report),
            Shape::DependsOn => self.names(node, &schema::DEPENDENCY, false, trail, report),
            Shape::Named(record) => self.names(node, record, true, trail, report),
            Shape::Ulimit => match node.value {
                Value::Map(_) => self.record(node, &schema::ULIMIT, trail, report),
                _ => int(node, trail, report),
            },
            Shape::Gpus => {
                if node.as_str() != Some("all") {
                    self.items(node, &schema::DEVICE_REQUEST, false, trail, report);
                }
            }
        }
    }

    /// A mapping with known keys.
    fn record(&mut self, node: &mut Node, record: &'static Record, trail: &Trail<'_>, report: &mut Report) {
        let Some(map) = node.as_map_mut() else {
            return wrong(
                node,
                &format!("a mapping of keys for a {}", record.what),
                trail,
                report,
            );
        };
        let mut unknown: Vec<(String, Span)> = Vec::new();
        for (key, entry) in map.iter_mut() {
            if key == "x-banyan" {
                super::extension::check(&mut entry.node, record.what, &trail.key(key), report);
                continue;
            }
            if key.starts_with("x-") {
                continue;
            }
            let Some(field) = record.field(key) else {
                unknown.push((key.clone(), entry.key));
                continue;
            };
            if let Support::Ignored(reason) = field.support
                && entry.node.mark != Mark::Reset
                && self.ignored.insert((record.what, field.key))
            {
                report
                    .warning(entry.key, format!("`{}` is ignored", trail.key(key)))
                    .because(reason);
            }
            self.value(&mut entry.node, &field.shape, &trail.key(key), report);
        }
        for (key, at) in unknown {
            unknown_key(&key, at, record, map, trail, report);
            map.shift_remove(&key);
        }
    }

    fn list(&mut self, node: &mut Node, inner: &Shape, trail: &Trail<'_>, report: &mut Report) {
        let Value::List(list) = &mut node.value else {
            return wrong(node, "a list", trail, report);
        };
        for (i, item) in list.iter_mut().enumerate() {
            self.value(item, inner, &trail.index(i), report);
        }
    }

    fn list_or_one(&mut self, node: &mut Node, inner: &Shape, trail: &Trail<'_>, report: &mut Report) {
        match node.value {
            Value::List(_) => self.list(node, inner, trail, report),
            Value::Str(_) => {}
            _ => wrong(node, "text or a list of texts", trail, report),
        }
    }

    /// A list whose items are text (numbers too, for ports) or a record.
    fn items(
        &mut self,
        node: &mut Node,
        record: &'static Record,
        numbers: bool,
        trail: &Trail<'_>,
        report: &mut Report,
    ) {
        let Value::List(list) = &mut node.value else {
            return wrong(node, "a list", trail, report);
        };
        for (i, item) in list.iter_mut().enumerate() {
            match item.value {
                Value::Str(_) => {}
                Value::Int(_) | Value::Float(_) if numbers => {}
                Value::Map(_) => self.record(item, record, &trail.index(i), report),
                _ => wrong(item, "text or a mapping", &trail.index(i), report),
            }
        }
    }

    /// A list of names, or a mapping from names to records (or null).
    fn names(
        &mut self,
        node: &mut Node,
        record: &'static Record,
        null: bool,
        trail: &Trail<'_>,
        report: &mut Report,
    ) {
        match &mut node.value {
            Value::List(_) => self.list(node, &Shape::Text, trail, report),
            Value::Map(map) => {
                for (key, entry) in map.iter_mut() {
                    let nothing = null && entry.node.is_null();
                    if !nothing && !key.starts_with("x-") {
                        self.value(&mut entry.node, &Shape::Record(record), &trail.key(key), report);
                    }
                }
            }
            _ => wrong(node, "a list of names or a mapping", trail, report),
        }
    }

    fn free_map(&mut self, node: &mut Node, inner: &Shape, trail: &Trail<'_>, report: &mut Report) {
        let Value::Map(map) = &mut node.value else {
            // `volumes:` with nothing below is the same as no key, as in docker compose.
            if !(node.is_null() && matches!(trail, Trail::Key(Trail::Root, _))) {
                wrong(node, "a mapping", trail, report);
            }
            return;
        };
        let top = matches!(trail, Trail::Key(Trail::Root, _));
        for (key, entry) in map.iter_mut() {
            if entry.odd_key && top {
                report
                    .error(entry.key, format!("`{key}` in `{trail}` is not text"))
                    .hint(format!("put it in quotes: `\"{key}\":`"));
            }
            if top && key.starts_with("x-") && trail.last() != "services" {
                continue;
            }
            if top
                && let Some(bad) = key
                    .chars()
                    .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
            {
                report
                    .error(
                        entry.key,
                        format!("`{key}` in `{trail}` is not a name: `{bad}` is not allowed"),
                    )
                    .hint("use letters, digits, `.`, `-` and `_`");
            }
            if top && trail.last() == "services" && !beside_services(key, entry, report) {
                continue;
            }
            self.value(&mut entry.node, inner, &trail.key(key), report);
        }
    }
}

/// Catches the two shapes of wrong indentation below `services`: a service without keys, and a key of a service that
/// stands where services do. Gives whether the entry may be a service.
fn beside_services(key: &str, entry: &mut super::node::Entry, report: &mut Report) -> bool {
    if entry.node.is_null() && entry.node.mark == Mark::Plain {
        report
            .error(entry.key, format!("service `{key}` is empty"))
            .hint("indent its keys (`image:`, `ports:` …) deeper than its name");
    } else if !matches!(entry.node.value, Value::Map(_)) && schema::SERVICE.field(key).is_some() {
        report
            .error(
                entry.key,
                format!("`{key}` stands among the services, but is a key of a service"),
            )
            .hint("indent it deeper than the name of its service");
    } else {
        return true;
    }
    entry.node.value = Value::Bad;
    false
}

static EXTERNAL: Record = Record {
    what: "external",
    fields: &[schema::Field {
        key: "name",
        shape: Shape::Text,
        print: schema::Print::Filled,
        support: Support::Full,
    }],
    required: &[],
};

/// Reports a key that does not exist, with the nearest ones that do, or with the place it was probably meant for.
fn unknown_key(key: &str, at: Span, record: &Record, map: &Map, trail: &Trail<'_>, report: &mut Report) {
    let place = match trail {
        Trail::Root => "a project file".to_owned(),
        Trail::Key(Trail::Key(Trail::Root, "services"), name) => format!("service `{name}`"),
        _ => format!("`{trail}`"),
    };
    let free: Vec<&str> = record
        .fields
        .iter()
        .map(|field| field.key)
        .filter(|known| !map.contains_key(*known))
        .collect();
    let hint = did_you_mean(key, free).filter(|hint| hint.starts_with("did you mean"));
    let present = || {
        let near = did_you_mean(key, map.keys().map(String::as_str).filter(|other| *other != key));
        near.filter(|hint| hint.starts_with("did"))
            .map(|hint| hint.replace('?', ", which is there already?"))
    };
    let elsewhere = || {
        if record.what == "project" && schema::SERVICE.field(key).is_some() {
            return Some(format!(
                "`{key}` belongs in a service: indent it below the service's name, under `services`"
            ));
        }
        if record.what == "service" && schema::BUILD.field(key).is_some() {
            return Some(format!("`{key}` belongs under `build`"));
        }
        if record.what == "service" && schema::HEALTHCHECK.field(key).is_some() {
            return Some(format!("`{key}` belongs under `healthcheck`"));
        }
        if record.what == "service" && schema::DEPLOY.field(key).is_some() {
            return Some(format!("`{key}` belongs under `deploy`"));
        }
        if record.what == "deploy" && schema::SERVICE.field(key).is_some() {
            return Some(format!("`{key}` belongs one level up, in the service"));
        }
        match (record.what, key) {
            ("service", "net") => Some("say `network_mode`".to_owned()),
            ("service", "dockerfile") => Some("write `build: {context: ., dockerfile: …}`".to_owned()),
            ("project", _) if map.get("services").is_none() => {
                Some("services stand under the key `services`".to_owned())
            }
            _ => None,
        }
    };
    let all = || {
        let keys: Vec<&str> = record.fields.iter().map(|field| field.key).collect();
        (keys.len() <= 8).then(|| format!("keys allowed here: {}", quoted(&keys, "and")))
    };
    let extension = || Some("keys of your own start with `x-`".to_owned());
    report
        .error(at, format!("{place} has no key `{key}`"))
        .maybe_hint(
            hint.or_else(elsewhere)
                .or_else(present)
                .or_else(all)
                .or_else(extension),
        );
}

/// Reports a value of the wrong kind.
fn wrong(node: &mut Node, expected: &str, trail: &Trail<'_>, report: &mut Report) {
    if !node.is_bad() {
        let entry = if node.is_null() {
            let message = format!("`{trail}` is empty; it must be {expected}");
            report
                .error(node.span, message)
                .hint("give it a value, or remove the key")
        } else {
            report.error(
                node.span,
                format!("`{trail}` must be {expected}, not {}", node.kind()),
            )
        };
        let hint = match &node.value {
            Value::Bool(_) | Value::Int(_) | Value::Float(_) if expected.contains("text") => {
                Some("put the value in quotes".to_owned())
            }
            Value::Str(text) if expected == "a list" => Some(format!(
                "write `[\"{text}\"]`, or `- \"{text}\"` on a line of its own"
            )),
            Value::List(_) if expected.starts_with("a mapping") => {
                Some("write `key: value` lines without `-`".to_owned())
            }
            Value::Map(_) if expected == "a list" => Some("start each item with `- `".to_owned()),
            _ => None,
        };
        entry.maybe_hint(hint);
    }
    node.value = Value::Bad;
}

fn text(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    match &node.value {
        Value::Str(_) => {}
        // An unquoted `no` is a boolean for some YAML readers; `restart: no` must work all the same.
        Value::Bool(false) if trail.last() == "restart" => node.value = Value::Str("no".into()),
        Value::Null if matches!(trail.last(), "pid" | "name") => node.value = Value::Str(String::new()),
        Value::Float(_) | Value::Int(_) if trail.last() == "version" => {
            node.value = Value::Str(String::new())
        }
        _ => wrong(node, "text", trail, report),
    }
}

fn word(node: &mut Node, words: &[&str], trail: &Trail<'_>, report: &mut Report) {
    let Value::Str(text) = &node.value else {
        return wrong(node, "text", trail, report);
    };
    if !words.contains(&text.as_str()) {
        let hint = did_you_mean(text, words.iter().copied()).filter(|hint| hint.starts_with("did"));
        let all = quoted(words, "or");
        report
            .error(node.span, format!("`{trail}` cannot be `{text}`; it is {all}"))
            .maybe_hint(hint);
        node.value = Value::Bad;
    }
}

fn text_or_number(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    if !matches!(node.value, Value::Str(_) | Value::Int(_) | Value::Float(_)) {
        wrong(node, "text or a number", trail, report);
    }
}

fn int(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    match &node.value {
        Value::Int(_) => {}
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the value is a whole number below 2^53"
        )]
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            node.value = Value::Int(*number as i64)
        }
        Value::Str(text) => match text.parse() {
            Ok(number) => node.value = Value::Int(number),
            Err(_) => wrong(node, "a whole number", trail, report),
        },
        _ => wrong(node, "a whole number", trail, report),
    }
}

fn float(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    match &node.value {
        Value::Int(_) => {}
        Value::Float(number) if number.is_finite() => {}
        Value::Str(text) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => node.value = Value::Float(number),
            _ => wrong(node, "a number", trail, report),
        },
        _ => wrong(node, "a number", trail, report),
    }
}

fn boolean(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    let Value::Str(text) = &node.value else {
        if node.as_bool().is_none() {
            wrong(node, "`true` or `false`", trail, report);
        }
        return;
    };
    let value = match text.to_ascii_lowercase().as_str() {
        "true" => true,
        "false" => false,
        word @ ("y" | "yes" | "on" | "n" | "no" | "off") => {
            let value = matches!(word, "y" | "yes" | "on");
            report
                .warning(
                    node.span,
                    format!("`{text}` is text in today's YAML; it is taken as `{value}`"),
                )
                .hint(format!("write `{value}`"));
            value
        }
        _ => return wrong(node, "`true` or `false`", trail, report),
    };
    node.value = Value::Bool(value);
}

/// A list of texts or a mapping of scalars.
fn pairs(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    match &mut node.value {
        Value::List(list) => {
            for (i, item) in list.iter_mut().enumerate() {
                // `- KEY: value` is the commonest slip in these lists.
                if let Some((key, value)) = single_pair(item) {
                    report
                        .error(
                            item.span,
                            format!("`{}` is a mapping inside a list", trail.index(i)),
                        )
                        .hint(format!(
                            "write `- {key}={value}`, or `{key}: {value}` without the `-` on every line"
                        ));
                    item.value = Value::Bad;
                } else if item.as_str().is_none() {
                    wrong(item, "text like `KEY=value`", &trail.index(i), report);
                }
            }
        }
        Value::Map(map) => scalars(map, trail, report),
        _ => wrong(node, "a mapping, or a list of `KEY=value`", trail, report),
    }
}

fn single_pair(node: &Node) -> Option<(String, String)> {
    let map = node.as_map().filter(|map| map.len() == 1)?;
    let (key, entry) = map.first()?;
    Some((key.clone(), entry.node.scalar_text()?))
}

fn scalars(map: &mut Map, trail: &Trail<'_>, report: &mut Report) {
    for (key, entry) in map.iter_mut() {
        if matches!(entry.node.value, Value::List(_) | Value::Map(_)) {
            wrong(
                &mut entry.node,
                "text, a number or a boolean",
                &trail.key(key),
                report,
            );
        }
    }
}

fn options(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    match &mut node.value {
        Value::Map(map) => scalars(map, trail, report),
        _ => wrong(node, "a mapping", trail, report),
    }
}

fn hosts(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    let Value::Map(map) = &mut node.value else {
        return pairs(node, trail, report);
    };
    for (key, entry) in map.iter_mut() {
        if let Value::List(list) = &mut entry.node.value {
            for (i, item) in list.iter_mut().enumerate() {
                text(item, &trail.key(key).index(i), report);
            }
        } else if matches!(entry.node.value, Value::Map(_)) {
            wrong(
                &mut entry.node,
                "an address or a list of addresses",
                &trail.key(key),
                report,
            );
        }
    }
}
