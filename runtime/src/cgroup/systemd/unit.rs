//! Names of units, and where their cgroups are (systemd.slice(5), systemd.scope(5), systemd.unit(5)).

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest name of a unit, bytes (`UNIT_NAME_MAX` of systemd, with its end).
const LONGEST: usize = 255;

/// A name that is none, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadName(String);

/// A scope, by name, and the slice it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// `system.slice`
    pub slice: String,
    /// `libpod-1234.scope`
    pub unit: String,
}

impl Scope {
    /// Of a container: `prefix-name.scope`, or `name.scope` without a prefix.
    ///
    /// # Errors
    /// When that cannot be a unit's name.
    pub fn new(slice: &str, prefix: &str, name: &str) -> Result<Self, BadName> {
        let unit = match prefix {
            "" => format!("{name}.scope"),
            _ => format!("{prefix}-{name}.scope"),
        };
        let known = |letter: char| letter.is_ascii_alphanumeric() || ":-_.\\@".contains(letter);
        if name.is_empty() || !unit.chars().all(known) {
            return Err(BadName(format!(
                "`{unit}` cannot be the name of a scope: use letters, digits and : - _ . \\ @"
            )));
        }
        if unit.len() > LONGEST {
            return Err(BadName(format!(
                "`{unit}` is too long for the name of a scope: {LONGEST} bytes are the most"
            )));
        }
        expand_slice(slice)?;
        Ok(Self {
            slice: slice.to_owned(),
            unit,
        })
    }

    /// As OCI runtimes write it, `slice:prefix:name`; nothing at all means `:banyan:<id>`, no slice `system.slice`.
    ///
    /// # Errors
    /// When it is written otherwise.
    pub fn parse(written: &str, id: &str) -> Result<Self, BadName> {
        const DEFAULT: &str = "system.slice";
        if written.is_empty() {
            return Self::new(DEFAULT, "banyan", id);
        }
        let parts: Vec<&str> = written.split(':').collect();
        let [slice, prefix, name] = parts[..] else {
            return Err(BadName(format!(
                "`{written}` is not written as systemd's cgroups are: slice:prefix:name"
            )));
        };
        if name.ends_with(".slice") {
            return Err(BadName(format!("`{name}` is a slice: a container needs a scope")));
        }
        let slice = match slice {
            "" => DEFAULT,
            // The root of all slices, under its short name.
            "-" => "-.slice",
            slice => slice,
        };
        Self::new(slice, prefix, name)
    }

    /// Its cgroup below the root of systemd's tree, without a slash before it.
    ///
    /// # Errors
    /// When the slice's name is none.
    pub fn path(&self) -> Result<String, BadName> {
        Ok(format!("{}{}", expand_slice(&self.slice)?, self.unit))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unit)
    }
}

/// Where a slice's cgroup is: `a-b.slice` lies in `a.slice`, so `a.slice/a-b.slice/`; empty for the root slice.
///
/// # Errors
/// When that is not the name of a slice.
pub fn expand_slice(slice: &str) -> Result<String, BadName> {
    let bad = || BadName(format!("`{slice}` is not the name of a slice"));
    let name = slice.strip_suffix(".slice").ok_or_else(bad)?;
    if name == "-" {
        return Ok(String::new());
    }
    let known = |letter: char| letter.is_ascii_alphanumeric() || ":_.\\@-".contains(letter);
    if slice.len() > LONGEST || !name.chars().all(known) {
        return Err(bad());
    }
    let (mut path, mut whole) = (String::new(), String::new());
    for part in name.split('-') {
        if part.is_empty() || part == "." || part == ".." {
            return Err(bad());
        }
        if !whole.is_empty() {
            whole.push('-');
        }
        whole += part;
        path += &format!("{whole}.slice/");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_lies_in_those_its_name_names() {
        for (slice, path) in [
            ("system.slice", "system.slice/"),
            ("-.slice", ""),
            ("user-1000.slice", "user.slice/user-1000.slice/"),
            ("a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice/"),
            (
                "kubepods-besteffort-pod0af_b.slice",
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0af_b.slice/",
            ),
        ] {
            assert_eq!(expand_slice(slice).as_deref(), Ok(path), "{slice}");
        }
        for slice in [
            "",
            "a",
            ".slice",
            "-a.slice",
            "a-.slice",
            "a--b.slice",
            "a/b.slice",
            "...slice",
            "a.scope",
        ] {
            assert!(expand_slice(slice).is_err(), "{slice}");
        }
    }

    #[test]
    fn cgroups_of_bundles_are_written_in_three_parts() {
        for (written, unit, path) in [
            (
                "machine.slice:libpod:12",
                "libpod-12.scope",
                "machine.slice/libpod-12.scope",
            ),
            (
                "system.slice:cri-containerd:ab",
                "cri-containerd-ab.scope",
                "system.slice/cri-containerd-ab.scope",
            ),
            (":p:x", "p-x.scope", "system.slice/p-x.scope"),
            ("::x", "x.scope", "system.slice/x.scope"),
            ("-:p:x", "p-x.scope", "p-x.scope"),
            ("", "banyan-id.scope", "system.slice/banyan-id.scope"),
            ("a-b.slice:p:x", "p-x.scope", "a.slice/a-b.slice/p-x.scope"),
        ] {
            let scope = Scope::parse(written, "id").unwrap();
            assert_eq!(
                (scope.unit.as_str(), scope.path().as_deref()),
                (unit, Ok(path)),
                "{written}"
            );
        }
        for (written, reason) in [
            ("/a/b", "slice:prefix:name"),
            ("a.slice:b", "slice:prefix:name"),
            ("a.slice:b:c:d", "slice:prefix:name"),
            ("a.slice:b:", "cannot be the name of a scope"),
            ("a.slice:b:c/../d", "cannot be the name of a scope"),
            ("a/b.slice:b:c", "not the name of a slice"),
            ("a.slice:b:c.slice", "is a slice"),
        ] {
            let error = Scope::parse(written, "id").unwrap_err().to_string();
            assert!(error.contains(reason), "{written}: {error}");
        }
        assert!(Scope::new("a.slice", "p", &"x".repeat(300)).is_err());
    }
}
