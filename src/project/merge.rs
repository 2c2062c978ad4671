//! Files on top of each other: `-f a -f b`, the override file, `extends`.
//!
//! The table is docker compose's (`override/merge.go`, `13-merge.md` of the specification): scalars are replaced,
//! mappings merged, lists appended, with the exceptions named in `Rule`. `!reset` removes, `!override` replaces.

use super::{
    diagnostic::Report,
    node::{Entry, Map, Mark, Node, Value},
    trail::Trail,
};

/// How a value of a certain path is merged, where it differs from the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The later value replaces the earlier, even when it is null.
    Replace,
    /// Both become lists of `KEY=value`, appended; `unique` then keeps the later of two keys.
    Pairs,
    /// Both become mappings from names; a name alone means this.
    Names(Alone),
    /// `build`: text is the context.
    Build,
    /// Merged only when both name the same driver.
    Logging,
    /// `ipam.config`: merged by subnet.
    Pools,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    Null,
    Started,
}

const RULES: &[(&str, Rule)] = &[
    ("networks.*.ipam.config", Rule::Pools),
    ("networks.*.labels", Rule::Pairs),
    ("volumes.*.labels", Rule::Pairs),
    ("services.*.annotations", Rule::Pairs),
    ("services.*.build", Rule::Build),
    ("services.*.build.additional_contexts", Rule::Pairs),
    ("services.*.build.args", Rule::Pairs),
    ("services.*.build.extra_hosts", Rule::Pairs),
    ("services.*.build.labels", Rule::Pairs),
    ("services.*.command", Rule::Replace),
    ("services.*.depends_on", Rule::Names(Alone::Started)),
    ("services.*.deploy.labels", Rule::Pairs),
    ("services.*.dns", Rule::Pairs),
    ("services.*.dns_opt", Rule::Pairs),
    ("services.*.dns_search", Rule::Pairs),
    ("services.*.entrypoint", Rule::Replace),
    ("services.*.env_file", Rule::Pairs),
    ("services.*.environment", Rule::Pairs),
    ("services.*.extra_hosts", Rule::Pairs),
    ("services.*.healthcheck.test", Rule::Replace),
    ("services.*.label_file", Rule::Pairs),
    ("services.*.labels", Rule::Pairs),
    ("services.*.logging", Rule::Logging),
    ("services.*.models", Rule::Names(Alone::Null)),
    ("services.*.networks", Rule::Names(Alone::Null)),
    ("services.*.provider", Rule::Replace),
    ("services.*.sysctls", Rule::Pairs),
    ("services.*.tmpfs", Rule::Pairs),
    ("services.*.ulimits.*", Rule::Replace),
];

/// Puts `over` on top of `base`.
pub(crate) fn merge(base: Node, over: Node, trail: &Trail<'_>, report: &mut Report) -> Node {
    if over.mark == Mark::Override {
        return Node {
            mark: Mark::Plain,
            ..over
        };
    }
    if base.is_bad() || over.is_bad() {
        return if base.is_bad() { over } else { base };
    }
    let rule = RULES
        .iter()
        .find(|(pattern, _)| trail.is(pattern))
        .map(|(_, rule)| *rule);
    if let Some(rule) = rule {
        return by_rule(rule, base, over, trail, report);
    }
    if over.is_null() {
        return base;
    }
    let Node { value, span, mark } = base;
    match (value, over) {
        (
            Value::Map(base),
            Node {
                value: Value::Map(over),
                ..
            },
        ) => Node {
            value: Value::Map(mappings(base, over, trail, report)),
            span,
            mark,
        },
        (
            Value::List(mut base),
            Node {
                value: Value::List(over),
                ..
            },
        ) => {
            base.extend(over);
            Node {
                value: Value::List(base),
                span,
                mark,
            }
        }
        (value @ (Value::Map(_) | Value::List(_)), over) => {
            let base = Node { value, span, mark };
            report
                .error(
                    over.span,
                    format!(
                        "`{trail}` is {} here, but {} in the file below",
                        over.kind(),
                        base.kind()
                    ),
                )
                .related(base.span, "set")
                .hint("write both in the same form, or replace the earlier value with `!override`");
            base
        }
        (_, over) => over,
    }
}

/// Merges key by key.
fn mappings(mut base: Map, over: Map, trail: &Trail<'_>, report: &mut Report) -> Map {
    for (key, entry) in over {
        if entry.node.mark == Mark::Reset {
            base.shift_remove(&key);
            continue;
        }
        let Some(before) = base.get_mut(&key) else {
            base.insert(key, entry);
            continue;
        };
        if key.starts_with("x-") {
            *before = entry;
            continue;
        }
        let earlier = std::mem::replace(&mut before.node, Node::null(entry.node.span));
        before.node = merge(earlier, entry.node, &trail.key(&key), report);
        before.key = entry.key;
    }
    base
}

fn by_rule(rule: Rule, base: Node, over: Node, trail: &Trail<'_>, report: &mut Report) -> Node {
    let span = over.span;
    match rule {
        Rule::Replace => over,
        Rule::Pairs => {
            let mut list = sequence(base);
            let gone = resets(&over);
            // docker compose forgets such a key only where the file below writes a mapping; the form must not matter.
            list.retain(|pair| {
                pair.as_str()
                    .is_none_or(|pair| !gone.iter().any(|key| is_of(pair, key)))
            });
            list.extend(sequence(over));
            Node::new(Value::List(list), span)
        }
        Rule::Names(alone) => Node::map(
            mappings(names(base, alone), names(over, alone), trail, report),
            span,
        ),
        Rule::Build => {
            let record = |node: Node| match node.value {
                Value::Map(map) => map,
                Value::Str(_) => Map::from_iter([("context".to_owned(), Entry::new(node.span, node))]),
                _ => Map::new(),
            };
            Node::map(mappings(record(base), record(over), trail, report), span)
        }
        Rule::Logging => {
            let driver = |node: &Node| node.get("driver").and_then(Node::as_str).map(str::to_owned);
            match (driver(&base), driver(&over)) {
                (Some(a), Some(b)) if a != b => over,
                _ => match (base.value, over.value) {
                    (Value::Map(base), Value::Map(over)) => {
                        Node::map(mappings(base, over, trail, report), span)
                    }
                    (base, Value::Null) => Node::new(base, span),
                    (_, over) => Node::new(over, span),
                },
            }
        }
        Rule::Pools => pools(base, over, trail, report),
    }
}

/// `ipam.config`: an entry with the subnet of an earlier one is merged with it, others are appended.
fn pools(base: Node, over: Node, trail: &Trail<'_>, report: &mut Report) -> Node {
    let span = over.span;
    let (Value::List(mut base), Value::List(over)) = (base.value, over.value) else {
        return Node::new(Value::Bad, span);
    };
    for pool in over {
        let subnet = pool.get("subnet").and_then(Node::as_str).map(str::to_owned);
        let same = base
            .iter_mut()
            .find(|b| b.get("subnet").and_then(Node::as_str).map(str::to_owned) == subnet);
        match same {
            Some(earlier) => {
                let before = std::mem::replace(earlier, Node::null(span));
                *earlier = merge(before, pool, &trail.index(0), report);
            }
            None => base.push(pool),
        }
    }
    Node::new(Value::List(base), span)
}

/// The keys that a mapping marks with `!reset`.
fn resets(node: &Node) -> Vec<String> {
    let entries = node.as_map().into_iter().flatten();
    entries
        .filter(|(_, entry)| entry.node.mark == Mark::Reset)
        .map(|(key, _)| key.clone())
        .collect()
}

/// Whether a `KEY=value` (or `KEY`) text is of this key.
fn is_of(pair: &str, key: &str) -> bool {
    pair.strip_prefix(key)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

/// A list of `KEY=value` texts; mappings are sorted by key.
pub(crate) fn sequence(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(list) => list,
        Value::Str(_) => vec![node],
        Value::Map(map) => {
            let mut entries: Vec<_> = map
                .into_iter()
                .filter(|(_, entry)| entry.node.mark != Mark::Reset)
                .collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let pair = |(key, entry): (String, Entry)| match (&entry.node.value, entry.node.scalar_text()) {
                (Value::List(list), _) => list
                    .iter()
                    .map(|item| Node::str(format!("{key}={}", item.as_str().unwrap_or("")), item.span))
                    .collect(),
                (_, Some(value)) => vec![Node::str(format!("{key}={value}"), entry.key.to(entry.node.span))],
                (_, None) => vec![Node::str(key, entry.key)],
            };
            entries.into_iter().flat_map(pair).collect()
        }
        _ => vec![],
    }
}

/// A mapping from names to records.
fn names(node: Node, alone: Alone) -> Map {
    match node.value {
        Value::Map(map) => map,
        Value::List(list) => {
            let entry = |item: &Node| {
                let value = match alone {
                    Alone::Null => Node::null(item.span),
                    Alone::Started => {
                        let condition = Entry::new(item.span, Node::str("service_started", item.span));
                        let required = Entry::new(item.span, Node::bool(true, item.span));
                        let pairs = [
                            ("condition".to_owned(), condition),
                            ("required".to_owned(), required),
                        ];
                        Node::map(Map::from_iter(pairs), item.span)
                    }
                };
                Some((item.as_str()?.to_owned(), Entry::new(item.span, value)))
            };
            list.iter().filter_map(entry).collect()
        }
        _ => Map::new(),
    }
}

/// Removes what `!reset` marks and takes the marks off, in a tree that nothing more is merged into.
pub(crate) fn strip_marks(node: &mut Node) {
    node.mark = Mark::Plain;
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|_, entry| entry.node.mark != Mark::Reset);
            map.values_mut().for_each(|entry| strip_marks(&mut entry.node));
        }
        Value::List(list) => {
            list.retain(|item| item.mark != Mark::Reset);
            list.iter_mut().for_each(strip_marks);
        }
        _ => {}
    }
}
