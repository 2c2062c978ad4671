//! Services with a `type`: out of a recipe, into a plain compose service that `config` shows.
//!
//! 1. [`hoist`]: per file, `x-banyan: {type: …}` becomes the keys `type`, `custom`, …, and paths become absolute;
//! 2. once all files are one tree, [`expand`]: what each `type` is ([`sort`]), all services as templates see them
//!    ([`stage`]), then each service put together from its recipe ([`service`]), image ([`image`]) or folder ([`folder`]),
//!    with its scripts ([`scripts`]);
//! 3. what the user wrote is merged on top ([`layer`]), and the tree is canonical again.
//!
//! Deliberately absent: anything about a particular type; that is data in `crate::recipe`.

mod folder;
mod hoist;
mod image;
mod layer;
mod scripts;
mod service;
mod sort;
mod stage;

pub(super) use hoist::{KEYS, keep, keys, settle};

use super::{
    canonical,
    diagnostic::Report,
    files::Files,
    node::{Entry, Node, Value},
    source::Span,
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
            Sort::Image => image::image(&cast, map),
            Sort::Remote(path) => Some(image::remote(&cast, &path, report)),
            Sort::Folder(folder) => folder::service(&cast, &folder, report),
            Sort::Recipe(recipe) => service::recipe(&cast, &recipe, map, report),
        };
        let Some(made) = made else {
            map.shift_remove("build");
            map.insert("image".into(), Entry::new(at, Node::new(Value::Bad, at)));
            continue;
        };
        layer::put_under(root, &name, made, report);
    }
    canonical::project(root, report);
    unique::project(root);
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
