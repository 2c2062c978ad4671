//! The layer below all layers: empty places for what every launch mounts.
//!
//! An image that lacks `/proc` or `/etc/hosts` would get them made in each container's upper directory, once for every
//! container and removed again with it. One shared lower directory under the image's own serves them all: whatever an
//! image has there hides it (overlayfs, "Lower layers"), and where an image hides it with a whiteout the launch makes
//! the place as before.

use super::{durable, store::Store};
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

const NAME: &str = "init";
const DIRECTORIES: [&str; 4] = ["dev", "etc", "proc", "sys"];
const FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

impl Store {
    /// The layer below all images, for [`crate::rootfs::RootFs::init_layer`].
    pub fn init_layer(&self) -> PathBuf {
        self.dir().join(NAME)
    }
}

/// Makes it where it is not there yet; visible only when it is complete.
pub(super) fn make(store: &Store) -> io::Result<()> {
    let place = store.init_layer();
    if place.exists() {
        return Ok(());
    }
    let new = store.dir().join(format!(".{NAME}-{}", durable::unique()));
    // Set, not only asked for: our umask is not the containers'.
    let directory = |path: &PathBuf| -> io::Result<()> {
        fs::create_dir(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    };
    let filled = || -> io::Result<()> {
        directory(&new)?;
        for name in DIRECTORIES {
            directory(&new.join(name))?;
        }
        for name in FILES {
            let file = fs::File::create_new(new.join(name))?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        match fs::rename(&new, &place) {
            // Another process was faster.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) =>
            {
                fs::remove_dir_all(&new)
            }
            renamed => renamed,
        }
    };
    filled().inspect_err(|_| {
        // What is left is in nobody's way.
        let _ = fs::remove_dir_all(&new);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_one_and_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let hosts = store.init_layer().join("etc/hosts");
        assert_eq!(fs::read(&hosts).unwrap(), b"");
        let before = fs::metadata(store.init_layer()).unwrap().created().unwrap();
        Store::open(dir.path()).unwrap();
        assert_eq!(
            fs::metadata(store.init_layer()).unwrap().created().unwrap(),
            before
        );
        let names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert!(
            !names
                .iter()
                .any(|name| name.to_string_lossy().starts_with(".init")),
            "{names:?}"
        );
    }
}
