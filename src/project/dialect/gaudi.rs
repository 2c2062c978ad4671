//! gaudi 0.2: `applications` that run and `binaries` that are called.
//!
//! Each container becomes a service (struct `Container` of gaudi's `container/container.go` has the keys); what its `type`
//! means is left to `recipes`, as in a compose file.
//! Binaries get the profile `binaries`, so that only `banyan run NAME` starts them. What gaudi did by accident (everything
//! privileged, container names without the project) is not repeated.

use super::super::{
    diagnostic::Report,
    node::{Entry, Map, Node, Value},
    recipes,
    source::Span,
    suggest::did_you_mean,
};

/// The keys of a container.
const KEYS: &[&str] = &[
    "add",
    "after_script",
    "ambassador",
    "apt_get",
    "before_script",
    "custom",
    "environments",
    "extends",
    "image",
    "links",
    "path",
    "ports",
    "template",
    "type",
    "volumes",
];

pub(super) fn translate(document: Node, report: &mut Report) -> Node {
    let span = document.span;
    let Value::Map(mut map) = document.value else {
        return document;
    };
    let mut containers = Map::new();
    let mut binaries = Vec::new();
    for section in ["applications", "binaries"] {
        let Some(entry) = map.shift_remove(section) else {
            continue;
        };
        let Node {
            value: Value::Map(own),
            ..
        } = entry.node
        else {
            report
                .error(entry.node.span, format!("`{section}` must be a mapping"))
                .hint("write `NAME:` lines below it");
            continue;
        };
        for (name, container) in own {
            if let Some(first) = containers.get(&name).map(|entry: &Entry| entry.key) {
                report
                    .error(container.key, format!("`{name}` is defined twice"))
                    .related(first, "first defined");
                continue;
            }
            if section == "binaries" {
                binaries.push(name.clone());
            }
            containers.insert(name, container);
        }
    }
    for (key, entry) in &map {
        report
            .error(entry.key, format!("a gaudi file has no key `{key}`"))
            .maybe_hint(did_you_mean(key, ["applications", "binaries"]));
    }
    if containers.is_empty() && report.errors() == 0 {
        report
            .error(span, "no application or binary to start")
            .hint("add one under `applications:`");
    }
    extends(&mut containers, report);
    let names: Vec<String> = containers.keys().cloned().collect();
    let mut services = Map::new();
    for (name, entry) in containers {
        let binary = binaries.contains(&name);
        let ambassador = ambassador(&name, &entry.node);
        if let Some(node) = container(&name, &entry, binary, &names, report) {
            services.insert(name, Entry::new(entry.key, node));
        }
        services.extend(ambassador);
    }
    Node::map(
        Map::from_iter([("services".to_owned(), Entry::new(span, Node::map(services, span)))]),
        span,
    )
}

/// Fields left empty take the parent's value, whole; `ambassador` is not inherited.
fn extends(containers: &mut Map, report: &mut Report) {
    let names: Vec<String> = containers.keys().cloned().collect();
    for name in &names {
        let mut seen = vec![name.clone()];
        let mut at = name.clone();
        while let Some((parent, span)) = parent_of(containers, &at) {
            if seen.contains(&parent) {
                report
                    .error(
                        span,
                        format!("`{name}` extends itself, through {}", seen.join(" → ")),
                    )
                    .hint("remove one `extends`");
                break;
            }
            let Some(fields) = containers
                .get(&parent)
                .and_then(|entry| entry.node.as_map())
                .cloned()
            else {
                if at == *name {
                    report
                        .error(span, format!("`{name}` extends `{parent}`, which does not exist"))
                        .maybe_hint(did_you_mean(&parent, names.iter().map(String::as_str)));
                }
                break;
            };
            if let Some(own) = containers.get_mut(name).and_then(|entry| entry.node.as_map_mut()) {
                for (key, entry) in fields
                    .into_iter()
                    .filter(|(key, _)| key != "ambassador" && key != "extends")
                {
                    own.entry(key).or_insert(entry);
                }
            }
            seen.push(parent.clone());
            at = parent;
        }
    }
    for entry in containers.values_mut() {
        entry.node.as_map_mut().map(|map| map.shift_remove("extends"));
    }
}

fn parent_of(containers: &Map, name: &str) -> Option<(String, Span)> {
    let node = containers.get(name)?.node.get("extends")?;
    Some((node.as_str()?.to_owned(), node.span))
}

/// One container as a service.
fn container(name: &str, entry: &Entry, binary: bool, names: &[String], report: &mut Report) -> Option<Node> {
    let Some(map) = entry.node.as_map() else {
        report.error(
            entry.node.span,
            format!("`{name}` must be a mapping, not {}", entry.node.kind()),
        );
        return None;
    };
    for (key, field) in map {
        if !KEYS.contains(&key.as_str()) && !key.starts_with("x-") {
            let environment = (key == "environment").then(|| "gaudi says `environments`".to_owned());
            report
                .error(field.key, format!("`{name}` has no key `{key}` in a gaudi file"))
                .maybe_hint(environment.or_else(|| did_you_mean(key, KEYS.iter().copied())));
        }
    }
    let mut service = Map::new();
    own_keys(name, entry, map, &mut service, report);
    for item in map
        .get("links")
        .and_then(|e| e.node.as_list())
        .into_iter()
        .flatten()
    {
        let link = item.as_str().unwrap_or_default();
        if link == name {
            report.error(item.span, format!("`{name}` links to itself"));
        } else if !names.iter().any(|known| known == link) {
            report
                .error(
                    item.span,
                    format!("`{name}` links to `{link}`, which does not exist"),
                )
                .maybe_hint(did_you_mean(link, names.iter().map(String::as_str)));
        }
    }
    if let Some(links) = map.get("links") {
        service.insert("links".into(), links.clone());
    }
    pairs_to_list(map.get("ports"), "ports", ":", &mut service, report);
    volumes(map.get("volumes"), &mut service, report);
    if let Some(environments) = map.get("environments") {
        service.insert("environment".into(), environments.clone());
    }
    let span = entry.key;
    if binary {
        let profile = Node::new(Value::List(vec![Node::str("binaries", span)]), span);
        service.insert("profiles".into(), Entry::new(span, profile));
        let here = Map::from_iter([("here".to_owned(), Entry::new(span, Node::bool(true, span)))]);
        service.insert("x-banyan".into(), Entry::new(span, Node::map(here, span)));
    }
    Some(Node::map(service, entry.node.span))
}

/// The keys of the type, as Compose has them here too; scripts know no variables of ours.
fn own_keys(name: &str, entry: &Entry, map: &Map, service: &mut Map, report: &mut Report) {
    let kind = map.get("type");
    if kind.and_then(|e| e.node.as_str()).is_none() {
        report
            .error(
                kind.map_or(entry.key, |e| e.node.span),
                format!("`{name}` has no `type`"),
            )
            .hint("for example `type: php-fpm`, or `type: index` with `image:`");
        let bad = Node::new(Value::Bad, entry.key);
        service.insert("image".into(), Entry::new(entry.key, bad));
        return;
    }
    for key in recipes::KEYS.iter().chain(&["image"]) {
        let Some(mut field) = map.get(*key).cloned() else {
            continue;
        };
        if let Value::Str(text) = &mut field.node.value
            && key.ends_with("_script")
        {
            *text = text.replace('$', "$$");
        }
        service.insert((*key).to_owned(), field);
    }
    // gaudi's templates ended in a shell; images may too.
    if ["index", "prebuild", "github", "remote", "custom"]
        .contains(&kind.and_then(|e| e.node.as_str()).unwrap_or_default())
    {
        let span = entry.key;
        service.insert("tty".into(), Entry::new(span, Node::bool(true, span)));
        service.insert("stdin_open".into(), Entry::new(span, Node::bool(true, span)));
    }
}

/// Adds an item to a list of a service.
fn push(service: &mut Map, key: &str, item: Node) {
    let span = item.span;
    let list = service
        .entry(key.into())
        .or_insert_with(|| Entry::new(span, Node::new(Value::List(vec![]), span)));
    if let Value::List(list) = &mut list.node.value {
        list.push(item);
    }
}

/// A mapping `a: b` as a list of `a:b`.
fn pairs_to_list(entry: Option<&Entry>, key: &str, between: &str, service: &mut Map, report: &mut Report) {
    let Some(entry) = entry else { return };
    let Some(map) = entry.node.as_map() else {
        report
            .error(
                entry.node.span,
                format!("`{key}` must be a mapping, not {}", entry.node.kind()),
            )
            .hint("write `HOST: CONTAINER` lines");
        return;
    };
    for (left, right) in map {
        let text = format!("{left}{between}{}", right.node.scalar_text().unwrap_or_default());
        push(service, key, Node::str(text, right.key.to(right.node.span)));
    }
}

/// Host paths are relative to the project file, and made when missing.
fn volumes(entry: Option<&Entry>, service: &mut Map, report: &mut Report) {
    let Some(entry) = entry else { return };
    let Some(map) = entry.node.as_map() else {
        report
            .error(
                entry.node.span,
                format!("`volumes` must be a mapping, not {}", entry.node.kind()),
            )
            .hint("write `HOST: CONTAINER` lines");
        return;
    };
    for (host, target) in map {
        let host = if host.starts_with(['/', '.', '~']) {
            host.clone()
        } else {
            format!("./{host}")
        };
        let text = format!("{host}:{}", target.node.scalar_text().unwrap_or_default());
        push(
            service,
            "volumes",
            Node::str(text, target.key.to(target.node.span)),
        );
    }
}

/// `ambassador: {type, remote, port}` adds a container that hands a port on to the application.
fn ambassador(name: &str, node: &Node) -> Option<(String, Entry)> {
    let ambassador = node.get("ambassador")?;
    ambassador.get("type")?;
    let (port, span) = (ambassador.get("port")?.scalar_text()?, ambassador.span);
    let list = |text: String| Node::new(Value::List(vec![Node::str(text, span)]), span);
    let fields = [
        ("type", Node::str("ambassador", span)),
        ("links", list(name.to_owned())),
        ("ports", list(format!("{port}:{port}"))),
    ];
    let service = fields.map(|(key, node)| (key.to_owned(), Entry::new(span, node)));
    Some((
        format!("ambassador-{name}"),
        Entry::new(span, Node::map(service.into_iter().collect(), span)),
    ))
}
