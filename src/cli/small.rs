//! Small commands that only show: `port`, `ls`, `images`, `version`.

use super::{CommandError, Exit, Global, Outcome, context, exec, print, ps, table};
use crate::{
    engine::record::Record,
    model::{ProjectName, Protocol},
    plan::Phase,
};
use clap::Args;
use serde_json::json;

/// Flags of `port`.
#[derive(Debug, Clone, Args)]
pub struct Port {
    /// The service
    service: String,
    /// The port in the container
    private_port: u16,
    /// tcp or udp
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "udp"])]
    protocol: String,
    /// Which replica of the service
    #[arg(long, default_value_t = 1)]
    index: u32,
}

/// Flags of `ls`.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Stopped projects too
    #[arg(short, long)]
    all: bool,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// `table` or `json`
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// Flags of `images`.
#[derive(Debug, Clone, Args)]
pub struct Images {
    /// Only these services
    services: Vec<String>,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// `table` or `json`
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// Flags of `version`.
#[derive(Debug, Clone, Args)]
pub struct Version {
    /// Only the number
    #[arg(long)]
    short: bool,
    /// `pretty` or `json`
    #[arg(short, long, default_value = "pretty", value_parser = ["pretty", "json"])]
    format: String,
}

/// Where a port of a service is published.
///
/// # Errors
/// When it is not.
pub(super) fn port(global: &Global, args: &Port) -> Outcome {
    let name = context::project_name(global)?;
    let container = exec::find(ps::list(global, &name)?, &args.service, args.index)?;
    let protocol = if args.protocol == "udp" {
        Protocol::Udp
    } else {
        Protocol::Tcp
    };
    let found = container
        .ports
        .iter()
        .find(|port| port.target == args.private_port && port.protocol == protocol);
    let Some(port) = found else {
        let what = format!(
            "no port {}/{} of `{}` is published",
            args.private_port, args.protocol, container.name
        );
        return Err(CommandError::new(Exit::Failed, what));
    };
    let host = if port.host.is_ipv6() {
        format!("[{}]", port.host)
    } else {
        port.host.to_string()
    };
    print(&format!("{host}:{}\n", port.port));
    Ok(Exit::Success)
}

/// Projects of this root.
///
/// # Errors
/// When they cannot be read.
pub(super) fn list(global: &Global, args: &List) -> Outcome {
    let roots = context::roots(global);
    let fail = |error: &std::io::Error| CommandError::caused(Exit::Host, "cannot list projects", error);
    let entries = match std::fs::read_dir(roots.projects()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        entries => Some(entries.map_err(|error| fail(&error))?),
    };
    let mut rows = Vec::new();
    for entry in entries.into_iter().flatten().flatten() {
        let Ok(name) = ProjectName::new(entry.file_name().to_string_lossy().into_owned()) else {
            continue;
        };
        let containers = ps::list(global, &name)?;
        let running = containers
            .iter()
            .filter(|c| matches!(c.phase, Phase::Running | Phase::Paused))
            .count();
        if containers.is_empty() || (running == 0 && !args.all) {
            continue;
        }
        let mut states: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for container in &containers {
            *states.entry(ps::state(container)).or_default() += 1;
        }
        let status: Vec<_> = states
            .iter()
            .map(|(state, count)| format!("{state}({count})"))
            .collect();
        let files = Record::of_project(&roots, name.as_str())
            .ok()
            .and_then(|records| {
                records
                    .first()?
                    .labels
                    .get("com.docker.compose.project.config_files")
                    .cloned()
            });
        rows.push((name.to_string(), status.join(", "), files.unwrap_or_default()));
    }
    rows.sort();
    let text = if args.quiet {
        rows.iter().map(|(name, ..)| format!("{name}\n")).collect()
    } else if args.format == "json" {
        let list: Vec<_> = rows
            .iter()
            .map(|(name, status, files)| json!({"Name": name, "Status": status, "ConfigFiles": files}))
            .collect();
        format!("{}\n", serde_json::Value::from(list))
    } else {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(name, status, files)| vec![name, status, files])
            .collect();
        table::table(&["NAME", "STATUS", "CONFIG FILES"], &rows)
    };
    print(&text);
    Ok(Exit::Success)
}

/// Images that the project's containers were made from.
///
/// # Errors
/// When they cannot be read.
pub(super) fn images(global: &Global, args: &Images) -> Outcome {
    let name = context::project_name(global)?;
    let roots = context::roots(global);
    let records = Record::of_project(&roots, name.as_str())
        .map_err(|error| CommandError::caused(Exit::Host, "cannot read the project's containers", &error))?;
    let records: Vec<_> = records
        .into_iter()
        .filter(|r| args.services.is_empty() || args.services.iter().any(|s| s == r.slot.service.as_str()))
        .collect();
    let parts = |record: &Record| {
        let reference = record
            .service
            .image
            .name
            .parse::<banyan_runtime::image::Reference>()
            .ok();
        let repository = reference.as_ref().map_or_else(
            || record.service.image.name.clone(),
            banyan_runtime::image::Reference::familiar_repository,
        );
        let tag = reference
            .as_ref()
            .and_then(|r| r.tag().map(str::to_owned))
            .unwrap_or_else(|| "latest".into());
        let id = record
            .image
            .strip_prefix("sha256:")
            .unwrap_or(&record.image)
            .to_owned();
        (repository, tag, id)
    };
    let text = if args.quiet {
        let ids: std::collections::BTreeSet<_> = records.iter().map(|record| parts(record).2).collect();
        ids.into_iter().map(|id| format!("{id}\n")).collect()
    } else if args.format == "json" {
        let list: Vec<_> = records
            .iter()
            .map(|record| {
                let (repository, tag, id) = parts(record);
                json!({"ID": format!("sha256:{id}"), "ContainerName": record.name, "Repository": repository, "Tag": tag})
            })
            .collect();
        format!("{}\n", serde_json::Value::from(list))
    } else {
        let rows: Vec<_> = records
            .iter()
            .map(|record| {
                let (repository, tag, id) = parts(record);
                vec![
                    record.name.clone(),
                    repository,
                    tag,
                    id.get(..12).unwrap_or(&id).to_owned(),
                ]
            })
            .collect();
        table::table(&["CONTAINER", "REPOSITORY", "TAG", "IMAGE ID"], &rows)
    };
    print(&text);
    Ok(Exit::Success)
}

/// Our version.
///
/// # Errors
/// None.
pub(super) fn version(args: &Version) -> Outcome {
    let number = env!("CARGO_PKG_VERSION");
    match (args.short, args.format.as_str()) {
        (true, _) => print(&format!("{number}\n")),
        (false, "json") => print(&format!("{}\n", json!({"version": number}))),
        _ => print(&format!("banyan version {number}\n")),
    }
    Ok(Exit::Success)
}
