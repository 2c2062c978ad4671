//! Containers by name or id, as they lie on disk.

use super::refuse;
use crate::{
    cli::{Cli, CommandError, Exit},
    engine::alone::{clean_up, lock_path},
    state::{Roots, User},
};
use banyan_runtime::{
    container::{ContainerDir, ContainerError, Found, Launcher, Settings, open, remove},
    image::Store,
};
use std::{fs::File, path::Path};

/// All single containers of one root.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) roots: Roots,
}

/// One container on disk.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dir: ContainerDir,
    pub(super) settings: Settings,
}

impl Registry {
    pub(super) fn open(cli: &Cli) -> Self {
        // Single containers are the superuser's for now; the user's own folders are found through HOME.
        let home = std::env::home_dir().unwrap_or_default();
        let data = std::env::var_os("XDG_DATA_HOME");
        let run = std::env::var_os("XDG_RUNTIME_DIR");
        let root = std::env::home_dir().is_none_or(|home| home == Path::new("/root"));
        let user = if root {
            User::Root
        } else {
            User::Ordinary {
                home: &home,
                data_home: data.as_deref().map(Path::new),
                runtime_dir: run.as_deref().map(Path::new),
            }
        };
        Self {
            roots: Roots::new(cli.global.root.as_deref(), user),
        }
    }

    /// The directories of an id.
    pub(super) fn dir(&self, id: &str) -> ContainerDir {
        ContainerDir::new(self.roots.container(id), self.roots.container_run(id))
    }

    /// All containers there are; damaged ones are left out.
    pub(super) fn all(&self) -> Vec<Entry> {
        let mut list: Vec<Entry> = fs_err::read_dir(self.roots.containers())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                // With a dot: being made or removed.
                let dir = self.dir(name.to_str().filter(|name| !name.starts_with('.'))?);
                let settings = dir.settings().ok()?;
                Some(Entry { dir, settings })
            })
            .collect();
        list.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        list
    }

    /// The container of a name, an id, or the beginning of an id.
    pub(super) fn find(&self, word: &str) -> Result<Entry, CommandError> {
        let mut fitting: Vec<Entry> = Vec::new();
        for entry in self.all() {
            if entry.settings.name == word || entry.settings.id == word {
                return Ok(entry);
            }
            if entry.settings.id.starts_with(word) {
                fitting.push(entry);
            }
        }
        match (fitting.pop(), fitting.len()) {
            (Some(entry), 0) => Ok(entry),
            (Some(_), _) => Err(CommandError::new(
                Exit::Failed,
                format!("several containers have ids beginning with `{word}`"),
            )),
            (None, _) => Err(
                CommandError::new(Exit::Failed, format!("no such container: `{word}`"))
                    .hint("`banyan container ls --all` lists them"),
            ),
        }
    }

    /// Held while a name is given, so that two commands cannot give the same one.
    pub(super) fn lock(&self) -> Result<File, CommandError> {
        let failed = |error: std::io::Error| {
            CommandError::caused(Exit::Host, "cannot lock the list of containers", &error)
        };
        fs_err::create_dir_all(self.roots.containers()).map_err(failed)?;
        fs_err::create_dir_all(&self.roots.run).map_err(failed)?;
        let file = File::create(self.roots.run.join("containers.lock")).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    /// Refuses a name that is taken.
    pub(super) fn check_free(&self, name: &str) -> Result<(), CommandError> {
        match self.all().into_iter().find(|entry| entry.settings.name == name) {
            None => Ok(()),
            Some(other) => Err(refuse(format!(
                "the name `{name}` is taken by container {}",
                short(&other.settings.id)
            ))
            .hint(format!("`banyan container rm {name}` removes that container"))),
        }
    }

    /// Removes a container and gives up its claim on its image.
    pub(super) fn remove(&self, dir: &ContainerDir, force: bool) -> Result<(), ContainerError> {
        let id = dir.state.file_name().unwrap_or_default().to_string_lossy();
        // Who holds its network, if anybody does; looked for before its folder goes.
        let attendant = File::open(lock_path(&self.roots, &id));
        remove(dir, force)?;
        if let Ok(attendant) = attendant {
            // It sees the end by itself, and gives everything back before it ends.
            let _ = attendant.lock();
            clean_up(&self.roots, &id);
        }
        // What the claim protected is gone; a claim that cannot be given up only keeps an image longer.
        let released = Store::open(&self.roots.images()).and_then(|store| store.release(&id));
        if let Err(error) = released {
            tracing::warn!(%error, container = %id, "its image stays claimed");
        }
        Ok(())
    }

    pub(super) fn launcher() -> Result<Launcher, CommandError> {
        Launcher::new(Path::new("/proc/self/exe"))
            .map_err(|error| CommandError::caused(Exit::Host, "cannot prepare containers", &error))
    }
}

impl Entry {
    pub(super) fn found(&self) -> Result<Found, CommandError> {
        open(&self.dir).map_err(|error| {
            CommandError::caused(
                Exit::Failed,
                format!("cannot open container `{}`", self.settings.name),
                &error,
            )
        })
    }

    /// Its running container, or an error that says that it does not run.
    pub(super) fn running(
        &self,
    ) -> Result<banyan_runtime::container::Container<banyan_runtime::container::Running>, CommandError> {
        match self.found()? {
            Found::Running(container) => Ok(container),
            // Its shim was killed: the next command brings it back.
            Found::Orphaned { .. } => Registry::launcher()?.adopt(&self.dir).map_err(|error| {
                CommandError::caused(
                    Exit::Failed,
                    format!("cannot take over container `{}`", self.settings.name),
                    &error,
                )
            }),
            _ => Err(CommandError::new(
                Exit::Failed,
                format!("container `{}` is not running", self.settings.name),
            )
            .hint(format!(
                "`banyan container start {}` starts it",
                self.settings.name
            ))),
        }
    }
}

/// The 12 characters users see.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
