//! `cp`, `export` and `commit` of services' containers: the same as for single containers, found by service.

use super::{
    CommandError, Exit, Global, Outcome,
    container::files::{End, export as export_container, split, transfer},
    context, print, ps,
};
use crate::api::wire::ContainerInfo;
use banyan_runtime::{
    container::{
        ContainerDir,
        files::{CopyError, CopyOptions, Scope, copy},
    },
    image::{CommitRequest, Reference, Store},
};
use clap::{ArgAction, Args};
use std::path::PathBuf;

/// Flags of `cp`.
#[derive(Debug, Clone, Args)]
pub struct Cp {
    /// Keep owners
    #[arg(short, long)]
    archive: bool,
    /// Follow a symbolic link in SOURCE
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Containers of `run`, too
    #[arg(long)]
    all: bool,
    /// Which replica (default: from the first, to all)
    #[arg(long)]
    index: Option<u32>,
    /// SERVICE:PATH, PATH, or - for a tar stream
    source: String,
    /// SERVICE:PATH, PATH, or - for a tar stream
    destination: String,
}

/// Flags of `export`.
#[derive(Debug, Clone, Args)]
pub struct Export {
    /// Which replica
    #[arg(long, default_value_t = 1)]
    index: u32,
    /// Write to a file instead of standard output
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// The service
    service: String,
}

/// Flags of `commit`.
#[derive(Debug, Clone, Args)]
pub struct Commit {
    /// Who made it
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// Instruction of a Dockerfile to apply (`CMD`, `ENV`, …); may be given several times
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Which replica
    #[arg(long, default_value_t = 1)]
    index: u32,
    /// Remark in the image's history
    #[arg(short, long)]
    message: Option<String>,
    /// Freeze the container meanwhile; `--pause=false` does not
    #[arg(short, long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", value_name = "BOOL")]
    pause: bool,
    /// The service
    service: String,
    /// Name for the image
    image: Option<String>,
}

/// Containers of a service, running or not, in order.
fn of_service(global: &Global, service: &str, one_offs: bool) -> Result<Vec<ContainerInfo>, CommandError> {
    let mut found = ps::list(global, &context::project_name(global)?)?;
    found.retain(|c| c.slot.service.as_str() == service && (one_offs || !c.one_off));
    found.sort_by_key(|c| c.slot.number);
    if found.is_empty() {
        let error = CommandError::new(Exit::Failed, format!("no container of service `{service}`"));
        return Err(error.hint(format!(
            "`banyan create {service}` makes one, `banyan up -d {service}` starts it"
        )));
    }
    Ok(found)
}

fn replica(global: &Global, service: &str, index: u32) -> Result<ContainerInfo, CommandError> {
    let found = of_service(global, service, false)?
        .into_iter()
        .find(|c| c.slot.number == index);
    found.ok_or_else(|| {
        CommandError::new(
            Exit::Failed,
            format!("service `{service}` has no container #{index}"),
        )
    })
}

fn dir(global: &Global, container: &ContainerInfo) -> ContainerDir {
    let roots = context::roots(global);
    ContainerDir::new(roots.container(&container.id), roots.container_run(&container.id))
}

/// Runs `cp`.
///
/// # Errors
/// What cannot be read or written.
pub(super) fn cp(global: &Global, args: &Cp) -> Outcome {
    let options = CopyOptions {
        follow_link: args.follow_link,
        archive: args.archive,
    };
    let ends = |word: &str| -> Result<Vec<End>, CommandError> {
        let Some((service, path)) = split(word) else {
            return Ok(vec![if word == "-" {
                End::Stream
            } else {
                End::Local(word.to_owned())
            }]);
        };
        let mut found = of_service(global, service, args.all)?;
        if let Some(index) = args.index {
            found.retain(|c| c.slot.number == index && !c.one_off);
            if found.is_empty() {
                let what = format!("service `{service}` has no container #{index}");
                return Err(CommandError::new(Exit::Failed, what));
            }
        }
        Ok(found
            .iter()
            .map(|c| End::Container(dir(global, c), c.name.clone(), path.to_owned()))
            .collect())
    };
    let (sources, destinations) = (ends(&args.source)?, ends(&args.destination)?);
    let Some(source) = sources.first() else {
        return Ok(Exit::Success);
    };
    if destinations.len() > 1 && matches!(source, End::Stream) {
        let error = CommandError::new(
            Exit::Usage,
            "a stream can be read once, and the service has several containers",
        );
        return Err(error.hint("choose one with `--index`"));
    }
    for destination in &destinations {
        match (source, destination) {
            (End::Container(from, from_name, from_path), End::Container(to, to_name, to_path)) => {
                let copied = || -> Result<(), CopyError> {
                    let (there, here) = (from.file_tree(Scope::Mounted)?, to.file_tree(Scope::Mounted)?);
                    let path = |path: &str| format!("/{}", path.trim_start_matches('/'));
                    copy(&there, &path(from_path), &here, &path(to_path), options).map(drop)
                };
                copied().map_err(|error| {
                    let what = format!("cannot copy from `{from_name}` to `{to_name}`");
                    CommandError::caused(Exit::Failed, what, &error)
                })?;
            }
            _ => {
                transfer(source, destination, options, true)?;
            }
        }
    }
    Ok(Exit::Success)
}

/// Runs `export`.
///
/// # Errors
/// What cannot be read or written.
pub(super) fn export(global: &Global, args: &Export) -> Outcome {
    let container = replica(global, &args.service, args.index)?;
    export_container(&dir(global, &container), &container.name, args.output.as_deref())
}

/// Runs `commit`.
///
/// # Errors
/// What is no image name or instruction, or what the store reports.
pub(super) fn commit(global: &Global, args: &Commit) -> Outcome {
    let name = args.image.as_deref().map(str::parse::<Reference>).transpose();
    let name = name.map_err(|error| CommandError::caused(Exit::Usage, "this is no image name", &error))?;
    let container = replica(global, &args.service, args.index)?;
    let what = format!("cannot commit `{}`", container.name);
    let wrong =
        |error: &(dyn std::error::Error + 'static)| CommandError::caused(Exit::Failed, what.clone(), error);
    let store = Store::open(&context::roots(global).images()).map_err(|error| wrong(&error))?;
    let request = CommitRequest {
        changes: args.change.clone(),
        author: args.author.clone(),
        message: args.message.clone(),
        pause: args.pause,
    };
    let id = store
        .commit_container(&dir(global, &container), &request)
        .map_err(|error| wrong(&error))?;
    if let Some(name) = &name {
        store.tag(id, name).map_err(|error| wrong(&error))?;
    }
    print(&format!("{id}\n"));
    Ok(Exit::Success)
}
