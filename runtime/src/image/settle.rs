//! What a layer's archive left open, completed from the layers below: folders it did not list, links to files it does
//! not have.

use super::store::StoreError;
use crate::archive::extract::{OPAQUE, Unsettled};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid, XattrFlags};
use std::{
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Completes a layer from the layers below it (`below`, top first).
pub(super) fn settle(files: &Path, unsettled: &Unsettled, below: &[PathBuf]) -> Result<(), StoreError> {
    if unsettled.is_empty() {
        return Ok(());
    }
    let failed = |cause| StoreError::Io {
        action: "complete a layer from those below",
        cause,
    };
    for relative in &unsettled.directories {
        let found = below.iter().find_map(|layer| {
            let path = layer.join(relative);
            let metadata = path.symlink_metadata().ok()?;
            metadata.is_dir().then_some((path, metadata))
        });
        let Some((from, metadata)) = found else { continue };
        let to = files.join(relative);
        make_alike(&from, &metadata, &to).map_err(failed)?;
    }
    for (name, target) in &unsettled.links {
        let found = below
            .iter()
            .map(|layer| layer.join(target))
            .find(|path| path.symlink_metadata().is_ok());
        let Some(from) = found.filter(|path| path.symlink_metadata().is_ok_and(|m| m.is_file())) else {
            let reason = format!(
                "`{}` is a hard link to `{}`, which no layer has",
                name.display(),
                target.display()
            );
            return Err(StoreError::Damaged {
                path: files.to_path_buf(),
                reason,
            });
        };
        // Overlayfs cannot link across layers either; it copies up, and so do we.
        let to = files.join(name);
        fs_err::copy(&from, &to).map_err(failed)?;
        let metadata = from.symlink_metadata().map_err(failed)?;
        make_alike(&from, &metadata, &to).map_err(failed)?;
    }
    Ok(())
}

/// Gives `to` the owner, mode, extended attributes and time of `from`, in the order in which they do not undo each other.
fn make_alike(from: &Path, metadata: &Metadata, to: &Path) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    rustix::fs::chownat(CWD, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::chmod(to, Mode::from_raw_mode(metadata.mode() & 0o7777))?;
    copy_xattrs(from, to)?;
    // An owner may change times of what is open for reading, folders and files alike (utimensat(2)).
    fs_err::File::open(to)?.file().set_modified(metadata.modified()?)
}

fn copy_xattrs(from: &Path, to: &Path) -> rustix::io::Result<()> {
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(from, list.as_mut_slice())?;
    for key in list[..length]
        .split(|byte| *byte == 0)
        .filter(|key| !key.is_empty())
    {
        let key = std::ffi::CString::new(key).expect("split at NUL");
        if key.as_bytes() == OPAQUE.as_bytes() || key.as_bytes() == b"security.selinux" {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(from, key.as_c_str(), value.as_mut_slice())?;
        rustix::fs::lsetxattr(to, key.as_c_str(), &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}
