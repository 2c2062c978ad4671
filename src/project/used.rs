//! Which networks, volumes, secrets and configs the enabled services use; the others take no part.

use super::node::Node;
use std::collections::{BTreeSet, HashSet};

/// Keys of the parts in use.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) networks: BTreeSet<String>,
    pub(crate) volumes: BTreeSet<String>,
    pub(crate) secrets: BTreeSet<String>,
    pub(crate) configs: BTreeSet<String>,
}

/// Finds what the services in `enabled` use.
pub(crate) fn used(root: &Node, enabled: &HashSet<String>) -> Used {
    let mut used = Used::default();
    for (name, entry) in root.get("services").and_then(Node::as_map).into_iter().flatten() {
        if enabled.contains(name) {
            service(&entry.node, &mut used);
        }
    }
    used
}

fn service(node: &Node, used: &mut Used) {
    let list = |node: Option<&Node>| node.and_then(Node::as_list).unwrap_or_default().to_vec();
    let sources = |node: Option<&Node>| -> Vec<String> {
        list(node)
            .iter()
            .filter_map(|item| item.get("source")?.as_str().map(str::to_owned))
            .collect()
    };
    let networks = node.get("networks").and_then(Node::as_map).into_iter().flatten();
    used.networks.extend(networks.map(|(key, _)| key.clone()));
    let mounts = list(node.get("volumes"));
    let volumes = mounts
        .iter()
        .filter(|mount| mount.get("type").and_then(Node::as_str) == Some("volume"));
    used.volumes
        .extend(volumes.filter_map(|mount| mount.get("source")?.as_str().map(str::to_owned)));
    used.secrets.extend(sources(node.get("secrets")));
    used.secrets
        .extend(sources(node.get("build").and_then(|build| build.get("secrets"))));
    used.configs.extend(sources(node.get("configs")));
}
