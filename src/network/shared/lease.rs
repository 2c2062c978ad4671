//! Who has which address on a shared network. Addresses belong to places of projects, running or not, and survive a
//! reboot as the containers do that have them.

use super::{Locked, SharedError};
use crate::{
    network::address::Pool,
    state::{Roots, read_record, write_record},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
};

/// An address that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Lease<'a> {
    /// The project.
    pub project: &'a str,
    /// Its place for a container: `db-1`.
    pub place: &'a str,
    /// Addresses that the file fixes, at most one per family.
    pub fixed: &'a [IpAddr],
    /// Addresses that the file fixes for other places of the project.
    pub aside: &'a [IpAddr],
}

/// What the names of members begin with that are single containers; their ids follow.
pub const ALONE: &str = "container-";

/// Project → place → addresses.
type Leases = BTreeMap<String, BTreeMap<String, Vec<IpAddr>>>;

fn file(roots: &Roots, name: &str) -> PathBuf {
    roots.network(name).join("addresses.json")
}

/// Whether a project has addresses on a network, asked without its lock.
pub(super) fn mentions(roots: &Roots, name: &str, project: &str) -> bool {
    read_record::<Leases>(&file(roots, name))
        .is_ok_and(|leases| leases.is_some_and(|l| l.contains_key(project)))
}

impl Locked {
    /// The addresses of a place: fixed ones, those that it has already, or the lowest that are free.
    ///
    /// # Errors
    /// A fixed address that somebody else has or that is outside, a network that is full, or the file system's refusal.
    pub fn lease(&mut self, wanted: &Lease<'_>) -> Result<Vec<IpAddr>, SharedError> {
        let mut leases = self.leases()?;
        let own = leases
            .get_mut(wanted.project)
            .and_then(|places| places.remove(wanted.place))
            .unwrap_or_default();
        let plan = self.definition.plan()?;
        let owner = |project: &str, place: &str| format!("{place}` of project `{project}");
        let me = owner(wanted.project, wanted.place);
        let mut given = Vec::new();
        for part in plan.subnets() {
            let mut pool = Pool::new(self.name(), part);
            let ours = |address: &&IpAddr| part.subnet.contains(**address);
            for (project, places) in &leases {
                for (place, addresses) in places {
                    for address in addresses.iter().filter(ours) {
                        // What was given out before a change of hand is no reason to refuse others.
                        let _ = pool.claim(*address, &owner(project, place));
                    }
                }
            }
            let fixed = wanted.fixed.iter().find(|a| a.is_ipv4() == part.subnet.is_ipv4());
            match fixed {
                Some(address) => pool.claim(*address, &me)?,
                None => {
                    for address in wanted.aside.iter().filter(ours) {
                        let _ = pool.claim(*address, &owner(wanted.project, "another place"));
                    }
                    if let Some(before) = own.iter().find(ours) {
                        // Taken meanwhile by one that fixes it: then another one will do.
                        let _ = pool.claim(*before, &me);
                    }
                }
            }
            given.push(pool.allocate(&me)?);
        }
        if given != own || own.is_empty() {
            leases
                .entry(wanted.project.to_owned())
                .or_default()
                .insert(wanted.place.to_owned(), given.clone());
            self.write_leases(&leases)?;
        }
        Ok(given)
    }

    /// Takes the addresses of a place back, or with `None` all of a project's.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn release(&mut self, project: &str, place: Option<&str>) -> Result<(), SharedError> {
        let before = self.all_leases()?;
        let mut leases = self.leases()?;
        if let (Some(place), Some(places)) = (place, leases.get_mut(project)) {
            places.remove(place);
        }
        if place.is_none() || leases.get(project).is_some_and(BTreeMap::is_empty) {
            leases.remove(project);
        }
        if leases == before {
            return Ok(());
        }
        self.write_leases(&leases)
    }

    /// Who has addresses or containers here, in words: ``project `shop` (db-1, web-1)``.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn users(&self) -> Result<Vec<String>, SharedError> {
        let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (project, places) in self.leases()? {
            users.entry(project).or_default().extend(places.into_keys());
        }
        for member in self.living_members() {
            users.entry(member.project).or_default();
        }
        let say = |(project, places): (String, BTreeSet<String>)| {
            if let Some(id) = project.strip_prefix(ALONE) {
                return format!("container `{}`", id.get(..12).unwrap_or(id));
            }
            let places: Vec<_> = places.into_iter().collect();
            if places.is_empty() {
                format!("project `{project}`")
            } else {
                format!("project `{project}` ({})", places.join(", "))
            }
        };
        Ok(users.into_iter().map(say).collect())
    }

    /// All leases of projects, and of containers without one, that exist. A project's record is written before it gets an
    /// address and removed after its last container, so without one a lease is what a crash left.
    fn leases(&self) -> Result<Leases, SharedError> {
        let mut leases = self.all_leases()?;
        leases.retain(|project, _| {
            self.roots.projects().join(project).join("project.json").exists()
                || project
                    .strip_prefix(ALONE)
                    .is_some_and(|id| self.roots.container(id).exists())
        });
        Ok(leases)
    }

    /// What is written down.
    fn all_leases(&self) -> Result<Leases, SharedError> {
        let read = read_record::<Leases>(&file(&self.roots, self.name()));
        Ok(read
            .map_err(SharedError::io("read", self.name()))?
            .unwrap_or_default())
    }

    fn write_leases(&self, leases: &Leases) -> Result<(), SharedError> {
        let path = file(&self.roots, self.name());
        let written = if leases.is_empty() {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        } else {
            write_record(&path, leases)
        };
        written.map_err(SharedError::io("change", self.name()))
    }
}
