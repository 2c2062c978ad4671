//! What may be typed: the global flags and the list of commands. Each command's own flags are in its file.

use super::{
    CommandError, Exit, Outcome, attach, down, enable, engine, events, exec, files, image, images, init,
    lifecycle, lifecycle::Verb, logs, overlay, ps, reference, run, scale, small, stats, system, top, ui, up,
    volume, wait, watch, why,
};
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
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// Project name
    #[arg(short, long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Profile to switch on; may be given several times
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// File with variables for the project file; may be given several times
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Folder that relative paths start from (default: the folder of the first project file)
    #[arg(long, value_name = "DIR")]
    pub project_directory: Option<PathBuf>,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
    /// When to use colours and cursor movements
    #[arg(long, value_enum, default_value_t = Ansi::Auto)]
    pub ansi: Ansi,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Most steps done at the same time (0: as many as are ready)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub parallel: usize,
    /// Show no transfers.
    #[arg(skip)]
    pub quiet_pull: bool,
    /// Show no output of builds.
    #[arg(skip)]
    pub quiet_build: bool,
    /// Folder of all state: images, containers, volumes
    #[arg(long, value_name = "DIR", env = "BANYAN_ROOT", hide_env_values = true)]
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
    /// Write a first project file for this folder, by what lies in it
    Init(init::Init),
    /// Check the project files and print them as one file, with everything resolved
    #[command(alias = "convert")]
    Config(super::config::ConfigArgs),
    /// Single containers, without a project
    Container(super::container::ContainerArgs),
    /// Print the dependency graph of the services
    Graph(super::graph::GraphArgs),
    /// Bring the project up: build, create and start what is missing or changed
    Up(up::Up),
    /// Stop and remove the project's containers and networks
    Down(down::Down),
    /// List containers
    Ps(ps::Ps),
    /// Show output of containers
    Logs(logs::Logs),
    /// Run a command in a running container
    Exec(exec::Exec),
    /// Run one command of a service in a container of its own
    Run(run::Run),
    /// Connect to a running container: its output, our input
    Attach(attach::Attach),
    /// Set the number of containers of services
    Scale(scale::Scale),
    /// Wait until containers of services have ended
    Wait(wait::Wait),
    /// Show the processes of containers
    Top(top::Top),
    /// Show what containers use, live
    Stats(stats::Stats),
    /// Show the project on the whole screen: containers, what they use, their output, and keys to act on them
    Ui(ui::Ui),
    /// Copy files between services and this machine
    Cp(files::Cp),
    /// Show what services changed under the discardable layers of their binds (`x-banyan.overlay`)
    Diff(overlay::Diff),
    /// Write what services changed under such layers into the folders of this machine
    Apply(overlay::Apply),
    /// Write the files of a service's container as a tar archive
    Export(files::Export),
    /// Make an image of a service's container
    Commit(files::Commit),
    /// Create containers without starting them
    Create(up::Create),
    /// Bring changes of the project's folders into its containers, as they happen (`develop.watch`)
    Watch(watch::Watch),
    /// Build images of services
    Build(up::Build),
    /// What a `type` of a service means: recipes
    #[command(subcommand)]
    Recipe(super::recipe::RecipeCommand),
    /// Pull images of services
    Pull(up::Pull),
    /// Push images of services to their registries
    Push(super::push::Push),
    /// Named volumes of this machine
    #[command(subcommand)]
    Volume(volume::VolumeCommand),
    /// Networks that projects share
    #[command(subcommand)]
    Network(super::network::NetworkCommand),
    /// List the project's volumes
    Volumes(volume::OfProject),
    /// Start stopped containers
    Start(lifecycle::Start),
    /// Stop containers without removing them
    Stop(lifecycle::Timed),
    /// Stop and start containers
    Restart(lifecycle::Timed),
    /// Send a signal to containers
    Kill(lifecycle::Kill),
    /// Freeze containers
    Pause(lifecycle::Services),
    /// Let frozen containers go on
    Unpause(lifecycle::Services),
    /// Remove stopped containers
    Rm(lifecycle::Remove),
    /// Show where a port is published
    Port(small::Port),
    /// List projects
    Ls(small::List),
    /// Show what happens to containers, as it happens
    Events(events::Events),
    /// Tell how a service came to be as it is: what it waits for, why it was made anew, its last exit and probes
    Why(why::Why),
    /// Bring the project up with the machine: write a systemd unit
    Enable(enable::Enable),
    /// Remove the project's systemd unit
    Disable(enable::Disable),
    /// List images of the project's containers
    Images(images::Images),
    /// Work with images
    Image(image::Image),
    /// Disk space of everything, and removing what nobody uses
    System(system::System),
    /// Remember a login for a registry
    Login(image::Login),
    /// Forget the login for a registry
    Logout(image::Logout),
    /// Write completions for a shell to standard output
    Completion(reference::Completion),
    /// Write manual pages
    Man(reference::Man),
    /// The runtime with the command line of an OCI runtime (`banyan oci --help`)
    #[command(disable_help_flag = true)]
    Oci {
        /// Its own flags and command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0.., value_name = "…")]
        words: Vec<std::ffi::OsString>,
    },
    /// Show the version
    Version(small::Version),
    /// A project's engine
    #[command(hide = true)]
    Engine(engine::Engine),
    /// Who holds the network of a single container
    #[command(hide = true, name = crate::engine::alone::COMMAND)]
    Attendant(engine::Attendant),
}

impl Command {
    /// Whether it changes nothing, or can say what it would change.
    fn knows_dry_run(&self) -> bool {
        !matches!(
            self,
            Self::Exec(_)
                | Self::Attach(_)
                | Self::Wait(_)
                | Self::Ui(_)
                | Self::Cp(_)
                | Self::Apply(_)
                | Self::Commit(_)
                | Self::Push(_)
                | Self::Recipe(_)
                | Self::Volume(_)
                | Self::Image(_)
                | Self::Container(_)
                | Self::Login(_)
                | Self::Logout(_)
                | Self::Man(_)
        )
    }
}

/// Runs the command that was typed.
///
/// # Errors
/// Whatever the command reports.
pub fn run(cli: &Cli) -> Outcome {
    let global = &cli.global;
    if global.dry_run && !cli.command.knows_dry_run() {
        let error = CommandError::new(
            Exit::Usage,
            "this command has no `--dry-run`: it would do what it does",
        );
        return Err(error.hint("leave `--dry-run` out"));
    }
    match &cli.command {
        Command::Init(args) => init::run(global, args),
        Command::Config(args) => super::config::run(args, &cli.global),
        Command::Container(args) => super::container::run(cli, args),
        Command::Graph(args) => super::graph::run(args, &cli.global),
        Command::Up(args) => up::up(global, args),
        Command::Down(args) => down::run(global, args),
        Command::Ps(args) => ps::run(global, args),
        Command::Logs(args) => logs::run(global, args),
        Command::Exec(args) => exec::run(global, args),
        Command::Run(args) => run::run(global, args),
        Command::Attach(args) => attach::run(global, args),
        Command::Scale(args) => scale::run(global, args),
        Command::Wait(args) => wait::run(global, args),
        Command::Top(args) => top::run(global, args),
        Command::Stats(args) => stats::run(global, args),
        Command::Ui(args) => ui::run(global, args),
        Command::Cp(args) => files::cp(global, args),
        Command::Diff(args) => overlay::diff(global, args),
        Command::Apply(args) => overlay::apply(global, args),
        Command::Export(args) => files::export(global, args),
        Command::Commit(args) => files::commit(global, args),
        Command::Create(args) => up::create(global, args),
        Command::Watch(args) => watch::run(global, args),
        Command::Build(args) => up::build(global, args),
        Command::Pull(args) => up::pull(global, args),
        Command::Push(args) => super::push::run(global, args),
        Command::Recipe(command) => super::recipe::run(command),
        Command::Volume(command) => volume::run(global, command),
        Command::Network(command) => super::network::run(global, command),
        Command::Volumes(args) => volume::of_project(global, args),
        Command::Start(args) => lifecycle::run(global, &Verb::Start(args)),
        Command::Stop(args) => lifecycle::run(global, &Verb::Stop(args)),
        Command::Restart(args) => lifecycle::run(global, &Verb::Restart(args)),
        Command::Kill(args) => lifecycle::run(global, &Verb::Kill(args)),
        Command::Pause(args) => lifecycle::run(global, &Verb::Pause(args)),
        Command::Unpause(args) => lifecycle::run(global, &Verb::Unpause(args)),
        Command::Rm(args) => lifecycle::run(global, &Verb::Remove(args)),
        Command::Port(args) => small::port(global, args),
        Command::Ls(args) => small::list(global, args),
        Command::Events(args) => events::run(global, args),
        Command::Why(args) => why::run(global, args),
        Command::Enable(args) => enable::enable(global, args),
        Command::Disable(args) => enable::disable(global, args),
        Command::Images(args) => images::run(global, args),
        Command::Image(command) => image::run(command, global),
        Command::System(command) => system::run(command, global),
        Command::Login(command) => command.run(),
        Command::Logout(command) => command.run(),
        Command::Completion(args) => reference::completion(args),
        Command::Man(args) => reference::man(args),
        // Only when global flags stand before it; the usual way is shorter (see `super::main`).
        Command::Oci { words } => Ok(Exit::Status(super::oci::main(
            words.clone(),
            global.root.as_deref(),
        ))),
        Command::Version(args) => small::version(args),
        Command::Engine(args) => engine::run(args),
        Command::Attendant(args) => engine::attend(args),
    }
}
