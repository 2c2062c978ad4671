//! Lists in which an item may stand only once: of two with the same key the later stays, at the place of the first
//! (`override/uncity.go` of docker compose).

use super::{node::Node, node::Value, short};
use std::collections::HashMap;

/// What makes two items of a list the same.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// The text before `=`.
    Name,
    /// The whole text.
    Text,
    /// A mount's target.
    Mount,
    /// A grant's target; this folder stands before a bare name.
    Grant(&'static str),
    /// Address, ports and protocol.
    Port,
    /// An env file's path.
    Path,
    /// A device's target.
    Device,
}

const SERVICE: &[(&str, Key)] = &[
    ("annotations", Key::Name),
    ("cap_add", Key::Name),
    ("cap_drop", Key::Name),
    ("configs", Key::Grant("")),
    ("devices", Key::Device),
    ("dns", Key::Name),
    ("dns_opt", Key::Name),
    ("dns_search", Key::Name),
    ("env_file", Key::Path),
    ("environment", Key::Name),
    ("expose", Key::Text),
    ("extra_hosts", Key::Text),
    ("label_file", Key::Text),
    ("labels", Key::Name),
    ("links", Key::Name),
    ("ports", Key::Port),
    ("profiles", Key::Name),
    ("secrets", Key::Grant("/run/secrets")),
    ("sysctls", Key::Name),
    ("tmpfs", Key::Name),
    ("volumes", Key::Mount),
];
const BUILD: &[(&str, Key)] = &[
    ("additional_contexts", Key::Name),
    ("args", Key::Name),
    ("extra_hosts", Key::Text),
    ("labels", Key::Name),
    ("platforms", Key::Text),
    ("tags", Key::Name),
];
const ATTACHMENT: &[(&str, Key)] = &[("aliases", Key::Name), ("link_local_ips", Key::Name)];

/// Makes the lists of a project unique.
pub(crate) fn project(root: &mut Node) {
    each(root.get_mut("networks"), |network| {
        lists(network, &[("labels", Key::Name)])
    });
    each(root.get_mut("services"), service);
}

/// Makes the lists of one service unique.
pub(crate) fn service(service: &mut Node) {
    lists(service, SERVICE);
    if let Some(build) = service.get_mut("build") {
        lists(build, BUILD);
    }
    if let Some(deploy) = service.get_mut("deploy") {
        lists(deploy, &[("labels", Key::Name)]);
    }
    each(service.get_mut("networks"), |attachment| {
        lists(attachment, ATTACHMENT)
    });
}

fn each(node: Option<&mut Node>, change: impl Fn(&mut Node)) {
    if let Some(map) = node.and_then(Node::as_map_mut) {
        map.values_mut().for_each(|entry| change(&mut entry.node));
    }
}

fn lists(node: &mut Node, table: &[(&str, Key)]) {
    for (name, key) in table {
        if let Some(Value::List(list)) = node.get_mut(name).map(|node| &mut node.value) {
            unique(list, *key);
        }
    }
}

fn unique(list: &mut Vec<Node>, key: Key) {
    if list.len() < 2 {
        return;
    }
    let mut at: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<Node> = Vec::with_capacity(list.len());
    for item in list.drain(..) {
        match identity(&item, key) {
            Some(identity) => match at.get(&identity) {
                Some(i) => kept[*i] = item,
                None => {
                    at.insert(identity, kept.len());
                    kept.push(item);
                }
            },
            None => kept.push(item),
        }
    }
    *list = kept;
}

fn identity(item: &Node, key: Key) -> Option<String> {
    let field = |name: &str| item.get(name).and_then(Node::scalar_text);
    match key {
        Key::Name => item
            .as_str()
            .map(|text| text.split('=').next().unwrap_or(text).to_owned()),
        Key::Text => item.scalar_text(),
        Key::Path => item.scalar_text().or_else(|| field("path")),
        Key::Device => {
            let Some(text) = item.as_str() else {
                return field("target");
            };
            Some(text.split(':').nth(1).unwrap_or(text).to_owned())
        }
        Key::Mount => match item.as_str() {
            Some(text) => short::mount(text).ok().map(|mount| mount.target),
            None => field("target"),
        },
        Key::Grant(folder) => match item.as_str() {
            Some(text) => Some(format!("{folder}/{text}")),
            None => field("target").or_else(|| Some(format!("{folder}/{}", field("source")?))),
        },
        Key::Port => match item.scalar_text() {
            Some(text) => Some(text),
            None => Some(format!(
                "{}:{}:{}/{}",
                field("host_ip").unwrap_or_else(|| "0.0.0.0".into()),
                field("published").unwrap_or_default(),
                field("target")?,
                field("protocol").unwrap_or_else(|| "tcp".into()),
            )),
        },
    }
}
