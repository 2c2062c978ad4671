//! Images out of Dockerfiles.
//!
//! 1. [`dockerfile`]: text → instructions with their lines (Dockerfile reference, frontend 1.26);
//! 2. [`stages`]: which stages the target needs, with their base images and build arguments;
//! 3. [`context`]: the folder that `COPY` sees (a [`remote`] one is fetched by whoever asks for the build), without what [`ignore`] leaves out, hashed with a cache by stat;
//! 4. [`execute`]: stages in parallel, each of their `steps` from the [`cache`] or done: `RUN` in a container ([`run`], [`sandbox`]),
//!    `COPY` and `ADD` read by `copying` and written by [`copy`] into a layer of their own;
//! 5. the last stage's layers and configuration become the image.
//!
//! Deliberately absent: other frontends than Dockerfiles, remote caches, attestations.

mod agent;
mod board;
pub mod cache;
pub mod context;
pub mod copy;
mod copying;
pub mod dockerfile;
mod error;
pub mod execute;
pub mod ignore;
mod mask;
mod metadata;
pub mod remote;
mod run;
pub mod sandbox;
pub mod stack;
pub mod stages;
mod steps;

pub use error::BuildError;
pub use execute::build;
pub use metadata::apply_changes;
pub use stages::inputs_digest;

use crate::{container::Launcher, image::Platform, network::Outbound, registry::Credentials};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

/// What to build, and with what.
#[derive(Debug)]
pub struct BuildRequest<'a> {
    /// The folder that `COPY` sees.
    pub context: PathBuf,
    /// Where the Dockerfile is; relative paths are relative to the context.
    pub dockerfile: PathBuf,
    /// The Dockerfile's text, instead.
    pub inline: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Stage to stop at; `None`: the last.
    pub target: Option<String>,
    /// Named contexts: a folder, or `docker-image://name`.
    pub contexts: BTreeMap<String, String>,
    /// Contents of secrets by id.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Agent sockets by id (`default`).
    pub ssh: BTreeMap<String, PathBuf>,
    /// More labels.
    pub labels: BTreeMap<String, String>,
    /// Do every step anew.
    pub no_cache: bool,
    /// Ask the registry for base images even when they are here.
    pub pull: bool,
    /// What to build for.
    pub platform: Platform,
    /// Network of `RUN`.
    pub network: RunNetwork<'a>,
    /// `/etc/resolv.conf` during `RUN`; `None`: the image's.
    pub resolv_conf: Option<String>,
    /// More lines of `/etc/hosts` during `RUN`: name, address.
    pub extra_hosts: Vec<(String, String)>,
    /// Bytes of `/dev/shm` during `RUN`.
    pub shm_size: Option<u64>,
    /// Run steps with all privileges.
    pub privileged: bool,
    /// When it turns true, the command that runs is killed, nothing more is begun, and the build ends with
    /// [`BuildError::Stopped`].
    pub stop: Arc<AtomicBool>,
    /// Variables for git where `ADD` names a repository, beside this process's own.
    pub git: BTreeMap<String, String>,
    /// What the Dockerfile may ask for beyond its own container.
    pub allow: Allowed,
    /// Who we are at registries.
    pub credentials: &'a Credentials,
    /// Starts containers.
    pub launcher: &'a Launcher,
}

impl<'a> BuildRequest<'a> {
    /// A build of `context` with its `Dockerfile` and nothing else asked for.
    pub fn new(context: PathBuf, launcher: &'a Launcher, credentials: &'a Credentials) -> Self {
        Self {
            context,
            dockerfile: "Dockerfile".into(),
            inline: None,
            args: BTreeMap::new(),
            target: None,
            contexts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            labels: BTreeMap::new(),
            no_cache: false,
            pull: false,
            platform: Platform::host(),
            network: RunNetwork::None,
            resolv_conf: None,
            extra_hosts: Vec::new(),
            shm_size: None,
            privileged: false,
            stop: Arc::default(),
            git: BTreeMap::new(),
            allow: Allowed::default(),
            credentials,
            launcher,
        }
    }
}

/// What whoever builds grants a Dockerfile (BuildKit's entitlements): nothing, unless it is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `RUN --network=host` (`network.host`).
    pub host_network: bool,
    /// `RUN --security=insecure` (`security.insecure`).
    pub insecure: bool,
}

impl Allowed {
    /// Grants one more by its name in `--allow` and `entitlements`.
    ///
    /// # Errors
    /// The names there are, when it is none of them.
    pub fn grant(&mut self, name: &str) -> Result<(), String> {
        match name {
            "network.host" => self.host_network = true,
            "security.insecure" => self.insecure = true,
            _ => return Err(format!("`{name}` is not `network.host` or `security.insecure`")),
        }
        Ok(())
    }
}

/// How `RUN` reaches other machines unless it says `--network` itself.
#[derive(Clone, Copy)]
pub enum RunNetwork<'a> {
    /// Not at all.
    None,
    /// The host's network.
    Host,
    /// A network that is made at the first `RUN` that is not cached.
    Lazy(&'a (dyn Fn() -> Result<&'a Outbound, crate::network::UplinkError> + Sync)),
}

impl std::fmt::Debug for RunNetwork<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Host => "Host",
            Self::Lazy(_) => "Lazy",
        })
    }
}
