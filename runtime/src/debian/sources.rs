//! The host's own apt configuration: mirrors and keyrings (sources.list(5), apt.conf(5)), as facts.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// One `deb` source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The mirror's address, without a final `/`.
    pub uri: String,
    /// `bookworm`, `bookworm-security`.
    pub suite: String,
    /// `main`.
    pub components: Vec<String>,
    /// Keyring files; empty: the host's trusted ones.
    pub signed_by: Vec<PathBuf>,
    /// Whether an expired release is accepted.
    pub ignore_expiry: bool,
}

/// What apt on this host is set to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Apt {
    /// All `deb` sources over HTTP or HTTPS.
    pub sources: Vec<Source>,
    /// `Acquire::http::Proxy` and `Acquire::https::Proxy`.
    pub proxy: Option<String>,
}

/// Code names by version number, for tags such as `debian:12`.
const NUMBERS: [(&str, &str); 6] = [
    ("10", "buster"),
    ("11", "bullseye"),
    ("12", "bookworm"),
    ("13", "trixie"),
    ("14", "forky"),
    ("latest", "stable"),
];

/// Reads apt's files below `root` (`/` in earnest).
pub fn read(root: &Path) -> Apt {
    let etc = root.join("etc/apt");
    let mut settings = BTreeMap::new();
    for file in sorted(&etc.join("apt.conf.d"), "")
        .into_iter()
        .chain([etc.join("apt.conf")])
    {
        if let Ok(text) = fs_err::read_to_string(&file) {
            settings.extend(parse_conf(&text));
        }
    }
    let is_false = |value: &String| {
        matches!(
            value.as_str(),
            "false" | "no" | "0" | "off" | "without" | "disable"
        )
    };
    let ignore_expiry = settings.get("acquire::check-valid-until").is_some_and(is_false);
    let mut sources = Vec::new();
    for file in [etc.join("sources.list")]
        .into_iter()
        .chain(sorted(&etc.join("sources.list.d"), "list"))
    {
        sources.extend(parse_lines(&fs_err::read_to_string(&file).unwrap_or_default()));
    }
    for file in sorted(&etc.join("sources.list.d"), "sources") {
        sources.extend(parse_deb822(&fs_err::read_to_string(&file).unwrap_or_default()));
    }
    for source in &mut sources {
        source.ignore_expiry |= ignore_expiry;
    }
    let proxy = ["acquire::http::proxy", "acquire::https::proxy"]
        .into_iter()
        .find_map(|key| settings.get(key));
    Apt {
        sources,
        proxy: proxy
            .filter(|proxy| !proxy.is_empty() && *proxy != "DIRECT")
            .cloned(),
    }
}

/// The sources for one Debian release: itself, its updates, its security updates.
///
/// A mirror that apt uses for another release serves this one too: Debian mirrors carry all of them.
pub fn for_suite(apt: &Apt, suite: &str) -> (String, Vec<Source>) {
    let suite = NUMBERS
        .iter()
        .find(|(number, _)| *number == suite)
        .map_or(suite, |(_, name)| name)
        .to_owned();
    let mut chosen: Vec<Source> = Vec::new();
    for wanted in [
        suite.clone(),
        format!("{suite}-updates"),
        format!("{suite}-security"),
    ] {
        let exact = apt
            .sources
            .iter()
            .find(|source| source.suite == wanted && is_main(source));
        let is_security = wanted.ends_with("-security");
        let moved = apt.sources.iter().find(|source| {
            source.uri.contains("debian")
                && is_main(source)
                && source.suite.ends_with("-security") == is_security
        });
        if let Some(source) = exact.or(moved) {
            chosen.push(Source {
                suite: wanted,
                components: vec!["main".into()],
                ..source.clone()
            });
        }
    }
    (suite, chosen)
}

fn is_main(source: &Source) -> bool {
    source.components.iter().any(|component| component == "main")
}

fn sorted(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| extension.is_empty() || path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// One-line form: `deb [options] uri suite component…`.
pub fn parse_lines(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        let Some(rest) = line.strip_prefix("deb ").or(line.strip_prefix("deb\t")) else {
            continue;
        };
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((options, rest)) => (options, rest),
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
            continue;
        };
        let option = |name: &str| {
            options
                .split_whitespace()
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
        };
        let components = words.map(str::to_owned).collect();
        let signed_by = option("signed-by")
            .map(|list| keyrings(&list.replace(',', " ")))
            .unwrap_or_default();
        let ignore_expiry = option("check-valid-until").is_some_and(|value| value == "no");
        push(&mut sources, uri, suite, components, signed_by, ignore_expiry);
    }
    sources
}

/// Deb822 form: stanzas of `Key: value`.
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in stanzas(text) {
        let field = |name: &str| stanza.get(name).map_or("", String::as_str);
        let enabled = !matches!(field("enabled").trim(), "no" | "false" | "0");
        if !enabled || !field("types").split_whitespace().any(|kind| kind == "deb") {
            continue;
        }
        // A key written into the file itself begins with a PEM-like line and is not a path.
        let signed_by = keyrings(field("signed-by"));
        let ignore_expiry = field("check-valid-until").trim() == "no";
        for uri in field("uris").split_whitespace() {
            for suite in field("suites").split_whitespace() {
                let components = field("components")
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect();
                push(
                    &mut sources,
                    uri,
                    suite,
                    components,
                    signed_by.clone(),
                    ignore_expiry,
                );
            }
        }
    }
    sources
}

fn push(
    sources: &mut Vec<Source>,
    uri: &str,
    suite: &str,
    components: Vec<String>,
    signed_by: Vec<PathBuf>,
    ignore_expiry: bool,
) {
    let uri = uri.trim_end_matches('/');
    if uri.starts_with("http://") || uri.starts_with("https://") {
        let (uri, suite) = (uri.to_owned(), suite.to_owned());
        sources.push(Source {
            uri,
            suite,
            components,
            signed_by,
            ignore_expiry,
        });
    }
}

fn keyrings(list: &str) -> Vec<PathBuf> {
    list.split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// Stanzas with lower-case keys; continuation lines are joined with a newline.
pub(crate) fn stanzas(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut all = Vec::new();
    let mut current: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            if !current.is_empty() {
                all.push(std::mem::take(&mut current));
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = current.get_mut(&last) {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            last = key.trim().to_lowercase();
            current.insert(last.clone(), value.trim().to_owned());
        }
    }
    all
}

/// apt.conf(5), as far as scalars go: `A::B "x";` and `A { B "x"; };` become `a::b` → `x`.
fn parse_conf(text: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut scope: Vec<String> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("//") || line.starts_with('#') {
            continue;
        }
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            match first {
                '{' => scope.push(words.drain(..).collect::<String>().to_lowercase()),
                '}' => {
                    scope.pop();
                    words.clear();
                }
                ';' => {
                    if let [key, value] = words.as_slice() {
                        let path = scope
                            .iter()
                            .cloned()
                            .chain([key.to_lowercase()])
                            .collect::<Vec<_>>()
                            .join("::");
                        settings.insert(path, value.clone());
                    }
                    words.clear();
                }
                '"' => {
                    let (word, after) = rest[1..].split_once('"').unwrap_or((&rest[1..], ""));
                    words.push(word.to_owned());
                    rest = after;
                    continue;
                }
                space if space.is_whitespace() => {}
                _ => {
                    let end = rest
                        .find(|c: char| c.is_whitespace() || "{};\"".contains(c))
                        .unwrap_or(rest.len());
                    words.push(rest[..end].to_owned());
                    rest = &rest[end..];
                    continue;
                }
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms() {
        let lines = parse_lines(
            "# deb http://no.example/ x main\n\
             deb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg check-valid-until=no] http://m.example/debian/ bookworm main contrib\n\
             deb-src http://m.example/debian bookworm main\n\
             deb cdrom:[x] bookworm main\n",
        );
        assert_eq!(lines.len(), 1);
        assert_eq!(
            (lines[0].uri.as_str(), lines[0].suite.as_str()),
            ("http://m.example/debian", "bookworm")
        );
        assert_eq!(
            lines[0].signed_by,
            [PathBuf::from("/k/a.gpg"), PathBuf::from("/k/b.gpg")]
        );
        assert!(lines[0].ignore_expiry);
        let stanzas = parse_deb822(
            "Types: deb deb-src\nURIs: http://m.example/debian\nSuites: trixie\n trixie-updates\n# note\nComponents: main\n\
             Signed-By: /k/a.gpg\n\nTypes: deb\nURIs: http://off.example\nSuites: x\nEnabled: no\n",
        );
        let suites: Vec<_> = stanzas.iter().map(|source| source.suite.as_str()).collect();
        assert_eq!(suites, ["trixie", "trixie-updates"]);
    }

    #[test]
    fn reads_settings_nested_or_not() {
        let settings = parse_conf(
            "// c\nAcquire { http { Proxy \"http://p.example:1\"; }; };\nAcquire::Check-Valid-Until \"false\";\nX:: \"y\";\n",
        );
        assert_eq!(settings["acquire::http::proxy"], "http://p.example:1");
        assert_eq!(settings["acquire::check-valid-until"], "false");
    }

    #[test]
    fn serves_another_release_from_the_same_mirror() {
        let sources = parse_lines(
            "deb http://m.example/debian bookworm main\ndeb http://m.example/debian-security bookworm-security main\n",
        );
        let apt = Apt { sources, proxy: None };
        let (suite, chosen) = for_suite(&apt, "13");
        assert_eq!(suite, "trixie");
        let names: Vec<_> = chosen
            .iter()
            .map(|s| (s.uri.rsplit('/').next().unwrap(), s.suite.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                ("debian", "trixie"),
                ("debian", "trixie-updates"),
                ("debian-security", "trixie-security")
            ]
        );
    }
}
