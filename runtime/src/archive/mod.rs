//! Archives: tar streams in, directory trees out, and back.
//!
//! The way in:
//! 1. [`compression`] tells gzip, zstd, xz and plain apart by their first bytes and decodes in process;
//! 2. [`entries`] frames a tar stream into entries (POSIX pax, GNU and old forms), within [`Limits`];
//! 3. [`extract`] creates each entry below a directory descriptor, so that no name in the archive can leave it;
//! 4. [`layer`] runs 1–3 with hashing beside them, for an image layer or a plain root file system.
//!
//! The way out: [`pack`] writes a tree as a tar stream with sorted names, so equal trees give equal bytes; with an
//! [`outline`] taken on the way in, a tree gives back the very archive it came from.
//!
//! Deliberately absent: `tar::Archive::unpack` (path based; see the advisories around it) and any external program.

pub mod compression;
pub mod entries;
pub mod extract;
pub mod layer;
pub mod outline;
pub mod pack;
mod pax;

/// Bounds for an archive from outside; whatever exceeds one is refused before more of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries in one archive.
    pub entries: u64,
    /// Uncompressed bytes of one archive.
    pub bytes: u64,
    /// Bytes of one path.
    pub path: usize,
    /// Components of one path.
    pub depth: usize,
    /// Bytes of one extension header (long names, pax records with extended attributes).
    pub extension: u64,
    /// Uncompressed bytes per compressed byte, once [`Limits::RATIO_FROM`] bytes came out.
    pub ratio: u64,
}

impl Limits {
    /// Below this many uncompressed bytes no ratio is looked at: small files of zeros compress well.
    pub const RATIO_FROM: u64 = 1 << 30;
}

impl Default for Limits {
    /// Ten times what the largest images in use need.
    fn default() -> Self {
        Self {
            entries: 5_000_000,
            bytes: 256 << 30,
            path: 4095,
            depth: 512,
            extension: 1 << 20,
            ratio: 200,
        }
    }
}
