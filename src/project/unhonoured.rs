//! Values that are accepted and not honoured. What is ignored is never ignored in silence: a warning names each.
//!
//! Keys that mean nothing whatever their value are marked in [`schema`](super::schema); here are those of which only some
//! values mean nothing.

use super::{diagnostic::Report, node::Node};

/// Drivers whose logs are kept as ours are.
const KEPT: [&str; 2] = ["json-file", "local"];

/// Warns of what a service asks for in vain.
pub(crate) fn service(name: &str, node: &Node, report: &mut Report) {
    if let Some(mode) = node.get("userns_mode")
        && mode.as_str().is_some_and(|text| !matches!(text, "" | "host"))
    {
        report
            .warning(mode.span, format!("`userns_mode` of service `{name}` is ignored"))
            .because("containers share the host's user ids, as with `host`");
    }
    if let Some(driver) = node.get("logging").and_then(|logging| logging.get("driver"))
        && let Some(text) = driver
            .as_str()
            .filter(|text| !text.is_empty() && !KEPT.contains(text))
    {
        report
            .warning(
                driver.span,
                format!("the log driver `{text}` of service `{name}` is ignored"),
            )
            .because("output is kept by banyan, and rotated by `max-size` and `max-file`");
    }
    for option in node
        .get("security_opt")
        .and_then(Node::as_list)
        .into_iter()
        .flatten()
    {
        let text = option.as_str().unwrap_or_default();
        if matches!(text.split(['=', ':']).next(), Some("apparmor" | "label")) {
            report
                .warning(option.span, format!("`{text}` of service `{name}` is ignored"))
                .because("no AppArmor profiles and SELinux labels are set");
        }
    }
}

/// Warns of what a network asks for in vain.
pub(crate) fn network(key: &str, node: &Node, report: &mut Report) {
    let options = node.get("driver_opts").and_then(Node::as_map);
    for (option, entry) in options.into_iter().flatten() {
        if option != "com.docker.network.driver.mtu" {
            report
                .warning(
                    entry.key,
                    format!("the option `{option}` of network `{key}` is ignored"),
                )
                .hint("`com.docker.network.driver.mtu` is the one that is known");
        }
    }
}
