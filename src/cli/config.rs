//! `banyan config`: the project as banyan understands it.

use super::{CommandError, Exit, Global, Outcome, pin};
use crate::project::{self, Diagnostic, Diagnostics, LoadOptions, Resolved, Skip};
use clap::{Args, ValueEnum};
use std::{io::Write as _, path::PathBuf};

/// Check the project files and print them as one file, with everything resolved
#[expect(clippy::struct_excessive_bools, reason = "the flags of docker compose config")]
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
    /// Print the service names, one per line
    #[arg(long)]
    services: bool,
    /// Print the volume names, one per line
    #[arg(long)]
    volumes: bool,
    /// Print the network names, one per line
    #[arg(long)]
    networks: bool,
    /// Print the image names, one per line
    #[arg(long)]
    images: bool,
    /// Print the model names, one per line
    #[arg(long)]
    models: bool,
    /// Print the profile names, one per line
    #[arg(long)]
    profiles: bool,
    /// Print the variables that the files use, with their defaults
    #[arg(long)]
    variables: bool,
    /// Print the values used for variables
    #[arg(long)]
    environment: bool,
    /// Print the hash of services, one per line: `*`, or names separated by commas
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
    /// Do not replace variables
    #[arg(long)]
    no_interpolate: bool,
    /// Do not fill in defaults
    #[arg(long)]
    no_normalize: bool,
    /// Do not make relative paths absolute
    #[arg(long)]
    no_path_resolution: bool,
    /// Do not check consistency
    #[arg(long)]
    no_consistency: bool,
    /// Do not read env files into `environment`
    #[arg(long)]
    no_env_resolution: bool,
    /// Only check; print nothing when all is well
    #[arg(short, long)]
    quiet: bool,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Pin the images to the digests that their registries have for them now
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print an override file with the digests of the images
    #[arg(long)]
    lock_image_digests: bool,
    /// Only these services and what they depend on
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A compose file.
    Yaml,
    /// JSON, as docker compose prints it; mistakes too, one JSON object a line.
    Json,
}

/// What to load, from the global flags and this process.
///
/// # Errors
/// When the current directory is gone, or standard input cannot be read for `-f -`.
pub fn load_options(global: &Global) -> Result<LoadOptions, CommandError> {
    let working_dir = std::env::current_dir()
        .map_err(|error| CommandError::caused(Exit::Host, "cannot find the current folder", &error))?;
    let stdin = if global.file.iter().any(|file| file.as_os_str() == "-") {
        let text = std::io::read_to_string(std::io::stdin())
            .map_err(|error| CommandError::caused(Exit::Usage, "cannot read standard input", &error))?;
        Some(text)
    } else {
        None
    };
    Ok(LoadOptions {
        files: global.file.clone(),
        stdin,
        project_directory: global.project_directory.clone(),
        project_name: global.project_name.clone(),
        profiles: global.profile.clone(),
        env_files: global.env_file.clone(),
        services: Vec::new(),
        working_dir,
        // Variables that are no UTF-8 cannot be named in a project file.
        environment: std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    })
}

/// The error for a project that cannot be loaded: every mistake with its excerpt, and the status for wrong files.
#[must_use]
pub fn wrong_project(wrong: &Diagnostics, options: &LoadOptions) -> CommandError {
    let errors = wrong
        .0
        .iter()
        .filter(|d| d.severity == project::Severity::Error)
        .count();
    let what = match errors {
        1 => "the project file has a mistake".to_owned(),
        count => format!("the project file has {count} mistakes"),
    };
    CommandError::new(Exit::ProjectFile, what).details(format!("\n{}", wrong.to_text(&options.working_dir)))
}

/// The error for a name that no service of the project has.
pub(super) fn no_such_service(name: &str, known: &[String]) -> CommandError {
    CommandError::new(Exit::Failed, format!("there is no service `{name}`"))
        .hint(format!("services: {}", known.join(", ")))
}

/// Prints warnings on standard error.
pub fn print_warnings(warnings: &[Diagnostic], options: &LoadOptions) {
    let mut out = std::io::stderr().lock();
    for warning in warnings {
        let _ = writeln!(out, "{}", warning.to_text(&options.working_dir));
    }
}

/// Runs the command.
///
/// # Errors
/// A wrong project, a service that does not exist, or output that cannot be written.
pub fn run(args: &ConfigArgs, global: &Global) -> Outcome {
    let options = load_options(global)?;
    let skip = Skip {
        interpolation: args.no_interpolate,
        paths: args.no_path_resolution,
        normalization: args.no_normalize,
        consistency: args.no_consistency,
        env_files: args.no_env_resolution,
    };
    let (mut resolved, warnings) = match project::resolve(&options, skip) {
        Ok(resolved) => resolved,
        Err(wrong) if args.format == Format::Json => {
            let _ = std::io::stderr().write_all(wrong.to_json().as_bytes());
            return Ok(Exit::ProjectFile);
        }
        Err(wrong) => return Err(wrong_project(&wrong, &options)),
    };
    if args.format == Format::Json {
        let _ = std::io::stderr().write_all(Diagnostics(warnings).to_json().as_bytes());
    } else {
        print_warnings(&warnings, &options);
    }
    if !args.names.is_empty() {
        let known = resolved.services();
        resolved
            .select(&args.names)
            .map_err(|name| no_such_service(&name, &known))?;
    }
    if args.quiet {
        return Ok(Exit::Success);
    }
    if args.lock_image_digests {
        let pinned = pin::digests(&resolved, global)?;
        return write(args, &pin::override_file(&pinned, args.format)?);
    }
    if args.resolve_image_digests {
        resolved.set_images(&pin::digests(&resolved, global)?);
    }
    write(args, &text(args, &resolved)?)
}

/// What is printed.
fn text(args: &ConfigArgs, resolved: &Resolved) -> Result<String, CommandError> {
    let lines = |list: Vec<String>| {
        list.into_iter()
            .fold(String::new(), |text, line| text + &line + "\n")
    };
    if args.services {
        return Ok(lines(resolved.services()));
    }
    if args.volumes {
        return Ok(lines(resolved.volumes()));
    }
    if args.networks {
        return Ok(lines(resolved.networks()));
    }
    if args.images {
        return Ok(lines(resolved.images().into_values().collect()));
    }
    if args.models {
        return Ok(lines(resolved.models()));
    }
    if args.profiles {
        return Ok(lines(resolved.profiles().into_iter().collect()));
    }
    if args.environment {
        return Ok(lines(
            resolved
                .environment()
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ));
    }
    if args.variables {
        return Ok(variables(resolved, args.format));
    }
    if let Some(names) = &args.hash {
        return hashes(resolved, names).map(lines);
    }
    let text = match args.format {
        Format::Json => {
            let json = resolved.to_json();
            serde_json::to_string_pretty(&json).map_err(|error| internal(&error))? + "\n"
        }
        Format::Yaml => serde_yaml::to_string(&resolved.to_compose()).map_err(|error| internal(&error))?,
    };
    // The output is a project file again: a literal dollar sign is written twice, unless variables were left alone.
    Ok(if args.no_interpolate {
        text
    } else {
        text.replace('$', "$$")
    })
}

pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> CommandError {
    CommandError::caused(Exit::Internal, "cannot print the project", error)
}

fn variables(resolved: &Resolved, format: Format) -> String {
    if format == Format::Json {
        let map: serde_json::Map<String, serde_json::Value> = resolved
            .variables()
            .iter()
            .map(|(name, variable)| (name.clone(), serde_json::to_value(variable).unwrap_or_default()))
            .collect();
        return format!("{:#}\n", serde_json::Value::Object(map));
    }
    let mut rows = vec![[
        "NAME".to_owned(),
        "REQUIRED".into(),
        "DEFAULT VALUE".into(),
        "ALTERNATE VALUE".into(),
    ]];
    rows.extend(resolved.variables().values().map(|variable| {
        [
            variable.name.clone(),
            variable.required.to_string(),
            variable.default.clone(),
            variable.alternate.clone(),
        ]
    }));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
            + 4
    };
    let widths = [width(0), width(1), width(2)];
    rows.iter().fold(String::new(), |text, row| {
        let [a, b, c] = widths;
        let line = format!("{:a$}{:b$}{:c$}{}", row[0], row[1], row[2], row[3]);
        text + line.trim_end() + "\n"
    })
}

fn hashes(resolved: &Resolved, names: &str) -> Result<Vec<String>, CommandError> {
    let mut services = resolved.services();
    services.sort();
    let wanted: Vec<String> = if names == "*" {
        services
    } else {
        names.split(',').map(|name| name.trim().to_owned()).collect()
    };
    wanted
        .into_iter()
        .map(|name| match resolved.hash(&name) {
            Some(hash) => Ok(format!("{name} {hash}")),
            None => Err(CommandError::new(
                Exit::Usage,
                format!("there is no service `{name}`"),
            )),
        })
        .collect()
}

fn write(args: &ConfigArgs, text: &str) -> Outcome {
    match &args.output {
        Some(path) => fs_err::write(path, text).map_err(|error| {
            CommandError::caused(Exit::Failed, format!("cannot write `{}`", path.display()), &error)
        })?,
        None => {
            let _ = std::io::stdout().write_all(text.as_bytes());
        }
    }
    Ok(Exit::Success)
}
