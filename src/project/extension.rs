//! `x-banyan`: what banyan offers beyond the Compose Specification. Other tools skip it.
//!
//! | where | key | value |
//! |---|---|---|
//! | service | `ready` | `tcp: PORT`, `http: PATH` or `http: {port, path, scheme, status}`, `log: REGEX`, `exec: [COMMAND]` |
//! | service | `restart_unhealthy` | boolean |
//! | service | `here` | boolean: `run` mounts the caller's folder |
//! | service | `type` and the other keys of a service by type | gone before this check: `recipes` |
//! | service, port | `publish` | `relay` (default) or `nat` |
//! | mount | `overlay` | boolean: writes to a bind go to a layer that is thrown away |
//! | secret, config | `command` | list: a command whose output is the content |

use super::{diagnostic::Report, node::Node, suggest::did_you_mean, trail::Trail};

/// Keys of `x-banyan` by what they stand in.
pub(super) fn keys(what: &str) -> &'static [&'static str] {
    match what {
        "service" => &[
            "add",
            "after_script",
            "apt_get",
            "before_script",
            "custom",
            "here",
            "path",
            "publish",
            "ready",
            "restart_unhealthy",
            "template",
            "type",
        ],
        "port" => &["publish"],
        "mount" => &["overlay"],
        "secret" | "config" => &["command"],
        _ => &[],
    }
}

/// Checks one `x-banyan` block; `what` names the record it stands in.
pub(crate) fn check(node: &mut Node, what: &str, trail: &Trail<'_>, report: &mut Report) {
    let span = node.span;
    let Some(map) = node.as_map() else {
        report.error(span, format!("`{trail}` must be a mapping, not {}", node.kind()));
        return;
    };
    for (key, entry) in map {
        let (value, trail) = (&entry.node, trail.key(key));
        let expected = match key.as_str() {
            key if !keys(what).contains(&key) => {
                report
                    .error(entry.key, format!("`{trail}` does not exist"))
                    .maybe_hint(did_you_mean(key, keys(what).iter().copied()));
                continue;
            }
            "publish" if !matches!(value.as_str(), Some("nat" | "relay")) => "`relay` or `nat`",
            "here" | "overlay" | "restart_unhealthy" if value.as_bool().is_none() => "`true` or `false`",
            "command" if !is_command(value) => "a list of texts",
            "ready" => {
                ready(value, &trail, report);
                continue;
            }
            _ => continue,
        };
        report.error(value.span, format!("`{trail}` must be {expected}"));
    }
}

fn is_command(node: &Node) -> bool {
    node.as_list()
        .is_some_and(|list| !list.is_empty() && list.iter().all(|item| item.as_str().is_some()))
}

fn is_port(node: &Node) -> bool {
    node.as_int().is_some_and(|port| (1..=65535).contains(&port))
}

fn ready(node: &Node, trail: &Trail<'_>, report: &mut Report) {
    let hint = "one of `tcp: 3306`, `http: /health`, `log: \"ready\"`, `exec: [\"true\"]`";
    let one = node
        .as_map()
        .filter(|map| map.len() == 1)
        .and_then(|map| map.first());
    let fine = match one {
        Some((key, entry)) => match key.as_str() {
            "tcp" => is_port(&entry.node),
            "http" => is_http(&entry.node),
            "log" => match entry.node.as_str().filter(|text| !text.is_empty()) {
                Some(pattern) => {
                    if let Err(error) = regex::Regex::new(pattern) {
                        report
                            .error(
                                entry.node.span,
                                format!("`{trail}.log` is not a regular expression"),
                            )
                            .because(error.to_string());
                    }
                    true
                }
                None => false,
            },
            "exec" => is_command(&entry.node),
            _ => false,
        },
        None => false,
    };
    if !fine {
        report
            .error(node.span, format!("`{trail}` is not a readiness check"))
            .hint(hint);
    }
}

/// A path, or `{port, path, scheme, status}`.
fn is_http(node: &Node) -> bool {
    let path = |node: &Node| node.as_str().is_some_and(|path| path.starts_with('/'));
    match node.as_map() {
        None => path(node),
        Some(map) => map.iter().all(|(key, entry)| match key.as_str() {
            "port" => is_port(&entry.node),
            "path" => path(&entry.node),
            "scheme" => matches!(entry.node.as_str(), Some("http" | "https")),
            "status" => entry
                .node
                .scalar_text()
                .is_some_and(|text| status_range(&text).is_some()),
            _ => false,
        }),
    }
}

/// `200` or `200-399`.
pub(crate) fn status_range(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        let number = text.trim().parse().ok();
        number.filter(|status| (100..=599).contains(status))
    };
    let (from, to) = (status(from)?, status(to)?);
    (from <= to).then_some((from, to))
}
