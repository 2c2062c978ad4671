//! Named volumes: folders that outlive containers.
//!
//! `<state>/volumes/<name>/data` is what containers mount, `volume.json` beside it says whose it is. A volume appears
//! by renaming a complete folder, and disappears by renaming it away before its files are deleted, so no half volume is
//! ever seen.

use crate::state::{Roots, read_record, write_record};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What is kept about a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name on this machine.
    pub name: String,
    /// Its labels; `com.docker.compose.project` and `.volume` say whose it is.
    pub labels: BTreeMap<String, String>,
    /// Driver options of its definition.
    pub options: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// The container whose place it belongs to, for anonymous ones.
    pub anonymous: bool,
}

/// Why a volume could not be made, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The name would not be a plain file name.
    #[error(
        "`{name}` is not a volume name: use letters, digits, `_`, `.` and `-`, starting with a letter or digit"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// It does not exist.
    #[error("there is no volume `{name}`")]
    Missing {
        /// The name.
        name: String,
    },
    /// The file system refused.
    #[error("cannot {action} volume `{name}`")]
    Io {
        /// `make`, `read`, `remove`.
        action: &'static str,
        /// The name.
        name: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// The volumes of one root.
#[derive(Debug, Clone)]
pub struct Volumes {
    folder: PathBuf,
}

impl Volumes {
    /// Of these roots.
    pub fn new(roots: &Roots) -> Self {
        Self {
            folder: roots.volumes(),
        }
    }

    /// Where a volume's files are.
    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("data")
    }

    /// Makes a volume unless it exists; true when it was made.
    ///
    /// # Errors
    /// A bad name, or the file system's refusal.
    pub fn ensure(&self, volume: &Volume) -> Result<bool, VolumeError> {
        let name = checked(&volume.name)?;
        let io = |cause| VolumeError::Io {
            action: "make",
            name: volume.name.clone(),
            cause,
        };
        let place = self.folder.join(name);
        if place.join("volume.json").exists() {
            return Ok(false);
        }
        self.clear_halves(name);
        let beside = self.folder.join(format!(".{name}.new-{}", std::process::id()));
        fs_err::create_dir_all(beside.join("data")).map_err(io)?;
        write_record(&beside.join("volume.json"), volume).map_err(io)?;
        match std::fs::rename(&beside, &place) {
            Ok(()) => Ok(true),
            // Somebody else made it meanwhile: theirs is as good.
            Err(_) if place.join("volume.json").exists() => {
                fs_err::remove_dir_all(&beside).map_err(io)?;
                Ok(false)
            }
            Err(cause) => Err(io(cause)),
        }
    }

    /// A volume's record.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn find(&self, name: &str) -> Result<Volume, VolumeError> {
        let record = read_record(&self.folder.join(checked(name)?).join("volume.json"));
        let io = |cause| VolumeError::Io {
            action: "read",
            name: name.to_owned(),
            cause,
        };
        record.map_err(io)?.ok_or_else(|| VolumeError::Missing {
            name: name.to_owned(),
        })
    }

    /// All volumes, by name. A damaged record does not hide the others: its volume is listed without labels.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<Volume>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut volumes = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            volumes.push(self.find(&name).unwrap_or_else(|_| Volume {
                name,
                labels: BTreeMap::new(),
                options: BTreeMap::new(),
                created: 0,
                anonymous: false,
            }));
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Removes a volume and everything in it. The caller made sure that no container uses it.
    ///
    /// # Errors
    /// When there is none, or its files cannot be deleted.
    pub fn remove(&self, name: &str) -> Result<(), VolumeError> {
        let place = self.folder.join(checked(name)?);
        let io = |cause| VolumeError::Io {
            action: "remove",
            name: name.to_owned(),
            cause,
        };
        self.clear_halves(name);
        let away = self.folder.join(format!(".{name}.gone-{}", std::process::id()));
        match std::fs::rename(&place, &away) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(VolumeError::Missing {
                    name: name.to_owned(),
                });
            }
            renamed => renamed.map_err(io)?,
        }
        fs_err::remove_dir_all(&away).map_err(io)
    }

    /// Removes what processes that were killed left of this volume, half made or half removed.
    fn clear_halves(&self, name: &str) {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let Some(rest) = file
                .to_str()
                .and_then(|file| file.strip_prefix('.')?.strip_prefix(name))
            else {
                continue;
            };
            let maker = rest.strip_prefix(".new-").or_else(|| rest.strip_prefix(".gone-"));
            // Whose maker lives is still being worked on.
            if maker.is_some_and(|pid| !banyan_runtime::sys::host::is_running(pid)) {
                // It is only space; the next one tries again.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Bytes that a volume's files occupy on disk.
    pub fn size(&self, name: &str) -> u64 {
        fn below(folder: &Path) -> u64 {
            let Ok(entries) = std::fs::read_dir(folder) else {
                return 0;
            };
            let sizes = entries.flatten().map(|entry| match entry.metadata() {
                Ok(data) if data.is_dir() => below(&entry.path()) + data.blocks() * 512,
                Ok(data) => data.blocks() * 512,
                Err(_) => 0,
            });
            sizes.sum()
        }
        below(&self.data(name))
    }
}

fn checked(name: &str) -> Result<&str, VolumeError> {
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if good {
        Ok(name)
    } else {
        Err(VolumeError::Name {
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::User;

    #[test]
    fn a_volume_is_made_once_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(&Roots::new(Some(dir.path()), User::Root));
        assert_eq!(volumes.list().unwrap(), []);
        let volume = Volume {
            name: "p_data".into(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            created: 1,
            anonymous: false,
        };
        assert!(volumes.ensure(&volume).unwrap());
        std::fs::write(volumes.data("p_data").join("row"), "x").unwrap();
        assert!(!volumes.ensure(&volume).unwrap());
        assert_eq!(volumes.list().unwrap(), [volume]);
        assert!(volumes.size("p_data") > 0);
        // A process that was killed left halves; no process has this number.
        for half in [
            ".p_data.new-99999999",
            ".p_data.gone-99999999",
            ".p_data.new-1",
            ".p_data2.new-99999999",
        ] {
            std::fs::create_dir(volumes.folder.join(half)).unwrap();
        }
        volumes.remove("p_data").unwrap();
        let left = std::fs::read_dir(&volumes.folder).unwrap().flatten();
        let mut left: Vec<_> = left
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".p_data.new-1", ".p_data2.new-99999999"]);
        for half in left {
            std::fs::remove_dir(volumes.folder.join(half)).unwrap();
        }
        assert!(matches!(
            volumes.remove("p_data"),
            Err(VolumeError::Missing { .. })
        ));
        assert_eq!(std::fs::read_dir(dir.path().join("volumes")).unwrap().count(), 0);
    }

    #[test]
    fn names_that_are_not_plain_file_names_are_refused() {
        let volumes = Volumes {
            folder: "/nowhere".into(),
        };
        for name in ["", "..", "a/b", ".hidden", "-x"] {
            assert!(
                matches!(volumes.find(name), Err(VolumeError::Name { .. })),
                "{name}"
            );
        }
    }
}
