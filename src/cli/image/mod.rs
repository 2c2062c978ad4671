//! `banyan image …`: the image store by hand.

use super::{CommandError, Exit, Global, Outcome, context, table};
use banyan_runtime::image::{ImageConfig, Platform, Reference, Store, StoreError};
use clap::{Args, Subcommand};
use std::{
    io::{Read, Write},
    path::PathBuf,
};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List images
    Ls(List),
    /// Make an image of a root filesystem's archive
    Import(Import),
}

/// Flags of `image ls`.
#[derive(Debug, Args)]
pub struct List {
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

/// Flags of `image import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The archive (plain, gzip or zstd); `-` is standard input
    archive: PathBuf,
    /// Its name
    name: Option<String>,
    /// A remark for its history
    #[arg(short, long, default_value = "imported")]
    message: String,
}

/// Runs one.
///
/// # Errors
/// Whatever the command reports.
pub(super) fn run(global: &Global, command: &ImageCommand) -> Outcome {
    let store = Store::open(&context::roots(global).images())
        .map_err(|error| failed("cannot open the image store", &error))?;
    match command {
        ImageCommand::Ls(args) => list(&store, args),
        ImageCommand::Import(args) => import(&store, args),
    }
}

fn failed(what: &str, error: &StoreError) -> CommandError {
    let made = CommandError::caused(Exit::Host, what, error);
    match error.hint() {
        Some(hint) => made.hint(hint),
        None => made,
    }
}

fn list(store: &Store, args: &List) -> Outcome {
    let mut rows = Vec::new();
    for record in store
        .records()
        .map_err(|error| failed("cannot list images", &error))?
    {
        let names = store
            .names_of(record.id)
            .map_err(|error| failed("cannot list images", &error))?;
        let size = format!("{:.1}MB", record.bytes as f64 / 1e6);
        let id = record.id.short();
        let age = format!(
            "{} ago",
            table::ago(jiff::Timestamp::now().as_second() - record.added)
        );
        if names.is_empty() {
            rows.push(vec![
                "<none>".into(),
                "<none>".into(),
                id.clone(),
                age.clone(),
                size.clone(),
            ]);
        }
        for name in names {
            let tag = name.tag().unwrap_or("<none>").to_owned();
            rows.push(vec![
                name.familiar_repository(),
                tag,
                id.clone(),
                age.clone(),
                size.clone(),
            ]);
        }
    }
    rows.sort();
    let text = if args.quiet {
        let ids: std::collections::BTreeSet<_> = rows.iter().map(|row| row[2].clone()).collect();
        ids.into_iter().map(|id| format!("{id}\n")).collect()
    } else {
        table::table(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"], &rows)
    };
    // A reader that went away wants no more.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(Exit::Success)
}

fn import(store: &Store, args: &Import) -> Outcome {
    let name = args
        .name
        .as_ref()
        .map(|name| name.parse::<Reference>())
        .transpose();
    let name = name.map_err(|error| CommandError::new(Exit::Usage, error.to_string()))?;
    let open = || -> std::io::Result<Box<dyn Read + Send>> {
        if args.archive.as_os_str() == "-" {
            return Ok(Box::new(std::io::stdin()));
        }
        Ok(Box::new(fs_err::File::open(&args.archive)?))
    };
    let archive =
        open().map_err(|error| CommandError::caused(Exit::Failed, "cannot read the archive", &error))?;
    let id = store
        .import(archive, ImageConfig::default(), &args.message, &Platform::host())
        .map_err(|error| CommandError::caused(Exit::Failed, "cannot import the archive", &error))?;
    if let Some(name) = &name {
        store
            .tag(id, name)
            .map_err(|error| failed("cannot name the image", &error))?;
    }
    // A reader that went away wants no more.
    let _ = writeln!(std::io::stdout(), "{id}");
    Ok(Exit::Success)
}
