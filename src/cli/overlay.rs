//! `banyan diff` and `banyan apply`: what services wrote to the discardable layers over their binds.

use super::{CommandError, Exit, Global, Outcome, context, drive, print, ps};
use crate::{
    api::wire::{Request, Select},
    model::ServiceName,
    overlays::Overlay,
};
use clap::Args;
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

/// Flags of `diff`.
#[derive(Debug, Clone, Args)]
pub struct Diff {
    /// Only these services
    services: Vec<String>,
    /// `text`, or `json`: one object a line
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

/// Flags of `apply`.
#[derive(Debug, Clone, Args)]
pub struct Apply {
    /// Only these services
    services: Vec<String>,
    /// Throw the changes away instead
    #[arg(long)]
    discard: bool,
    /// Seconds between asking a container to stop and killing it
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// Lists the changes: `A` new, `C` changed, `D` gone, with the path on this machine.
///
/// # Errors
/// A service that does not exist, or a layer that cannot be read.
pub(super) fn diff(global: &Global, args: &Diff) -> Outcome {
    let name = context::project_name(global)?;
    let roots = context::roots(global);
    let containers = ps::list(global, &name)?;
    for service in &args.services {
        if !containers.iter().any(|c| c.slot.service.as_str() == service) {
            return Err(CommandError::new(
                Exit::Failed,
                format!("no such service: {service}"),
            ));
        }
    }
    let mut text = String::new();
    for container in containers {
        let service = container.slot.service.as_str();
        if container.one_off || !(args.services.is_empty() || args.services.iter().any(|s| s == service)) {
            continue;
        }
        let folder = roots.overlays(&name, Some(&container.slot.to_string()));
        let fail = |error| CommandError::caused(Exit::Host, "cannot read a discardable layer", &error);
        for layer in Overlay::of_place(&folder).map_err(fail)? {
            for (change, path) in layer.changes().map_err(fail)? {
                let source = layer.over.source.display();
                if args.format == "json" {
                    let line = json!({
                        "Container": container.name,
                        "Change": change.to_string(),
                        "Path": format!("{source}{path}"),
                        "Target": format!("{}{path}", layer.over.target),
                    });
                    text += &format!("{line}\n");
                } else {
                    text += &format!("{change} {source}{path}\n");
                }
            }
        }
    }
    print(&text);
    Ok(Exit::Success)
}

/// Keeps the changes, or throws them away.
///
/// # Errors
/// What the engine reports.
pub(super) fn apply(global: &Global, args: &Apply) -> Outcome {
    let name = context::project_name(global)?;
    let named: Result<BTreeSet<_>, _> = args
        .services
        .iter()
        .map(|name| ServiceName::new(name.as_str()))
        .collect();
    let select = Select {
        services: named.map_err(|error| CommandError::new(Exit::Usage, error.to_string()))?,
        timeout: args.timeout.map(Duration::from_secs),
        no_deps: false,
    };
    let request = Request::Apply {
        select,
        discard: args.discard,
    };
    drive::drive(global, &context::client(global, &name), &request, |_| {})?;
    Ok(Exit::Success)
}
