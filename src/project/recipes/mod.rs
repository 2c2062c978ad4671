//! Services with a `type`: out of a recipe, into a plain compose service that `config` shows.
//!
//! 1. [`hoist`]: per file, `x-banyan: {type: …}` becomes the keys `type`, `custom`, …, and paths become absolute;
//! 2. once all files are one tree, [`expand`]: what each `type` is ([`sort`]), all services as templates see them
//!    ([`stage`]), then each service put together from its recipe ([`service`]) or folder ([`folder`]);
//! 3. what the user wrote is merged on top, and the tree is canonical again.
//!
//! Deliberately absent: anything about a particular type; that is data in `crate::recipe`.

mod folder;
mod hoist;
mod service;
mod sort;
mod stage;

pub(super) use hoist::{KEYS, keep, keys, settle};

use super::{
    canonical,
    check::Check,
    diagnostic::Report,
    files::Files,
    merge::merge,
    node::{Entry, Map, Node, Value},
    source::Span,
    trail::Trail,
    unique,
};
use crate::recipe::{self, TemplateError};
use sort::Sort;
use std::path::Path;

/// Expands every service with a `type`. `directory` is the folder that a build sees when it is given nothing else.
pub(super) fn expand(root: &mut Node, directory: &Path, disk: &Files, report: &mut Report) {
    let Some(services) = root.get("services").and_then(Node::as_map) else {
        return;
    };
    let typed = |entry: &&Entry| KEYS.iter().any(|key| entry.node.get(key).is_some());
    if !services.values().any(|entry| typed(&entry)) {
        return;
    }
    let sorts: Vec<(String, Sort)> = services
        .iter()
        .filter(|(_, entry)| typed(entry))
        .map(|(name, entry)| (name.clone(), sort::sort(name, entry, disk, report)))
        .collect();
    let scene = stage::scene(services, &sorts, report);
    let authorities = disk.has_own_authorities() && disk.is_file(Path::new(service::AUTHORITIES));
    for (name, sort) in sorts {
        let Some(entry) = root
            .get_mut("services")
            .and_then(Node::as_map_mut)
            .and_then(|services| services.get_mut(&name))
        else {
            continue;
        };
        let Some(map) = entry.node.as_map_mut() else {
            continue;
        };
        let at = map.get("type").map_or(entry.key, |kind| kind.node.span);
        for key in KEYS {
            map.shift_remove(*key);
        }
        let Some(own) = scene.named(&name) else { continue };
        let cast = service::Cast {
            scene: &scene,
            own,
            at,
            directory,
            authorities,
        };
        let made = match sort {
            Sort::Wrong => None,
            Sort::Image => service::image(&cast, map),
            Sort::Remote(path) => Some(service::remote(&cast, &path, report)),
            Sort::Folder(folder) => folder::service(&cast, &folder, report),
            Sort::Recipe(recipe) => service::recipe(&cast, &recipe, map, report),
        };
        let Some(made) = made else {
            map.shift_remove("build");
            map.insert("image".into(), Entry::new(at, Node::new(Value::Bad, at)));
            continue;
        };
        put_under(root, &name, made, report);
    }
    canonical::project(root, report);
    unique::project(root);
}

/// Merges what the user wrote on top of what a recipe made.
fn put_under(root: &mut Node, name: &str, made: Node, report: &mut Report) {
    let span = made.span;
    let mut file = Node::map(
        Map::from_iter([(
            "services".to_owned(),
            Entry::new(
                span,
                Node::map(Map::from_iter([(name.to_owned(), Entry::new(span, made))]), span),
            ),
        )]),
        span,
    );
    Check::default().project(&mut file, report);
    canonical::project(&mut file, report);
    let Some(mut made) = file
        .get_mut("services")
        .and_then(|services| services.as_map_mut()?.shift_remove(name))
    else {
        return;
    };
    let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) else {
        return;
    };
    let Some(entry) = services.get_mut(name) else {
        return;
    };
    let mut user = std::mem::replace(&mut entry.node, Node::null(span));
    extensions(&mut made.node, &mut user);
    let (top, services_key) = (Trail::Root, "services");
    let services_trail = top.key(services_key);
    let mut merged = merge(made.node, user, &services_trail.key(name), report);
    unique::service(&mut merged);
    let volumes = named_volumes(&merged);
    let fetches = merged
        .get("build")
        .is_some_and(|build| build.get("secrets").is_some());
    entry.node = merged;
    declare(root, volumes);
    if fetches {
        authorities_secret(root, span);
    }
}

/// `x-banyan` of both, where the merge of files would keep only the later one. A health check of the user's own, in
/// whatever form, replaces the recipe's.
fn extensions(made: &mut Node, user: &mut Node) {
    let tests = user
        .get("healthcheck")
        .is_some_and(|check| check.get("test").is_some() || check.get("disable").is_some());
    let own = user
        .as_map_mut()
        .and_then(|map| map.shift_remove("x-banyan"))
        .and_then(|entry| {
            if let Value::Map(map) = entry.node.value {
                Some(map)
            } else {
                None
            }
        });
    let Some(made) = made.as_map_mut() else { return };
    if let Some(block) = made.get_mut("x-banyan").and_then(|entry| entry.node.as_map_mut()) {
        if tests {
            block.shift_remove("ready");
        }
        block.extend(own.into_iter().flatten());
        if block.is_empty() {
            made.shift_remove("x-banyan");
        }
    } else if let Some(own) = own {
        let span = own.values().next().map_or(Span::NONE, |entry| entry.key);
        made.insert("x-banyan".into(), Entry::new(span, Node::map(own, span)));
    }
}

fn named_volumes(service: &Node) -> Vec<(String, Span)> {
    let mounts = service.get("volumes").and_then(Node::as_list).unwrap_or_default();
    let named = mounts
        .iter()
        .filter(|mount| mount.get("type").and_then(Node::as_str) == Some("volume"));
    let source = |mount: &Node| Some((mount.get("source")?.as_str()?.to_owned(), mount.span));
    named.filter_map(source).collect()
}

/// Volumes that a recipe names are volumes of the project.
fn declare(root: &mut Node, volumes: Vec<(String, Span)>) {
    let Some(map) = root.as_map_mut().filter(|_| !volumes.is_empty()) else {
        return;
    };
    let span = volumes[0].1;
    let entry = map
        .entry("volumes".into())
        .or_insert_with(|| Entry::new(span, Node::map(Map::new(), span)));
    if entry.node.is_null() {
        entry.node.value = Value::Map(Map::new());
    }
    let Some(known) = entry.node.as_map_mut() else {
        return;
    };
    for (name, span) in volumes {
        known
            .entry(name)
            .or_insert_with(|| Entry::new(span, Node::null(span)));
    }
}

/// The secret that builds of recipes name, unless the project has one of that name.
fn authorities_secret(root: &mut Node, span: Span) {
    let Some(map) = root.as_map_mut() else { return };
    let entry = map
        .entry("secrets".into())
        .or_insert_with(|| Entry::new(span, Node::map(Map::new(), span)));
    if entry.node.is_null() {
        entry.node.value = Value::Map(Map::new());
    }
    let file = Node::str(service::AUTHORITIES, span);
    let secret = Node::map(
        Map::from_iter([("file".to_owned(), Entry::new(span, file))]),
        span,
    );
    if let Some(secrets) = entry.node.as_map_mut() {
        secrets
            .entry("authorities".into())
            .or_insert_with(|| Entry::new(span, secret));
    }
}

/// Reports a mistake in a template: in the user's own file with its place, in a recipe of ours at the `type`.
fn template_mistake(error: &TemplateError, text: Option<&str>, at: Span, report: &mut Report) {
    match text {
        Some(text) => {
            let file = report.sources.add(Path::new(&error.file), text.to_owned());
            let start = u32::try_from(error.at).unwrap_or(u32::MAX);
            let end = start.saturating_add(2);
            report
                .error(Span { file, start, end }, error.message.clone())
                .related(at, "the template of the service");
        }
        None => {
            report.error(at, error.message.clone()).because(format!(
                "the recipe's {}, line {}, column {}",
                error.file, error.line, error.column
            ));
        }
    }
}

/// All types that may be written.
fn known_kinds() -> impl Iterator<Item = &'static str> {
    let others = recipe::OTHERS.iter().map(|(kind, _)| *kind);
    recipe::KINDS.iter().copied().chain(others)
}
