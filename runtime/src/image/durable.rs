//! Files that are replaced whole: the old bytes or the new ones, also after a power cut.

use std::{
    hash::{BuildHasher, Hasher},
    io::{self, Write},
    path::Path,
};

/// Writes a file beside its final name, syncs it, renames it, and syncs the directory.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let temporary = dir.join(format!(".{}", unique()));
    let mut file = fs_err::File::create(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs_err::rename(&temporary, path));
    if written.is_err() {
        fs_err::remove_file(&temporary).ok();
        return written;
    }
    sync_directory(dir)
}

/// Makes a directory's names durable (fsync(2), NOTES).
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    fs_err::File::open(dir)?.sync_all()
}

/// A name nobody else has.
pub(crate) fn unique() -> String {
    let random = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    format!("{}-{random:016x}", std::process::id())
}
