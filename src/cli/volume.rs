//! `banyan volume …`: named volumes of this machine; `banyan volumes`: those of the project.

use super::{CommandError, Exit, Global, Outcome, context, format::Format, table};
use crate::{
    engine::{events::now, record::Record},
    state::Roots,
    volumes::{Volume, Volumes},
};
use banyan_runtime::container::ContainerDir;
use clap::{Args, Subcommand};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// List volumes
    Ls(List),
    /// Make a volume
    Create(Create),
    /// Show everything about volumes
    Inspect(Names),
    /// Remove volumes that no container uses: their data is gone
    Rm(Names),
    /// Remove every volume that no container uses
    Prune(Prune),
}

/// Flags of `volume ls`.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// `table`, `json`, or a template: `{{.Name}}`
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `volumes`.
#[derive(Debug, Clone, Args)]
pub struct OfProject {
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// `table`, `json`, or a template: `{{.Name}}`
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `volume create`.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// Its name
    name: String,
    /// A label: KEY=VALUE; may be given several times
    #[arg(long)]
    label: Vec<String>,
}

/// Which volumes.
#[derive(Debug, Clone, Args)]
pub struct Names {
    /// Names
    #[arg(required = true)]
    names: Vec<String>,
}

/// Flags of `volume prune`.
#[derive(Debug, Clone, Args)]
pub struct Prune {
    /// Volumes with a name too, not only anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Do it; without this flag they are only listed
    #[arg(short, long)]
    force: bool,
}

/// Runs one.
///
/// # Errors
/// A volume that is not there or in use, or the file system's refusal.
pub(super) fn run(global: &Global, command: &VolumeCommand) -> Outcome {
    let roots = context::roots(global);
    let volumes = Volumes::new(&roots);
    match command {
        VolumeCommand::Ls(args) => list(all(&volumes)?, args.quiet, &args.format),
        VolumeCommand::Create(args) => create(&volumes, args),
        VolumeCommand::Inspect(args) => inspect(&volumes, args),
        VolumeCommand::Rm(args) => remove(&roots, &volumes, args),
        VolumeCommand::Prune(args) => prune(&roots, &volumes, args),
    }
}

/// Runs `volumes`.
///
/// # Errors
/// When they cannot be listed.
pub(super) fn of_project(global: &Global, args: &OfProject) -> Outcome {
    let name = context::project_name(global)?;
    let mut volumes = all(&Volumes::new(&context::roots(global)))?;
    volumes.retain(|volume| {
        !volume.anonymous
            && volume
                .labels
                .get("com.docker.compose.project")
                .is_some_and(|p| p == name.as_str())
    });
    list(volumes, args.quiet, &args.format)
}

fn all(volumes: &Volumes) -> Result<Vec<Volume>, CommandError> {
    volumes
        .list()
        .map_err(|error| CommandError::caused(Exit::Host, "cannot list volumes", &error))
}

/// Names of the volumes that containers mount.
fn in_use(roots: &Roots) -> BTreeSet<String> {
    let entries = std::fs::read_dir(roots.containers())
        .into_iter()
        .flatten()
        .flatten();
    let records =
        entries.filter_map(|entry| Record::read(roots, &entry.file_name().to_string_lossy()).ok()?);
    let mut used: BTreeSet<String> = records
        .flat_map(|record| record.volumes.into_iter().chain(record.anonymous.into_values()))
        .collect();
    // Single containers have no record of a service: their mounts say it.
    let entries = std::fs::read_dir(roots.containers());
    let settings: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_string_lossy().into_owned();
            ContainerDir::new(roots.container(&id), roots.container_run(&id))
                .settings()
                .ok()
        })
        .collect();
    used.extend(super::system::volumes_in_use(roots, settings.iter()));
    used
}

fn list(volumes: Vec<Volume>, quiet: bool, format: &Format) -> Outcome {
    let text = if quiet {
        volumes
            .iter()
            .map(|volume| format!("{}\n", volume.name))
            .collect()
    } else if *format != Format::Table {
        let object = |volume: &Volume| {
            let labels: Vec<_> = volume
                .labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            json!({"Driver": "local", "Labels": labels.join(","), "Name": volume.name, "Scope": "local"})
        };
        let objects: Vec<_> = volumes.iter().map(object).collect();
        let rendered = format.render(&objects);
        rendered
            .map_err(|why| CommandError::new(Exit::Usage, why))?
            .unwrap_or_default()
    } else {
        let rows: Vec<_> = volumes
            .into_iter()
            .map(|volume| vec!["local".to_owned(), volume.name])
            .collect();
        table::table(&["DRIVER", "VOLUME NAME"], &rows)
    };
    say(&text);
    Ok(Exit::Success)
}

fn create(volumes: &Volumes, args: &Create) -> Outcome {
    let pair = |label: &String| {
        label
            .split_once('=')
            .map_or((label.clone(), String::new()), |(k, v)| (k.into(), v.into()))
    };
    let volume = Volume {
        name: args.name.clone(),
        labels: args.label.iter().map(pair).collect(),
        options: BTreeMap::new(),
        created: now(),
        anonymous: false,
    };
    volumes.ensure(&volume).map_err(|error| {
        CommandError::caused(
            Exit::Failed,
            format!("cannot make volume `{}`", args.name),
            &error,
        )
    })?;
    say(&format!("{}\n", args.name));
    Ok(Exit::Success)
}

fn inspect(volumes: &Volumes, args: &Names) -> Outcome {
    let mut found = Vec::new();
    for name in &args.names {
        let volume = volumes.find(name).map_err(|error| {
            CommandError::caused(Exit::Failed, format!("cannot show volume `{name}`"), &error)
        })?;
        let created = jiff::Timestamp::from_nanosecond(i128::from(volume.created)).unwrap_or_default();
        found.push(json!({
            "CreatedAt": created.to_string(),
            "Driver": "local",
            "Labels": volume.labels,
            "Mountpoint": volumes.data(name),
            "Name": volume.name,
            "Options": volume.options,
            "Scope": "local",
            "UsageData": {"Size": volumes.size(name)},
        }));
    }
    let text = serde_json::to_string_pretty(&found)
        .map_err(|error| CommandError::caused(Exit::Internal, "cannot print volumes", &error))?;
    say(&format!("{text}\n"));
    Ok(Exit::Success)
}

fn remove(roots: &Roots, volumes: &Volumes, args: &Names) -> Outcome {
    let used = in_use(roots);
    for name in &args.names {
        if used.contains(name) {
            let error = CommandError::new(Exit::Failed, format!("volume `{name}` is in use"));
            return Err(
                error.hint("`banyan ls -a` lists projects; `banyan down` removes a project's containers")
            );
        }
        volumes.remove(name).map_err(|error| {
            CommandError::caused(Exit::Failed, format!("cannot remove volume `{name}`"), &error)
        })?;
        say(&format!("{name}\n"));
    }
    Ok(Exit::Success)
}

fn prune(roots: &Roots, volumes: &Volumes, args: &Prune) -> Outcome {
    let used = in_use(roots);
    let mut unused = all(volumes)?;
    unused.retain(|volume| !used.contains(&volume.name) && (args.all || volume.anonymous));
    let mut bytes = 0;
    for volume in &unused {
        let size = volumes.size(&volume.name);
        bytes += size;
        say(&format!("{:>10.1} MB  {}\n", size as f64 / 1e6, volume.name));
        if args.force {
            volumes.remove(&volume.name).map_err(|error| {
                CommandError::caused(
                    Exit::Host,
                    format!("cannot remove volume `{}`", volume.name),
                    &error,
                )
            })?;
        }
    }
    let total = bytes as f64 / 1e6;
    if args.force {
        say(&format!("removed {} volumes, {total:.1} MB\n", unused.len()));
    } else {
        say(&format!(
            "{} volumes, {total:.1} MB, would go: their data is lost; `--force` removes them\n",
            unused.len()
        ));
    }
    Ok(Exit::Success)
}

fn say(text: &str) {
    // A reader that went away wants no more.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
