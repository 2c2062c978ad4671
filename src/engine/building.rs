//! Builds of services: a `build` section as the runtime's build request, and whether an image is still what it would
//! build.
//!
//! What an image was built from is remembered beside the project as a digest of the Dockerfile, its arguments and the
//! files of the context that it uses, so that `up` rebuilds when one of them changed, and never asks for `--build`.

use super::{Engine, Outcome, images::Telling};
use crate::{
    api::wire::{Failure, Fault},
    model::{Build, FileSource, Project, Service, hash_of},
    state::{read_record, write_record},
};
use banyan_runtime::{
    build::{
        self, BuildError, BuildRequest, RunNetwork,
        remote::{GIT_VARIABLES, Remote, RemoteError},
    },
    image::{Image, Platform, Progress, Reference, Silent},
    network::{Outbound, UplinkError, resolv_conf::ResolvConf},
    registry::Credentials,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

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
    // A server that does not answer is no reason to build anew, or not to start what is here.
    let contexts = std::iter::once(&section.context).chain(section.additional_contexts.values());
    for context in contexts {
        match fetched(engine, context, &Silent) {
            Err(error) if error.is_out_of_reach() => return Ok(true),
            Err(error) => return Err(unreachable_context(service, context, &error)),
            Ok(_) => {}
        }
    }
    let credentials = Credentials::none();
    let mut request = request(engine, project, service, section, &credentials, &Silent)?;
    // Nothing is run for a digest, but the kind of network counts in it.
    let closed = || Err(UplinkError::NoRange);
    request.network = network(section, &closed);
    let inputs = build::inputs_digest(&request, &engine.store).map_err(|error| failed(service, &error))?;
    Ok(inputs.to_string() == built.inputs)
}

/// Builds a service's image and gives it its names. It ends early when `stop` turns true.
///
/// # Errors
/// The Dockerfile's line and the failed command's last output.
pub fn build(
    engine: &Engine,
    project: &Project,
    service: &Service,
    (section, stop): (&Build, Arc<AtomicBool>),
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
    let mut request = request(engine, project, service, section, &credentials, progress)?;
    request.stop = stop;
    request.network = network(section, &open);
    request.resolv_conf = ResolvConf::from_host(&host).map(|servers| servers.render());
    // Taken before the build: a file that changes meanwhile makes the next `up` build again.
    let inputs = build::inputs_digest(&request, &engine.store).map_err(|error| failed(service, &error))?;
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
        inputs: inputs.to_string(),
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

/// The folder of a remote context, fetched unless it is here; `None`: the context is none.
fn fetched(engine: &Engine, context: &str, progress: &dyn Progress) -> Result<Option<PathBuf>, RemoteError> {
    let Some(remote) = Remote::of(context) else {
        return Ok(None);
    };
    let fetched = remote.fetch(&engine.store, &git_variables(engine), progress)?;
    Ok(Some(fetched.folder))
}

/// The caller's variables for git.
fn git_variables(engine: &Engine) -> BTreeMap<String, String> {
    let all = super::lock(&engine.environment);
    let pair = |name: &&str| Some(((*name).to_owned(), all.get(*name)?.clone()));
    GIT_VARIABLES.iter().filter_map(pair).collect()
}

fn unreachable_context(service: &Service, context: &str, error: &RemoteError) -> Box<Failure> {
    let what = format!(
        "cannot fetch `{context}`, which service `{}` is built from",
        service.name
    );
    let place = service
        .places
        .get("build.context")
        .or(service.places.get("build"));
    let failure = Failure::caused(Fault::Asked, what, error).at(place.or(service.place.as_ref()));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What is built for: the service's platform; of several in `build.platforms`, this machine's, which is the one that runs here.
fn platform(service: &Service, section: &Build) -> Outcome<Platform> {
    let wanted = match &service.platform {
        Some(one) => std::slice::from_ref(one),
        None => section.platforms.as_slice(),
    };
    let mut all = Vec::new();
    for text in wanted {
        all.push(text.parse::<Platform>().map_err(|error| {
            let place = service.places.get("build.platforms").or(service.place.as_ref());
            Failure::caused(Fault::ProjectFile, format!("service `{}`", service.name), &error).at(place)
        })?);
    }
    let host = Platform::host();
    if all.is_empty() || all.iter().any(|platform| host.accepts(platform)) {
        return Ok(host);
    }
    if let [one] = all.as_slice() {
        return Ok(one.clone());
    }
    let what = format!(
        "service `{}` is built for {}, and this machine is {host}",
        service.name,
        wanted.join(", ")
    );
    let place = service.places.get("build.platforms").or(service.place.as_ref());
    Err(Failure::new(Fault::ProjectFile, what)
        .at(place)
        .hint("say which one with `platform`: a build is for one"))
}

/// The section as a request.
fn request<'a>(
    engine: &'a Engine,
    project: &Project,
    service: &Service,
    section: &Build,
    credentials: &'a Credentials,
    progress: &dyn Progress,
) -> Outcome<BuildRequest<'a>> {
    let place = || {
        service
            .places
            .get("build.context")
            .or(service.places.get("build"))
            .or(service.place.as_ref())
    };
    let fetched = |context: &str| {
        fetched(engine, context, progress).map_err(|error| unreachable_context(service, context, &error))
    };
    let context = fetched(&section.context)?.unwrap_or_else(|| section.context.clone().into());
    let mut made = BuildRequest::new(context, &engine.launcher, credentials);
    made.platform = platform(service, section)?;
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
    made.git = git_variables(engine);
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
        let context = fetched(&context)?.map_or(context, |folder| folder.display().to_string());
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
    let fault = match error {
        BuildError::Stopped => Fault::Interrupted,
        _ => Fault::Asked,
    };
    let failure = Failure::caused(
        fault,
        format!("cannot build the image of service `{}`", service.name),
        error,
    )
    .at(service.places.get("build").or(service.place.as_ref()));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
