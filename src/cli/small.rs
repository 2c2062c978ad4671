//! Small commands that only show: `port`, `ls`, `version`.

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
    /// Only projects whose name has this text: `name=TEXT`
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Only names
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
    let mut wanted = Vec::new();
    for filter in &args.filter {
        let Some(("name", text)) = filter.split_once('=') else {
            let error = CommandError::new(Exit::Usage, format!("`{filter}` is not a filter"));
            return Err(error.hint("the one filter is `name=TEXT`"));
        };
        wanted.push(text);
    }
    let mut rows = Vec::new();
    for entry in entries.into_iter().flatten().flatten() {
        let Ok(name) = ProjectName::new(entry.file_name().to_string_lossy().into_owned()) else {
            continue;
        };
        if !wanted.iter().all(|text| name.as_str().contains(text)) {
            continue;
        }
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
