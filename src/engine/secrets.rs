//! Secrets and configs of a service: read when a container starts, handed over by content, never stored.
//!
//! The runtime puts them on a tmpfs of the container, with owner and mode. Their bytes are in no record, no log, no
//! message: only here, between the source and the launch.

use super::{Engine, Outcome};
use crate::{
    api::wire::{Failure, Fault},
    model::{FileGrant, FileSource, Project, Service},
};
use banyan_runtime::container::Grant;
use std::process::{Command, Stdio};

/// The largest secret or config, in bytes (Docker allows 500 kB and 1 MB).
const LARGEST: u64 = 1 << 20;

/// Reads everything that is granted to a service.
///
/// # Errors
/// A source that cannot be read; the message never holds what was read.
pub fn grants(engine: &Engine, project: &Project, service: &Service) -> Outcome<Vec<Grant>> {
    let mut made = Vec::new();
    for (kind, grants, sources) in [
        ("secret", &service.secrets, &project.secrets),
        ("config", &service.configs, &project.configs),
    ] {
        for (index, grant) in grants.iter().enumerate() {
            let Some(source) = sources.get(&grant.source) else {
                continue;
            };
            let place = service
                .places
                .get(&format!("{kind}s[{index}]"))
                .or(service.place.as_ref());
            made.push(read(engine, kind, grant, source).map_err(|failure| failure.at(place))?);
        }
    }
    Ok(made)
}

fn read(engine: &Engine, kind: &str, grant: &FileGrant, source: &FileSource) -> Outcome<Grant> {
    let name = &grant.source;
    let content = match source {
        FileSource::File(path) => {
            let size = fs_err::metadata(path).map(|data| data.len());
            let content = size.and_then(|size| {
                if size > LARGEST {
                    return Err(std::io::Error::other(format!(
                        "{} is larger than {LARGEST} bytes",
                        path.display()
                    )));
                }
                fs_err::read(path)
            });
            content.map_err(|error| {
                Failure::caused(Fault::Asked, format!("cannot read {kind} `{name}`"), &error)
            })?
        }
        FileSource::Environment(variable) => {
            let value = super::lock(&engine.environment).get(variable).cloned();
            let missing = || {
                Failure::new(
                    Fault::Asked,
                    format!("{kind} `{name}` comes from the variable {variable}, which is not set"),
                )
                .hint(format!(
                    "set it and run `banyan up` again: its value is never stored, {variable}=… banyan up"
                ))
            };
            value.ok_or_else(missing)?.into_bytes()
        }
        FileSource::Content(text) => text.clone().into_bytes(),
        FileSource::Command(command) => run(kind, name, command)?,
    };
    Ok(Grant {
        target: grant.target.clone(),
        uid: id(kind, grant, "uid", grant.uid.as_ref())?,
        gid: id(kind, grant, "gid", grant.gid.as_ref())?,
        mode: grant.mode.unwrap_or(0o444),
        content,
    })
}

fn id(kind: &str, grant: &FileGrant, which: &str, value: Option<&String>) -> Outcome<u32> {
    let Some(text) = value else { return Ok(0) };
    text.parse().map_err(|_| {
        Failure::new(
            Fault::ProjectFile,
            format!("`{text}` is not a {which} for {kind} `{}`", grant.source),
        )
        .hint("write a number")
    })
}

fn run(kind: &str, name: &str, command: &[String]) -> Outcome<Vec<u8>> {
    let what = || format!("the command of {kind} `{name}` failed");
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::new(
            Fault::ProjectFile,
            format!("the command of {kind} `{name}` is empty"),
        ));
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::caused(Fault::Asked, what(), &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::new(Fault::Asked, format!("{} ({})", what(), output.status)).details(said));
    }
    let mut content = output.stdout;
    // What a program prints for people ends with a newline that is not part of the secret.
    if content.ends_with(b"\n") {
        content.pop();
    }
    Ok(content)
}
