//! Relative paths become absolute: against the folder of the project, or of the file that was included or extended.

use super::{
    node::{Entry, Node, Value},
    short::clean,
};
use std::path::Path;

/// Resolves all paths of a canonical tree against `base`; `~` is `home`.
pub(crate) fn project(root: &mut Node, base: &Path, home: Option<&str>) {
    each(root.get_mut("services"), |node| service(node, base, home));
    for kind in ["configs", "secrets"] {
        each(root.get_mut(kind), |node| path(node.get_mut("file"), base, home));
    }
    each(root.get_mut("volumes"), |node| {
        let local = node.get("driver").and_then(Node::as_str) == Some("local");
        if let Some(options) = node.get_mut("driver_opts")
            && local
            && options.get("o").and_then(Node::as_str) == Some("bind")
        {
            path(options.get_mut("device"), base, home);
        }
    });
}

/// Resolves all paths of one canonical service.
pub(crate) fn service(service: &mut Node, base: &Path, home: Option<&str>) {
    if let Some(build) = service.get_mut("build") {
        let span = build.span;
        if let Some(map) = build.as_map_mut() {
            map.entry("context".into())
                .or_insert_with(|| Entry::new(span, Node::str(".", span)));
        }
        context(build.get_mut("context"), base, home);
        each(build.get_mut("additional_contexts"), |node| {
            context(Some(node), base, home)
        });
        each(build.get_mut("ssh"), |node| path(Some(node), base, home));
    }
    items(service.get_mut("env_file"), |node| {
        path(node.get_mut("path"), base, home)
    });
    items(service.get_mut("label_file"), |node| path(Some(node), base, home));
    items(
        service
            .get_mut("develop")
            .and_then(|develop| develop.get_mut("watch")),
        |rule| {
            path(rule.get_mut("path"), base, home);
        },
    );
    items(service.get_mut("volumes"), |mount| {
        if mount.get("type").and_then(Node::as_str) == Some("bind") {
            path(mount.get_mut("source"), base, home);
        }
    });
}

fn each(node: Option<&mut Node>, mut change: impl FnMut(&mut Node)) {
    if let Some(map) = node.and_then(Node::as_map_mut) {
        map.values_mut().for_each(|entry| change(&mut entry.node));
    }
}

fn items(node: Option<&mut Node>, change: impl FnMut(&mut Node)) {
    if let Some(Value::List(list)) = node.map(|node| &mut node.value) {
        list.iter_mut().for_each(change);
    }
}

/// A build context stays as it is when it is remote, another service or an image.
fn context(node: Option<&mut Node>, base: &Path, home: Option<&str>) {
    if let Some(node) = node
        && node.as_str().is_some_and(|text| !is_remote(text))
    {
        path(Some(node), base, home);
    }
}

/// Whether a build context is no folder of this machine.
pub(crate) fn is_remote(text: &str) -> bool {
    text.contains("://")
        || text.starts_with("service:")
        || banyan_runtime::build::remote::Remote::of(text).is_some()
}

fn path(node: Option<&mut Node>, base: &Path, home: Option<&str>) {
    if let Some(Node {
        value: Value::Str(text),
        ..
    }) = node
        && !text.is_empty()
    {
        *text = absolute(text, base, home);
    }
}

/// `text` as an absolute path without `.` and `..`.
pub(crate) fn absolute(text: &str, base: &Path, home: Option<&str>) -> String {
    let text = match (text.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ => text.to_owned(),
    };
    if text.starts_with('/') {
        text
    } else {
        clean(&format!("{}/{text}", base.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::absolute;
    use std::path::Path;

    #[test]
    fn paths_are_joined_cleaned_and_home_is_known() {
        for (text, result) in [
            (".", "/p"),
            ("./a", "/p/a"),
            ("../a/./b/..", "/a"),
            ("/x", "/x"),
            ("~", "/h"),
            ("~/x", "/h/x"),
            ("~x", "/p/~x"),
            ("a b", "/p/a b"),
        ] {
            assert_eq!(absolute(text, Path::new("/p"), Some("/h")), result, "{text}");
        }
    }
}
