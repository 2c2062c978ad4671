//! `host/path:tag@digest`: how people name images.
//!
//! The grammar is distribution's `reference` (distribution/reference, grammar in its package comment) with Docker's
//! defaults: no host means `docker.io`, no slash on `docker.io` means `library/`, neither tag nor digest means `latest`.

use super::digest::Digest;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

const DEFAULT_HOST: &str = "docker.io";
/// Longest `path` of a reference, in bytes (distribution/reference, `NameTotalLengthMax`).
const NAME_MAX: usize = 255;

/// A full image name. Equal names denote the same image: defaults are filled in when it is parsed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host, with a port where one was given: `docker.io`, `localhost:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository on that host: `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; `None` only where a digest is given instead.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest digest, where the name pins one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Host and path without tag or digest: `docker.io/library/debian`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// As people write it: without the defaults that parsing would add again, but with the tag.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_repository();
        if let Some(tag) = &self.tag {
            text = format!("{text}:{tag}");
        }
        if let Some(digest) = &self.digest {
            text = format!("{text}@{digest}");
        }
        text
    }

    /// The repository as people write it: `debian`, `someone/app`, `localhost:5000/app`.
    pub fn familiar_repository(&self) -> String {
        // A path that begins like a host would be read as one without ours before it.
        let first = self.path.split('/').next().unwrap_or_default();
        let begins_like_host = self.path.contains('/') && is_host(first);
        if self.host == DEFAULT_HOST && !begins_like_host {
            self.path
                .strip_prefix("library/")
                .filter(|rest| !rest.contains('/'))
                .unwrap_or(&self.path)
                .to_owned()
        } else {
            self.repository()
        }
    }

    /// The same repository with another tag, without digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(tag).map_err(|reason| ReferenceError {
            text: tag.to_owned(),
            reason,
        })?;
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository at a digest, without tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// For `debian:<suite>` and `debian:<suite>-slim` of Docker's library: the suite.
    pub fn debian_suite(&self) -> Option<&str> {
        if self.host != DEFAULT_HOST || self.path != "library/debian" || self.digest.is_some() {
            return None;
        }
        let tag = self.tag.as_deref()?;
        Some(tag.strip_suffix("-slim").unwrap_or(tag))
    }
}

/// Not an image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image name: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|reason| ReferenceError {
            text: text.to_owned(),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    {
        return Err("64 hexadecimal digits are an image id, not a name");
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (
            name,
            Some(
                digest
                    .parse()
                    .map_err(|_| "the digest after `@` must be `sha256:` and 64 hexadecimal digits")?,
            ),
        ),
        None => (text, None),
    };
    // A colon after the last slash starts the tag; one before it belongs to the host's port.
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match name[slash..].find(':') {
        Some(at) => (&name[..slash + at], Some(&name[slash + at + 1..])),
        None => (name, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (host, path) = match name.split_once('/') {
        Some((first, rest)) if is_host(first) => {
            check_host(first)?;
            (
                if first == "index.docker.io" {
                    DEFAULT_HOST
                } else {
                    first
                },
                rest,
            )
        }
        _ => (DEFAULT_HOST, name),
    };
    let path = if host == DEFAULT_HOST && !path.contains('/') {
        format!("library/{path}")
    } else {
        path.to_owned()
    };
    if path.len() > NAME_MAX {
        return Err("the name is longer than 255 bytes");
    }
    for component in path.split('/') {
        check_component(component)?;
    }
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some("latest".to_owned()),
    };
    Ok(Reference {
        host: host.to_owned(),
        path,
        tag,
        digest,
    })
}

/// Docker's rule for telling `host/path` from `path/path`.
fn is_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = if host.starts_with('[') {
        let (address, rest) = host.split_once(']').ok_or("the host has `[` without `]`")?;
        address[1..]
            .parse::<std::net::Ipv6Addr>()
            .map_err(|_| "the host in brackets is not an IPv6 address")?;
        (
            None,
            rest.strip_prefix(':')
                .or(if rest.is_empty() { None } else { Some("x") }),
        )
    } else {
        match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        }
    };
    if let Some(name) = name {
        for label in name.split('.') {
            let well_formed = !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-');
            if !well_formed {
                return Err("the host is not a host name");
            }
        }
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return Err("the host's port is not a number up to 65535");
    }
    Ok(())
}

/// `[a-z0-9]+` parts joined by `.`, `_`, `__` or any number of `-`.
fn check_component(component: &str) -> Result<(), &'static str> {
    if component.is_empty() {
        return Err("a part between slashes is empty");
    }
    if component.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("repository names are lower case");
    }
    let bytes = component.as_bytes();
    if !bytes
        .iter()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
    {
        return Err(
            "only lower-case letters, digits, `.`, `_`, `-` and `/` are allowed in a repository name",
        );
    }
    let is_word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !bytes.first().is_some_and(is_word) || !bytes.last().is_some_and(is_word) {
        return Err("a part of the name must start and end with a letter or digit");
    }
    for separator in component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        let allowed = matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-');
        if !allowed {
            return Err("separators inside a name are one `.`, one or two `_`, or any number of `-`");
        }
    }
    Ok(())
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
fn check_tag(tag: &str) -> Result<(), &'static str> {
    let first_is_word = tag
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest_is_tag = tag
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if tag.len() > 128 {
        Err("the tag is longer than 128 characters")
    } else if !first_is_word || !rest_is_tag {
        Err("the tag after `:` must be letters, digits, `_`, `.` and `-`, and not start with `.` or `-`")
    } else {
        Ok(())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn fills_in_dockers_defaults() {
        for (text, full, familiar) in [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            (
                "debian:bookworm-slim",
                "docker.io/library/debian:bookworm-slim",
                "debian:bookworm-slim",
            ),
            ("me/app", "docker.io/me/app:latest", "me/app:latest"),
            ("docker.io/app", "docker.io/library/app:latest", "app:latest"),
            (
                "docker.io/a.b/app",
                "docker.io/a.b/app:latest",
                "docker.io/a.b/app:latest",
            ),
            ("index.docker.io/app:1", "docker.io/library/app:1", "app:1"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            (
                "localhost:5000/a/b:x",
                "localhost:5000/a/b:x",
                "localhost:5000/a/b:x",
            ),
            (
                "ghcr.io/o/p__q/r---s.t",
                "ghcr.io/o/p__q/r---s.t:latest",
                "ghcr.io/o/p__q/r---s.t:latest",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("a/b/c", "docker.io/a/b/c:latest", "a/b/c:latest"),
            ("A/b", "A/b:latest", "A/b:latest"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(full.parse::<Reference>().unwrap(), reference, "{text}");
        }
    }

    #[test]
    fn keeps_a_digest_with_or_without_tag() {
        let pinned: Reference = format!("debian@sha256:{HEX}").parse().unwrap();
        assert_eq!(pinned.tag(), None);
        assert_eq!(
            pinned.to_string(),
            format!("docker.io/library/debian@sha256:{HEX}")
        );
        let both: Reference = format!("debian:12@sha256:{HEX}").parse().unwrap();
        assert_eq!((both.tag(), both.digest().is_some()), (Some("12"), true));
    }

    #[test]
    fn refuses_what_is_no_name() {
        for text in [
            "",
            ":",
            "a:",
            "a:b:c",
            "a//b",
            "/a",
            "a/",
            "Debian",
            "a/B",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a.-b",
            "a b",
            "a:-x",
            "a:.x",
            "a@",
            "a@sha256:12",
            "a@md5:00",
            "héllo",
            "a:ü",
            "host.x:99999/a",
            "host.x:/a",
            "[::1/a",
            "[::g]/a",
            ".host/a",
            HEX,
            "a\n",
            "a:\u{0}",
            "-h.x/a",
            "../a",
            "a/../b",
            "a\\b",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted");
        }
        let long = format!("a:{}", "x".repeat(129));
        assert!(long.parse::<Reference>().is_err());
        assert!(
            "a/".repeat(130)
                .trim_end_matches('/')
                .parse::<Reference>()
                .is_err()
        );
    }

    #[test]
    fn knows_debian_suites() {
        for (text, suite) in [
            ("debian:bookworm", Some("bookworm")),
            ("debian:bookworm-slim", Some("bookworm")),
            ("debian", Some("latest")),
            ("other/debian:bookworm", None),
            ("ubuntu:noble", None),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().debian_suite(), suite, "{text}");
        }
    }
}
