//! Builds the stages that are needed: each in a thread of its own, waiting for the stages it uses.
//!
//! For every step: the key is a digest of the key before it, the instruction, and what it reads; a known key gives its
//! layer at once, otherwise the step is done and its layer published and remembered.

use super::{
    BuildError, BuildRequest,
    cache::{self, Hashes, Mixer},
    copy::Target,
    copying::{CopyStep, Reading, lookup_user},
    dockerfile::{self, Instruction, Step, words},
    error::StepError,
    metadata,
    run::Run,
    stack::Stack,
    stages::{self, Base, Stage, Stages},
};
use crate::{
    image::{
        ConfigFile, Digest, Event, Image, Platform, Progress, Reference, Store,
        config::{History, RootFs},
        draft::{Draft, publish},
        layers,
        store::LayerRecord,
    },
    registry::{Policy, obtain},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
    time::Instant,
};

/// Arguments every build takes without declaring them; they do not count for the cache.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// A stage so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Built {
    pub(super) layers: Vec<LayerRecord>,
    pub(super) document: ConfigFile,
    pub(super) key: Option<Digest>,
    /// Declared arguments and their values.
    args: BTreeMap<String, String>,
    /// The stage has set its command itself.
    own_command: bool,
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

/// Where threads put and find stages' results.
#[derive(Default)]
pub(super) struct Board {
    results: Mutex<(BTreeMap<usize, Arc<Built>>, bool)>,
    changed: Condvar,
}

impl Board {
    /// Waits for a stage; `None` when another one failed.
    pub(super) fn wait(&self, index: usize) -> Option<Arc<Built>> {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if results.1 {
                return None;
            }
            if let Some(built) = results.0.get(&index) {
                return Some(Arc::clone(built));
            }
            results = self.changed.wait(results).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn has_failed(&self) -> bool {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn put(&self, index: usize, built: Option<Arc<Built>>) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        match built {
            Some(built) => drop(results.0.insert(index, built)),
            None => results.1 = true,
        }
        self.changed.notify_all();
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

/// Whether programs of this processor run here: its own, the 32-bit one of its family, or one that an interpreter is
/// registered for (binfmt_misc, kernel's admin-guide/binfmt-misc.rst; with the flag `F`, as only that one works in containers).
fn runs_here(architecture: &str) -> Result<(), StepError> {
    let host = Platform::host().architecture;
    // What `FROM scratch` starts with says nothing.
    if architecture.is_empty()
        || architecture == host
        || matches!((host.as_str(), architecture), ("amd64", "386") | ("arm64", "arm"))
    {
        return Ok(());
    }
    let name = match architecture {
        "amd64" => "x86_64",
        "386" => "i386",
        "arm64" => "aarch64",
        other => other,
    };
    let interpreter =
        fs_err::read_to_string(format!("/proc/sys/fs/binfmt_misc/qemu-{name}")).unwrap_or_default();
    let line = |start: &str| interpreter.lines().find(|line| line.starts_with(start));
    if line("enabled").is_some() && line("flags:").is_some_and(|flags| flags.contains('F')) {
        return Ok(());
    }
    Err(StepError::Foreign {
        architecture: architecture.to_owned(),
        host,
    })
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
    fn is_stopped(&self) -> bool {
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

    fn step(
        &self,
        index: usize,
        number: usize,
        step: &Step,
        mut built: Built,
    ) -> Result<(Built, bool), StepError> {
        let escape = self.stages.escape;
        let scope = built.clone();
        let variable = |name: &str| {
            scope
                .document
                .config
                .variable(name)
                .map(str::to_owned)
                .or_else(|| scope.args.get(name).cloned())
        };
        let expand = |text: &str| words::expand(text, escape, &variable);
        match &step.instruction {
            Instruction::Run {
                command,
                flags,
                heredocs,
            } => {
                runs_here(&built.document.architecture)?;
                let stack = built.stack(self.store);
                let source = |from: Option<&str>| self.source_stack(index, from);
                let run = Run {
                    store: self.store,
                    request: self.request,
                    config: &scope.document.config,
                    environment: self.environment(&built),
                    below: &stack,
                    command,
                    heredocs,
                    flags,
                    expand: &expand,
                    source: &source,
                    ignore: &self.stages.ignore,
                    step: number,
                    stop: &|| self.is_stopped(),
                };
                run.check()?;
                let key = self.run_key(index, step, &built, &expand, flags)?;
                let cached = self.layer(&mut built, key, step, |draft| {
                    run.execute(&draft.files(), &draft.work()?, self.progress)
                })?;
                Ok((built, cached))
            }
            Instruction::Copy {
                add,
                sources,
                target,
                heredocs,
                flags,
            } => {
                let copy = CopyStep {
                    add: *add,
                    sources,
                    target,
                    heredocs,
                    flags,
                };
                let reading = Reading {
                    expand: &expand,
                    variable: &variable,
                };
                self.copy(index, step, built, &copy, reading)
            }
            Instruction::Arg(pairs) => {
                for (name, value) in pairs {
                    let given = self
                        .request
                        .args
                        .get(name)
                        .or_else(|| self.stages.global.get(name))
                        .cloned();
                    let value = match (given, value) {
                        // A default of the stage goes before a global default, not before a given value.
                        (_, Some(value)) if !self.request.args.contains_key(name) => {
                            Some(expand(value).map_err(StepError::Value)?)
                        }
                        (given, _) => given,
                    };
                    if let Some(value) = value {
                        built.args.insert(name.clone(), value);
                    }
                }
                Ok((built, true))
            }
            Instruction::Workdir(path) => {
                let path = expand(path).map_err(StepError::Value)?;
                metadata::apply(
                    &mut built.document.config,
                    &step.instruction,
                    &mut built.own_command,
                    &expand,
                )
                .map_err(StepError::Value)?;
                self.workdir(step, built, &path)
            }
            other => {
                metadata::apply(&mut built.document.config, other, &mut built.own_command, &expand)
                    .map_err(StepError::Value)?;
                if let Instruction::Maintainer(name) = other {
                    built.document.author = Some(name.clone());
                }
                built.remember_empty(step);
                let mut mixer = Mixer::new("metadata");
                mixer.text(&format!("{:?} {:?}", built.key, built.document.config));
                built.key = Some(mixer.finish());
                Ok((built, true))
            }
        }
    }

    /// The variables a command sees: arguments first, so that the image's own win.
    fn environment(&self, built: &Built) -> Vec<String> {
        let config = &built.document.config;
        let mut all: BTreeMap<&str, &str> = BTreeMap::new();
        for name in PROXIES {
            if let Some(value) = self.request.args.get(name) {
                all.insert(name, value);
            }
        }
        all.extend(
            built
                .args
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        all.extend(config.env.iter().filter_map(|pair| pair.split_once('=')));
        all.into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    fn run_key(
        &self,
        index: usize,
        step: &Step,
        built: &Built,
        expand: &dyn Fn(&str) -> Result<String, String>,
        flags: &dockerfile::RunFlags,
    ) -> Result<Digest, StepError> {
        let mut mixer = Mixer::new("run");
        let args: Vec<_> = built
            .args
            .iter()
            .filter(|(name, _)| !PROXIES.contains(&name.as_str()))
            .collect();
        mixer.text(&format!(
            "{:?} {:?} {:?} {args:?}",
            built.key, step.instruction, built.document.config
        ));
        for mount in flags.mounts.iter().filter(|mount| mount.kind == "bind") {
            let from = mount.options.get("from").map(String::as_str);
            let source = self.source(index, from, &[])?;
            let path = mount.options.get("source").map_or("", String::as_str);
            let path = expand(path).map_err(StepError::Value)?;
            for node in source.matches(&path)? {
                source.hash(&node, &node.relative(), &mut mixer)?;
            }
        }
        Ok(mixer.finish())
    }

    /// Takes a step's layer from the cache, or has it made.
    pub(super) fn layer(
        &self,
        built: &mut Built,
        key: Digest,
        step: &Step,
        make: impl FnOnce(&Draft) -> Result<(), StepError>,
    ) -> Result<bool, StepError> {
        let known = if self.request.no_cache {
            None
        } else {
            cache::find(self.store, key)
        };
        let cached = known.is_some();
        let layer = match known {
            Some(known) => known.layer,
            None => {
                let draft = Draft::new(self.store)?;
                make(&draft)?;
                let note = draft.measure()?;
                let layer = note.diff_id;
                publish(self.store, vec![(draft, note)])?;
                cache::remember(self.store, key, layer).map_err(|cause| StepError::Io {
                    action: "remember a step in",
                    path: self.store.dir().join("build"),
                    cause,
                })?;
                layer
            }
        };
        built.layers.push(LayerRecord {
            diff_id: layer,
            blob: None,
        });
        built.key = Some(key);
        let created = layers::created(self.store, layer);
        let created_by = Some(step.text.clone());
        built.document.history.push(History {
            created,
            created_by,
            ..History::default()
        });
        Ok(cached)
    }

    fn workdir(&self, step: &Step, mut built: Built, path: &str) -> Result<(Built, bool), StepError> {
        let stack = built.stack(self.store);
        let wanted = built.document.config.working_dir.clone();
        if stack.find(&wanted, true).is_some_and(|node| node.is_dir()) {
            built.remember_empty(step);
            let mut mixer = Mixer::new("workdir");
            mixer.text(&format!("{:?} {wanted}", built.key));
            built.key = Some(mixer.finish());
            return Ok((built, true));
        }
        let mut mixer = Mixer::new("make workdir");
        mixer.text(&format!(
            "{:?} {path} {wanted} {}",
            built.key, built.document.config.user
        ));
        let owner = lookup_user(&stack, &built.document.config.user).ok();
        let cached = self.layer(&mut built, mixer.finish(), step, |draft| {
            let target = Target {
                root: draft.files(),
                below: &stack,
                owner,
                mode: None,
            };
            target.directory(&wanted).map(drop)
        })?;
        Ok((built, cached))
    }
}

impl Built {
    fn remember_empty(&mut self, step: &Step) {
        let created_by = Some(step.text.clone());
        self.document.history.push(History {
            created_by,
            empty_layer: true,
            ..History::default()
        });
    }
}
