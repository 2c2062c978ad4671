//! Keys of typed services, per file: gathered from `x-banyan`, their paths made absolute.

use super::super::{
    diagnostic::Report,
    files::Files,
    node::{Entry, Map, Node, Value},
    paths,
};
use std::path::Path;

/// The keys of a service by type, in every dialect. (`index` and `github` have `image` too.)
pub(in crate::project) const KEYS: &[&str] = &[
    "add",
    "after_script",
    "apt_get",
    "before_script",
    "custom",
    "path",
    "template",
    "type",
];

/// Moves the keys out of the `x-banyan` of a service; one that stands in both places keeps the one in `x-banyan`.
pub(in crate::project) fn keys(service: &mut Node) {
    let Some(map) = service.as_map_mut() else { return };
    let Some(own) = map.get_mut("x-banyan").and_then(|entry| entry.node.as_map_mut()) else {
        return;
    };
    let moved: Vec<(String, Entry)> = KEYS
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), own.shift_remove(*key)?)))
        .collect();
    if own.is_empty() && !moved.is_empty() {
        map.shift_remove("x-banyan");
    }
    map.extend(moved);
}

/// Moves the keys back into `x-banyan`, where types are not expanded because variables are not known.
pub(in crate::project) fn keep(root: &mut Node) {
    let services = root.get_mut("services").and_then(Node::as_map_mut);
    for entry in services.into_iter().flatten().map(|(_, entry)| entry) {
        let Some(map) = entry.node.as_map_mut() else {
            continue;
        };
        let moved: Map = KEYS
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), map.shift_remove(*key)?)))
            .collect();
        let Some(span) = moved.values().next().map(|first| first.key) else {
            continue;
        };
        let own = map
            .entry("x-banyan".into())
            .or_insert_with(|| Entry::new(span, Node::map(Map::new(), span)));
        if let Some(own) = own.node.as_map_mut() {
            own.extend(moved);
        }
    }
}

/// Makes the paths of every service of a checked document absolute: `template`, `add`, and scripts that are files.
pub(in crate::project) fn settle(
    document: &mut Node,
    directory: &Path,
    home: Option<&str>,
    disk: &Files,
    report: &mut Report,
) {
    let services = document.get_mut("services").and_then(Node::as_map_mut);
    for (name, entry) in services.into_iter().flatten() {
        let Some(map) = entry.node.as_map_mut() else {
            continue;
        };
        if !KEYS.iter().any(|key| map.contains_key(*key)) {
            continue;
        }
        if let Some(Value::Str(text)) = map.get_mut("template").map(|entry| &mut entry.node.value) {
            *text = paths::absolute(text, directory, home);
        }
        if let Some(add) = map.get_mut("add").and_then(|entry| entry.node.as_map_mut()) {
            let absolute = |(from, to): (String, Entry)| (paths::absolute(&from, directory, home), to);
            *add = std::mem::take(add).into_iter().map(absolute).collect::<Map>();
        }
        for key in ["before_script", "after_script"] {
            let Some(node) = map.get_mut(key).map(|entry| &mut entry.node) else {
                continue;
            };
            let Value::Str(text) = &mut node.value else {
                continue;
            };
            if !is_path(text) {
                continue;
            }
            if text.starts_with('/') {
                report
                    .error(node.span, format!("`{key}` of `{name}` is an absolute path"))
                    .hint("give a path relative to the project file, or the commands themselves");
                continue;
            }
            let file = paths::absolute(text.trim(), directory, home);
            if disk.is_file(Path::new(&file)) {
                *text = file;
            }
        }
    }
}

/// Whether a script may be the path of one: a single word.
fn is_path(script: &str) -> bool {
    !script.trim().contains(char::is_whitespace) && !script.contains(';')
}

/// Whether a settled script is a file.
pub(super) fn is_file(script: &str) -> bool {
    script.starts_with('/') && is_path(script)
}
