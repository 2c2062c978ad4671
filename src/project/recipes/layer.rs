//! What the user wrote, on top of what a recipe made; and what the project then has to declare.

use super::{
    super::{
        canonical,
        check::Check,
        diagnostic::Report,
        merge::merge,
        node::{Entry, Map, Node, Value},
        source::Span,
        trail::Trail,
        unique,
    },
    service,
};

/// Merges what the user wrote on top of what a recipe made.
pub(super) fn put_under(root: &mut Node, name: &str, made: Node, report: &mut Report) {
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
    let own = named_volumes(&made.node);
    let (top, services_key) = (Trail::Root, "services");
    let services_trail = top.key(services_key);
    let mut merged = merge(made.node, user, &services_trail.key(name), report);
    unique::service(&mut merged);
    // What the user mounts in a volume's place leaves it out; a volume that only the user names is theirs to declare.
    let mut volumes = named_volumes(&merged);
    volumes.retain(|(name, _)| own.iter().any(|(recipes, _)| recipes == name));
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
