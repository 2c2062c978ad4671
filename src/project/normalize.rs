//! Defaults: what a file need not say. After this, nothing that has a default is missing from the tree.

use super::{
    diagnostic::Report,
    dotenv,
    files::{self, Files},
    interpolate::Lookup,
    node::{Entry, Map, Node, Value},
    short,
    source::Span,
};
use std::{collections::BTreeMap, path::Path};

/// Fills the defaults of a whole canonical tree.
pub(crate) fn project(root: &mut Node, name: &str, environment: &BTreeMap<String, String>) {
    let mut default_used = None;
    for (_, entry) in root
        .get_mut("services")
        .and_then(Node::as_map_mut)
        .into_iter()
        .flatten()
    {
        service(&mut entry.node, entry.key, environment, &mut default_used);
    }
    if let Some(span) = default_used {
        let map = child_map(root, "networks");
        map.entry("default".into())
            .or_insert_with(|| Entry::new(span, Node::null(span)));
    }
    for kind in ["networks", "volumes", "configs", "secrets"] {
        names_from_keys(root, kind, name);
    }
}

/// The mapping under `key`, made when it is missing.
fn child_map<'a>(root: &'a mut Node, key: &str) -> &'a mut Map {
    if !matches!(root.value, Value::Map(_)) {
        root.value = Value::Map(Map::new());
    }
    let Value::Map(map) = &mut root.value else {
        unreachable!("made a mapping above")
    };
    let entry = map
        .entry(key.into())
        .or_insert_with(|| Entry::new(Span::NONE, Node::map(Map::new(), Span::NONE)));
    if !matches!(entry.node.value, Value::Map(_)) {
        entry.node.value = Value::Map(Map::new());
    }
    let Value::Map(map) = &mut entry.node.value else {
        unreachable!("made a mapping above")
    };
    map
}

fn service(
    node: &mut Node,
    key: Span,
    environment: &BTreeMap<String, String>,
    default_used: &mut Option<Span>,
) {
    let Some(map) = node.as_map_mut() else { return };
    if !map.contains_key("network_mode") && !map.contains_key("provider") {
        let empty = map
            .get("networks")
            .is_none_or(|entry| entry.node.is_null() || entry.node.as_map().is_some_and(Map::is_empty));
        if empty {
            let default = Map::from_iter([("default".to_owned(), Entry::new(key, Node::null(key)))]);
            map.insert("networks".into(), Entry::new(key, Node::map(default, key)));
        }
        if let Some(entry) = map
            .get("networks")
            .and_then(|entry| entry.node.as_map()?.get("default"))
        {
            default_used.get_or_insert(entry.key);
        }
    }
    if let Some(policy) = map.get_mut("pull_policy")
        && policy.node.as_str() == Some("if_not_present")
    {
        policy.node.value = Value::Str("missing".into());
    }
    if let Some(build) = map.get_mut("build").and_then(|entry| entry.node.as_map_mut()) {
        build
            .entry("context".into())
            .or_insert_with(|| Entry::new(key, Node::str(".", key)));
        if !build.contains_key("dockerfile") && !build.contains_key("dockerfile_inline") {
            build.insert("dockerfile".into(), Entry::new(key, Node::str("Dockerfile", key)));
        }
        resolve(build.get_mut("args"), environment, false);
    }
    resolve(map.get_mut("environment"), environment, true);
    for (list, folder) in [("secrets", Some("/run/secrets")), ("configs", None)] {
        let grants = map.get_mut(list).and_then(|e| {
            if let Value::List(l) = &mut e.node.value {
                Some(l)
            } else {
                None
            }
        });
        for grant in grants.into_iter().flatten() {
            let Some(folder) = folder else { continue };
            let Some(source) = grant.get("source").and_then(Node::as_str).map(str::to_owned) else {
                continue;
            };
            let span = grant.span;
            if let Some(map) = grant.as_map_mut() {
                let target = || Entry::new(span, Node::str(format!("{folder}/{source}"), span));
                map.entry("target".into()).or_insert_with(target);
            }
        }
    }
    let mounts = map.get_mut("volumes").and_then(|e| {
        if let Value::List(l) = &mut e.node.value {
            Some(l)
        } else {
            None
        }
    });
    for mount in mounts.into_iter().flatten() {
        if let Some(Node {
            value: Value::Str(target),
            ..
        }) = mount.get_mut("target")
        {
            *target = short::clean(target);
        }
    }
    device_counts(map);
    if let Some(scale) = map.get("scale").cloned()
        && let Some(deploy) = map.get_mut("deploy").and_then(|entry| entry.node.as_map_mut())
    {
        deploy.entry("replicas".into()).or_insert(scale);
    }
    implied_dependencies(map);
}

/// Device requests without number or names ask for all.
fn device_counts(service: &mut Map) {
    fn fill(list: Option<&mut Node>) {
        let Some(Value::List(list)) = list.map(|node| &mut node.value) else {
            return;
        };
        for item in list {
            let span = item.span;
            if let Some(map) = item.as_map_mut()
                && !map.contains_key("count")
                && !map.contains_key("device_ids")
            {
                map.insert("count".into(), Entry::new(span, Node::str("all", span)));
            }
        }
    }
    fill(service.get_mut("gpus").map(|entry| &mut entry.node));
    let reservations = service
        .get_mut("deploy")
        .and_then(|entry| entry.node.get_mut("resources"))
        .and_then(|node| node.get_mut("reservations"));
    fill(reservations.and_then(|node| node.get_mut("devices")));
}

/// Variables without value take the caller's; unset ones stay null, or go (`keep`).
fn resolve(entry: Option<&mut Entry>, environment: &BTreeMap<String, String>, keep: bool) {
    let Some(map) = entry.and_then(|entry| entry.node.as_map_mut()) else {
        return;
    };
    for (key, entry) in map.iter_mut() {
        if entry.node.is_null()
            && let Some(value) = environment.get(key)
        {
            entry.node.value = Value::Str(value.clone());
        }
    }
    if !keep {
        map.retain(|_, entry| !entry.node.is_null());
    }
}

/// `links`, `network_mode: service:x` and its relatives, `volumes_from`: all mean an order.
fn implied_dependencies(service: &mut Map) {
    let mut implied: Vec<(String, bool, Span)> = Vec::new();
    let texts = |key: &str| -> Vec<(String, Span)> {
        let list = service.get(key).and_then(|entry| entry.node.as_list());
        list.into_iter()
            .flatten()
            .filter_map(|item| Some((item.as_str()?.to_owned(), item.span)))
            .collect()
    };
    for (link, span) in texts("links") {
        implied.push((link.split(':').next().unwrap_or(&link).to_owned(), true, span));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(key).map(|entry| &entry.node)
            && let Some(other) = node.as_str().and_then(|text| text.strip_prefix("service:"))
        {
            implied.push((other.to_owned(), true, node.span));
        }
    }
    for (from, span) in texts("volumes_from") {
        if !from.starts_with("container:") {
            implied.push((from.split(':').next().unwrap_or(&from).to_owned(), false, span));
        }
    }
    if implied.is_empty() {
        return;
    }
    let at = implied[0].2;
    let depends = service
        .entry("depends_on".into())
        .or_insert_with(|| Entry::new(at, Node::map(Map::new(), at)));
    let Some(depends) = depends.node.as_map_mut() else {
        return;
    };
    for (name, restart, span) in implied {
        depends.entry(name).or_insert_with(|| {
            let mut fields = Map::new();
            fields.insert(
                "condition".into(),
                Entry::new(span, Node::str("service_started", span)),
            );
            if restart {
                fields.insert("restart".into(), Entry::new(span, Node::bool(true, span)));
            }
            fields.insert("required".into(), Entry::new(span, Node::bool(true, span)));
            Entry::new(span, Node::map(fields, span))
        });
    }
}

/// What has no `name` is called `project_key`, or by its key when it exists already.
fn names_from_keys(root: &mut Node, kind: &str, project: &str) {
    let Some(map) = root.get_mut(kind).and_then(Node::as_map_mut) else {
        return;
    };
    for (key, entry) in map.iter_mut() {
        if key.starts_with("x-") {
            continue;
        }
        if entry.node.is_null() {
            entry.node.value = Value::Map(Map::new());
        }
        let span = entry.key;
        let Some(fields) = entry.node.as_map_mut() else {
            continue;
        };
        let external = fields.get("external").and_then(|entry| entry.node.as_bool()) == Some(true);
        let name = if external {
            key.clone()
        } else {
            format!("{project}_{key}")
        };
        let named = fields
            .get("name")
            .is_some_and(|entry| entry.node.as_str().is_some_and(|name| !name.is_empty()));
        if !named {
            fields.insert("name".into(), Entry::new(span, Node::str(name, span)));
        }
    }
}

/// The variables read so far, then the project's.
struct Layers<'a>(&'a BTreeMap<String, String>, &'a BTreeMap<String, String>);

impl Lookup for Layers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).or_else(|| self.1.get(name)).map(String::as_str)
    }
}

/// Reads the env files and label files of a service into `environment` and `labels`, which win over them.
pub(crate) fn load_files(
    service: &mut Node,
    environment: &BTreeMap<String, String>,
    disk: &Files,
    report: &mut Report,
) {
    let Some(map) = service.as_map_mut() else { return };
    let mut sources = Vec::new();
    if let Some(entry) = map.shift_remove("env_file") {
        for item in entry.node.as_list().into_iter().flatten() {
            let Some(path) = item.get("path") else { continue };
            let required = item.get("required").and_then(Node::as_bool).unwrap_or(true);
            let raw = item.get("format").and_then(Node::as_str) == Some("raw");
            sources.push(("environment", path.clone(), required, raw));
        }
    }
    if let Some(entry) = map.shift_remove("label_file") {
        let list = entry.node.as_list().unwrap_or_default().iter();
        sources.extend(list.map(|path| ("labels", path.clone(), true, false)));
    }
    let mut values: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for (target, path, required, raw) in &sources {
        let Some(text) = path.as_str() else { continue };
        let so_far = values.entry(target).or_default();
        if let Some(read) = read_values(
            Path::new(text),
            path.span,
            *required,
            *raw,
            so_far,
            environment,
            disk,
            report,
        ) {
            so_far.extend(read);
        }
    }
    for (target, read) in values {
        let at = sources.first().map_or(Span::NONE, |source| source.1.span);
        let entry = map
            .entry(target.to_owned())
            .or_insert_with(|| Entry::new(at, Node::map(Map::new(), at)));
        let Some(own) = entry.node.as_map_mut() else {
            continue;
        };
        for (key, value) in read {
            own.entry(key)
                .or_insert_with(|| Entry::new(at, Node::str(value, at)));
        }
        if own.is_empty() {
            map.shift_remove(target);
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the inner loop of load_files, split off for its length"
)]
fn read_values(
    path: &Path,
    at: Span,
    required: bool,
    raw: bool,
    so_far: &BTreeMap<String, String>,
    environment: &BTreeMap<String, String>,
    disk: &Files,
    report: &mut Report,
) -> Option<BTreeMap<String, String>> {
    if !required && !disk.is_file(path) {
        return None;
    }
    let text = match disk.read(path) {
        Ok(text) => text,
        Err(error) => {
            report
                .error(at, format!("cannot read the env file `{}`", path.display()))
                .because(files::short(&error))
                .hint("create it, or write `{path: …, required: false}`");
            return None;
        }
    };
    if raw {
        return Some(dotenv::parse_raw(&text));
    }
    match dotenv::parse(&text, &Layers(so_far, environment)) {
        Ok(values) => Some(values),
        Err(fault) => {
            let file = report.sources.add(path, text);
            let start = u32::try_from(fault.at).unwrap_or(u32::MAX);
            let span = Span {
                file,
                start,
                end: start.saturating_add(1),
            };
            report
                .error(span, fault.message)
                .related(at, "named")
                .maybe_hint(fault.hint.map(Into::into));
            None
        }
    }
}
