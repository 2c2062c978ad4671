//! `Packages`: what a suite has.

use super::DebianError;
use crate::image::Digest;
use std::collections::HashMap;

/// One package of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// `Essential: yes`.
    pub essential: bool,
    /// `required`, `important`, `standard`, `optional`.
    pub priority: String,
    /// `Pre-Depends` and `Depends`: all groups, one alternative of each is needed.
    pub depends: Vec<Vec<String>>,
    /// Virtual names it stands for.
    pub provides: Vec<String>,
    /// Path below the mirror's address.
    pub filename: String,
    /// Bytes of the file.
    pub size: u64,
    /// Digest of the file.
    pub sha256: Digest,
    /// The mirror it is on, an index into the sources.
    pub source: usize,
}

/// All packages by name; of several versions the newest.
#[derive(Debug, Default)]
pub struct Index {
    /// By name.
    pub packages: HashMap<String, Package>,
    /// Virtual name → names that provide it, sorted.
    pub providers: HashMap<String, Vec<String>>,
}

impl Index {
    /// Adds a `Packages` file's text.
    pub fn add(&mut self, text: &str, source: usize) -> Result<(), DebianError> {
        for stanza in text.split("\n\n") {
            if stanza.trim().is_empty() {
                continue;
            }
            let package = parse(stanza, source)?;
            let is_newer = self.packages.get(&package.name).is_none_or(|known| {
                super::version::compare(&package.version, &known.version) == std::cmp::Ordering::Greater
            });
            if is_newer {
                self.packages.insert(package.name.clone(), package);
            }
        }
        Ok(())
    }

    /// Fills [`Index::providers`], after the last file was added.
    pub fn finish(&mut self) {
        for package in self.packages.values() {
            for provided in &package.provides {
                self.providers
                    .entry(provided.clone())
                    .or_default()
                    .push(package.name.clone());
            }
        }
        self.providers.values_mut().for_each(|names| names.sort());
    }
}

fn parse(stanza: &str, source: usize) -> Result<Package, DebianError> {
    let mut package = Package {
        name: String::new(),
        version: String::new(),
        architecture: String::new(),
        essential: false,
        priority: String::new(),
        depends: Vec::new(),
        provides: Vec::new(),
        filename: String::new(),
        size: 0,
        sha256: Digest::of(b""),
        source,
    };
    let mut hash = None;
    for line in stanza.lines() {
        // The fields we need are never continued on a second line.
        let Some((key, value)) = line.split_once(": ") else {
            continue;
        };
        match key {
            "Package" => package.name = value.to_owned(),
            "Version" => package.version = value.to_owned(),
            "Architecture" => package.architecture = value.to_owned(),
            "Essential" => package.essential = value == "yes",
            "Priority" => package.priority = value.to_owned(),
            "Pre-Depends" | "Depends" => package.depends.extend(relations(value)),
            "Provides" => package.provides = relations(value).into_iter().flatten().collect(),
            "Filename" => package.filename = value.to_owned(),
            "Size" => package.size = value.parse().unwrap_or(0),
            "SHA256" => hash = Digest::from_hex(value).ok(),
            _ => {}
        }
    }
    let malformed = |reason: &str| DebianError::Malformed {
        what: format!("Packages: {}", package.name),
        reason: reason.to_owned(),
    };
    let is_path = !package.filename.is_empty() && !package.filename.split('/').any(|part| part == "..");
    if !is_name(&package.name) || !is_path {
        return Err(malformed("it lacks a name or a file"));
    }
    package.sha256 = hash.ok_or_else(|| malformed("it lacks a SHA-256"))?;
    Ok(package)
}

/// Package names become file names in dpkg's database, so only Debian's own characters are taken (policy 5.6.1).
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'))
}

/// `a (>= 1), b | c [amd64] <x>` → names only.
fn relations(value: &str) -> Vec<Vec<String>> {
    value
        .split(',')
        .map(|group| {
            group
                .split('|')
                .filter_map(|alternative| alternative.split_whitespace().next())
                .map(|name| name.split(['(', ':']).next().unwrap_or("").to_owned())
                .filter(|name| !name.is_empty())
                .collect::<Vec<_>>()
        })
        .filter(|group| !group.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_knows_providers() {
        let mut index = Index::default();
        let stanza = |version: &str| {
            format!(
                "Package: mawk\nVersion: {version}\nPriority: required\nPre-Depends: libc6 (>= 2.3), a:any | b\n\
                 Provides: awk (= 1)\nFilename: pool/m.deb\nSize: 5\nSHA256: {}\nDescription: x\n more\n",
                Digest::of(b"x").hex()
            )
        };
        index
            .add(&format!("{}\n{}", stanza("1.2"), stanza("1.10")), 0)
            .unwrap();
        index.add(&stanza("1.9"), 1).unwrap();
        index.finish();
        let mawk = &index.packages["mawk"];
        assert_eq!((mawk.version.as_str(), mawk.source), ("1.10", 0));
        assert_eq!(
            mawk.depends,
            [vec!["libc6".to_owned()], vec!["a".into(), "b".into()]]
        );
        assert_eq!(index.providers["awk"], ["mawk"]);
        assert!(index.add("Package: ../x\nFilename: a\nSHA256: 0\n", 0).is_err());
    }
}
