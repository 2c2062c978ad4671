//! `banyan image …`, `login`, `logout`: the image store from the command line.
//!
//! Each command turns arguments into options, calls one operation of `banyan_runtime`, and prints.

mod build;
mod obtain;
pub(super) mod render;
mod show;
mod transfer;

use super::{CommandError, Exit, Global, Outcome, context::roots};
use banyan_runtime::{
    container::Launcher,
    image::{Platform, Store, StoreError},
    registry::Credentials,
};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

pub(super) use obtain::{Login, Logout};
pub(super) use render::size;

/// Work with images
#[derive(Debug, Args)]
pub struct Image {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List images
    #[command(visible_alias = "list")]
    Ls(show::List),
    /// Show everything about images, as JSON
    Inspect(show::Inspect),
    /// Show how an image came to be
    History(show::History),
    /// Give an image another name
    Tag(show::Tag),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(show::Remove),
    /// Remove images nobody uses
    Prune(show::Prune),
    /// Load images from an archive
    Load(transfer::Load),
    /// Write images to an archive
    Save(transfer::Save),
    /// Make an image from a root file system archive
    Import(transfer::Import),
    /// Get an image from a registry
    Pull(obtain::Pull),
    /// Send an image to a registry
    Push(obtain::Push),
    /// Build an image from a Dockerfile
    Build(Box<build::Build>),
    /// Assemble a Debian base image from packages
    Debian(obtain::Debian),
}

/// Runs `banyan image …`.
///
/// # Errors
/// Whatever the command reports.
pub(super) fn run(image: &Image, global: &Global) -> Outcome {
    match &image.command {
        Command::Ls(command) => command.run(global),
        Command::Inspect(command) => command.run(global),
        Command::History(command) => command.run(global),
        Command::Tag(command) => command.run(global),
        Command::Rm(command) => command.run(global),
        Command::Prune(command) => command.run(global),
        Command::Load(command) => command.run(global),
        Command::Save(command) => command.run(global),
        Command::Import(command) => command.run(global),
        Command::Pull(command) => command.run(global),
        Command::Push(command) => command.run(global),
        Command::Build(command) => command.run(global),
        Command::Debian(command) => command.run(global),
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

pub(super) fn store(global: &Global) -> Result<Store, CommandError> {
    Store::open(&roots(global).images()).map_err(|error| failed("cannot open the image store", &error))
}

fn failed(what: impl Into<String>, error: &StoreError) -> CommandError {
    with_hint(CommandError::caused(Exit::Failed, what, error), error.hint())
}

fn with_hint(error: CommandError, hint: Option<String>) -> CommandError {
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn docker_config() -> PathBuf {
    let folder = variable("DOCKER_CONFIG");
    let folder = folder.unwrap_or_else(|| variable("HOME").unwrap_or_else(|| "/".into()).join(".docker"));
    folder.join("config.json")
}

pub(super) fn credentials() -> Result<Credentials, CommandError> {
    Credentials::load(&docker_config())
        .map_err(|error| CommandError::caused(Exit::Host, "cannot read the registry logins", &error))
}

fn launcher() -> Result<Launcher, CommandError> {
    Launcher::new(Path::new("/proc/self/exe"))
        .map_err(|error| CommandError::caused(Exit::Host, "cannot start containers here", &error))
}

fn platform(text: Option<&str>) -> Result<Platform, CommandError> {
    text.map_or_else(
        || Ok(Platform::host()),
        |text| {
            text.parse()
                .map_err(|error| CommandError::caused(Exit::Usage, "`--platform` is wrong", &error))
        },
    )
}

pub(super) fn reference(text: &str) -> Result<banyan_runtime::image::Reference, CommandError> {
    text.parse()
        .map_err(|error| CommandError::caused(Exit::Usage, "this is no image name", &error))
}
