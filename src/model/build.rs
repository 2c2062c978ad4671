//! How an image is built.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// A `build` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Folder, or a remote context (`https://…`, `git@…`) kept as text.
    pub context: String,
    /// Path of the Dockerfile, relative to the context unless absolute.
    pub dockerfile: String,
    /// The Dockerfile itself, instead.
    pub dockerfile_inline: Option<String>,
    /// Build arguments; `None`: taken from the caller's environment, already resolved where it is set.
    pub args: BTreeMap<String, Option<String>>,
    /// Stage to stop at.
    pub target: Option<String>,
    /// Named contexts; `service:x` stays text.
    pub additional_contexts: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// More names for the image.
    pub tags: Vec<String>,
    /// `none`, `host`, `default`.
    pub network: Option<String>,
    /// Extra lines of `/etc/hosts` during `RUN`.
    pub extra_hosts: Vec<(String, String)>,
    /// Ignore the cache.
    pub no_cache: bool,
    /// Refresh base images.
    pub pull: bool,
    /// Platforms to build for.
    pub platforms: Vec<String>,
    /// Bytes of `/dev/shm` during `RUN`.
    pub shm_size: Option<u64>,
    /// Secrets for `RUN --mount=type=secret`.
    pub secrets: Vec<BuildSecret>,
    /// Agents for `RUN --mount=type=ssh`.
    pub ssh: Vec<SshAgent>,
    /// Run steps privileged.
    pub privileged: bool,
    /// What the Dockerfile may ask for: `network.host`, `security.insecure`.
    #[serde(default)]
    pub entitlements: Vec<String>,
    /// Import and export of caches, as written (announced as not supported).
    pub cache_from: Vec<String>,
    /// See `cache_from`.
    pub cache_to: Vec<String>,
}

/// A secret for a build: the key under `secrets` and its id in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSecret {
    /// Key in the project's `secrets`.
    pub source: String,
    /// Id used in `--mount=type=secret,id=`.
    pub id: String,
}

/// An ssh agent or key for a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshAgent {
    /// Id; `default` when not given.
    pub id: String,
    /// Socket or key file; `None`: `SSH_AUTH_SOCK`.
    pub path: Option<PathBuf>,
}
