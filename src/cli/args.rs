//! What may be typed: the global flags and the list of commands. Each command's own flags are in its file.

use super::Outcome;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A whole stack of services up from one YAML file, and down again without a trace.
#[derive(Debug, Parser)]
#[command(
    name = "banyan",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes, as in `docker compose`.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Project file; may be given several times, later ones are merged over earlier ones; `-` is standard input
    #[arg(short, long, global = true, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// Project name
    #[arg(short, long, global = true, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Profile to switch on; may be given several times
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Vec<String>,
    /// File with variables for the project file; may be given several times
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Folder that relative paths start from (default: the folder of the first project file)
    #[arg(long, global = true, value_name = "DIR")]
    pub project_directory: Option<PathBuf>,
    /// How progress is shown
    #[arg(long, global = true, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
    /// When to use colours and cursor movements
    #[arg(long, global = true, value_enum, default_value_t = Ansi::Auto)]
    pub ansi: Ansi,
    /// Say what would be done, and do nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Most steps done at the same time (0: as many as are ready)
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    pub parallel: usize,
    /// Folder of all state: images, containers, volumes
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "BANYAN_ROOT",
        hide_env_values = true
    )]
    pub root: Option<PathBuf>,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A live view on a terminal, plain lines elsewhere.
    Auto,
    /// A live view.
    Tty,
    /// Plain lines.
    Plain,
    /// One JSON object a line.
    Json,
    /// Nothing.
    Quiet,
}

/// When to use colours and cursor movements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ansi {
    /// On a terminal.
    Auto,
    /// Never.
    Never,
    /// Always.
    Always,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the project files and print them as one file, with everything resolved
    #[command(alias = "convert")]
    Config(super::config::ConfigArgs),
    /// Print the dependency graph of the services
    Graph(super::graph::GraphArgs),
    /// Show the version
    Version,
}

/// Runs the command that was typed.
///
/// # Errors
/// Whatever the command reports.
pub fn run(cli: &Cli) -> Outcome {
    match &cli.command {
        Command::Config(args) => super::config::run(args, &cli.global),
        Command::Graph(args) => super::graph::run(args, &cli.global),
        Command::Version => version(),
    }
}

fn version() -> Outcome {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "banyan version {}", env!("CARGO_PKG_VERSION"));
    Ok(super::Exit::Success)
}
