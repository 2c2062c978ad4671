//! Images of services: what their names mean now, whether they must be obtained, obtaining them, removing them.

use super::{Engine, Failures, Outcome, Voice};
use crate::{
    api::wire::{Failure, Fault, Level, Message, Up},
    model::{Exposed, HealthCheck, HealthTest, Project, Protocol, PullPolicy, Service, ServiceName},
    plan::step::ImageState,
};
use banyan_runtime::{
    image::{Event, Image, ImageConfig, Platform, Progress, Reference, StoreError, collect::Prune},
    registry::{self, Credentials},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// What the command line says about images, over what the project says.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    build: bool,
    no_build: bool,
    pull: Option<PullPolicy>,
}

impl Policy {
    /// As asked for by `up`.
    pub fn new(wanted: &Up) -> Self {
        let pull = match wanted.pull.as_deref() {
            Some("always") => Some(PullPolicy::Always),
            Some("never") => Some(PullPolicy::Never),
            Some("missing") => Some(PullPolicy::Missing),
            _ => None,
        };
        Self {
            build: wanted.build,
            no_build: wanted.no_build,
            pull,
        }
    }

    fn pull(&self, service: &Service) -> PullPolicy {
        self.pull.unwrap_or(service.pull_policy)
    }
}

fn reference(service: &Service) -> Outcome<Reference> {
    service.image.name.parse::<Reference>().map_err(|error| {
        Failure::caused(
            Fault::ProjectFile,
            format!("`{}` is not an image name", service.image.name),
            &error,
        )
        .at(service.places.get("image").or(service.place.as_ref()))
    })
}

fn store_failure(what: &str, error: &StoreError) -> Box<Failure> {
    let failure = Failure::caused(Fault::Host, what, error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What each service's image name means now, and whether it must be obtained.
///
/// # Errors
/// A name that is none; a store that cannot be read; `pull_policy: never` without the image.
pub async fn states(
    engine: &Arc<Engine>,
    project: &Arc<Project>,
    wanted: &Up,
    services: &BTreeSet<ServiceName>,
    voice: &Voice,
) -> Outcome<BTreeMap<ServiceName, ImageState>> {
    let (engine, project, policy) = (engine.clone(), project.clone(), Policy::new(wanted));
    let (services, voice) = (services.clone(), voice.clone());
    let work = move || {
        let mut states = BTreeMap::new();
        for service in services.iter().filter_map(|name| project.services.get(name)) {
            states.insert(
                service.name.clone(),
                state(&engine, &project, service, &policy, &voice)?,
            );
        }
        Ok(states)
    };
    let states = tokio::task::spawn_blocking(work).await;
    states.unwrap_or_else(|error| {
        Err(Failure::caused(
            Fault::Internal,
            "looking at images failed",
            &error,
        ))
    })
}

fn state(
    engine: &Engine,
    project: &Project,
    service: &Service,
    policy: &Policy,
    voice: &Voice,
) -> Outcome<ImageState> {
    let found = match engine.store.find(&reference(service)?) {
        Ok(found) => found,
        Err(error) => {
            // Damage is named and mended by obtaining the image again.
            voice.note(
                Some(&service.name),
                Level::Warning,
                format!("{error}; it is obtained again"),
            );
            None
        }
    };
    let today = found.as_ref().map(|image| image.id.to_string());
    let obtain = |why: &str| ImageState::Obtain {
        today: today.clone(),
        why: why.to_owned(),
    };
    let pull = policy.pull(service);
    if let (Some(build), false) = (&service.image.build, policy.no_build) {
        return Ok(match &found {
            _ if policy.build => obtain("--build"),
            _ if pull == PullPolicy::Build => obtain("pull_policy is `build`"),
            None => obtain("it is not built yet"),
            Some(image) => match super::building::is_current(engine, project, service, build, image) {
                Ok(true) => ImageState::Present(image.id.to_string()),
                Ok(false) => obtain("what it is built from changed"),
                Err(failure) => return Err(failure),
            },
        });
    }
    match (found, pull) {
        (Some(_), PullPolicy::Always) => Ok(obtain("pull_policy is `always`")),
        (Some(image), PullPolicy::Every(period)) if is_older(engine, &image, period) => {
            Ok(obtain("its last pull is too long ago"))
        }
        (Some(image), _) => Ok(ImageState::Present(image.id.to_string())),
        (None, PullPolicy::Never) => {
            let what = format!(
                "image `{}` of service `{}` is not here, and may not be pulled",
                service.image.name, service.name
            );
            let failure =
                Failure::new(Fault::Asked, what).at(service.places.get("image").or(service.place.as_ref()));
            Err(failure.hint(format!("`banyan pull {}` gets it", service.name)))
        }
        (None, _) => Ok(obtain("it is not here yet")),
    }
}

fn is_older(engine: &Engine, image: &Image, period: Duration) -> bool {
    let Ok(record) = engine.store.record(image.id) else {
        return true;
    };
    let age = super::events::now().saturating_sub(record.added.saturating_mul(1_000_000_000));
    u128::try_from(age).is_ok_and(|age| age > period.as_nanos())
}

/// Gets a service's image: from the store, by building, by pulling, or from Debian packages. A build ends early when
/// `halt` turns true.
///
/// # Errors
/// Why it cannot be had.
pub async fn obtain(
    engine: &Arc<Engine>,
    project: &Arc<Project>,
    service: &Service,
    (policy, halt): (&Policy, Option<watch::Receiver<bool>>),
    voice: &Voice,
) -> Outcome<Arc<Image>> {
    let (engine, project, service) = (engine.clone(), project.clone(), service.clone());
    let (policy, voice) = (policy.clone(), voice.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    // Ends with the look for an image, whichever way that goes.
    let mut listening = JoinSet::new();
    if let Some(mut halt) = halt {
        listening.spawn(async move {
            if halt.wait_for(|halt| *halt).await.is_ok() {
                told.store(true, Ordering::Relaxed);
            }
        });
    }
    let work = move || {
        let found = engine.store.find(&reference(&service)?).ok().flatten();
        let wanted = state(&engine, &project, &service, &policy, &voice)?;
        if let (ImageState::Present(_), Some(image)) = (&wanted, found) {
            return Ok(Arc::new(image));
        }
        let progress = Telling {
            voice: voice.clone(),
            service: service.name.clone(),
            line: Mutex::new(Vec::new()),
        };
        match (&service.image.build, policy.no_build) {
            (Some(build), false) => {
                super::building::build(&engine, &project, &service, (build, stop), &progress)
            }
            _ => pull(&engine, &service, &policy, &progress),
        }
        .map(Arc::new)
    };
    let image = tokio::task::spawn_blocking(work).await;
    image.unwrap_or_else(|error| {
        Err(Failure::caused(
            Fault::Internal,
            "getting an image failed",
            &error,
        ))
    })
}

/// The user's registry logins: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`, of whoever started the engine.
pub fn credentials() -> Credentials {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
    folder
        .and_then(|folder| Credentials::load(&folder.join("config.json")).ok())
        .unwrap_or_else(Credentials::none)
}

fn pull(engine: &Engine, service: &Service, policy: &Policy, progress: &Telling) -> Outcome<Image> {
    let when = match policy.pull(service) {
        PullPolicy::Always | PullPolicy::Every(_) => registry::Policy::Always,
        PullPolicy::Never => registry::Policy::Never,
        PullPolicy::Missing | PullPolicy::Build => registry::Policy::Missing,
    };
    let place = service.places.get("image").or(service.place.as_ref());
    let platform = match &service.platform {
        None => Platform::host(),
        Some(text) => text.parse().map_err(|error| {
            Failure::new(Fault::ProjectFile, format!("`{text}` is not a platform: {error}")).at(place)
        })?,
    };
    let credentials = credentials();
    registry::obtain(
        &engine.store,
        &reference(service)?,
        when,
        &platform,
        &credentials,
        &engine.launcher,
        progress,
    )
    .map_err(|error| {
        let what = format!(
            "cannot get image `{}` of service `{}`",
            service.image.name, service.name
        );
        let failure = Failure::caused(Fault::Asked, what, &error).at(place);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// Says what an image's progress says.
#[derive(Debug)]
pub struct Telling {
    voice: Voice,
    service: ServiceName,
    /// Output of a build that is not a whole line yet.
    line: Mutex<Vec<u8>>,
}

impl Telling {
    fn transfer(&self, what: String, done: u64, total: u64) {
        self.voice.say(Message::Transfer {
            service: self.service.clone(),
            what,
            done,
            total,
        });
    }
}

impl Progress for Telling {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Layer { id, done, total, .. } => self.transfer(id.to_owned(), done, total.unwrap_or(0)),
            Event::Work { what, done, total } => self.transfer(what.to_owned(), done, total),
            Event::Step {
                number, total, text, ..
            } => {
                self.voice.note(
                    Some(&self.service),
                    Level::Output,
                    format!("[{number}/{total}] {text}"),
                );
                self.transfer(format!("step {number}/{total}"), 0, 0);
            }
            Event::StepDone {
                number,
                total,
                cached,
                seconds,
            } => {
                let how = if cached {
                    "cached".to_owned()
                } else {
                    format!("done in {seconds:.1}s")
                };
                self.voice.note(
                    Some(&self.service),
                    Level::Output,
                    format!("[{number}/{total}] {how}"),
                );
            }
            Event::Output { bytes, .. } => {
                let mut line = super::lock(&self.line);
                line.extend_from_slice(bytes);
                while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                    let text = String::from_utf8_lossy(&line[..end])
                        .trim_end_matches('\r')
                        .to_owned();
                    line.drain(..=end);
                    self.voice.note(Some(&self.service), Level::Output, text);
                }
            }
            Event::Notice(text) => self.voice.note(Some(&self.service), Level::Notice, text),
        }
    }
}

/// An image's health check in the project's words.
pub fn health_check(config: &ImageConfig) -> Option<HealthCheck> {
    let check = config.healthcheck.as_ref()?;
    let time = |nanoseconds: i64| {
        u64::try_from(nanoseconds)
            .ok()
            .filter(|n| *n > 0)
            .map(Duration::from_nanos)
    };
    let test = match check.test.split_first() {
        None => None,
        Some((kind, rest)) => match kind.as_str() {
            "NONE" => Some(HealthTest::None),
            "CMD" => Some(HealthTest::Exec(rest.to_vec())),
            "CMD-SHELL" => Some(HealthTest::Shell(rest.join(" "))),
            _ => None,
        },
    };
    Some(HealthCheck {
        test,
        interval: time(check.interval),
        timeout: time(check.timeout),
        retries: u32::try_from(check.retries).ok().filter(|n| *n > 0),
        start_period: time(check.start_period),
        start_interval: time(check.start_interval),
    })
}

/// Ports a service announces: the image's EXPOSE, `expose`, and the container side of `ports`.
pub fn announced_ports(service: &Service, config: Option<&ImageConfig>) -> Vec<Exposed> {
    let of_image = config
        .into_iter()
        .flat_map(|config| config.exposed_ports.keys())
        .filter_map(|text| {
            let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let protocol = if protocol == "udp" {
                Protocol::Udp
            } else {
                Protocol::Tcp
            };
            Some(Exposed {
                port: port.parse().ok()?,
                protocol,
            })
        });
    let published = service.ports.iter().map(|port| Exposed {
        port: port.target,
        protocol: port.protocol,
    });
    let all: BTreeSet<Exposed> = of_image
        .chain(service.expose.iter().copied())
        .chain(published)
        .collect();
    all.into_iter().collect()
}

/// The configuration of an image that is here.
pub fn config_of(engine: &Engine, name: &str) -> Option<ImageConfig> {
    let reference = name.parse::<Reference>().ok()?;
    Some(engine.store.find(&reference).ok()??.config)
}

/// The layers of an image that is mounted.
///
/// # Errors
/// When it is not here.
pub fn layers_of(engine: &Engine, name: &str) -> Outcome<Vec<PathBuf>> {
    let image = engine
        .store
        .lookup(name)
        .map_err(|error| store_failure(&format!("cannot mount image `{name}`"), &error))?;
    Ok(image.layers)
}

/// Removes a project's images: those it named itself, or all it uses.
pub fn remove(
    engine: &Engine,
    project: Option<&Project>,
    which: &str,
    voice: &Voice,
    failures: &mut Failures,
) {
    let Some(project) = project else { return };
    let services = project.services.values().chain(project.disabled.values());
    let names: BTreeSet<&str> = services
        .filter(|service| which == "all" || (service.image.build.is_some() && !service.image.named))
        .map(|service| service.image.name.as_str())
        .collect();
    for name in names {
        let Ok(reference) = name.parse::<Reference>() else {
            continue;
        };
        match engine.store.untag(&reference) {
            Ok(true) => voice.note(None, Level::Notice, format!("image {name} removed")),
            Ok(false) => {}
            Err(error) => failures.push(store_failure(&format!("image `{name}` is still there"), &error)),
        }
    }
    if let Err(error) = engine.store.prune(Prune::Unnamed) {
        failures.push(store_failure("cannot remove what images left", &error));
    }
}
