//! A whole project.

use super::{FileSource, Network, ProjectName, Service, ServiceName, Volume};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// Which file format the project came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// The Compose Specification as `docker compose` implements it.
    Compose,
    /// fig 1.0: services at the top level.
    Fig,
    /// gaudi 0.2: `applications` and `binaries`.
    Gaudi,
}

/// A project, ready to be compared with what runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Project {
    /// Its name; every object of the project carries it.
    pub name: ProjectName,
    /// The format of the first file.
    pub dialect: Dialect,
    /// The folder that relative paths were resolved against.
    pub directory: PathBuf,
    /// The files it was read from, in merge order.
    pub files: Vec<PathBuf>,
    /// Services that take part: enabled by profile, or named on the command line.
    pub services: BTreeMap<ServiceName, Service>,
    /// Services switched off by their profiles. `down` and orphan detection must still know them.
    pub disabled: BTreeMap<ServiceName, Service>,
    /// Networks by key; `default` is present when any service uses it.
    pub networks: BTreeMap<String, Network>,
    /// Named volumes by key.
    pub volumes: BTreeMap<String, Volume>,
    /// Where the bytes of each secret come from, by key. Never the bytes of a file or command.
    pub secrets: BTreeMap<String, FileSource>,
    /// Where the bytes of each config come from, by key.
    pub configs: BTreeMap<String, FileSource>,
}
