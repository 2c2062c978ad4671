//! The path of a value in a project file, for messages: `services.web.ports[0]`.

use std::fmt;

/// A path, kept as a chain on the stack so that walking costs nothing while all is well.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trail<'a> {
    Root,
    Key(&'a Trail<'a>, &'a str),
    Index(&'a Trail<'a>, usize),
}

impl<'a> Trail<'a> {
    pub(crate) fn key(&'a self, key: &'a str) -> Trail<'a> {
        Trail::Key(self, key)
    }

    pub(crate) fn index(&'a self, index: usize) -> Trail<'a> {
        Trail::Index(self, index)
    }

    /// Whether the path is `pattern`, keys separated by dots; `*` matches any key or index.
    pub(crate) fn is(&self, pattern: &str) -> bool {
        match (self, pattern.rsplit_once('.')) {
            (Trail::Root, _) => pattern.is_empty(),
            (Trail::Key(parent, key), Some((front, last))) => {
                (last == "*" || last == *key) && parent.is(front)
            }
            (Trail::Key(parent, key), None) => {
                (pattern == "*" || pattern == *key) && matches!(parent, Trail::Root)
            }
            (Trail::Index(parent, _), Some((front, "*"))) => parent.is(front),
            (Trail::Index(..), _) => false,
        }
    }

    /// The last key of the path.
    pub(crate) fn last(&self) -> &str {
        match self {
            Trail::Root => "",
            Trail::Key(_, key) => key,
            Trail::Index(parent, _) => parent.last(),
        }
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trail::Root => Ok(()),
            Trail::Key(Trail::Root, key) => f.write_str(key),
            Trail::Key(parent, key) => write!(f, "{parent}.{key}"),
            Trail::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Trail;

    #[test]
    fn paths_match_patterns_key_by_key() {
        let (root, services) = (Trail::Root, "services");
        let services = root.key(services);
        let web = services.key("we.b");
        let ports = web.key("ports");
        let first = ports.index(0);
        assert_eq!(first.to_string(), "services.we.b.ports[0]");
        assert!(
            ports.is("services.*.ports")
                && first.is("services.*.ports.*")
                && first.key("target").is("services.*.ports.*.target")
        );
        assert!(!ports.is("services.*") && !ports.is("*.ports") && !web.is("services.*.ports"));
        assert!(services.is("services") && root.is(""));
    }
}
