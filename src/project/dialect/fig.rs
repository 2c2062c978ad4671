//! fig 1.0: services at the top level (`fig/service.py` of 1.0.1 has the list of keys).
//!
//! What differs from Compose: no variables except `~` and `$VAR` in the host side of a volume; a bare key in
//! `environment` takes the caller's value or an empty text; `net` is `network_mode`; names are letters and digits.
//! Link variables and host names come from `links`, which the engine gives in every dialect.

use super::{
    super::{
        diagnostic::Report,
        node::{Entry, Map, Node, Value},
        recipes,
        suggest::did_you_mean,
    },
    Context,
};

/// The keys of a fig service.
const KEYS: &[&str] = &[
    "build",
    "command",
    "detach",
    "dns",
    "domainname",
    "entrypoint",
    "environment",
    "expose",
    "hostname",
    "image",
    "links",
    "mem_limit",
    "net",
    "ports",
    "privileged",
    "stdin_open",
    "tty",
    "user",
    "volumes",
    "volumes_from",
    "working_dir",
];

/// fig's own hints for wrong keys.
const HINTS: &[(&str, &str)] = &[
    ("link", "links"),
    ("port", "ports"),
    ("privilege", "privileged"),
    ("priviliged", "privileged"),
    ("privilige", "privileged"),
    ("volume", "volumes"),
    ("workdir", "working_dir"),
];

pub(super) fn translate(document: Node, context: &Context<'_>, report: &mut Report) -> Node {
    let span = document.span;
    let Value::Map(map) = document.value else {
        return document;
    };
    let mut services = Map::new();
    for (name, mut entry) in map {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            report
                .error(entry.key, format!("`{name}` is not a service name in a fig file"))
                .hint("use letters and digits only, or move to a compose file with `banyan config`");
        }
        service(&name, &mut entry, context, report);
        services.insert(name, entry);
    }
    let services = Entry::new(span, Node::map(services, span));
    Node::map(Map::from_iter([("services".to_owned(), services)]), span)
}

fn service(name: &str, entry: &mut Entry, context: &Context<'_>, report: &mut Report) {
    let key_span = entry.key;
    let kind = entry.node.kind();
    let Some(map) = entry.node.as_map_mut() else {
        report.error(
            entry.node.span,
            format!("service `{name}` must be a mapping, not {kind}"),
        );
        entry.node.value = Value::Bad;
        return;
    };
    let unknown: Vec<(String, _)> = map
        .iter()
        .filter(|(key, _)| !KEYS.contains(&key.as_str()))
        .filter(|(key, _)| !recipes::KEYS.contains(&key.as_str()))
        .map(|(key, e)| (key.clone(), e.key))
        .collect();
    for (key, at) in unknown {
        let own = HINTS
            .iter()
            .find(|(wrong, _)| *wrong == key)
            .map(|(_, right)| format!("did you mean `{right}`?"));
        let later = super::super::schema::SERVICE.field(&key).map(|_| {
            format!("`{key}` came after fig: `banyan config` prints this file as a compose file, where it can be used")
        });
        report
            .error(at, format!("service `{name}` has no key `{key}` in a fig file"))
            .maybe_hint(own.or(later).or_else(|| did_you_mean(&key, KEYS.iter().copied())));
        map.shift_remove(&key);
    }
    if let (Some(image), Some(build)) = (map.get("image"), map.get("build")) {
        report
            .error(
                build.key,
                format!("service `{name}` has both `image` and `build`"),
            )
            .related(image.key, "`image`")
            .hint("remove one of the two");
    }
    if !["image", "build", "type"]
        .iter()
        .any(|key| map.contains_key(*key))
    {
        report
            .error(
                key_span,
                format!("service `{name}` has neither `image` nor `build`"),
            )
            .hint("add one of the two");
        map.insert(
            "image".into(),
            Entry::new(key_span, Node::new(Value::Bad, key_span)),
        );
    }
    escape_dollars(map);
    map.shift_remove("detach");
    if let Some(net) = map.shift_remove("net") {
        map.insert("network_mode".into(), net);
    }
    hostname(map);
    environment(map, context);
    volumes(map, context);
    mem_limit(map);
}

/// fig knows no variables: a dollar sign stands for itself.
fn escape_dollars(map: &mut Map) {
    fn walk(node: &mut Node) {
        match &mut node.value {
            Value::Str(text) if text.contains('$') => *text = text.replace('$', "$$"),
            Value::List(list) => list.iter_mut().for_each(walk),
            Value::Map(map) => map.values_mut().for_each(|entry| walk(&mut entry.node)),
            _ => {}
        }
    }
    map.values_mut().for_each(|entry| walk(&mut entry.node));
}

/// `web.example.com` is split into host and domain, when no domain is given.
fn hostname(map: &mut Map) {
    if map.contains_key("domainname") {
        return;
    }
    let Some(entry) = map.get_mut("hostname") else {
        return;
    };
    let Some((host, domain)) = entry.node.as_str().and_then(|text| text.split_once('.')) else {
        return;
    };
    let (host, domain, span) = (host.to_owned(), domain.to_owned(), entry.node.span);
    entry.node.value = Value::Str(host);
    map.insert("domainname".into(), Entry::new(span, Node::str(domain, span)));
}

/// A key alone takes the caller's value, or an empty text.
fn environment(map: &mut Map, context: &Context<'_>) {
    let value = |name: &str| {
        context
            .environment
            .get(name)
            .cloned()
            .unwrap_or_default()
            .replace('$', "$$")
    };
    let Some(entry) = map.get_mut("environment") else {
        return;
    };
    match &mut entry.node.value {
        Value::List(list) => {
            for item in list {
                if let Value::Str(text) = &mut item.value
                    && !text.contains('=')
                {
                    *text = format!("{text}={}", value(text));
                }
            }
        }
        Value::Map(map) => {
            for (key, entry) in map.iter_mut() {
                if entry.node.is_null() || entry.node.as_str() == Some("") {
                    entry.node.value = Value::Str(value(key));
                }
            }
        }
        _ => {}
    }
}

/// `~` and `$VAR` in the host side; a host path without `/` or `.` in front is relative too.
fn volumes(map: &mut Map, context: &Context<'_>) {
    let Some(Value::List(list)) = map.get_mut("volumes").map(|entry| &mut entry.node.value) else {
        return;
    };
    for item in list {
        let Value::Str(text) = &mut item.value else {
            continue;
        };
        let Some((host, rest)) = text.split_once(':') else {
            continue;
        };
        let mut unset = Vec::new();
        let plain = host.replace("$$", "$");
        let host = super::super::interpolate::substitute(&plain, context.environment, &mut unset)
            .map_or_else(|_| plain.clone(), std::borrow::Cow::into_owned);
        let host = if host.starts_with(['/', '.', '~']) {
            host
        } else {
            format!("./{host}")
        };
        *text = format!("{}:{rest}", host.replace('$', "$$"));
    }
}

/// fig hands the number on as it is, as bytes.
fn mem_limit(map: &mut Map) {
    if let Some(entry) = map.get_mut("mem_limit")
        && let Value::Int(number) = entry.node.value
    {
        entry.node.value = Value::Str(format!("{number}b"));
    }
}
