//! Networks that several projects share (`external: true`): each lives in a hall of its own.
//!
//! ```text
//! <state>/networks/<name>/network.json           what it is; its folder is locked while it is changed or joined
//! <state>/networks/<name>/addresses.json         who has which address: project → place → addresses
//! <run>/networks/<name>/hall.json                which namespace its hall is, while there is one
//! <run>/networks/<name>/member-<project>.json    what one project has there now: engine, name port, containers
//! <run>/networks/<name>/version                  a link to a number that grows with every change of a member
//! ```
//!
//! 1. [`SharedNetworks`] makes, finds and removes definitions. Nothing of the kernel exists for one that nobody uses.
//! 2. [`Locked`] is one network, held by a `flock` that the kernel releases with its holder: addresses are given out,
//!    halls found, joined and left only with it in hand, so engines that race are served one after the other.
//! 3. The hall is held by descriptors: of the engines that joined, and of the shims of their containers. No process
//!    belongs to the network and nothing is mounted, so it is gone with the last of them. Whoever comes opens it through
//!    any holder that lives, recognised by pid and start time, and the namespace by its label and its cookie.
//! 4. What members write is read by all other engines: a query compares [`SharedNetworks::version`] first, so a change
//!    is seen by the very next one.

mod definition;
mod hall;
mod lease;
mod member;

pub use definition::Definition;
pub use lease::{ALONE, Lease};
pub use member::{Member, MemberContainer};

use super::address::{AddressError, NetworkPlan, plan_networks};
use crate::{
    model::Network,
    state::{Roots, read_record, write_record},
};
use banyan_runtime::network::{HallError, Subnet};
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Names that mean something else wherever a network is named.
const TAKEN: [&str; 4] = ["bridge", "default", "host", "none"];

/// Why something about a shared network failed.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// The name would not be a plain file name.
    #[error(
        "`{name}` is not a network name: use letters, digits, `_`, `.` and `-`, starting with a letter or digit"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The name means something else.
    #[error("`{name}` is the name of a kind of network")]
    Taken {
        /// The name.
        name: String,
    },
    /// There is one already.
    #[error("there is a network `{name}` already")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is none.
    #[error("there is no network `{name}`")]
    Missing {
        /// The name.
        name: String,
    },
    /// Somebody is on it.
    #[error("network `{name}` is in use by {}", users.join(", "))]
    InUse {
        /// The name.
        name: String,
        /// Who, in words.
        users: Vec<String>,
    },
    /// Its addresses cannot be.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Two shared networks would have the same addresses.
    #[error("network `{name}` overlaps network `{other}`, which has `{subnet}`")]
    Overlap {
        /// The new one.
        name: String,
        /// The other one.
        other: String,
        /// The other one's addresses.
        subnet: Subnet,
    },
    /// More engines than name ports.
    #[error("too many projects are on network `{name}` at once")]
    Crowded {
        /// The name.
        name: String,
    },
    /// Its hall.
    #[error(transparent)]
    Hall(#[from] HallError),
    /// The file system refused.
    #[error("cannot {action} network `{name}`")]
    Io {
        /// `make`, `read`, `change`, `remove`.
        action: &'static str,
        /// The name.
        name: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl SharedError {
    /// What to type instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { name } => Some(format!("make it with `banyan network create {name}`")),
            Self::InUse { .. } => Some("`banyan -p PROJECT down` takes a project off it".into()),
            Self::Overlap { .. } => Some("choose other addresses with `--subnet`".into()),
            Self::Address(error) => error.hint(),
            Self::Hall(error) => error.hint(),
            _ => None,
        }
    }

    fn io(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let name = name.to_owned();
        move |cause| Self::Io { action, name, cause }
    }
}

/// The shared networks of one root.
#[derive(Debug, Clone)]
pub struct SharedNetworks {
    roots: Roots,
}

/// One network, nobody else's to change until this is dropped.
#[derive(Debug)]
pub struct Locked {
    roots: Roots,
    definition: Definition,
    /// Of the folder; the lock goes with it.
    _lock: File,
}

impl SharedNetworks {
    /// Of these roots.
    pub fn new(roots: &Roots) -> Self {
        Self { roots: roots.clone() }
    }

    /// Makes a network. Subnets that `wanted` does not name are chosen now and stay: none that the host uses (`avoid`),
    /// that another shared network has, or that projects get for their own networks as long as others are free.
    ///
    /// # Errors
    /// A bad or taken name, addresses that cannot be, or the file system's refusal.
    pub fn create(
        &self,
        wanted: Network,
        avoid: &[Subnet],
        id: String,
        created: i64,
    ) -> Result<Definition, SharedError> {
        let name = checked(&wanted.name)?.to_owned();
        if TAKEN.contains(&name.as_str()) {
            return Err(SharedError::Taken { name });
        }
        self.make(wanted, avoid, id, created)
    }

    /// Makes the network that containers without a project are on when they name none, unless it is there.
    ///
    /// # Errors
    /// As [`SharedNetworks::create`].
    pub fn ensure_default(
        &self,
        wanted: Network,
        avoid: &[Subnet],
        id: String,
        created: i64,
    ) -> Result<(), SharedError> {
        if self.find(&wanted.name).is_ok() {
            return Ok(());
        }
        match self.make(wanted, avoid, id, created) {
            // Somebody else was faster.
            Err(SharedError::Exists { .. }) => Ok(()),
            made => made.map(drop),
        }
    }

    fn make(
        &self,
        wanted: Network,
        avoid: &[Subnet],
        id: String,
        created: i64,
    ) -> Result<Definition, SharedError> {
        let name = checked(&wanted.name)?.to_owned();
        let made = SharedError::io("make", &name);
        let folder = self.roots.networks();
        let place = self.roots.network(&name);
        let beside = folder.join(format!(".{name}.new-{}", std::process::id()));
        let write = || {
            fs_err::create_dir_all(&folder)?;
            // Two that are made at once must not choose the same addresses.
            let all = File::open(&folder)?;
            all.lock()?;
            Ok(all)
        };
        let _all = match write() {
            Ok(all) => all,
            Err(error) => return Err(made(error)),
        };
        if place.join(FILE).exists() {
            return Err(SharedError::Exists { name });
        }
        let others = self.list().map_err(SharedError::io("read", &name))?;
        let definition = Definition::new(wanted, avoid, &others, id, created)?;
        let written = fs_err::create_dir_all(&beside)
            .and_then(|()| write_record(&beside.join(FILE), &definition))
            .and_then(|()| fs_err::rename(&beside, &place));
        if let Err(error) = written {
            // Half a network is of no use; the error already names the step.
            let _ = std::fs::remove_dir_all(&beside);
            return Err(made(error));
        }
        Ok(definition)
    }

    /// A network's definition.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn find(&self, name: &str) -> Result<Definition, SharedError> {
        let path = self.roots.network(checked(name)?).join(FILE);
        let found = read_record(&path).map_err(SharedError::io("read", name))?;
        found.ok_or_else(|| SharedError::Missing { name: name.into() })
    }

    /// All networks, by name. One whose record is damaged is left out.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<Definition>> {
        let mut all: Vec<Definition> = names_in(&self.roots.networks())?
            .iter()
            .filter_map(|name| match self.find(name) {
                Ok(definition) => Some(definition),
                Err(error) => {
                    tracing::warn!(%error, "skipped a network");
                    None
                }
            })
            .collect();
        all.sort_by(|a, b| a.network.name.cmp(&b.network.name));
        Ok(all)
    }

    /// Waits until nobody else has the network in hand.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn lock(&self, name: &str) -> Result<Locked, SharedError> {
        let folder = self.roots.network(checked(name)?);
        let failed = || SharedError::io("read", name);
        loop {
            let lock = match File::open(&folder) {
                Ok(folder) => folder,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(SharedError::Missing { name: name.into() });
                }
                Err(error) => return Err(failed()(error)),
            };
            lock.lock().map_err(failed())?;
            let own = lock.metadata().map_err(failed())?.ino();
            // Whoever had it may have removed the network meanwhile, and somebody else made it anew.
            if std::fs::metadata(&folder).is_ok_and(|there| there.ino() == own) {
                return Ok(Locked {
                    roots: self.roots.clone(),
                    definition: self.find(name)?,
                    _lock: lock,
                });
            }
        }
    }

    /// Removes a network that nobody uses.
    ///
    /// # Errors
    /// `InUse` with the names of the users, or the file system's refusal.
    pub fn remove(&self, name: &str) -> Result<(), SharedError> {
        let locked = self.lock(name)?;
        let users = locked.users()?;
        if !users.is_empty() {
            return Err(SharedError::InUse {
                name: name.into(),
                users,
            });
        }
        let aside = self
            .roots
            .networks()
            .join(format!(".{name}.gone-{}", std::process::id()));
        let removed = remove_if_there(&self.roots.network_run(name))
            .and_then(|()| fs_err::rename(self.roots.network(name), &aside))
            .and_then(|()| fs_err::remove_dir_all(&aside));
        removed.map_err(SharedError::io("remove", name))
    }

    /// Names of networks of which `project` is, or by the remains of a crash seems to be, a member, and of those on
    /// which it has addresses.
    pub fn joined_by(&self, project: &str) -> Vec<String> {
        let all = names_in(&self.roots.networks()).unwrap_or_default();
        let concerns = |name: &String| {
            member::file(&self.roots, name, project).exists() || lease::mentions(&self.roots, name, project)
        };
        all.into_iter().filter(concerns).collect()
    }

    /// What members have on a network now.
    pub fn members(&self, name: &str) -> Vec<Member> {
        member::all(&self.roots, name)
    }

    /// A number that grows whenever a member of the network changes. One system call.
    pub fn version(&self, name: &str) -> Option<u64> {
        member::version(&self.roots.network_run(name))
    }
}

impl Locked {
    /// What it is.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    fn name(&self) -> &str {
        &self.definition.network.name
    }
}

/// What a network's definition is called in its folder.
const FILE: &str = "network.json";

/// The addresses of one network by itself.
fn plan_one(network: &Network, avoid: &[Subnet]) -> Result<NetworkPlan, AddressError> {
    let name = network.name.clone();
    let networks = BTreeMap::from([(name.clone(), network.clone())]);
    let mut plans = plan_networks(&networks, avoid, &BTreeMap::new())?;
    plans
        .remove(&name)
        .ok_or(AddressError::NoSubnet { network: name })
}

/// The name, if it can be a folder's: docker's rule.
fn checked(name: &str) -> Result<&str, SharedError> {
    let mut letters = name.bytes();
    let good = letters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && name.len() <= 200;
    if good {
        Ok(name)
    } else {
        Err(SharedError::Name { name: name.into() })
    }
}

/// Names of what is in a folder, but hidden ones; none when there is no folder.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn remove_if_there(folder: &PathBuf) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
