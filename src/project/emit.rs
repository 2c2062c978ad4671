//! The canonical tree as JSON, as docker compose's `config` writes it: what is empty or zero is left out, sizes and
//! durations are text, sections that docker always writes are there even when empty.

use super::{
    node::{Map, Node, Value},
    schema::{self, Print, Record, Shape},
};
use serde_json::{Map as Object, Value as Json};

/// Which keys starting with `x-` are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extensions {
    /// Those at the top level only, as docker's JSON has it.
    Top,
    /// All, as docker's YAML has it.
    All,
}

/// The whole project.
pub(crate) fn project(root: &Node, extensions: Extensions) -> Json {
    let empty = Map::new();
    let map = root.as_map().unwrap_or(&empty);
    let mut object = record(map, &schema::PROJECT, extensions);
    if extensions == Extensions::Top {
        let own = map.iter().filter(|(key, _)| key.starts_with("x-"));
        object.extend(own.map(|(key, entry)| (key.clone(), raw(&entry.node))));
    }
    object.sort_keys();
    Json::Object(object)
}

/// One service.
pub(crate) fn service(node: &Node) -> Json {
    Json::Object(record(
        node.as_map().unwrap_or(&Map::new()),
        &schema::SERVICE,
        Extensions::Top,
    ))
}

fn record(map: &Map, table: &'static Record, extensions: Extensions) -> Object<String, Json> {
    let mut object = Object::new();
    for field in table.fields {
        let json = match (map.get(field.key), field.print) {
            (_, Print::Never) => None,
            (None, Print::Always) => match field.shape {
                Shape::Command => Some(Json::Null),
                Shape::Record(table) => Some(Json::Object(record(&Map::new(), table, extensions))),
                Shape::Map(_) => Some(Json::Object(Object::new())),
                _ => None,
            },
            (None, _) => None,
            (Some(entry), print) => value(&entry.node, &field.shape, print != Print::Filled, extensions),
        };
        object.extend(json.map(|json| (name(table, field.key), json)));
    }
    if extensions == Extensions::All {
        let own = map.iter().filter(|(key, _)| key.starts_with("x-"));
        object.extend(own.map(|(key, entry)| (key.clone(), raw(&entry.node))));
    }
    object
}

/// The name under which a key is written. docker writes the fields of these two with capitals.
fn name(table: &Record, key: &str) -> String {
    match (table.what, key) {
        ("device limit" | "device weight", "path") => "Path".into(),
        ("device limit", "rate") => "Rate".into(),
        ("device weight", "weight") => "Weight".into(),
        _ => key.into(),
    }
}

/// The value, or nothing when it is empty and need not be kept.
fn value(node: &Node, shape: &Shape, keep: bool, extensions: Extensions) -> Option<Json> {
    let list = |inner: &Shape| -> Option<Json> {
        let items = node
            .as_list()?
            .iter()
            .filter_map(|item| value(item, inner, true, extensions));
        let items: Vec<Json> = items.collect();
        (!items.is_empty()).then_some(Json::Array(items))
    };
    let records = |table: &'static Record| -> Option<Json> {
        let item = |node: &Node| match node.as_map() {
            Some(map) => Json::Object(record(map, table, extensions)),
            None => raw(node),
        };
        let items: Vec<Json> = node.as_list()?.iter().map(item).collect();
        (!items.is_empty()).then_some(Json::Array(items))
    };
    let object = |inner: &Shape| -> Option<Json> {
        let entries = node
            .as_map()?
            .iter()
            .filter(|(key, _)| extensions == Extensions::All || !key.starts_with("x-"));
        let entries: Object<String, Json> = entries
            .filter_map(|(key, entry)| Some((key.clone(), value(&entry.node, inner, true, extensions)?)))
            .collect();
        (keep || !entries.is_empty()).then_some(sorted(entries))
    };
    match shape {
        _ if node.is_bad() => None,
        Shape::Text | Shape::Word(_) | Shape::TextOrBool | Shape::TextOrNumber => {
            let empty = node.as_str() == Some("") || node.is_null();
            (keep || !empty).then(|| raw(node))
        }
        Shape::Duration => (keep || node.as_str() != Some("0s")).then(|| raw(node)),
        Shape::Int | Shape::Float => (keep || node.as_int() != Some(0)).then(|| raw(node)),
        Shape::Bool | Shape::External => (keep || node.as_bool() != Some(false)).then(|| raw(node)),
        Shape::Bytes => {
            (keep || node.as_int() != Some(0)).then(|| Json::String(node.scalar_text().unwrap_or_default()))
        }
        Shape::Count => match node.as_str() {
            Some("all") => Some(Json::from(-1)),
            text => text.and_then(|text| text.parse::<i64>().ok()).map(Json::from),
        },
        Shape::List(inner) => list(inner),
        Shape::Texts | Shape::TextsOrNumbers | Shape::Test | Shape::Hosts => list(&Shape::Text),
        Shape::Command => match &node.value {
            Value::Null => Some(Json::Null),
            Value::List(items) => Some(Json::Array(items.iter().map(raw).collect())),
            _ => Some(raw(node)),
        },
        Shape::Map(inner) => object(inner),
        Shape::Pairs | Shape::Labels | Shape::Options => {
            let entries: Object<String, Json> = node
                .as_map()?
                .iter()
                .map(|(key, entry)| (key.clone(), raw(&entry.node)))
                .collect();
            (!entries.is_empty()).then(|| sorted(entries))
        }
        Shape::Ssh => {
            let entry = |(key, entry): (&String, &super::node::Entry)| match entry.node.as_str() {
                Some(path) => Json::String(format!("{key}={path}")),
                None => Json::String(key.clone()),
            };
            let items: Vec<Json> = node.as_map()?.iter().map(entry).collect();
            (!items.is_empty()).then_some(Json::Array(items))
        }
        Shape::Record(table) | Shape::Short(_, table) => {
            let filled = record(node.as_map()?, table, extensions);
            (keep || !filled.is_empty()).then_some(Json::Object(filled))
        }
        Shape::RecordOrNull(table) => node
            .as_map()
            .map(|map| Json::Object(record(map, table, extensions))),
        Shape::Ports => records(&schema::PORT),
        Shape::Mounts => records(&schema::MOUNT),
        Shape::Devices => records(&schema::DEVICE),
        Shape::Gpus => records(&schema::DEVICE_REQUEST),
        Shape::EnvFiles => records(&schema::ENV_FILE),
        Shape::Include => Some(raw(node)),
        Shape::DependsOn => object(&Shape::Record(&schema::DEPENDENCY)),
        Shape::Named(table) => {
            let entry = |(key, entry): (&String, &super::node::Entry)| {
                let json = entry
                    .node
                    .as_map()
                    .map_or(Json::Null, |map| Json::Object(record(map, table, extensions)));
                (key.clone(), json)
            };
            let entries: Object<String, Json> = node.as_map()?.iter().map(entry).collect();
            (!entries.is_empty()).then(|| sorted(entries))
        }
        Shape::Ulimit => match node.as_map() {
            Some(map) => Some(Json::Object(record(map, &schema::ULIMIT, extensions))),
            None => Some(raw(node)),
        },
        Shape::Any => Some(raw(node)),
    }
}

fn sorted(mut object: Object<String, Json>) -> Json {
    object.sort_keys();
    Json::Object(object)
}

/// A value as it stands.
pub(crate) fn raw(node: &Node) -> Json {
    match &node.value {
        Value::Null | Value::Bad => Json::Null,
        Value::Bool(yes) => Json::Bool(*yes),
        Value::Int(number) => Json::from(*number),
        #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Json::from(*number as i64),
        Value::Float(number) => Json::from(*number),
        Value::Str(text) => Json::String(text.clone()),
        Value::List(list) => Json::Array(list.iter().map(raw).collect()),
        Value::Map(map) => Json::Object(
            map.iter()
                .map(|(key, entry)| (key.clone(), raw(&entry.node)))
                .collect(),
        ),
    }
}
