//! Images pinned to digests: `config --resolve-image-digests` and `--lock-image-digests`.

use super::{
    CommandError, Exit, Global,
    config::{Format, internal},
    image,
};
use crate::project::Resolved;
use banyan_runtime::{
    image::{Digest, Reference, Store},
    registry::{Credentials, RegistryError, pull},
};
use std::{collections::BTreeMap, io::Write as _};

/// The image of every service with its digest, by service. Each name is asked for once.
///
/// A service that is built keeps its name when no registry has it: its digest is made here, with the build.
///
/// # Errors
/// An image that no registry has, and the store has from none.
pub(super) fn digests(
    resolved: &Resolved,
    global: &Global,
) -> Result<BTreeMap<String, String>, CommandError> {
    let (store, credentials) = (image::store(global)?, image::credentials()?);
    let built = resolved.built();
    let mut asked: BTreeMap<String, Result<String, CommandError>> = BTreeMap::new();
    let mut pinned = BTreeMap::new();
    for (service, name) in resolved.images() {
        let answer = match asked.remove(&name) {
            Some(answer) => answer,
            None => pin(&image::reference(&name)?, &store, &credentials),
        };
        match answer {
            Ok(full) => {
                asked.insert(name, Ok(full.clone()));
                pinned.insert(service, full);
            }
            Err(error) if built.contains(&service) => {
                let mut out = std::io::stderr().lock();
                let _ = writeln!(
                    out,
                    "warning: service `{service}` is built here, so its image `{name}` is not pinned"
                );
                asked.insert(name, Err(error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(pinned)
}

/// `name:tag@digest`, in full as docker compose writes it.
fn pin(name: &Reference, store: &Store, credentials: &Credentials) -> Result<String, CommandError> {
    if let Some(digest) = name.digest() {
        return Ok(format!("{}@{digest}", name.repository()));
    }
    let digest = match pull::resolve(name, credentials) {
        Ok(digest) => digest,
        // The digest it was pulled by is what runs here.
        Err(error @ RegistryError::Unreachable { .. }) => match pulled(name, store) {
            Some(digest) => {
                let _ = writeln!(
                    std::io::stderr(),
                    "warning: {error}; `{}` is pinned to the digest it was pulled by",
                    name.familiar()
                );
                digest
            }
            None => return Err(unknown(name, &error)),
        },
        Err(error) => return Err(unknown(name, &error)),
    };
    Ok(format!(
        "{}:{}@{digest}",
        name.repository(),
        name.tag().unwrap_or("latest")
    ))
}

fn unknown(name: &Reference, error: &RegistryError) -> CommandError {
    let what = format!("cannot find the digest of `{}`", name.familiar());
    let failure = CommandError::caused(Exit::Failed, what, error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The digest under which the image in the store was pulled from its registry.
fn pulled(name: &Reference, store: &Store) -> Option<Digest> {
    let image = store.find(name).ok()??;
    let known = store.record(image.id).ok()?.repo_digests;
    let prefix = format!("{}@", name.repository());
    known
        .iter()
        .find_map(|digest| digest.strip_prefix(&prefix)?.parse().ok())
}

/// A project file with nothing but the images, to be given as the last `-f`.
///
/// # Errors
/// Never, but for a flaw of ours.
pub(super) fn override_file(
    pinned: &BTreeMap<String, String>,
    format: Format,
) -> Result<String, CommandError> {
    let services: serde_json::Map<String, serde_json::Value> = pinned
        .iter()
        .map(|(service, image)| (service.clone(), serde_json::json!({ "image": image })))
        .collect();
    let file = serde_json::json!({ "services": services });
    match format {
        Format::Json => serde_json::to_string_pretty(&file)
            .map(|text| text + "\n")
            .map_err(|error| internal(&error)),
        Format::Yaml => serde_yaml::to_string(&file).map_err(|error| internal(&error)),
    }
}
