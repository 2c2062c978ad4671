//! `InRelease`: who vouches for a suite, and the hashes of its indexes.

use super::{DebianError, sources::Source};
use crate::image::Digest;
use jiff::{Timestamp, civil::DateTime, fmt::rfc2822, tz::TimeZone};
use pgp::{
    composed::{CleartextSignedMessage, Deserializable, SignedPublicKey},
    crypto::hash::HashAlgorithm,
    types::KeyDetails,
};
use std::{collections::HashMap, io::Cursor, path::PathBuf};

/// A suite's verified table of contents.
#[derive(Debug, Clone)]
pub struct Release {
    /// `bookworm`, `trixie`.
    pub codename: String,
    /// When it was made, seconds since 1970.
    pub date: i64,
    /// Whether files can be fetched by their hash.
    pub by_hash: bool,
    /// Path below `dists/<suite>/` → (SHA-256, bytes).
    pub files: HashMap<String, (Digest, u64)>,
}

/// Reads and verifies an `InRelease` file for a source.
pub fn verify(text: &str, source: &Source, now: Timestamp) -> Result<Release, DebianError> {
    let untrusted = |reason: String| DebianError::Untrusted {
        suite: source.suite.clone(),
        reason,
    };
    let (message, _) = CleartextSignedMessage::from_string(text)
        .map_err(|error| untrusted(format!("its signature cannot be read ({error})")))?;
    let keys = keys(source);
    if keys.is_empty() {
        return Err(untrusted("there is no archive keyring on this machine".into()));
    }
    let strong = message.signatures().iter().all(|signature| {
        let hash = signature.config().map(|config| config.hash_alg);
        matches!(
            hash,
            Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512)
        )
    });
    if !strong {
        return Err(untrusted("it is signed with a weak hash".into()));
    }
    let is_signed = keys.iter().any(|key| {
        message.verify(key).is_ok()
            || key
                .public_subkeys
                .iter()
                .any(|subkey| message.verify(subkey).is_ok())
    });
    if !is_signed {
        let known: Vec<String> = keys.iter().map(|key| key.legacy_key_id().to_string()).collect();
        return Err(untrusted(format!(
            "no key of its keyring signed it (it has {})",
            known.join(", ")
        )));
    }
    // Only what the signature covers counts from here on.
    let release = parse(&message.signed_text(), source)?;
    if !source.ignore_expiry && release.1.is_some_and(|until| until < now.as_second()) {
        return Err(untrusted(
            "it has expired (`Valid-Until`); the mirror may be stale".into(),
        ));
    }
    Ok(release.0)
}

fn parse(text: &str, source: &Source) -> Result<(Release, Option<i64>), DebianError> {
    let malformed = |reason: &str| DebianError::Malformed {
        what: format!("dists/{}/InRelease", source.suite),
        reason: reason.to_owned(),
    };
    let normalized = text.replace("\r\n", "\n");
    let stanzas = super::sources::stanzas(&normalized);
    let fields = stanzas.first().ok_or_else(|| malformed("it is empty"))?;
    let field = |name: &str| fields.get(name).map(String::as_str);
    let codename = field("codename").ok_or_else(|| malformed("it has no `Codename`"))?;
    // A mirror must not pass an old or other release for this one.
    let base = |name: &str| name.split('-').next().unwrap_or("").to_owned();
    let is_this = [field("suite"), Some(codename)]
        .into_iter()
        .flatten()
        .any(|name| base(name) == base(&source.suite));
    if !is_this {
        return Err(DebianError::Untrusted {
            suite: source.suite.clone(),
            reason: format!("the mirror sent the release of `{codename}` instead"),
        });
    }
    let time = |name: &str| field(name).and_then(parse_date);
    let date = time("date").ok_or_else(|| malformed("it has no `Date`"))?;
    let mut files = HashMap::new();
    for line in field("sha256").unwrap_or("").lines() {
        let mut words = line.split_whitespace();
        if let (Some(hash), Some(size), Some(path)) = (words.next(), words.next(), words.next())
            && let (Ok(hash), Ok(size)) = (Digest::from_hex(hash), size.parse())
        {
            files.insert(path.to_owned(), (hash, size));
        }
    }
    if files.is_empty() {
        return Err(malformed("it has no SHA-256 hashes"));
    }
    let by_hash = field("acquire-by-hash") == Some("yes");
    Ok((
        Release {
            codename: base(codename),
            date,
            by_hash,
            files,
        },
        time("valid-until"),
    ))
}

/// `Sat, 11 Jul 2026 10:16:37 UTC`.
fn parse_date(text: &str) -> Option<i64> {
    if let Ok(zoned) = rfc2822::parse(&text.replace("UTC", "+0000").replace("GMT", "+0000")) {
        return Some(zoned.timestamp().as_second());
    }
    let plain = DateTime::strptime("%a, %d %b %Y %H:%M:%S UTC", text).ok()?;
    TimeZone::UTC.to_timestamp(plain).ok().map(Timestamp::as_second)
}

/// The keys that may sign for a source: its own keyrings, or the ones the host's apt trusts.
fn keys(source: &Source) -> Vec<SignedPublicKey> {
    let mut files = source.signed_by.clone();
    if files.is_empty() {
        files.push(PathBuf::from("/etc/apt/trusted.gpg"));
        let folder = fs_err::read_dir("/etc/apt/trusted.gpg.d")
            .into_iter()
            .flatten()
            .flatten();
        files.extend(folder.map(|entry| entry.path()));
        files.push(PathBuf::from("/usr/share/keyrings/debian-archive-keyring.gpg"));
        files.push(PathBuf::from("/usr/share/keyrings/debian-archive-keyring.pgp"));
    }
    files
        .iter()
        .filter_map(|file| fs_err::read(file).ok())
        .flat_map(|bytes| read_keys(&bytes))
        .collect()
}

fn read_keys(bytes: &[u8]) -> Vec<SignedPublicKey> {
    if bytes.starts_with(b"-----BEGIN") {
        let parsed = SignedPublicKey::from_armor_many(Cursor::new(bytes));
        return parsed
            .map(|(keys, _)| keys.flatten().collect())
            .unwrap_or_default();
    }
    SignedPublicKey::from_bytes_many(Cursor::new(bytes))
        .map(|keys| keys.flatten().collect())
        .unwrap_or_default()
}
