//! The canonical form: short forms become long ones, lists of `KEY=value` become mappings, sizes become numbers.
//!
//! Follows `schema`: each `Shape` says what its canonical form is. Doing it twice changes nothing.

use super::{
    diagnostic::Report,
    node::{Entry, Map, Node, Value},
    schema::{self, Record, Shape},
    short,
    source::Span,
    trail::Trail,
    units, words,
};

/// Brings a checked tree into canonical form.
///
/// When variables were not replaced, a short form that holds one is left as it is.
pub(crate) fn project(root: &mut Node, report: &mut Report) {
    record(root, &schema::PROJECT, &Trail::Root, report);
    for kind in ["networks", "volumes", "secrets", "configs"] {
        if let Some(map) = root.get_mut(kind).and_then(Node::as_map_mut) {
            for (key, entry) in map.iter_mut() {
                external(&mut entry.node, &format!("{kind}.{key}"), report);
            }
        }
    }
}

fn record(node: &mut Node, table: &'static Record, trail: &Trail<'_>, report: &mut Report) {
    let Some(map) = node.as_map_mut() else { return };
    for (key, entry) in map.iter_mut() {
        if let Some(field) = table.field(key) {
            value(&mut entry.node, &field.shape, &trail.key(key), report);
        }
    }
}

fn value(node: &mut Node, shape: &Shape, trail: &Trail<'_>, report: &mut Report) {
    if node.is_bad() || report.raw && node.as_str().is_some_and(|text| text.contains('$')) {
        return;
    }
    let span = node.span;
    match shape {
        Shape::Bytes => bytes(node, trail, report),
        Shape::Duration => duration(node, trail, report),
        Shape::TextOrNumber | Shape::Count => {
            if let Some(text) = node.scalar_text() {
                node.value = Value::Str(text);
            }
        }
        Shape::List(inner) => items(node, inner, trail, report),
        Shape::Texts => {
            one_to_list(node);
            items(node, &Shape::Text, trail, report);
        }
        Shape::TextsOrNumbers => items(node, &Shape::TextOrNumber, trail, report),
        Shape::Map(inner) => {
            for (key, entry) in node.as_map_mut().into_iter().flatten() {
                value(&mut entry.node, inner, &trail.key(key), report);
            }
        }
        Shape::Pairs => pairs(node, false),
        Shape::Labels | Shape::Options => pairs(node, true),
        Shape::Record(table) | Shape::RecordOrNull(table) => record(node, table, trail, report),
        Shape::Short(key, table) => {
            if node.as_str().is_some() {
                let text = std::mem::replace(node, Node::null(span));
                node.value = Value::Map(Map::from_iter([((*key).to_owned(), Entry::new(span, text))]));
            }
            record(node, table, trail, report);
        }
        Shape::Command => command(node, trail, report),
        Shape::Test => {
            if let Value::Str(text) = &node.value {
                let shell = Node::str("CMD-SHELL", span);
                node.value = Value::List(vec![shell, Node::str(text.clone(), span)]);
            }
        }
        Shape::Ports => ports(node, trail, report),
        Shape::Mounts => mounts(node, trail, report),
        Shape::EnvFiles => env_files(node, trail, report),
        Shape::DependsOn => depends_on(node),
        Shape::Named(table) => {
            names_to_map(node);
            for (key, entry) in node.as_map_mut().into_iter().flatten() {
                record(&mut entry.node, table, &trail.key(key), report);
            }
        }
        Shape::Ulimit => record(node, &schema::ULIMIT, trail, report),
        Shape::Hosts => hosts(node, trail, report),
        Shape::Ssh => ssh(node, trail, report),
        Shape::Gpus => gpus(node, trail, report),
        Shape::Devices => devices(node, trail, report),
        Shape::Any
        | Shape::Text
        | Shape::Word(_)
        | Shape::TextOrBool
        | Shape::Int
        | Shape::Float
        | Shape::Bool
        | Shape::External
        | Shape::Include => {}
    }
}

fn items(node: &mut Node, inner: &Shape, trail: &Trail<'_>, report: &mut Report) {
    if let Value::List(list) = &mut node.value {
        for (i, item) in list.iter_mut().enumerate() {
            value(item, inner, &trail.index(i), report);
        }
    }
}

fn one_to_list(node: &mut Node) {
    if node.as_str().is_some() {
        let text = Node::new(std::mem::replace(&mut node.value, Value::Null), node.span);
        node.value = Value::List(vec![text]);
    }
}

fn bytes(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    let size = match &node.value {
        Value::Int(number) => Some(*number),
        Value::Str(text) => units::bytes(text),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "fractions of a byte are cut off, as docker does"
        )]
        Value::Float(number) if number.abs() < 9e15 => Some(*number as i64),
        _ => None,
    };
    match size {
        Some(size) => node.value = Value::Int(size),
        None => {
            let text = node.scalar_text().unwrap_or_default();
            report
                .error(node.span, format!("`{trail}` is not a size: `{text}`"))
                .hint("write a number with `b`, `k`, `m` or `g`, for example `512m`");
            node.value = Value::Bad;
        }
    }
}

fn duration(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    let Value::Str(text) = &node.value else { return };
    match units::duration(text) {
        Some(duration) => node.value = Value::Str(units::go_duration(duration)),
        None => {
            let seconds = text.trim().bytes().all(|b| b.is_ascii_digit()) && !text.trim().is_empty();
            let hint = if seconds {
                format!("write the unit: `{}s`", text.trim())
            } else {
                "write a number with `ms`, `s`, `m` or `h`, for example `1m30s`".to_owned()
            };
            report
                .error(node.span, format!("`{trail}` is not a duration: `{text}`"))
                .hint(hint);
            node.value = Value::Bad;
        }
    }
}

fn command(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    let Value::Str(text) = &node.value else { return };
    match words::split(text) {
        Ok(words) => {
            node.value = Value::List(words.into_iter().map(|word| Node::str(word, node.span)).collect());
        }
        Err(_) => {
            report
                .error(
                    node.span,
                    format!("`{trail}` has a quote or backslash that is never completed"),
                )
                .because("a command in one string is split at spaces, outside of quotes")
                .hint("close the quote, or write the command as a list");
            node.value = Value::Bad;
        }
    }
}

/// A list of `KEY=value` or a mapping of scalars, into a mapping of texts; without a value: null, or empty.
fn pairs(node: &mut Node, empty: bool) {
    let none = |span| {
        if empty {
            Node::str("", span)
        } else {
            Node::null(span)
        }
    };
    match &mut node.value {
        Value::List(list) => {
            let mut map = Map::new();
            for item in list.drain(..) {
                let (span, Some(text)) = (item.span, item.as_str()) else {
                    continue;
                };
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key, Node::str(value, span)),
                    None => (text, none(span)),
                };
                map.insert(key.to_owned(), Entry::new(span, value));
            }
            node.value = Value::Map(map);
        }
        Value::Map(map) => {
            for entry in map.values_mut() {
                let span = entry.node.span;
                if entry.node.is_null() {
                    entry.node = none(span);
                } else if let Some(text) = entry.node.scalar_text() {
                    entry.node.value = Value::Str(text);
                }
            }
        }
        _ => {}
    }
}

fn entry(key: &str, value: Value, span: Span) -> (String, Entry) {
    (key.to_owned(), Entry::new(span, Node::new(value, span)))
}

fn report_short(wrong: short::Wrong, node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    report
        .error(node.span, wrong.message)
        .because(format!("it stands in `{trail}`"))
        .maybe_hint(wrong.hint);
    node.value = Value::Bad;
}

/// Most published ports of a project. Without a bound, a list of ranges would fill the memory.
const PORTS: usize = 100_000;

fn ports(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    let Value::List(list) = &mut node.value else {
        return;
    };
    let mut ports = Vec::with_capacity(list.len());
    for (i, mut item) in list.drain(..).enumerate() {
        let trail = trail.index(i);
        if let Value::Map(map) = &mut item.value {
            for (key, value) in [("mode", "ingress"), ("protocol", "tcp")] {
                if !map.contains_key(key) {
                    map.extend([entry(key, Value::Str(value.into()), item.span)]);
                }
            }
            record(&mut item, &schema::PORT, &trail, report);
            ports.push(item);
            continue;
        }
        let Some(text) = item.scalar_text() else { continue };
        // Once the bound is passed and reported, nothing more is made.
        if report.ports > PORTS || (report.raw && text.contains('$')) {
            ports.push(item);
            continue;
        }
        if let Value::Int(number) = item.value
            && number > 65_535
        {
            sexagesimal(number, &mut item, &trail, report);
            continue;
        }
        match short::ports(&text) {
            Ok(list) if report.ports + list.len() > PORTS => {
                report
                    .error(
                        item.span,
                        format!("`{trail}` brings the project above {PORTS} ports"),
                    )
                    .hint("publish only the ports that are used");
                report.ports += list.len();
                item.value = Value::Bad;
            }
            Ok(list) => {
                report.ports += list.len();
                ports.extend(list.into_iter().map(|port| port_node(port, item.span)));
            }
            Err(wrong) => {
                report_short(wrong, &mut item, &trail, report);
                ports.push(item);
            }
        }
    }
    *list = ports;
}

/// YAML 1.1 readers take `22:22` for 22 × 60 + 22; ours does not, but a number this high was never a port.
fn sexagesimal(number: i64, item: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    report
        .error(item.span, format!("`{trail}` is {number}, above 65535"))
        .hint("put ports in quotes: `\"8080:80\"`");
    item.value = Value::Bad;
}

fn port_node(port: short::Port, span: Span) -> Node {
    let text = |key: &str, value: String| (!value.is_empty()).then(|| entry(key, Value::Str(value), span));
    let fields = [
        text("mode", "ingress".into()),
        text("host_ip", port.host_ip),
        Some(entry("target", Value::Int(port.target.into()), span)),
        text("published", port.published),
        text("protocol", port.protocol),
    ];
    Node::map(fields.into_iter().flatten().collect(), span)
}

fn mounts(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    let Value::List(list) = &mut node.value else {
        return;
    };
    for (i, item) in list.iter_mut().enumerate() {
        let trail = trail.index(i);
        let Some(text) = item.as_str() else {
            record(item, &schema::MOUNT, &trail, report);
            continue;
        };
        if report.raw && text.contains('$') {
            continue;
        }
        match short::mount(text) {
            Ok(mount) => {
                for option in &mount.unknown {
                    report
                        .warning(item.span, format!("the mount option `{option}` means nothing and is ignored"))
                        .hint("known options: `ro`, `rw`, `z`, `Z`, `nocopy`, `overlay`, `cached`, `rshared` and its relatives");
                }
                *item = mount_node(&mount, item.span);
            }
            Err(wrong) => report_short(wrong, item, &trail, report),
        }
    }
}

fn mount_node(mount: &short::Mount, span: Span) -> Node {
    let text =
        |key: &str, value: &str| (!value.is_empty()).then(|| entry(key, Value::Str(value.into()), span));
    let flag = |key: &str, set: bool| set.then(|| entry(key, Value::Bool(true), span));
    let optional = |key: &str, value: &Option<String>| value.as_ref().and_then(|value| text(key, value));
    let details: Map = if mount.bind {
        let fields = [
            optional("selinux", &mount.selinux),
            optional("propagation", &mount.propagation),
            flag("create_host_path", true),
        ];
        fields.into_iter().flatten().collect()
    } else {
        flag("nocopy", mount.nocopy).into_iter().collect()
    };
    let kind = if mount.bind { "bind" } else { "volume" };
    let fields = [
        text("type", kind),
        text("source", &mount.source),
        text("target", &short::clean(&mount.target)),
        flag("read_only", mount.read_only),
        Some(entry(kind, Value::Map(details), span)),
        mount.overlay.then(|| {
            let own = Map::from_iter([entry("overlay", Value::Bool(true), span)]);
            entry("x-banyan", Value::Map(own), span)
        }),
    ];
    Node::map(fields.into_iter().flatten().collect(), span)
}

fn env_files(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    one_to_list(node);
    let Value::List(list) = &mut node.value else {
        return;
    };
    for (i, item) in list.iter_mut().enumerate() {
        let span = item.span;
        if item.as_str().is_some() {
            let path = std::mem::replace(&mut item.value, Value::Null);
            item.value = Value::Map(Map::from_iter([entry("path", path, span)]));
        }
        record(item, &schema::ENV_FILE, &trail.index(i), report);
        if let Value::Map(map) = &mut item.value
            && !map.contains_key("required")
        {
            map.extend([entry("required", Value::Bool(true), span)]);
        }
    }
}

fn depends_on(node: &mut Node) {
    names_to_map(node);
    for entry_ in node.as_map_mut().into_iter().flatten().map(|(_, entry)| entry) {
        let span = entry_.key;
        if entry_.node.is_null() {
            entry_.node = Node::map(
                Map::from_iter([entry("condition", Value::Str("service_started".into()), span)]),
                span,
            );
        }
        if let Value::Map(map) = &mut entry_.node.value
            && !map.contains_key("required")
        {
            map.extend([entry("required", Value::Bool(true), span)]);
        }
    }
}

/// A list of names into a mapping to null.
fn names_to_map(node: &mut Node) {
    if let Value::List(list) = &node.value {
        let names = list
            .iter()
            .filter_map(|item| Some(entry(item.as_str()?, Value::Null, item.span)));
        node.value = Value::Map(names.collect());
    }
}

/// `extra_hosts` into a sorted list of `name=address`.
fn hosts(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    let mut lines = Vec::new();
    for item in super::merge::sequence(std::mem::replace(node, Node::null(node.span))) {
        let Some(text) = item.as_str() else { continue };
        let Some((name, address)) = text.split_once('=').or_else(|| text.split_once(':')) else {
            report
                .error(item.span, format!("`{text}` in `{trail}` gives no address"))
                .hint(format!("write `{text}=192.0.2.1`, or `{text}=host-gateway`"));
            continue;
        };
        if name.is_empty() || name.contains([':', '=']) {
            report
                .error(item.span, format!("`{text}` in `{trail}` gives no host name"))
                .hint("write `name=address`");
            continue;
        }
        let address = address
            .strip_prefix('[')
            .and_then(|a| a.strip_suffix(']'))
            .unwrap_or(address);
        lines.push(Node::str(format!("{name}={address}"), item.span));
    }
    lines.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    node.value = Value::List(lines);
}

fn ssh(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    if let Value::List(list) = &node.value {
        for item in list {
            if item
                .as_str()
                .is_some_and(|text| !text.contains('=') && text != "default")
            {
                report
                    .error(
                        item.span,
                        format!("`{trail}` needs a path for each key but `default`"),
                    )
                    .hint("write `id=path/to/key`");
            }
        }
    }
    pairs(node, false);
}

fn gpus(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    let span = node.span;
    if node.as_str().is_some() {
        let all = Node::map(
            Map::from_iter([entry("count", Value::Str("all".into()), span)]),
            span,
        );
        node.value = Value::List(vec![all]);
    }
    items(node, &Shape::Record(&schema::DEVICE_REQUEST), trail, report);
}

fn devices(node: &mut Node, trail: &Trail<'_>, report: &mut Report) {
    let Value::List(list) = &mut node.value else {
        return;
    };
    for (i, item) in list.iter_mut().enumerate() {
        let span = item.span;
        if let Some(text) = item.as_str() {
            let parts: Vec<&str> = text.split(':').collect();
            let (source, target, permissions) = match parts.as_slice() {
                [source] => (*source, *source, "rwm"),
                [source, target] => (*source, *target, "rwm"),
                [source, target, permissions] => (*source, *target, *permissions),
                _ => {
                    report
                        .error(span, format!("`{text}` has too many colons for a device"))
                        .hint("write `SOURCE[:TARGET[:rwm]]`, or the long form with `source`, `target`, `permissions`");
                    item.value = Value::Bad;
                    continue;
                }
            };
            let target = if target.is_empty() { source } else { target };
            let fields = [
                ("source", source),
                ("target", target),
                ("permissions", permissions),
            ];
            item.value = Value::Map(
                fields
                    .map(|(k, v)| entry(k, Value::Str(v.into()), span))
                    .into_iter()
                    .collect(),
            );
        }
        record(item, &schema::DEVICE, &trail.index(i), report);
    }
}

/// `external: {name: x}` is an old way to say `external: true` and `name: x`.
fn external(node: &mut Node, trail: &str, report: &mut Report) {
    let Some(map) = node.as_map_mut() else { return };
    let Some(entry) = map.get_mut("external") else {
        return;
    };
    let Value::Map(inner) = &entry.node.value else {
        return;
    };
    let name = inner.get("name").map(|entry| entry.node.clone());
    let (key, span) = (entry.key, entry.node.span);
    entry.node = Node::bool(true, span);
    let Some(name) = name else { return };
    report
        .warning(key, format!("`{trail}.external.name` is an old form"))
        .hint(format!(
            "write `external: true` and `name: {}`",
            name.as_str().unwrap_or_default()
        ));
    match map.get("name") {
        Some(other) if !other.node.same(&name) => {
            let at = other.node.span;
            report
                .error(name.span, format!("`{trail}` has two different names"))
                .related(at, "the other")
                .hint("keep only `name`");
        }
        Some(_) => {}
        None => {
            map.insert("name".into(), Entry::new(key, name));
        }
    }
}
