//! Discardable layers over bind mounts (`x-banyan.overlay`): what a container writes to a folder of the host lands beside
//! that folder, to be looked at, kept or thrown away.
//!
//! A layer belongs to a place (service and replica) and a path in the container, so that a recreated container finds it
//! again: `<project>/overlays/<place>/<n>/` with `overlay.json`, `upper/` and `work/`. It goes with `down`.

use crate::state::{read_record, write_record};
use banyan_runtime::image::commit::{Change, diff};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
};

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// What it lies over.
    pub over: Over,
    folder: PathBuf,
}

/// What a layer lies over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// The folder of the host.
    pub source: PathBuf,
    /// Where the container sees it.
    pub target: String,
}

impl Overlay {
    /// The layer of a place over `over`, made when there is none. `folder` is the place's.
    ///
    /// # Errors
    /// When `source` is not a folder, or the layer cannot be made.
    pub fn ensure(folder: &Path, over: &Over) -> io::Result<Self> {
        if let Some(found) = Self::of_place(folder)?
            .into_iter()
            .find(|layer| layer.over == *over)
        {
            found.prepare()?;
            return Ok(found);
        }
        let free = (0..).map(|number: u32| folder.join(number.to_string()));
        let made = Self {
            over: over.clone(),
            folder: free.into_iter().find(|path| !path.exists()).unwrap_or_default(),
        };
        made.prepare()?;
        write_record(&made.folder.join("overlay.json"), over)?;
        Ok(made)
    }

    /// The layers of a place.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of_place(folder: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let folder = entry?.path();
            // A layer whose making was interrupted has no record, and nothing in it.
            if let Some(over) = read_record(&folder.join("overlay.json"))? {
                found.push(Self { over, folder });
            }
        }
        found.sort_by(|a, b| a.over.target.cmp(&b.over.target));
        Ok(found)
    }

    /// What was written.
    pub fn upper(&self) -> PathBuf {
        self.folder.join("upper")
    }

    /// The kernel's own folder beside it.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Makes `upper` look like the folder it lies over: its owner and mode are what the container sees.
    fn prepare(&self) -> io::Result<()> {
        let of = fs_err::metadata(&self.over.source)?;
        if !of.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("{} is not a folder", self.over.source.display()),
            ));
        }
        fs_err::create_dir_all(self.work())?;
        if !self.upper().exists() {
            fs_err::create_dir_all(self.upper())?;
            like(&self.upper(), &of)?;
        }
        Ok(())
    }

    /// What the container changed, as `docker diff` lists it, by path below the folder.
    ///
    /// # Errors
    /// When the layer cannot be read.
    pub fn changes(&self) -> io::Result<Vec<(Change, String)>> {
        let mut list = diff(&self.upper(), std::slice::from_ref(&self.over.source))?;
        list.sort_by(|a, b| a.1.cmp(&b.1));
        // A folder that only holds changes is none itself.
        let plain = |(change, path): &(Change, String)| {
            *change == Change::Changed && self.upper().join(path.trim_start_matches('/')).is_dir()
        };
        list.retain(|entry| !plain(entry));
        Ok(list)
    }

    /// Writes the changes into the folder of the host and empties the layer; gives what was done. No container may use
    /// the layer meanwhile. Interrupted, it can be done again: what is in the folder already is written once more.
    ///
    /// # Errors
    /// The first file that cannot be written.
    pub fn apply(&self) -> io::Result<Vec<(Change, String)>> {
        let mut list = diff(&self.upper(), std::slice::from_ref(&self.over.source))?;
        let told = self.changes()?;
        // Parents before what is in them.
        list.sort_by(|a, b| a.1.cmp(&b.1));
        for (change, path) in &list {
            let inside = path.trim_start_matches('/');
            let (from, to) = (self.upper().join(inside), self.over.source.join(inside));
            match change {
                Change::Deleted => remove(&to)?,
                Change::Added | Change::Changed => put(&from, &to)?,
            }
        }
        self.discard()?;
        Ok(told)
    }

    /// Throws the changes away. No container may use the layer meanwhile.
    ///
    /// # Errors
    /// When it cannot be emptied.
    pub fn discard(&self) -> io::Result<()> {
        for folder in [self.upper(), self.work()] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.prepare()
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs_err::remove_dir_all(path),
        Ok(_) => fs_err::remove_file(path),
    }
}

/// Owner and mode of `of`.
fn like(path: &Path, of: &Metadata) -> io::Result<()> {
    chown(path, Some(of.uid()), Some(of.gid()))?;
    fs_err::set_permissions(path, fs::Permissions::from_mode(of.mode() & 0o7777))
}

/// Copies one file, folder (without what is in it) or link over whatever is at `to`.
fn put(from: &Path, to: &Path) -> io::Result<()> {
    let of = fs_err::symlink_metadata(from)?;
    let kind = of.file_type();
    if kind.is_dir() {
        // A link to a folder is replaced, never followed: the parents of everything below are real folders.
        if !to.symlink_metadata().is_ok_and(|there| there.is_dir()) {
            remove(to)?;
            fs_err::create_dir(to)?;
        }
        return like(to, &of);
    }
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{} is no file, folder or link: remove it first", from.display()),
        ));
    }
    let folder = to.parent().unwrap_or(Path::new("/"));
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.banyan-apply"));
    remove(&beside)?;
    if kind.is_symlink() {
        symlink(fs_err::read_link(from)?, &beside)?;
        lchown(&beside, Some(of.uid()), Some(of.gid()))?;
    } else {
        fs_err::copy(from, &beside)?;
        like(&beside, &of)?;
        let times = fs::FileTimes::new().set_modified(of.modified()?);
        fs::File::options().write(true).open(&beside)?.set_times(times)?;
    }
    if to.symlink_metadata().is_ok_and(|there| there.is_dir()) {
        remove(to)?;
    }
    fs_err::rename(&beside, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_found_again_and_its_files_are_put_into_the_folder() {
        let temp = tempfile::tempdir().unwrap();
        let (source, place) = (temp.path().join("src"), temp.path().join("place"));
        fs::create_dir_all(source.join("old")).unwrap();
        fs::write(source.join("same"), "same").unwrap();
        fs::write(source.join("edited"), "before").unwrap();
        let over = Over {
            source: source.clone(),
            target: "/app".into(),
        };
        let layer = Overlay::ensure(&place, &over).unwrap();
        assert_eq!(Overlay::ensure(&place, &over).unwrap(), layer);
        fs::write(layer.upper().join("edited"), "after").unwrap();
        fs::create_dir(layer.upper().join("new")).unwrap();
        fs::write(layer.upper().join("new/file"), "x").unwrap();
        symlink("file", layer.upper().join("new/link")).unwrap();
        let text = |list: Vec<(Change, String)>| -> Vec<String> {
            list.into_iter().map(|(c, path)| format!("{c} {path}")).collect()
        };
        let expected = ["C /edited", "A /new", "A /new/file", "A /new/link"];
        assert_eq!(text(layer.changes().unwrap()), expected);
        assert_eq!(text(layer.apply().unwrap()), expected);
        assert_eq!(fs::read_to_string(source.join("edited")).unwrap(), "after");
        assert_eq!(fs::read_to_string(source.join("new/link")).unwrap(), "x");
        assert!(source.join("old").is_dir());
        assert!(layer.changes().unwrap().is_empty());
        let other = Over {
            source: source.join("same"),
            target: "/f".into(),
        };
        assert!(Overlay::ensure(&place, &other).is_err(), "a file has no layer");
    }
}
