//! One instruction: what it is for the cache, and what it does to the stage.
//!
//! The key is a digest of the key before it, the instruction, and what it reads; a known key gives its layer at once,
//! otherwise the step is done and its layer published and remembered.

use super::{
    cache::{self, Mixer},
    copy::Target,
    copying::{CopyStep, Reading, lookup_user},
    dockerfile::{self, Instruction, Step, words},
    error::StepError,
    execute::{Builder, Built},
    metadata,
    run::Run,
};
use crate::image::{
    Digest, Platform,
    config::History,
    draft::{Draft, publish},
    layers,
    store::LayerRecord,
};
use std::collections::BTreeMap;

/// Arguments every build takes without declaring them; they do not count for the cache.
pub(super) const PROXIES: [&str; 10] = [
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

impl Builder<'_, '_> {
    pub(super) fn step(
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
