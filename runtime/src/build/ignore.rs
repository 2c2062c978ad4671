//! `.dockerignore`: which files of the context `COPY` never sees (Dockerfile reference, ".dockerignore file";
//! moby/patternmatcher). Not gitignore: patterns are anchored at the root, the last match wins.

/// A parsed file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    keep: bool,
    parts: Vec<String>,
}

impl Ignore {
    /// Leaves nothing out.
    pub(crate) const fn new() -> Self {
        Self { rules: Vec::new() }
    }

    /// Whether nothing is left out.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Parses patterns, one a line.
    pub fn parse(text: &str) -> Self {
        let rules = text
            .trim_start_matches('\u{feff}')
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let line = line.trim();
                let (keep, pattern) = line
                    .strip_prefix('!')
                    .map_or((false, line), |rest| (true, rest.trim()));
                let mut parts: Vec<String> = Vec::new();
                for part in pattern.split('/') {
                    match part {
                        "" | "." => {}
                        ".." => {
                            parts.pop();
                        }
                        part => parts.push(part.to_owned()),
                    }
                }
                (!parts.is_empty()).then_some(Rule { keep, parts })
            })
            .collect();
        Self { rules }
    }

    /// Whether a path relative to the context's root is left out.
    pub fn excludes(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut excluded = false;
        for rule in &self.rules {
            // A rule for a folder holds for everything in it.
            if rule.keep == excluded && (1..=parts.len()).any(|length| fits(&rule.parts, &parts[..length])) {
                excluded = !rule.keep;
            }
        }
        excluded
    }

    /// Whether nothing below an excluded folder can come back, so that it need not be read.
    pub fn excludes_all_below(&self, path: &str) -> bool {
        self.excludes(path) && !self.rules.iter().any(|rule| rule.keep)
    }
}

/// Matches whole components; `**` stands for any number of them, at the end for at least one.
///
/// Only the last `**` met is ever tried again with more, so the time is bounded by the product of the lengths.
pub(crate) fn fits(pattern: &[String], path: &[&str]) -> bool {
    let ends_open = pattern.last().is_some_and(|part| part == "**");
    let part = |at: usize| match pattern.get(at) {
        // One component more, of any name, after a final `**`.
        None if at == pattern.len() && ends_open => Some("*"),
        part => part.map(String::as_str),
    };
    let (mut p, mut n) = (0, 0);
    let mut open: Option<(usize, usize)> = None;
    while n < path.len() {
        match (part(p), open) {
            (Some("**"), _) => {
                open = Some((p, n));
                p += 1;
            }
            (Some(part), _) if glob(part, path[n]) => {
                p += 1;
                n += 1;
            }
            (_, Some((at, from))) => {
                open = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
            (_, None) => return false,
        }
    }
    while p < pattern.len() && pattern[p] == "**" {
        p += 1;
    }
    part(p).is_none()
}

/// Go's `filepath.Match` for one component: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => class(&pattern, p, name[n]),
            Some('\\') if p + 1 < pattern.len() => (pattern[p + 1] == name[n]).then_some(p + 2),
            Some(c) => (*c == name[n]).then_some(p + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The position after a class that has `c`.
fn class(pattern: &[char], at: usize, c: char) -> Option<usize> {
    let mut p = at + 1;
    let negated = matches!(pattern.get(p), Some('^' | '!'));
    p += usize::from(negated);
    let mut found = false;
    let mut first = true;
    while let Some(mut low) = pattern.get(p).copied() {
        if low == ']' && !first {
            return (found != negated).then_some(p + 1);
        }
        first = false;
        if low == '\\' {
            p += 1;
            low = *pattern.get(p)?;
        }
        let mut high = low;
        if pattern.get(p + 1) == Some(&'-') && pattern.get(p + 2).is_some_and(|c| *c != ']') {
            high = pattern[p + 2];
            p += 2;
        }
        found |= low <= c && c <= high;
        p += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_docker_does() {
        for (rules, path, excluded) in [
            ("a", "a", true),
            ("a", "a/b", true),
            ("a", "b/a", false),
            ("/a/", "a/x", true),
            ("*.md", "x.md", true),
            ("*.md", "d/x.md", false),
            ("**/*.md", "d/e/x.md", true),
            ("**/*.md", "x.md", true),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README.md\nREADME*", "README.md", true),
            ("d\n!d/keep", "d/keep", false),
            ("d\n!d/keep", "d/other", true),
            ("# d", "d", false),
            ("./a/../b", "b", true),
            ("a/**", "a/x/y", true),
            ("a/**", "a", false),
            ("**", "x/y", true),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("*/temp*", "s/temporary", true),
            ("*/temp*", "s/t/temp", false),
            ("[", "[", false),
            ("", "a", false),
            ("é*", "éa", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b/**/c", "a/b/x/b/c", true),
            ("a/**/b/**", "a/x/b", false),
            ("**/**", "x", true),
            ("**/a/**", "a", false),
            ("**/a/**/**", "x/a/y", true),
        ] {
            assert_eq!(
                Ignore::parse(rules).excludes(path),
                excluded,
                "{rules:?} {path:?}"
            );
        }
        assert!(!glob(&"*a".repeat(40), &"a".repeat(39)));
        let many = Ignore::parse(&("**/a*/".repeat(200) + "end"));
        assert!(!many.excludes(&"a/".repeat(200)));
    }
}
