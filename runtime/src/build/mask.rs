//! A folder without what `.dockerignore` leaves out, for mounts: overlayfs hides names below a layer of whiteouts.

use super::ignore::Ignore;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

/// Fills the empty directory `mask` with a whiteout for everything below `folder` that is left out. `relative` is the
/// folder's own path in the context, by which patterns know it. `false`: nothing is, so no mask is needed.
pub(super) fn hide(folder: &Path, relative: &str, ignore: &Ignore, mask: &Path) -> io::Result<bool> {
    let mut any = false;
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = if relative.is_empty() {
            name.to_string_lossy().into_owned()
        } else {
            format!("{relative}/{}", name.to_string_lossy())
        };
        let is_dir = entry.file_type()?.is_dir();
        if ignore.excludes_all_below(&path) || !is_dir && ignore.excludes(&path) {
            mknodat(
                CWD,
                mask.join(&name),
                FileType::CharacterDevice,
                Mode::empty(),
                makedev(0, 0),
            )?;
            any = true;
        } else if is_dir {
            let inner = mask.join(&name);
            fs_err::create_dir(&inner)?;
            if hide(&entry.path(), &path, ignore, &inner)? {
                any = true;
            } else {
                fs_err::remove_dir(&inner)?;
            }
        }
    }
    if any {
        // A merged directory looks as its top layer does.
        let metadata = fs_err::metadata(folder)?;
        fs_err::os::unix::fs::chown(mask, Some(metadata.uid()), Some(metadata.gid()))?;
        fs_err::set_permissions(mask, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_on_the_way_to_something_hidden_are_made() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (folder, mask) = (temp.path().join("folder"), temp.path().join("mask"));
        for path in ["a/b", "c/d", "e"] {
            fs_err::create_dir_all(folder.join(path)).expect("made");
            fs_err::write(folder.join(path).join("x.log"), "").expect("written");
        }
        fs_err::write(folder.join("c/d/keep.log"), "").expect("written");
        fs_err::create_dir(&mask).expect("made");
        let nothing = hide(&folder, "", &Ignore::parse("nosuch\n"), &mask).expect("hidden");
        assert!(!nothing && fs_err::read_dir(&mask).expect("listed").next().is_none());
        // Making devices needs privileges; without them there is nothing more to see.
        let Ok(any) = hide(
            &folder,
            "",
            &Ignore::parse("a\nc/**/*.log\n!**/keep.log\n"),
            &mask,
        ) else {
            return;
        };
        assert!(any && mask.join("c/d/x.log").symlink_metadata().is_ok());
        assert!(!mask.join("c/d/keep.log").exists() && !mask.join("e").exists());
    }
}
