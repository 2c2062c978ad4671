//! Every path banyan owns, and how records are written.
//!
//! ```text
//! <state>/images/            the image store (runtime::image)
//! <state>/containers/<id>/   one folder per container (runtime::container), with our `service.json`
//! <state>/volumes/<name>/    named volumes: `volume.json`, `data/`
//! <state>/networks/<name>/   networks shared by projects: `network.json`, `addresses.json` (network::shared)
//! <state>/projects/<name>/   `project.json` (as last applied), `events.jsonl`, `overlays/`,
//!                            `logs/<place>/` (of the container that was there before)
//! <state>/told/<name>.json   what was said about the user's own data, once
//! <run>/projects/<name>/     `engine.sock`, `engine.lock`, `turn.lock`
//! <run>/networks/<name>/     who is on a shared network now (network::shared)
//! <run>/containers/<id>/     sockets of shims
//! ```
//!
//! Files are replaced, never edited: written beside, synced, renamed. Locks are `flock`s, which the kernel frees at
//! death.

use crate::model::ProjectName;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The two folders everything lives under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// What must survive a reboot.
    pub state: PathBuf,
    /// Sockets, locks and process records, meaningless after a reboot.
    pub run: PathBuf,
}

impl Roots {
    /// The roots for `root` as given by `--root`, else the machine's defaults for this user.
    ///
    /// A root of one's own has its run folder inside it, so that two roots never meet.
    pub fn new(root: Option<&Path>, user: User<'_>) -> Self {
        match (root, user) {
            (Some(root), _) => {
                let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
                Self {
                    run: root.join("run"),
                    state: root,
                }
            }
            (None, User::Root) => Self {
                state: "/var/lib/banyan".into(),
                run: "/run/banyan".into(),
            },
            (
                None,
                User::Ordinary {
                    home,
                    data_home,
                    runtime_dir,
                },
            ) => {
                let data = data_home.map_or_else(|| home.join(".local/share"), Path::to_owned);
                let state = data.join("banyan");
                Self {
                    run: runtime_dir.map_or_else(|| state.join("run"), |dir| dir.join("banyan")),
                    state,
                }
            }
        }
    }

    /// Eight digits by which things of the whole machine are told from those of other roots; the machine's own needs none.
    pub fn mark(&self) -> Option<String> {
        use sha2::Digest;
        use std::os::unix::ffi::OsStrExt;
        if self.run == Path::new("/run/banyan") {
            return None;
        }
        let digest = sha2::Sha256::digest(self.run.as_os_str().as_bytes());
        Some(digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect())
    }

    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// All containers.
    pub fn containers(&self) -> PathBuf {
        self.state.join("containers")
    }

    /// What a container keeps.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// A container's sockets.
    pub fn container_run(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// All named volumes.
    pub fn volumes(&self) -> PathBuf {
        self.state.join("volumes")
    }

    /// All networks shared by projects.
    pub fn networks(&self) -> PathBuf {
        self.state.join("networks")
    }

    /// What a shared network keeps.
    pub fn network(&self, name: &str) -> PathBuf {
        self.networks().join(name)
    }

    /// Who is on a shared network now.
    pub fn network_run(&self, name: &str) -> PathBuf {
        self.run.join("networks").join(name)
    }

    /// All projects.
    pub fn projects(&self) -> PathBuf {
        self.state.join("projects")
    }

    /// What a project keeps.
    pub fn project(&self, name: &ProjectName) -> PathBuf {
        self.projects().join(name.as_str())
    }

    /// The project as last applied.
    pub fn project_file(&self, name: &ProjectName) -> PathBuf {
        self.project(name).join("project.json")
    }

    /// The project's history.
    pub fn events_file(&self, name: &ProjectName) -> PathBuf {
        self.project(name).join("events.jsonl")
    }

    /// What the user was told about the data of a project, so that it is told once. Outlives `down`.
    pub fn told(&self, name: &ProjectName) -> PathBuf {
        self.state.join("told").join(format!("{name}.json"))
    }

    /// Where logs of containers are that others took the place of.
    pub fn previous_logs(&self, name: &ProjectName) -> PathBuf {
        self.project(name).join("logs")
    }

    /// The discardable layers of a project's binds, or of one place (`web-1`).
    pub fn overlays(&self, name: &ProjectName, place: Option<&str>) -> PathBuf {
        let all = self.project(name).join("overlays");
        place.map_or(all.clone(), |place| all.join(place))
    }

    /// A project's sockets and locks.
    pub fn project_run(&self, name: &ProjectName) -> PathBuf {
        self.run.join("projects").join(name.as_str())
    }

    /// The engine's socket.
    pub fn engine_socket(&self, name: &ProjectName) -> PathBuf {
        self.project_run(name).join("engine.sock")
    }

    /// Held by the engine for as long as it lives.
    pub fn engine_lock(&self, name: &ProjectName) -> PathBuf {
        self.project_run(name).join("engine.lock")
    }
}

/// On whose behalf we run.
#[derive(Debug, Clone, Copy)]
pub enum User<'a> {
    /// The superuser.
    Root,
    /// Somebody else.
    Ordinary {
        /// `$HOME`.
        home: &'a Path,
        /// `$XDG_DATA_HOME`.
        data_home: Option<&'a Path>,
        /// `$XDG_RUNTIME_DIR`.
        runtime_dir: Option<&'a Path>,
    },
}

/// Replaces the file at `path` with `value` as JSON: the old text or the new, never a mixture, even after a power cut.
///
/// # Errors
/// With the path, when a step fails; the old file is then still there.
pub fn write_record<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let text = serde_json::to_vec(value).map_err(io::Error::other)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs_err::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.new-{}", std::process::id()));
    let written = (|| {
        let mut file = fs_err::File::create(&beside)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs_err::rename(&beside, path)?;
        fs_err::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // The half-written file is of no use to anybody; the error already names the step.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Reads the record at `path`; `None` when there is none.
///
/// # Errors
/// With the path, when it cannot be read or is damaged.
pub fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(io::Error::new(
                error.kind(),
                format!("{}: {error}", path.display()),
            ));
        }
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is damaged: {error}", path.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_of_ones_own_keeps_its_run_folder_inside() {
        let roots = Roots::new(Some(Path::new("/x")), User::Root);
        assert_eq!(
            roots,
            Roots {
                state: "/x".into(),
                run: "/x/run".into()
            }
        );
        assert_eq!(Roots::new(None, User::Root).run, Path::new("/run/banyan"));
        let user = User::Ordinary {
            home: Path::new("/h"),
            data_home: None,
            runtime_dir: Some(Path::new("/r")),
        };
        assert_eq!(
            Roots::new(None, user),
            Roots {
                state: "/h/.local/share/banyan".into(),
                run: "/r/banyan".into()
            }
        );
    }

    #[test]
    fn a_record_is_replaced_whole_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/record.json");
        assert_eq!(read_record::<Vec<u8>>(&path).unwrap(), None);
        write_record(&path, &vec![1, 2]).unwrap();
        write_record(&path, &vec![3]).unwrap();
        assert_eq!(read_record::<Vec<u8>>(&path).unwrap(), Some(vec![3]));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        std::fs::write(&path, "[1,").unwrap();
        let error = read_record::<Vec<u8>>(&path).unwrap_err().to_string();
        assert!(error.contains("record.json is damaged"), "{error}");
    }
}
