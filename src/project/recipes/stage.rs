//! The services of a project as templates see them.

use super::{
    super::{
        diagnostic::Report,
        node::{Entry, Map, Node, Value as Yaml},
        suggest::did_you_mean,
    },
    hoist,
    sort::{Sort, written},
};
use crate::recipe::{Container, Declaration, Scene, Script, Value};

pub(super) fn scene(services: &Map, sorts: &[(String, Sort)], report: &mut Report) -> Scene {
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    let containers = services.iter().map(|(name, entry)| {
        let declaration = sorts
            .iter()
            .find(|(own, _)| own == name)
            .and_then(|(_, sort)| match sort {
                Sort::Recipe(recipe) => Some(&recipe.declaration),
                _ => None,
            });
        container(name, entry, declaration, &names, report)
    });
    Scene(containers.collect())
}

fn container(
    name: &str,
    entry: &Entry,
    declaration: Option<&Declaration>,
    names: &[&str],
    report: &mut Report,
) -> Container {
    let node = &entry.node;
    let text = |key: &str| {
        node.get(key)
            .and_then(Node::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let script = |key: &str| {
        let text = node
            .get(key)
            .and_then(Node::as_str)
            .filter(|text| !text.trim().is_empty())?;
        Some(if hoist::is_file(text) {
            Script::File(text.to_owned())
        } else {
            Script::Inline(text.to_owned())
        })
    };
    let ports = ports(node);
    let exposed = node.get("expose").and_then(Node::as_list).unwrap_or_default();
    let exposed = exposed
        .iter()
        .find_map(|item| item.scalar_text()?.split('/').next()?.parse().ok());
    let first = ports.first().map(|(_, target)| *target);
    let usual = declaration.and_then(|declaration| declaration.port);
    let port = match usual {
        Some(usual) if ports.is_empty() || ports.iter().any(|(_, target)| *target == usual) => Some(usual),
        _ => first.or(usual).or(exposed),
    };
    let add = node.get("add").and_then(Node::as_map);
    Container {
        name: name.to_owned(),
        kind: match declaration {
            Some(declaration) if !declaration.kind.is_empty() => declaration.kind.clone(),
            _ => text("type"),
        },
        image: text("image"),
        linked: linked(node),
        ports,
        port,
        checked: checked(node, declaration),
        volumes: mounts(node),
        environment: pairs(node.get("environment")),
        packages: packages(name, node, report),
        add: add
            .into_iter()
            .flatten()
            .map(|(from, to)| (from.clone(), to.node.scalar_text().unwrap_or_default()))
            .collect(),
        before: script("before_script"),
        after: script("after_script"),
        custom: parameters(name, node, declaration, names, report),
    }
}

/// Whether something tells when it is ready: a recipe that runs a service does, and so do checks of the user's.
fn checked(node: &Node, declaration: Option<&Declaration>) -> bool {
    let check = node.get("healthcheck");
    if check
        .and_then(|check| check.get("disable"))
        .and_then(Node::as_bool)
        == Some(true)
    {
        return false;
    }
    declaration.is_some_and(Declaration::is_server)
        || check.is_some_and(|check| check.get("test").is_some())
        || node.get("x-banyan").is_some_and(|own| own.get("ready").is_some())
}

/// Links first, then what else it waits for.
fn linked(node: &Node) -> Vec<String> {
    let links = node.get("links").and_then(Node::as_list).unwrap_or_default();
    let links = links
        .iter()
        .filter_map(|item| Some(item.as_str()?.split(':').next()?.to_owned()));
    let waits = node.get("depends_on").and_then(Node::as_map);
    let mut all: Vec<String> = links.collect();
    for other in waits.into_iter().flatten().map(|(other, _)| other) {
        if !all.contains(other) {
            all.push(other.clone());
        }
    }
    all
}

fn ports(node: &Node) -> Vec<(String, u16)> {
    let ports = node.get("ports").and_then(Node::as_list).unwrap_or_default();
    let pair = |port: &Node| {
        let published = port
            .get("published")
            .and_then(Node::scalar_text)
            .unwrap_or_default();
        let target = port.get("target").and_then(Node::as_int)?;
        Some((published, u16::try_from(target).ok()?))
    };
    ports.iter().filter_map(pair).collect()
}

fn mounts(node: &Node) -> Vec<(String, String)> {
    let mounts = node.get("volumes").and_then(Node::as_list).unwrap_or_default();
    let text = |mount: &Node, key: &str| mount.get(key).and_then(Node::as_str).map(str::to_owned);
    let pair = |mount: &Node| Some((text(mount, "source").unwrap_or_default(), text(mount, "target")?));
    mounts.iter().filter_map(pair).collect()
}

fn pairs(node: Option<&Node>) -> Vec<(String, String)> {
    let map = node.and_then(Node::as_map).into_iter().flatten();
    map.map(|(key, entry)| (key.clone(), entry.node.scalar_text().unwrap_or_default()))
        .collect()
}

/// `apt_get`, with names that are names of Debian packages only.
fn packages(name: &str, node: &Node, report: &mut Report) -> Vec<String> {
    let list = node.get("apt_get").and_then(Node::as_list).unwrap_or_default();
    let mut packages = Vec::new();
    for item in list {
        let Some(text) = item.as_str() else { continue };
        let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.:=~_/".contains(c));
        if let Some(rest) = text.strip_prefix("php5-") {
            // Files of gaudi's time name them so.
            let today = format!("php-{rest}");
            report.warning(
                item.span,
                format!("`apt_get` of `{name}`: `{text}` is `{today}` in Debian bookworm"),
            );
            packages.push(today);
        } else if good {
            packages.push(text.to_owned());
        } else {
            report.error(
                item.span,
                format!("`apt_get` of `{name}`: `{text}` is no name of a Debian package"),
            );
        }
    }
    packages
}

/// `custom`, as the recipe means it; as it stands when there is no recipe.
fn parameters(
    name: &str,
    node: &Node,
    declaration: Option<&Declaration>,
    names: &[&str],
    report: &mut Report,
) -> Vec<(String, Value)> {
    let given = node.get("custom").and_then(Node::as_map);
    let given: Vec<(&String, &Entry)> = given.into_iter().flatten().collect();
    let Some(declaration) = declaration else {
        let plain = |(key, entry): &(&String, &Entry)| ((*key).clone(), value(&entry.node, report));
        return given.iter().map(plain).collect();
    };
    let kind = node.get("type").and_then(Node::as_str).unwrap_or_default();
    let mut all: Vec<(String, Value)> = declaration
        .parameters
        .iter()
        .map(|(key, parameter)| (key.clone(), parameter.fallback()))
        .collect();
    for (key, entry) in given {
        let Some(parameter) = declaration.parameters.get(key) else {
            let known = declaration.parameters.keys().map(String::as_str);
            report
                .warning(
                    entry.key,
                    format!("the type `{kind}` has no parameter `{key}`; it is ignored"),
                )
                .maybe_hint(did_you_mean(key, known));
            continue;
        };
        if entry.node.is_null() {
            continue;
        }
        let others: Vec<&str> = names.iter().copied().filter(|other| *other != name).collect();
        let taken = match parameter.take(&value(&entry.node, report), &others) {
            Ok(value) => value,
            Err(unfit) => {
                let item = unfit.item.and_then(|item| entry.node.as_list()?.get(item));
                let at = item.map_or(entry.node.span, |item| item.span);
                let message = format!("`{key}` of `{name}` {}", unfit.message);
                if unfit.only_warn {
                    report.warning(at, message).maybe_hint(unfit.hint);
                    continue;
                }
                report.error(at, message).maybe_hint(unfit.hint);
                continue;
            }
        };
        if let Some((_, value)) = all.iter_mut().find(|(known, _)| known == key) {
            *value = taken;
        }
    }
    all
}

fn value(node: &Node, report: &Report) -> Value {
    match &node.value {
        Yaml::Null | Yaml::Bad => Value::Nothing,
        Yaml::Bool(yes) => Value::Bool(*yes),
        Yaml::Int(number) => Value::Int(*number),
        Yaml::Float(_) | Yaml::Str(_) => Value::Text(written(node, report).unwrap_or_default()),
        Yaml::List(list) => Value::List(list.iter().map(|item| value(item, report)).collect()),
        Yaml::Map(map) => {
            let pairs = map
                .iter()
                .map(|(key, entry)| (key.clone(), value(&entry.node, report)));
            Value::Map(pairs.collect())
        }
    }
}
