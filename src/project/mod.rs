//! Project files, read exactly: Compose, fig and gaudi into one `model::Project`.
//!
//! The main path, in order; each step is a module:
//!
//! 1. `find`: which files, which folder, which variables, which name;
//! 2. `files`: read them (the only I/O), `yaml`: parse them into trees that know where everything stood;
//! 3. `draft`: per file `substitute` variables (`interpolate`), `check` types and keys (`schema`), resolve `extends` and
//!    `include`; then `merge` the files, keep lists `unique`, make the form `canonical` (`short`, `words`, `units`) and the
//!    `paths` absolute;
//! 4. `normalize`: defaults, env files (`dotenv`);
//! 5. `graph` order and `validate`: what no single value shows;
//! 6. `lower`: the tree into `model::Project`.
//!
//! Mistakes are collected in a `diagnostic::Report` on the way and never stop the search for more, except where the rest
//! would be guesswork (a file that is no YAML).
//!
//! Deliberately absent: anything about what runs. The rules are those of docker compose; where they differ from the
//! specification or from ours, `docs/project-file.md` says so.

mod canonical;
mod check;
mod diagnostic;
mod dialect;
mod dotenv;
mod draft;
mod emit;
mod extension;
mod files;
mod find;
#[cfg(fuzzing)]
pub mod fuzzing;
mod interpolate;
mod lower;
mod merge;
mod node;
mod normalize;
mod paths;
mod recipes;
mod resolved;
mod schema;
mod short;
mod source;
mod substitute;
mod suggest;
mod trail;
mod unhonoured;
mod unique;
mod units;
mod used;
mod validate;
mod words;
mod yaml;

pub use short::published_ports;

pub use diagnostic::{Diagnostic, Diagnostics, Excerpt, Related, Severity};
pub use find::NAMES as FILE_NAMES;
pub use interpolate::Variable;
pub use resolved::Resolved;

use crate::model::{Dialect, Project, ProjectName};
use diagnostic::Report;
use draft::{Drafter, Scope};
use files::Files;
use node::Node;
use source::Span;
use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

/// What to load, and everything that it may depend on.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// `-f`, in order; `-` is standard input. Empty: found as docker compose does.
    pub files: Vec<PathBuf>,
    /// The text of standard input, when a file is `-`.
    pub stdin: Option<String>,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// `--project-name`.
    pub project_name: Option<String>,
    /// `--profile`; `*` is all. `COMPOSE_PROFILES` is added.
    pub profiles: Vec<String>,
    /// `--env-file`, instead of `.env`.
    pub env_files: Vec<PathBuf>,
    /// Services named on the command line: their profiles are switched on; names that do not exist are mistakes.
    pub services: Vec<String>,
    /// The current directory, absolute.
    pub working_dir: PathBuf,
    /// The caller's environment.
    pub environment: BTreeMap<String, String>,
}

/// A project and what should be said about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// Warnings, in the order of the files.
    pub warnings: Vec<Diagnostic>,
}

/// Steps that `config` can leave out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Skip {
    /// Leave variables as they are; values that hold one are not judged.
    pub interpolation: bool,
    /// Leave relative paths as they are.
    pub paths: bool,
    /// Do not fill in defaults.
    pub normalization: bool,
    /// Do not look for what no single value shows.
    pub consistency: bool,
    /// Do not read env files into `environment`.
    pub env_files: bool,
}

/// Loads a project.
///
/// # Errors
/// Every mistake found, with warnings, in the order of the files.
pub fn load(options: &LoadOptions) -> Result<Loaded, Diagnostics> {
    let mut report = Report::default();
    let project =
        resolve_into(options, Skip::default(), &mut report).map(|resolved| resolved.lower(&mut report));
    let failed = report.errors() > 0;
    let list = report.finish();
    match project {
        Some(project) if !failed => Ok(Loaded {
            project,
            warnings: list,
        }),
        _ => Err(Diagnostics(list)),
    }
}

/// Reads a project as far as `config` shows it, with warnings.
///
/// # Errors
/// Every mistake found, with warnings, in the order of the files.
pub fn resolve(options: &LoadOptions, skip: Skip) -> Result<(Resolved, Vec<Diagnostic>), Diagnostics> {
    let mut report = Report::default();
    report.raw = skip.interpolation;
    let resolved = resolve_into(options, skip, &mut report);
    let failed = report.errors() > 0;
    let list = report.finish();
    match resolved {
        Some(resolved) if !failed => Ok((resolved, list)),
        _ => Err(Diagnostics(list)),
    }
}

/// All steps up to the checked tree; `None` when there is nothing to make a project of.
fn resolve_into(options: &LoadOptions, skip: Skip, report: &mut Report) -> Option<Resolved> {
    let disk = Files {
        stdin: options.stdin.clone(),
    };
    let found = find::find(options, &disk, report)?;
    let home = found.environment.get("HOME").cloned();
    let mut drafter = Drafter::new(&disk, report, skip, home);
    let sets: Vec<(PathBuf, Vec<Node>)> = found
        .files
        .iter()
        .map(|path| (path.clone(), drafter.documents(path, Span::NONE)))
        .collect();
    if drafter.broken {
        return None;
    }
    let name = project_name(options, &found, &sets, drafter.report)?;
    let mut environment = found.environment.clone();
    environment.insert("COMPOSE_PROJECT_NAME".into(), name.to_string());
    let scope = Scope {
        directory: found.directory.clone(),
        environment: environment.clone(),
        through: found.files.first().cloned().into_iter().collect(),
    };
    let mut root = drafter.tree(sets, &scope);
    if drafter.broken {
        return None;
    }
    if skip.interpolation {
        recipes::keep(&mut root);
    } else {
        recipes::expand(&mut root, &scope.directory, &disk, drafter.report);
    }
    let (files, variables) = (drafter.read.clone(), std::mem::take(&mut drafter.variables));
    let dialect = drafter.dialect.unwrap_or(Dialect::Compose);
    if !skip.normalization {
        normalize::project(&mut root, name.as_str(), &environment);
    }
    let enabled = enabled(&root, options, &environment, report);
    if !skip.env_files && !skip.interpolation {
        for (service, entry) in root
            .get_mut("services")
            .and_then(Node::as_map_mut)
            .into_iter()
            .flatten()
        {
            if enabled.contains(service) {
                normalize::load_files(&mut entry.node, &environment, &disk, report);
            }
        }
    }
    if !skip.consistency && !skip.interpolation && !skip.normalization {
        validate::project(&root, &enabled, report);
    }
    let directory = found.directory;
    Some(Resolved {
        root,
        name,
        dialect,
        directory,
        files,
        environment,
        variables,
        enabled,
    })
}

/// The project's name: given, else from the last file that has one, else from the directory.
fn project_name(
    options: &LoadOptions,
    found: &find::Found,
    sets: &[(PathBuf, Vec<Node>)],
    report: &mut Report,
) -> Option<ProjectName> {
    let before = report.errors();
    if let Some(name) = find::given_name(options, &found.environment, report) {
        return Some(name);
    }
    if report.errors() > before {
        return None;
    }
    let documents = sets.iter().flat_map(|(_, documents)| documents);
    let written = documents
        .filter_map(|document| document.get("name"))
        .rfind(|node| node.as_str().is_some());
    if let Some(node) = written {
        let text = node.as_str().unwrap_or_default();
        let text = interpolate::substitute(text, &found.environment, &mut Vec::new()).unwrap_or_default();
        match ProjectName::new(text.as_ref()) {
            Ok(name) => return Some(name),
            Err(error) if !text.is_empty() => {
                let better = find::normal_name(&text).map(|name| format!("write `name: {name}`"));
                report.error(node.span, error.to_string()).maybe_hint(better);
                return None;
            }
            Err(_) => {}
        }
    }
    let folder = found
        .directory
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let cwd = options
        .working_dir
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let name = find::normal_name(&folder).or_else(|| find::normal_name(&cwd));
    if name.is_none() {
        report
            .error(
                Span::NONE,
                format!("the folder name `{folder}` gives no project name"),
            )
            .hint("give one: `--project-name NAME`, or `name:` in the file");
    }
    name
}

/// The services that take part: without profile, with an active one, or named.
fn enabled(
    root: &Node,
    options: &LoadOptions,
    environment: &BTreeMap<String, String>,
    report: &mut Report,
) -> HashSet<String> {
    let empty = node::Map::new();
    let services = root.get("services").and_then(Node::as_map).unwrap_or(&empty);
    let from_variable = environment
        .get("COMPOSE_PROFILES")
        .map_or("", String::as_str)
        .split(',');
    let given = options
        .profiles
        .iter()
        .map(String::as_str)
        .chain(from_variable.map(str::trim));
    let mut active: HashSet<String> = given.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let profiles = |node: &Node| -> Vec<String> {
        let list = node.get("profiles").and_then(Node::as_list).unwrap_or_default();
        list.iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    for name in &options.services {
        match services.get(name) {
            Some(entry) => active.extend(profiles(&entry.node)),
            None => {
                report
                    .error(Span::NONE, format!("there is no service `{name}`"))
                    .maybe_hint(suggest::did_you_mean(name, services.keys().map(String::as_str)));
            }
        }
    }
    let known: HashSet<String> = services
        .values()
        .flat_map(|entry| profiles(&entry.node))
        .collect();
    for name in &options.profiles {
        if name != "*" && !known.contains(name) {
            report
                .warning(Span::NONE, format!("no service has the profile `{name}`"))
                .maybe_hint(suggest::did_you_mean(name, known.iter().map(String::as_str)));
        }
    }
    let takes_part = |node: &Node| {
        let own = profiles(node);
        own.is_empty() || active.contains("*") || own.iter().any(|profile| active.contains(profile))
    };
    services
        .iter()
        .filter(|(_, entry)| takes_part(&entry.node))
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests;
