//! The form of a record.
//!
//! | bytes | content |
//! |---|---|
//! | 0–3 | checksum of everything after it, little endian |
//! | 4–5 | length of the payload, little endian |
//! | 6 | stream: 1 stdout, 2 stderr, 3 lost output (payload: count of bytes, 8 bytes little endian) |
//! | 7 | reserved, 0 |
//! | 8–15 | nanoseconds since 1970, little endian |
//! | 16– | payload |

use serde::{Deserialize, Serialize};

/// Size of a block; a record lies within one.
pub(super) const BLOCK: usize = 32 << 10;
/// Size of a record's header.
pub(super) const HEADER: usize = 16;

/// Which of a container's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, and everything of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Output(Stream),
    Lost,
}

/// One record, as found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) time: i64,
    pub(super) payload: &'a [u8],
}

/// Writes the header of a record into `record[..HEADER]`; the payload is already behind it.
pub(super) fn seal(record: &mut [u8], kind: Kind, time: i64) {
    let length = u16::try_from(record.len() - HEADER).expect("a record fits in a block of 32 KiB");
    record[4..6].copy_from_slice(&length.to_le_bytes());
    record[6] = match kind {
        Kind::Output(Stream::Stdout) => 1,
        Kind::Output(Stream::Stderr) => 2,
        Kind::Lost => 3,
    };
    record[7] = 0;
    record[8..16].copy_from_slice(&time.to_le_bytes());
    let sum = checksum(&record[4..]);
    record[..4].copy_from_slice(&sum.to_le_bytes());
}

/// What lies at the beginning of `block` (the rest of a block, or as much of it as has been written).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A whole record and its length with header.
    Record(Record<'a>, usize),
    /// Not (yet) a whole record: wait, or give the block up when something follows it.
    Nothing,
}

/// Reads one record.
pub(super) fn open(block: &[u8]) -> Found<'_> {
    let Some((header, rest)) = block.split_first_chunk::<HEADER>() else {
        return Found::Nothing;
    };
    let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
    let kind = match header[6] {
        1 => Kind::Output(Stream::Stdout),
        2 => Kind::Output(Stream::Stderr),
        3 => Kind::Lost,
        _ => return Found::Nothing,
    };
    let Some(payload) = rest.get(..length) else {
        return Found::Nothing;
    };
    let expected = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    if checksum(&block[4..HEADER + length]) != expected {
        return Found::Nothing;
    }
    let mut time = [0; 8];
    time.copy_from_slice(&header[8..]);
    Found::Record(
        Record {
            kind,
            time: i64::from_le_bytes(time),
            payload,
        },
        HEADER + length,
    )
}

/// A checksum against torn writes, not against malice: eight bytes a step, so that it costs a container that writes
/// as fast as it can next to nothing. Never 0, which is what a hole in a file reads as.
fn checksum(bytes: &[u8]) -> u32 {
    const PRIME: u64 = 0x9E37_79B9_7F4A_7C15;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = (bytes.len() as u64).wrapping_mul(PRIME);
    for word in words {
        sum = (sum ^ u64::from_le_bytes(*word))
            .wrapping_mul(PRIME)
            .rotate_left(29);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    sum = (sum ^ u64::from_le_bytes(last)).wrapping_mul(PRIME);
    let folded = u32::try_from((sum ^ (sum >> 32)) & 0xffff_ffff).unwrap_or(1);
    folded.max(1)
}
