//! Extension headers: what pax records say of the entry that follows (POSIX pax, "pax Extended Header").

use super::entries::Xattr;

/// Values that extension headers give to the next entry.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: PaxSparse,
}

/// What pax records say about a sparse file.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    pub(super) version_1: bool,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) map: Vec<u64>,
    pub(super) is_map: bool,
}

type PaxRecord<'a> = (&'a [u8], &'a [u8]);

/// Splits `length key=value\n` records (POSIX pax, "pax Extended Header").
fn pax_records(mut data: &[u8]) -> Result<Vec<PaxRecord<'_>>, String> {
    let wrong = || "a pax record is malformed".to_owned();
    let mut records = Vec::new();
    while !data.is_empty() {
        if data.iter().all(|byte| *byte == 0) {
            break;
        }
        let space = data
            .iter()
            .take(20)
            .position(|byte| *byte == b' ')
            .ok_or_else(wrong)?;
        let length: usize = decimal(&data[..space])
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(wrong)?;
        if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
            return Err(wrong());
        }
        let record = &data[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        records.push((&record[..equals], &record[equals + 1..]));
        data = &data[length..];
    }
    Ok(records)
}

/// Digits only: `u64::from_str` would take a sign.
fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Takes the records of a local pax header.
pub(super) fn apply_pax(extensions: &mut Extensions, data: &[u8]) -> Result<(), String> {
    let number = |value: &[u8], key: &str| decimal(value).ok_or_else(|| format!("pax `{key}` is no number"));
    for (key, value) in pax_records(data)? {
        match key {
            b"path" => extensions.path = non_empty(value),
            b"linkpath" => extensions.link = non_empty(value),
            b"size" => extensions.size = Some(number(value, "size")?),
            b"uid" => extensions.uid = Some(number(value, "uid")?),
            b"gid" => extensions.gid = Some(number(value, "gid")?),
            b"mtime" => extensions.mtime = Some(pax_time(value).ok_or("pax `mtime` is no time")?),
            b"GNU.sparse.major" => extensions.sparse.version_1 = value == b"1",
            b"GNU.sparse.name" => extensions.sparse.name = non_empty(value),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                extensions.sparse.real_size = Some(number(value, "GNU.sparse.size")?);
            }
            b"GNU.sparse.map" => {
                extensions.sparse.is_map = true;
                for part in value.split(|byte| *byte == b',').filter(|part| !part.is_empty()) {
                    extensions.sparse.map.push(number(part, "GNU.sparse.map")?);
                }
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                extensions.sparse.is_map = true;
                extensions.sparse.map.push(number(value, "GNU.sparse.offset")?);
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    if name.is_empty() || name.len() > 255 || name.contains(&0) {
                        return Err("an extended attribute's name is malformed".into());
                    }
                    extensions.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
    }
    Ok(())
}

fn non_empty(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

/// A global header may carry remarks (git writes one), but nothing that would change every entry's framing or name.
pub(super) fn check_global(data: &[u8]) -> Result<(), String> {
    for (key, _) in pax_records(data)? {
        if matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse") {
            return Err(format!(
                "a global pax header sets `{}`",
                String::from_utf8_lossy(key)
            ));
        }
    }
    Ok(())
}

/// `[-]seconds[.fraction]`.
fn pax_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = i64::try_from(decimal(whole.trim_start_matches('-').as_bytes())?).ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}
