//! The three dialects: which one a document speaks, and how fig and gaudi are said in Compose.
//!
//! The translation works on the tree, so that every position stays what it was and everything after it is shared.

mod fig;
mod gaudi;

use super::{diagnostic::Report, node::Node};
use crate::model::Dialect;
use std::path::Path;

/// What a translation may depend on.
pub(crate) struct Context<'a> {
    pub(crate) environment: &'a std::collections::BTreeMap<String, String>,
}

/// The dialect of a document, by its keys first and by its file's name second.
pub(crate) fn of(document: &Node, path: &Path) -> Dialect {
    let Some(map) = document.as_map() else {
        return Dialect::Compose;
    };
    if map.contains_key("services") || map.contains_key("include") {
        return Dialect::Compose;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if map.contains_key("applications") || map.contains_key("binaries") || name == ".gaudi.yml" {
        return Dialect::Gaudi;
    }
    // A fig file is a mapping of services; nothing else has an image or a build one level down.
    let service = |node: &Node| node.get("image").is_some() || node.get("build").is_some();
    let compose_key = |key: &str| super::schema::PROJECT.field(key).is_some() || key.starts_with("x-");
    let fig_like = !map.is_empty()
        && map
            .iter()
            .all(|(key, entry)| !compose_key(key) && entry.node.as_map().is_some());
    if fig_like && (name.starts_with("fig.") || map.values().any(|entry| service(&entry.node))) {
        return Dialect::Fig;
    }
    Dialect::Compose
}

/// Says a document in Compose; in Compose itself only where the keys of a `type` stand changes.
pub(crate) fn translate(
    mut document: Node,
    dialect: Dialect,
    context: &Context<'_>,
    report: &mut Report,
) -> Node {
    match dialect {
        Dialect::Compose => {
            let services = document.get_mut("services").and_then(Node::as_map_mut);
            for entry in services.into_iter().flatten().map(|(_, entry)| entry) {
                super::recipes::keys(&mut entry.node);
            }
            document
        }
        Dialect::Fig => fig::translate(document, context, report),
        Dialect::Gaudi => gaudi::translate(document, report),
    }
}
