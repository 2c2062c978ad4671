//! An image by name, from wherever it can be had: the store, a registry, Debian packages.

use super::{client::RegistryError, credentials::Credentials, pull::pull};
use crate::{
    container::Launcher,
    debian::{self, DebianError},
    image::{Digest, Event, Image, Platform, Progress, Reference, Store, StoreError},
};
use rustix::fs::FlockOperation;

/// When a registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// When the image is not here.
    #[default]
    Missing,
    /// Always; what is here serves where no registry answers.
    Always,
    /// Never.
    Never,
}

/// Why there is no such image.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// Not here, and nobody was to be asked.
    #[error("the image `{name}` is not here, and pulling is switched off")]
    NotHere {
        /// As people write it.
        name: String,
    },
    /// The registry.
    #[error("cannot pull `{name}`")]
    Pull {
        /// As people write it.
        name: String,
        /// Why.
        #[source]
        cause: RegistryError,
    },
    /// Debian.
    #[error("cannot assemble `{name}` from Debian packages, and no registry answers")]
    Debian {
        /// As people write it.
        name: String,
        /// Why.
        #[source]
        cause: DebianError,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ObtainError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotHere { name } => Some(format!("`banyan image pull {name}`")),
            Self::Pull { cause, .. } => cause.hint(),
            Self::Debian { cause, .. } => cause.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// Finds, pulls, or (for `debian:<suite>` where no registry answers) assembles an image.
pub fn obtain(
    store: &Store,
    reference: &Reference,
    policy: Policy,
    platform: &Platform,
    credentials: &Credentials,
    launcher: &Launcher,
    progress: &dyn Progress,
) -> Result<Image, ObtainError> {
    // Several services may want one image at once: the first obtains it, the others find it then. The lock is the
    // kernel's, so a killed process frees it.
    let _turn = match (policy, store.find(reference)) {
        (Policy::Missing, Ok(Some(image))) if platform.accepts(&image.platform()) => return Ok(image),
        (Policy::Never, _) => None,
        _ => Some(store.lock(&turn_name(reference), FlockOperation::LockExclusive)?),
    };
    let here = match store.find(reference) {
        // What is damaged is fetched again, if it may be.
        Err(error) if policy == Policy::Never => return Err(error.into()),
        Err(_) => None,
        Ok(found) => found,
    };
    let here = here.filter(|image| platform.accepts(&image.platform()));
    let name = reference.familiar();
    match (policy, here) {
        (Policy::Missing | Policy::Never, Some(image)) => Ok(image),
        (Policy::Never, None) => Err(ObtainError::NotHere { name }),
        (_, here) => match pull(store, reference, platform, credentials, progress) {
            Ok(image) => Ok(image),
            Err(cause @ RegistryError::Unreachable { .. }) => match (here, reference.debian_suite()) {
                (Some(image), _) => {
                    progress.event(Event::Notice(&format!(
                        "{cause}; using the `{name}` that is here"
                    )));
                    Ok(image)
                }
                (None, Some(suite)) if *platform == Platform::host() => {
                    assemble(store, reference, suite, launcher, progress)
                }
                (None, _) => Err(ObtainError::Pull { name, cause }),
            },
            Err(cause) => Err(ObtainError::Pull { name, cause }),
        },
    }
}

/// The name of the lock that whoever obtains an image holds.
fn turn_name(reference: &Reference) -> String {
    let digest = Digest::of(reference.to_string().as_bytes()).hex();
    format!("obtain-{}.lock", &digest[..16])
}

fn assemble(
    store: &Store,
    reference: &Reference,
    suite: &str,
    launcher: &Launcher,
    progress: &dyn Progress,
) -> Result<Image, ObtainError> {
    let name = reference.familiar();
    progress.event(Event::Notice(&format!(
        "no registry answers, so `{name}` is assembled from the packages of this machine's Debian mirror"
    )));
    let slim = reference.tag().is_some_and(|tag| tag.ends_with("-slim"));
    let options = debian::Options {
        slim,
        ..debian::Options::default()
    };
    let mut image = debian::assemble(store, suite, &options, launcher, progress)
        .map_err(|cause| ObtainError::Debian { name, cause })?;
    store.tag(image.id, reference)?;
    image.reference = Some(reference.clone());
    Ok(image)
}
