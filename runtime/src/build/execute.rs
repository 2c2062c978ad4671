//! Builds the stages that are needed: each in a thread of its own, waiting for the stages it uses; the first that fails
//! ends the others.

use super::{
    BuildError, BuildRequest,
    board::Board,
    cache::{Hashes, Mixer},
    dockerfile::{self, Instruction, Step},
    error::StepError,
    stack::Stack,
    stages::{self, Base, Stage, Stages},
    steps::PROXIES,
};
use crate::{
    image::{
        ConfigFile, Digest, Event, Image, Platform, Progress, Reference, Store, config::RootFs,
        store::LayerRecord,
    },
    registry::{Policy, obtain},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// A stage so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Built {
    pub(super) layers: Vec<LayerRecord>,
    pub(super) document: ConfigFile,
    pub(super) key: Option<Digest>,
    /// Declared arguments and their values.
    pub(super) args: BTreeMap<String, String>,
    /// The stage has set its command itself.
    pub(super) own_command: bool,
}

impl Built {
    pub(super) fn stack(&self, store: &Store) -> Stack {
        Stack {
            layers: self
                .layers
                .iter()
                .rev()
                .map(|layer| store.layer_path(layer.diff_id))
                .collect(),
        }
    }
}

/// A build that is going on.
pub(super) struct Builder<'a, 'r> {
    pub(super) request: &'a BuildRequest<'r>,
    pub(super) store: &'a Store,
    pub(super) progress: &'a dyn Progress,
    pub(super) stages: &'a Stages,
    pub(super) hashes: &'a Hashes,
    pub(super) board: Board,
    total: usize,
    /// Number of each wanted stage's first step.
    first: BTreeMap<usize, usize>,
}

/// Builds an image and records it, without a name.
pub fn build(
    request: &BuildRequest<'_>,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Image, BuildError> {
    let _working = store.working()?;
    let stages = stages::read(request)?;
    warn_unused(request, &stages, progress);
    let hashes = Hashes::open(store, &request.context);
    let mut first = BTreeMap::new();
    let mut total = 0;
    for index in &stages.wanted {
        first.insert(*index, total + 1);
        total += 1 + stages.all[*index].steps.len();
    }
    let builder = Builder {
        request,
        store,
        progress,
        stages: &stages,
        hashes: &hashes,
        board: Board::default(),
        total,
        first,
    };
    let outcome = std::thread::scope(|scope| {
        let threads: Vec<_> = stages
            .wanted
            .iter()
            .map(|index| {
                let builder = &builder;
                scope.spawn(move || {
                    let mut result = builder.stage(*index);
                    // What fails because it was stopped, or after another stage did, is not what went wrong.
                    if result.is_err() && builder.is_stopped() {
                        result = Err(BuildError::Stopped);
                    }
                    builder
                        .board
                        .put(*index, result.as_ref().ok().cloned().map(Arc::new));
                    result.map(drop)
                })
            })
            .collect();
        let mut first_error = Ok(());
        for thread in threads {
            let result = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let is_echo = match &result {
                Err(BuildError::Step { cause, .. }) => matches!(**cause, StepError::Elsewhere),
                Err(BuildError::Stopped) => true,
                _ => false,
            };
            if first_error.is_ok() && !is_echo {
                first_error = result;
            }
        }
        first_error
    });
    hashes.save();
    outcome?;
    let built = builder.board.wait(stages.target).ok_or(BuildError::Stopped)?;
    finish(&built, request, store)
}

fn finish(built: &Built, request: &BuildRequest<'_>, store: &Store) -> Result<Image, BuildError> {
    let mut document = built.document.clone();
    document.config.labels.extend(request.labels.clone());
    document.rootfs = RootFs {
        diff_ids: built.layers.iter().map(|layer| layer.diff_id).collect(),
        ..RootFs::default()
    };
    document.architecture.clone_from(&request.platform.architecture);
    document.os.clone_from(&request.platform.os);
    document.variant.clone_from(&request.platform.variant);
    // The time of the last step that did something, so that a build that changed nothing gives the same image.
    let last = document
        .history
        .iter()
        .rev()
        .find_map(|history| history.created.clone());
    document.created = last.or(document.created);
    let config = serde_json::to_vec(&document).map_err(|error| crate::image::StoreError::Damaged {
        path: store.dir().to_path_buf(),
        reason: error.to_string(),
    })?;
    let id = store.add_image(&config, built.layers.clone(), None, None)?;
    Ok(store.image(id)?)
}

fn warn_unused(request: &BuildRequest<'_>, stages: &Stages, progress: &dyn Progress) {
    let declared = |name: &str| {
        stages.global.contains_key(name)
            || PROXIES.contains(&name)
            || stages.all.iter().flat_map(|stage| &stage.steps).any(|step| {
                matches!(&step.instruction, Instruction::Arg(pairs) if pairs.iter().any(|(known, _)| known == name))
            })
    };
    for name in request
        .args
        .keys()
        .filter(|name| !declared(name) && !name.starts_with("BUILDKIT_"))
    {
        progress.event(Event::Notice(&format!(
            "the build argument `{name}` is not used by the Dockerfile"
        )));
    }
}

impl Builder<'_, '_> {
    /// Whether to begin nothing more: another stage failed, or nobody wants the image any longer.
    pub(super) fn is_stopped(&self) -> bool {
        self.request.stop.load(Ordering::Relaxed) || self.board.has_failed()
    }

    fn stage(&self, index: usize) -> Result<Built, BuildError> {
        let stage = &self.stages.all[index];
        let mut number = self.first[&index];
        let mut built = self.timed(number, stage, &stage.from, || self.base(index, stage))?;
        let triggers = std::mem::take(&mut built.document.config.on_build);
        for text in triggers {
            // They stand as if written after FROM (Dockerfile reference, "ONBUILD").
            let parsed = dockerfile::parse(&text).map_err(BuildError::Parse)?;
            for step in parsed.steps {
                let step = Step {
                    line: stage.from.line,
                    ..step
                };
                built = self.timed(number, stage, &step, || self.step(index, number, &step, built))?;
            }
        }
        for step in &stage.steps {
            if self.is_stopped() {
                return Err(BuildError::Stopped);
            }
            number += 1;
            built = self.timed(number, stage, step, || self.step(index, number, step, built))?;
        }
        Ok(built)
    }

    /// Reports a step, its time, and its error with the line.
    fn timed(
        &self,
        number: usize,
        stage: &Stage,
        step: &Step,
        work: impl FnOnce() -> Result<(Built, bool), StepError>,
    ) -> Result<Built, BuildError> {
        let total = self.total;
        self.progress.event(Event::Step {
            number,
            total,
            stage: &stage.name,
            text: &step.text,
        });
        let start = Instant::now();
        match work() {
            Ok((built, cached)) => {
                let seconds = start.elapsed().as_secs_f64();
                self.progress.event(Event::StepDone {
                    number,
                    total,
                    cached,
                    seconds,
                });
                Ok(built)
            }
            Err(cause) => Err(BuildError::Step {
                line: step.line,
                text: step.text.clone(),
                cause: Box::new(cause),
            }),
        }
    }

    fn base(&self, index: usize, stage: &Stage) -> Result<(Built, bool), StepError> {
        // A stage starts when everything it uses is there: then its own steps never wait.
        for needed in &stage.needs {
            self.board.wait(*needed).ok_or(StepError::Elsewhere)?;
        }
        let mut built = match &stage.base {
            Base::Nothing => Built::default(),
            Base::Stage(other) => {
                debug_assert!(*other < index);
                self.board
                    .wait(*other)
                    .ok_or(StepError::Elsewhere)?
                    .as_ref()
                    .clone()
            }
            Base::Image(name) => {
                let image = self.image(name, stage.platform.as_deref())?;
                let layers = self.store.record(image.id)?.layers;
                Built {
                    layers,
                    document: image.document,
                    key: Some(image.id),
                    ..Built::default()
                }
            }
        };
        built.args.clear();
        built.own_command = false;
        if built.key.is_none() {
            built.key = Some(Mixer::new("scratch").finish());
        }
        Ok((built, true))
    }

    pub(super) fn image(&self, name: &str, platform: Option<&str>) -> Result<Image, StepError> {
        let given = self.request.contexts.get(name).map(String::as_str);
        let name = given
            .and_then(|given| given.strip_prefix("docker-image://"))
            .unwrap_or(name);
        let reference: Reference = name
            .parse()
            .map_err(|error| StepError::Value(format!("{error}")))?;
        let platform: Platform = match platform {
            Some(text) => text
                .parse()
                .map_err(|error| StepError::Value(format!("{error}")))?,
            None => self.request.platform.clone(),
        };
        let policy = if self.request.pull {
            Policy::Always
        } else {
            Policy::Missing
        };
        let (credentials, launcher) = (self.request.credentials, self.request.launcher);
        Ok(obtain(
            self.store,
            &reference,
            policy,
            &platform,
            credentials,
            launcher,
            self.progress,
        )?)
    }
}
