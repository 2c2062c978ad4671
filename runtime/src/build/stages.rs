//! Stages: what the Dockerfile builds on what, and which of it the target needs.

use super::{
    BuildRequest,
    cache::{Hashes, Mixer},
    context::Source,
    dockerfile::{self, Instruction, ParseError, Step, words},
    error::BuildError,
    ignore::Ignore,
    stack::Stack,
};
use crate::image::{Digest, Platform, Reference, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// `FROM scratch`.
    Nothing,
    /// An earlier stage.
    Stage(usize),
    /// An image's name, or a folder or image given as named context.
    Image(String),
}

/// One stage.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// Its name, or its number.
    pub(crate) name: String,
    pub(crate) base: Base,
    pub(crate) platform: Option<String>,
    /// `FROM` itself.
    pub(crate) from: Step,
    /// What follows it.
    pub(crate) steps: Vec<Step>,
    /// Earlier stages it uses, its base among them.
    pub(crate) needs: BTreeSet<usize>,
}

/// All stages, and what they share.
#[derive(Debug)]
pub(crate) struct Stages {
    pub(crate) all: Vec<Stage>,
    /// The stage whose image is wanted.
    pub(crate) target: usize,
    /// The target and what it needs, in order.
    pub(crate) wanted: Vec<usize>,
    /// `ARG`s before the first `FROM`, with build arguments and platform arguments.
    pub(crate) global: BTreeMap<String, String>,
    pub(crate) escape: char,
    pub(crate) ignore: Ignore,
}

/// Reads the Dockerfile and `.dockerignore`.
pub(crate) fn read(request: &BuildRequest<'_>) -> Result<Stages, BuildError> {
    let path = request.context.join(&request.dockerfile);
    let text = match &request.inline {
        Some(text) => text.clone(),
        None => fs_err::read_to_string(&path).map_err(|cause| BuildError::Read {
            path: path.clone(),
            cause,
        })?,
    };
    let file = dockerfile::parse(&text)?;
    let escape = file.directives.escape;
    let ignore = ignore(request, &path);
    let mut global = platform_args(&request.platform);
    let mut all: Vec<Stage> = Vec::new();
    for step in file.steps {
        match &step.instruction {
            Instruction::From {
                image,
                platform,
                name,
            } => {
                let stage = from(
                    &step,
                    image,
                    platform.as_deref(),
                    name.as_deref(),
                    &all,
                    &global,
                    request,
                    escape,
                )?;
                all.push(stage);
            }
            Instruction::Arg(pairs) if all.is_empty() => {
                for (name, value) in pairs {
                    let value = match (request.args.get(name), value) {
                        (Some(given), _) => Some(given.clone()),
                        (None, Some(value)) => Some(
                            words::expand(value, escape, &|name| global.get(name).cloned()).map_err(
                                |reason| ParseError {
                                    line: step.line,
                                    reason,
                                },
                            )?,
                        ),
                        (None, None) => None,
                    };
                    if let Some(value) = value {
                        global.insert(name.clone(), value);
                    }
                }
            }
            _ => match all.last_mut() {
                Some(stage) => stage.steps.push(step),
                None => {
                    let reason =
                        "the first instruction must be `FROM` (only `ARG` may stand before it)".to_owned();
                    return Err(ParseError {
                        line: step.line,
                        reason,
                    }
                    .into());
                }
            },
        }
    }
    if all.is_empty() {
        return Err(ParseError {
            line: 1,
            reason: "the Dockerfile has no `FROM`".into(),
        }
        .into());
    }
    for index in 0..all.len() {
        let needs = needs(&all[index], &all[..index]);
        all[index].needs = needs;
    }
    let target = match &request.target {
        None => all.len() - 1,
        Some(name) => stage_of(name, &all).ok_or_else(|| BuildError::NoSuchStage { name: name.clone() })?,
    };
    let mut wanted = BTreeSet::from([target]);
    for index in (0..=target).rev() {
        if wanted.contains(&index) {
            wanted.extend(all[index].needs.iter().copied());
        }
    }
    Ok(Stages {
        all,
        target,
        wanted: wanted.into_iter().collect(),
        global,
        escape,
        ignore,
    })
}

/// `<Dockerfile>.dockerignore` goes before `.dockerignore`.
fn ignore(request: &BuildRequest<'_>, dockerfile: &Path) -> Ignore {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    let candidates = [
        Path::new(&own).to_path_buf(),
        request.context.join(".dockerignore"),
    ];
    let text = candidates
        .iter()
        .find_map(|path| fs_err::read_to_string(path).ok());
    Ignore::parse(&text.unwrap_or_default())
}

/// The arguments that exist without being declared (Dockerfile reference, "Automatic platform ARGs").
fn platform_args(platform: &Platform) -> BTreeMap<String, String> {
    let host = Platform::host();
    let variant = |platform: &Platform| platform.variant.clone().unwrap_or_default();
    [
        ("TARGETPLATFORM", platform.to_string()),
        ("TARGETOS", platform.os.clone()),
        ("TARGETARCH", platform.architecture.clone()),
        ("TARGETVARIANT", variant(platform)),
        ("BUILDPLATFORM", host.to_string()),
        ("BUILDOS", host.os.clone()),
        ("BUILDARCH", host.architecture.clone()),
        ("BUILDVARIANT", variant(&host)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one FROM line and what it may refer to"
)]
fn from(
    step: &Step,
    image: &str,
    platform: Option<&str>,
    name: Option<&str>,
    before: &[Stage],
    global: &BTreeMap<String, String>,
    request: &BuildRequest<'_>,
    escape: char,
) -> Result<Stage, BuildError> {
    let wrong = |reason: String| {
        BuildError::Parse(ParseError {
            line: step.line,
            reason,
        })
    };
    let lookup = |name: &str| global.get(name).cloned();
    let expand = |text: &str| words::expand(text, escape, &lookup).map_err(&wrong);
    let image = expand(image)?;
    if image.is_empty() {
        return Err(wrong(
            "the image's name is empty after its variables were replaced".into(),
        ));
    }
    let platform = platform
        .map(&expand)
        .transpose()?
        .filter(|platform| !platform.is_empty());
    if let Some(name) = name
        && before.iter().any(|stage| stage.name == name)
    {
        return Err(wrong(format!("there are two stages named `{name}`")));
    }
    let base = if image == "scratch" {
        Base::Nothing
    } else if let Some(index) = before.iter().position(|stage| stage.name == image.to_lowercase()) {
        Base::Stage(index)
    } else if request.contexts.contains_key(&image) {
        Base::Image(image)
    } else {
        image
            .parse::<Reference>()
            .map_err(|error| wrong(error.to_string()))?;
        Base::Image(image)
    };
    let name = name.map_or_else(|| before.len().to_string(), str::to_owned);
    let (from, needs) = (step.clone(), BTreeSet::new());
    Ok(Stage {
        name,
        base,
        platform,
        from,
        steps: Vec::new(),
        needs,
    })
}

/// A stage by name, or by number.
pub(crate) fn stage_of(name: &str, stages: &[Stage]) -> Option<usize> {
    let lower = name.to_lowercase();
    let by_name = stages.iter().position(|stage| stage.name == lower);
    by_name.or_else(|| name.parse().ok().filter(|index| *index < stages.len()))
}

fn needs(stage: &Stage, before: &[Stage]) -> BTreeSet<usize> {
    let mut needs = BTreeSet::new();
    if let Base::Stage(index) = stage.base {
        needs.insert(index);
    }
    for step in &stage.steps {
        match &step.instruction {
            Instruction::Copy { flags, .. } => {
                needs.extend(flags.from.as_deref().and_then(|from| stage_of(from, before)));
            }
            Instruction::Run { flags, .. } => {
                let froms = flags.mounts.iter().filter_map(|mount| mount.options.get("from"));
                needs.extend(froms.filter_map(|from| stage_of(from, before)));
            }
            _ => {}
        }
    }
    needs
}

/// A digest of all that a build depends on, found without building: the Dockerfile, arguments, the files it uses,
/// and which images the names of its bases stand for now. Equal digests mean that a build would change nothing.
pub fn inputs_digest(request: &BuildRequest<'_>, store: &Store) -> Result<Digest, BuildError> {
    let stages = read(request)?;
    let hashes = Hashes::open(store, &request.context);
    let mut mixer = Mixer::new("inputs 1");
    mixer.text(&format!(
        "{:?} {:?} {:?} {}",
        request.args, request.labels, request.contexts, request.platform
    ));
    mixer.text(&format!("{:?} {:?}", request.extra_hosts, request.network));
    let names = store.names()?;
    let mut patterns: BTreeSet<String> = BTreeSet::new();
    for index in &stages.wanted {
        let stage = &stages.all[*index];
        mixer.text(&format!("{:?} {:?}", stage.base, stage.platform));
        if let Base::Image(image) = &stage.base
            && let Ok(reference) = image.parse::<Reference>()
        {
            mixer.text(&format!("{:?}", names.get(&reference.to_string())));
        }
        for step in &stage.steps {
            mixer.text(&step.text);
            mixer.text(&format!("{:?}", step.instruction));
            patterns.extend(context_patterns(&step.instruction));
        }
    }
    mixer.text(&stages.all[stages.target].name);
    let nothing = Ignore::default();
    let folders = request
        .contexts
        .values()
        .filter(|value| Path::new(value).is_dir());
    let named = folders.map(|folder| (Path::new(folder), ".".to_owned(), &nothing));
    let own = patterns
        .into_iter()
        .map(|pattern| (request.context.as_path(), pattern, &stages.ignore));
    for (folder, pattern, ignore) in own.chain(named) {
        let source = Source {
            stack: Stack::folder(folder.to_path_buf()),
            ignore,
            exclude: Ignore::default(),
            hashes: &hashes,
            keeps_owners: false,
        };
        mixer.text(&pattern);
        // A missing file is the build's to report; its absence is part of the digest.
        for node in source.matches(&pattern).unwrap_or_default() {
            let hashed = source.hash(&node, &node.relative(), &mut mixer);
            if hashed.is_err() {
                mixer.text("unreadable");
            }
        }
    }
    hashes.save();
    Ok(mixer.finish())
}

/// What an instruction reads from the build context; everything, where variables decide.
fn context_patterns(instruction: &Instruction) -> Vec<String> {
    let patterns = match instruction {
        Instruction::Copy { sources, flags, .. } if flags.from.is_none() => {
            let files = sources
                .iter()
                .filter(|source| !source.contains("://") && !source.starts_with("<<"));
            files.map(|source| source.replace("/./", "/")).collect::<Vec<_>>()
        }
        Instruction::Run { flags, .. } => flags
            .mounts
            .iter()
            .filter(|mount| mount.kind == "bind" && !mount.options.contains_key("from"))
            .map(|mount| mount.options.get("source").cloned().unwrap_or_else(|| ".".into()))
            .collect(),
        Instruction::OnBuild(_) => Vec::new(),
        _ => Vec::new(),
    };
    patterns
        .into_iter()
        .map(|pattern| {
            if pattern.contains('$') {
                ".".to_owned()
            } else {
                pattern
            }
        })
        .collect()
}
