//! Which files make the project, where it lives, what it is called, which variables it sees.
//!
//! 1. Files: `-f`, else `COMPOSE_FILE`, else the first known name from the working directory upwards, with its override.
//! 2. Directory: `--project-directory`, else the folder of the first file.
//! 3. Variables: the caller's environment over those of `.env` (or of `--env-file`, `COMPOSE_ENV_FILES`).
//! 4. Name: `-p`, else `COMPOSE_PROJECT_NAME`, else `name:` of the last file that has it, else the directory's name.

use super::{
    LoadOptions,
    diagnostic::Report,
    dotenv,
    files::{self, Files},
    source::Span,
    suggest::did_you_mean,
};
use crate::model::ProjectName;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Names of project files that are looked for, in this order.
pub const NAMES: &[&str] = &[
    "banyan.yaml",
    "banyan.yml",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "fig.yml",
    "fig.yaml",
    ".gaudi.yml",
];

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Absolute, `-` for standard input.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
}

/// Finds files, directory and variables; `None` after an error was reported.
pub(crate) fn find(options: &LoadOptions, disk: &Files, report: &mut Report) -> Option<Found> {
    let cwd = &options.working_dir;
    let given = options
        .project_directory
        .as_ref()
        .map(|folder| files::absolute(folder, cwd));
    // `.env` may hold COMPOSE_FILE, so a first look at it comes before the files are known.
    let first = given.as_deref().unwrap_or(cwd);
    let mut early = options.environment.clone();
    add_default_env(first, options, disk, &mut early, None);
    let paths = if options.files.is_empty() {
        from_variable(&early)
    } else {
        options.files.clone()
    };
    let files = if paths.is_empty() {
        discover(first, disk, report)?
    } else {
        paths
            .iter()
            .map(|path| {
                if path == Path::new("-") {
                    path.clone()
                } else {
                    files::absolute(path, cwd)
                }
            })
            .collect()
    };
    let missing = files
        .iter()
        .filter(|path| path.as_path() != Path::new("-") && !disk.is_file(path))
        .count();
    for path in files
        .iter()
        .filter(|path| path.as_path() != Path::new("-") && !disk.is_file(path))
    {
        let folder = path.parent().unwrap_or(cwd);
        let near = disk.yaml_names(folder);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        report
            .error(Span::NONE, format!("there is no file `{}`", path.display()))
            .maybe_hint(did_you_mean(&name, near.iter().map(String::as_str)));
    }
    if missing > 0 {
        return None;
    }
    let beside = files
        .first()
        .filter(|path| path.as_path() != Path::new("-"))
        .and_then(|path| path.parent());
    let directory = given
        .clone()
        .or_else(|| beside.map(Path::to_owned))
        .unwrap_or_else(|| cwd.clone());
    let mut environment = options.environment.clone();
    let before = report.errors();
    add_default_env(&directory, options, disk, &mut environment, Some(report));
    (report.errors() == before).then_some(Found {
        files,
        directory,
        environment,
    })
}

/// `COMPOSE_FILE` (or `FIG_FILE`), split at `COMPOSE_PATH_SEPARATOR`, by default `:`.
fn from_variable(environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let separator = environment
        .get("COMPOSE_PATH_SEPARATOR")
        .filter(|s| !s.is_empty())
        .map_or(":", String::as_str);
    let value = environment
        .get("COMPOSE_FILE")
        .or_else(|| environment.get("FIG_FILE"));
    value
        .into_iter()
        .flat_map(|list| list.split(separator))
        .filter(|p| !p.is_empty())
        .map(PathBuf::from)
        .collect()
}

/// The first folder from `start` upwards that has a project file.
fn discover(start: &Path, disk: &Files, report: &mut Report) -> Option<Vec<PathBuf>> {
    for folder in start.ancestors() {
        let present: Vec<&str> = NAMES
            .iter()
            .copied()
            .filter(|name| disk.is_file(&folder.join(name)))
            .collect();
        let Some(name) = present.first() else { continue };
        if present.len() > 1 {
            report
                .warning(
                    Span::NONE,
                    format!(
                        "found {} in `{}`; `{name}` is used",
                        present.join(", "),
                        folder.display()
                    ),
                )
                .hint("choose one with `-f`, or remove the others");
        }
        let mut files = vec![folder.join(name)];
        files.extend(
            companions(name)
                .into_iter()
                .map(|name| folder.join(name))
                .find(|path| disk.is_file(path)),
        );
        return Some(files);
    }
    let near = disk.yaml_names(start);
    let hint = match near.first() {
        Some(name) => format!("name the file with `-f`, for example `-f {name}`"),
        None => "`banyan init` writes one by what lies in the folder; `-f` names another".to_owned(),
    };
    report
        .error(
            Span::NONE,
            format!(
                "there is no project file in `{}` or a folder above it",
                start.display()
            ),
        )
        .because(format!("looked for {}", NAMES.join(", ")))
        .hint(hint);
    None
}

/// The override files that belong to a discovered file.
fn companions(name: &str) -> Vec<String> {
    let Some((stem, _)) = name
        .rsplit_once('.')
        .filter(|(stem, _)| matches!(*stem, "banyan" | "compose" | "docker-compose"))
    else {
        return vec![];
    };
    let stems: &[&str] = if stem == "banyan" {
        &["banyan"]
    } else {
        &["compose", "docker-compose"]
    };
    stems
        .iter()
        .flat_map(|stem| ["yml", "yaml"].map(|end| format!("{stem}.override.{end}")))
        .collect()
}

/// Adds the variables of `.env`, or of the files named instead of it; the caller's environment wins.
fn add_default_env(
    directory: &Path,
    options: &LoadOptions,
    disk: &Files,
    environment: &mut BTreeMap<String, String>,
    mut report: Option<&mut Report>,
) {
    let named: Vec<PathBuf> = if options.env_files.is_empty() {
        let list = options
            .environment
            .get("COMPOSE_ENV_FILES")
            .map_or("", String::as_str);
        list.split(',')
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .collect()
    } else {
        options.env_files.clone()
    };
    let paths = if named.is_empty() {
        let off = options
            .environment
            .get("COMPOSE_DISABLE_ENV_FILE")
            .is_some_and(|v| matches!(v.as_str(), "1" | "true"));
        let default = directory.join(".env");
        if off || !disk.is_file(&default) {
            vec![]
        } else {
            vec![default]
        }
    } else {
        named
            .iter()
            .map(|path| files::absolute(path, &options.working_dir))
            .collect()
    };
    let outer = environment.clone();
    let mut values = BTreeMap::new();
    for path in paths {
        let mut all = values.clone();
        all.extend(outer.clone());
        if let Some(read) = env_file(&path, &all, disk, report.as_deref_mut()) {
            values.extend(read);
        }
    }
    for (key, value) in values {
        environment.entry(key).or_insert(value);
    }
}

/// Reads one env file; mistakes are reported, when there is a report.
pub(crate) fn env_file(
    path: &Path,
    outer: &BTreeMap<String, String>,
    disk: &Files,
    report: Option<&mut Report>,
) -> Option<BTreeMap<String, String>> {
    let text = match disk.read(path) {
        Ok(text) => text,
        Err(error) => {
            if let Some(report) = report {
                report
                    .error(
                        Span::NONE,
                        format!("cannot read the env file `{}`", path.display()),
                    )
                    .because(files::short(&error));
            }
            return None;
        }
    };
    match dotenv::parse(&text, outer) {
        Ok(values) => Some(values),
        Err(fault) => {
            if let Some(report) = report {
                let file = report.sources.add(path, text);
                let start = u32::try_from(fault.at).unwrap_or(u32::MAX);
                report
                    .error(
                        Span {
                            file,
                            start,
                            end: start.saturating_add(1),
                        },
                        fault.message,
                    )
                    .maybe_hint(fault.hint.map(Into::into));
            }
            None
        }
    }
}

/// The project's name from flags and variables; `Err` when it was given and is no name.
pub(crate) fn given_name(
    options: &LoadOptions,
    environment: &BTreeMap<String, String>,
    report: &mut Report,
) -> Option<ProjectName> {
    let (name, origin) = match &options.project_name {
        Some(name) => (name.as_str(), "the flag `--project-name`"),
        None => {
            let variable = ["COMPOSE_PROJECT_NAME", "FIG_PROJECT_NAME"];
            let (key, name) = variable
                .iter()
                .find_map(|key| Some((key, environment.get(*key)?)))?;
            (
                name.as_str(),
                if *key == "FIG_PROJECT_NAME" {
                    "`FIG_PROJECT_NAME`"
                } else {
                    "`COMPOSE_PROJECT_NAME`"
                },
            )
        }
    };
    if name.is_empty() {
        return None;
    }
    match ProjectName::new(name) {
        Ok(name) => Some(name),
        Err(error) => {
            let better = normal_name(name).map(|name| format!("for example `{name}`"));
            report
                .error(Span::NONE, error.to_string())
                .because(format!("it was given by {origin}"))
                .maybe_hint(better);
            None
        }
    }
}

/// `text` as docker compose makes it a project name: lower case, other characters left out, no `_` or `-` in front.
pub(crate) fn normal_name(text: &str) -> Option<ProjectName> {
    let lower = text.to_lowercase();
    let kept: String = lower
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
        .collect();
    ProjectName::new(kept.trim_start_matches(['_', '-'])).ok()
}
