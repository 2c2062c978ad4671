//! `banyan graph`: who waits for whom.

use super::{CommandError, Exit, Global, Outcome, config, graph_svg, ps};
use crate::{
    graph::Graph,
    model::{Condition, Project},
    project,
};
use clap::{Args, ValueEnum};
use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Print the dependency graph of the services
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw it as SVG and open it with this machine's viewer
    #[arg(long)]
    open: bool,
}

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for each service in starting order, with what it waits for.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid.
    Mermaid,
    /// A picture, with the states that the services are in now.
    Svg,
}

/// Runs the command.
///
/// # Errors
/// A wrong project.
pub fn run(args: &GraphArgs, global: &Global) -> Outcome {
    let options = config::load_options(global)?;
    let loaded = project::load(&options).map_err(|wrong| config::wrong_project(&wrong, &options))?;
    config::print_warnings(&loaded.warnings, &options);
    let project = &loaded.project;
    let text = if args.open || args.format == Format::Svg {
        graph_svg::draw(project, &ps::list(global, &project.name)?)
    } else {
        draw(project, args.format)
    };
    let write = |path: &Path| {
        fs_err::write(path, &text)
            .map_err(|error| CommandError::caused(Exit::Failed, "cannot write the graph", &error))
    };
    if args.open {
        let path = args.output.clone().unwrap_or_else(|| {
            let name = format!("banyan-{}-{}.svg", project.name, std::process::id());
            std::env::temp_dir().join(name)
        });
        write(&path)?;
        return open(&path);
    }
    match &args.output {
        Some(path) => write(path)?,
        // A reader that went away wants no more.
        None => drop(std::io::stdout().write_all(text.as_bytes())),
    }
    Ok(Exit::Success)
}

/// Opens a file with the viewer that the desktop has for it.
fn open(path: &Path) -> Outcome {
    let opened = std::process::Command::new("xdg-open").arg(path).status();
    match opened {
        Ok(status) if status.success() => Ok(Exit::Success),
        failed => {
            let why = failed.map_or_else(|error| error.to_string(), |status| status.to_string());
            let what = format!("`xdg-open` cannot open {}: {why}", path.display());
            Err(CommandError::new(Exit::Host, what).hint("open the file with a browser"))
        }
    }
}

/// The graph of a project as text; a project that was loaded has no cycles.
#[must_use]
pub fn draw(project: &Project, format: Format) -> String {
    let order = Graph::of(project).order().unwrap_or_default();
    let mut out = String::new();
    match format {
        Format::Text | Format::Svg => {}
        Format::Dot => {
            let _ = writeln!(out, "digraph \"{}\" {{\n  rankdir=LR;", project.name);
        }
        Format::Mermaid => out += "flowchart LR\n",
    }
    let index = |name: &str| order.iter().position(|other| *other == name).unwrap_or_default();
    for (i, name) in order.iter().enumerate() {
        let Some(service) = project.services.get(*name) else {
            continue;
        };
        let edges: Vec<(&str, &str)> = service
            .depends_on
            .iter()
            .filter(|(other, _)| project.services.contains_key(*other))
            .map(|(other, dependency)| (other.as_str(), word(dependency.condition)))
            .collect();
        let _ = match format {
            Format::Svg => Ok(()),
            Format::Text if edges.is_empty() => writeln!(out, "{name}"),
            Format::Text => {
                let waits: Vec<String> = edges
                    .iter()
                    .map(|(other, word)| format!("{other} ({word})"))
                    .collect();
                writeln!(out, "{name} after {}", waits.join(", "))
            }
            Format::Dot => {
                let _ = writeln!(out, "  \"{name}\";");
                edges.iter().try_for_each(|(other, word)| {
                    writeln!(out, "  \"{name}\" -> \"{other}\" [label=\"{word}\"];")
                })
            }
            Format::Mermaid => {
                let _ = writeln!(out, "  s{i}[\"{name}\"]");
                edges
                    .iter()
                    .try_for_each(|(other, word)| writeln!(out, "  s{i} -->|{word}| s{}", index(other)))
            }
        };
    }
    if format == Format::Dot {
        out += "}\n";
    }
    out
}

fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::ServiceStarted => "started",
        Condition::ServiceHealthy => "healthy",
        Condition::ServiceCompletedSuccessfully => "completed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_formats_show_the_same_edges() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let file = temp.path().join("compose.yaml");
        let text = "name: p\nservices:\n  web: {image: x, depends_on: {db: {condition: service_healthy}}, links: [cache]}\n  db: {image: y}\n  cache: {image: z}\n";
        fs_err::write(&file, text).expect("a file");
        let options = project::LoadOptions {
            files: vec![file],
            working_dir: temp.path().to_owned(),
            ..project::LoadOptions::default()
        };
        let project = project::load(&options).expect("a good project").project;
        assert_eq!(
            draw(&project, Format::Text),
            "cache\ndb\nweb after cache (started), db (healthy)\n"
        );
        assert_eq!(
            draw(&project, Format::Dot),
            "digraph \"p\" {\n  rankdir=LR;\n  \"cache\";\n  \"db\";\n  \"web\";\n  \"web\" -> \"cache\" [label=\"started\"];\n  \"web\" -> \"db\" [label=\"healthy\"];\n}\n"
        );
        assert_eq!(
            draw(&project, Format::Mermaid),
            "flowchart LR\n  s0[\"cache\"]\n  s1[\"db\"]\n  s2[\"web\"]\n  s2 -->|started| s0\n  s2 -->|healthy| s1\n"
        );
    }
}
