//! Builds of services: a `build` section as the runtime's build request, and whether an image is still what it would
//! build.
//!
//! What an image was built from is remembered beside the project as a digest of the Dockerfile, its arguments and the
//! files of the context that it uses, so that `up` rebuilds when one of them changed, and never asks for `--build`.

use super::{Engine, Outcome, images::Telling, remote};
use crate::{
    api::wire::{Failure, Fault},
    model::{Build, FileSource, Project, Service, hash_of},
    state::{read_record, write_record},
};
use banyan_runtime::{
    build::{self, BuildError, BuildRequest, RunNetwork},
    image::{Image, Reference},
    network::{Outbound, UplinkError, resolv_conf::ResolvConf},
    registry::Credentials,
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::OnceLock};

/// What an image was built from.
#[derive(Debug, Serialize, Deserialize)]
struct Built {
    /// Digest of the inputs.
    inputs: String,
    /// The image.
    image: String,
}

fn record_path(engine: &Engine, service: &Service) -> PathBuf {
    let name = hash_of(&service.image.name);
    engine
        .roots
        .images()
        .join("builds")
        .join(format!("{}.json", &name[..32]))
}

/// Whether `image` is what the section would build now.
///
/// # Errors
/// When the Dockerfile or the context cannot be read.
pub fn is_current(
    engine: &Engine,
    project: &Project,
    service: &Service,
    section: &Build,
    image: &Image,
) -> Outcome<bool> {
    // A damaged record only means that it is built again, from the cache.
    let Ok(Some(built)) = read_record::<Built>(&record_path(engine, service)) else {
        return Ok(false);
    };
    if built.image != image.id.to_string() {
        return Ok(false);
    }
    if remote::is_remote(&section.context) {
        return Ok(built.inputs == remote_inputs(section));
    }
    let credentials = Credentials::none();
    let mut request = request(engine, project, service, section, &credentials)?;
    // Nothing is run for a digest, but the kind of network counts in it.
    let closed = || Err(UplinkError::NoRange);
    request.network = network(section, &closed);
    let inputs = build::inputs_digest(&request, &engine.store).map_err(|error| failed(service, &error))?;
    Ok(inputs.to_string() == built.inputs)
}

/// Builds a service's image and gives it its names.
///
/// # Errors
/// The Dockerfile's line and the failed command's last output.
pub fn build(
    engine: &Engine,
    project: &Project,
    service: &Service,
    section: &Build,
    progress: &Telling,
) -> Outcome<Image> {
    let credentials = super::images::credentials();
    let outbound: OnceLock<Outbound> = OnceLock::new();
    let host = ResolvConf::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let open = || match outbound.get() {
        Some(outbound) => Ok(outbound),
        None => {
            let made = Outbound::open(super::networks::uplinks(), &host)?;
            Ok(outbound.get_or_init(|| made))
        }
    };
    let mut request = request(engine, project, service, section, &credentials)?;
    let fetched = if remote::is_remote(&section.context) {
        let place = engine.roots.images().join("contexts");
        Some(remote::fetch(service, section, &place)?)
    } else {
        None
    };
    if let Some(fetched) = &fetched {
        request.context.clone_from(&fetched.folder);
    }
    request.network = network(section, &open);
    request.resolv_conf = ResolvConf::from_host(&host).map(|servers| servers.render());
    // Taken before the build: a file that changes meanwhile makes the next `up` build again.
    let inputs = match &fetched {
        Some(_) => remote_inputs(section),
        None => build::inputs_digest(&request, &engine.store)
            .map_err(|error| failed(service, &error))?
            .to_string(),
    };
    let image = build::build(&request, &engine.store, progress).map_err(|error| failed(service, &error))?;
    for name in std::iter::once(&service.image.name).chain(&section.tags) {
        let reference: Reference = name.parse().map_err(|error| {
            Failure::caused(
                Fault::ProjectFile,
                format!("`{name}` is not an image name"),
                &error,
            )
            .at(service.places.get("build.tags").or(service.place.as_ref()))
        })?;
        engine
            .store
            .tag(image.id, &reference)
            .map_err(|error| Failure::caused(Fault::Host, format!("cannot name image `{name}`"), &error))?;
    }
    let built = Built {
        inputs,
        image: image.id.to_string(),
    };
    write_record(&record_path(engine, service), &built).map_err(|error| {
        Failure::caused(
            Fault::Host,
            "cannot remember what an image was built from",
            &error,
        )
    })?;
    Ok(image)
}

/// What stands for the inputs of a build whose context is elsewhere.
fn remote_inputs(section: &Build) -> String {
    format!("remote:{}", hash_of(section))
}

/// The network of `RUN` steps.
fn network<'a>(
    section: &Build,
    open: &'a (dyn Fn() -> Result<&'a Outbound, UplinkError> + Sync),
) -> RunNetwork<'a> {
    match section.network.as_deref() {
        Some("none") => RunNetwork::None,
        Some("host") => RunNetwork::Host,
        _ => RunNetwork::Lazy(open),
    }
}

/// The section as a request.
fn request<'a>(
    engine: &'a Engine,
    project: &Project,
    service: &Service,
    section: &Build,
    credentials: &'a Credentials,
) -> Outcome<BuildRequest<'a>> {
    let place = || {
        service
            .places
            .get("build.context")
            .or(service.places.get("build"))
            .or(service.place.as_ref())
    };
    let mut made = BuildRequest::new(section.context.clone().into(), &engine.launcher, credentials);
    made.dockerfile = section.dockerfile.clone().into();
    made.inline.clone_from(&section.dockerfile_inline);
    made.args = section
        .args
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
        .collect();
    made.target.clone_from(&section.target);
    made.labels = section.labels.clone();
    made.no_cache = section.no_cache;
    made.pull = section.pull;
    made.extra_hosts.clone_from(&section.extra_hosts);
    made.shm_size = section.shm_size;
    made.privileged = section.privileged;
    for name in &section.entitlements {
        made.allow.grant(name).map_err(|reason| {
            let what = format!("`build.entitlements` of service `{}`: {reason}", service.name);
            Failure::new(Fault::ProjectFile, what).at(place())
        })?;
    }
    for (name, context) in &section.additional_contexts {
        let context = match context.strip_prefix("service:") {
            None => context.clone(),
            Some(other) => {
                let other = project
                    .services
                    .values()
                    .find(|service| service.name.as_str() == other);
                other.map_or_else(
                    || context.clone(),
                    |service| format!("docker-image://{}", service.image.name),
                )
            }
        };
        made.contexts.insert(name.clone(), context);
    }
    for secret in &section.secrets {
        let content = match project.secrets.get(&secret.source) {
            Some(FileSource::File(path)) => fs_err::read(path).map_err(|error| {
                let what = format!(
                    "cannot read secret `{}` of the build of `{}`",
                    secret.source, service.name
                );
                Failure::caused(Fault::Asked, what, &error).at(place())
            })?,
            Some(FileSource::Environment(name)) => super::lock(&engine.environment)
                .get(name)
                .cloned()
                .unwrap_or_default()
                .into_bytes(),
            Some(FileSource::Content(text)) => text.clone().into_bytes(),
            Some(FileSource::Command(_)) | None => continue,
        };
        made.secrets.insert(secret.id.clone(), content);
    }
    for agent in &section.ssh {
        let socket = agent
            .path
            .clone()
            .or_else(|| std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from));
        made.ssh.extend(socket.map(|socket| (agent.id.clone(), socket)));
    }
    Ok(made)
}

fn failed(service: &Service, error: &BuildError) -> Box<Failure> {
    let failure = Failure::caused(
        Fault::Asked,
        format!("cannot build the image of service `{}`", service.name),
        error,
    )
    .at(service.places.get("build").or(service.place.as_ref()));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
