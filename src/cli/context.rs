//! From what was typed to what it means: roots, the project, its engine. The environment is read here and nowhere
//! below.

use super::{CommandError, Exit, Global};
use crate::{
    api::client::Client,
    model::{Project, ProjectName},
    project::{self, Diagnostic, LoadOptions},
    state::{Roots, User},
};
use std::{collections::BTreeMap, io::Write, path::PathBuf};

/// The environment of this process as text; variables that are not UTF-8 cannot be used in a project file.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect()
}

/// The roots this command works under.
pub fn roots(global: &Global) -> Roots {
    let environment = environment();
    let path = |name: &str| {
        environment
            .get(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let home = path("HOME").unwrap_or_else(|| "/".into());
    let (data, runtime) = (path("XDG_DATA_HOME"), path("XDG_RUNTIME_DIR"));
    let user = if banyan_runtime::sys::host::is_root() {
        User::Root
    } else {
        User::Ordinary {
            home: &home,
            data_home: data.as_deref(),
            runtime_dir: runtime.as_deref(),
        }
    };
    Roots::new(global.root.as_deref(), user)
}

/// Loads the project, printing its warnings.
///
/// # Errors
/// With every mistake of its files.
pub fn load(global: &Global, services: &[String]) -> Result<Project, CommandError> {
    let working_dir = std::env::current_dir()
        .map_err(|error| CommandError::caused(Exit::Host, "cannot tell the current folder", &error))?;
    let mut stdin = None;
    if global.file.iter().any(|file| file.as_os_str() == "-") {
        let text = std::io::read_to_string(std::io::stdin()).map_err(|error| {
            CommandError::caused(
                Exit::Failed,
                "cannot read the project from standard input",
                &error,
            )
        })?;
        stdin = Some(text);
    }
    let options = LoadOptions {
        stdin,
        files: global.file.clone(),
        project_directory: global.project_directory.clone(),
        project_name: global.project_name.clone(),
        profiles: global.profile.clone(),
        env_files: global.env_file.clone(),
        services: services.to_vec(),
        working_dir,
        environment: environment(),
    };
    match project::load(&options) {
        Ok(loaded) => {
            warn(&loaded.warnings, &options.working_dir);
            Ok(loaded.project)
        }
        Err(diagnostics) => {
            let text = diagnostics.to_text(&options.working_dir);
            // When it can be read without the names typed, they are the mistake.
            let without = LoadOptions {
                services: Vec::new(),
                ..options
            };
            let (exit, what) = if !services.is_empty() && project::load(&without).is_ok() {
                (Exit::Failed, "no such service")
            } else {
                (Exit::ProjectFile, "the project cannot be read")
            };
            Err(CommandError::new(exit, what).details(text))
        }
    }
}

fn warn(warnings: &[Diagnostic], base: &std::path::Path) {
    let mut stderr = std::io::stderr().lock();
    for warning in warnings {
        // Standard error may be closed; the warning then has no reader.
        let _ = write!(stderr, "{}", warning.to_text(base));
    }
}

/// The name of the project meant, from `-p`, or from its file. For commands that need no more than the name.
///
/// # Errors
/// When neither gives one.
pub fn project_name(global: &Global) -> Result<ProjectName, CommandError> {
    if global.file.is_empty()
        && let Some(name) = global
            .project_name
            .clone()
            .or_else(|| environment().remove("COMPOSE_PROJECT_NAME"))
    {
        return ProjectName::new(name).map_err(|error| CommandError::new(Exit::Usage, error.to_string()));
    }
    Ok(load(global, &[])?.name)
}

/// A project's engine.
pub fn client(global: &Global, name: &ProjectName) -> Client {
    Client::new(roots(global), name.clone())
}
