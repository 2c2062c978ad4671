//! `run`, `create`, `start`, `attach`: a container's life in front of the user.

use super::{
    flags::Flags,
    network, print_line,
    registry::{Entry, Registry},
    resolve::{AUTO_REMOVE, IMAGE_ID, resolve},
};
use crate::{
    cli::{CommandError, Exit, Outcome},
    engine::alone::{ANNOTATION, settle},
};
use banyan_runtime::{
    container::{
        Container, ContainerDir, ContainerError, Created, Extras, Found, LaunchError, Running, Settings,
        give_up,
    },
    image::Store,
    log::{Entry as Line, Reader, ReaderOptions, Stream},
    sys::signals::Queue,
    terminal::{self, RawMode},
};
use clap::Args;
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
};

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Start it and return, printing its id
    #[arg(short, long)]
    detach: bool,
    /// Remove it when it has ended
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    flags: Flags,
}

/// `create`.
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    flags: Flags,
}

/// `start`.
#[derive(Debug, Args)]
pub struct Start {
    /// Show its output and wait for its end
    #[arg(short, long)]
    attach: bool,
    /// Give it our standard input too
    #[arg(short, long)]
    interactive: bool,
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

/// `attach`.
#[derive(Debug, Args)]
pub struct Attach {
    /// Do not give it our standard input
    #[arg(long)]
    no_stdin: bool,
    /// Name or id
    name: String,
}

impl Run {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let (settings, dir) = prepare(&self.flags, registry, self.rm, self.detach)?;
        let created = match create(&settings, &dir, registry) {
            Ok(created) => created,
            // Nothing of a container that never was may be left.
            Err(error) => return Err(undo(registry, &dir, error)),
        };
        if self.detach {
            let started = created.start();
            return match started {
                Ok(_) => {
                    print_line(&settings.id);
                    Ok(Exit::Success)
                }
                Err(error) => Err(undo(registry, &dir, launch_error(&settings, &error))),
            };
        }
        let result = start_attached(created, &settings, settings.process.stdin);
        settle(&registry.roots, &settings.id);
        // A container that could not be started is of no use to anybody.
        if self.rm || result.is_err() {
            registry.remove(&dir, true).map_err(|error| {
                CommandError::caused(Exit::Status(125), "cannot remove the container", &error)
            })?;
        }
        result
    }
}

impl Create {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let (settings, dir) = prepare(&self.flags, registry, false, false)?;
        match create(&settings, &dir, registry) {
            Ok(_) => {
                print_line(&settings.id);
                Ok(Exit::Success)
            }
            Err(error) => Err(undo(registry, &dir, error)),
        }
    }
}

impl Start {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        if self.attach && self.names.len() > 1 {
            return Err(CommandError::new(
                Exit::Usage,
                "only one container can be attached to",
            ));
        }
        for name in &self.names {
            let entry = registry.find(name)?;
            let Some(created) = at_barrier(&entry, registry)? else {
                // Already running: as Docker, no error.
                print_line(name);
                continue;
            };
            if self.attach || self.interactive {
                return start_attached(created, &entry.settings, self.interactive);
            }
            created
                .start()
                .map_err(|error| launch_error(&entry.settings, &error))?;
            print_line(name);
        }
        Ok(Exit::Success)
    }
}

/// The container at its barrier, created anew when it has stopped; `None` when it runs.
pub(super) fn at_barrier(
    entry: &Entry,
    registry: &Registry,
) -> Result<Option<Container<Created>>, CommandError> {
    match entry.found()? {
        Found::Running(_) => Ok(None),
        Found::Created(container) => Ok(Some(container)),
        Found::Orphaned { .. } => Err(CommandError::new(
            Exit::Failed,
            format!("container `{}` runs without its shim", entry.settings.name),
        )
        .hint(format!(
            "`banyan container rm --force {}` ends and removes it",
            entry.settings.name
        ))),
        Found::Abandoned { .. } => {
            give_up(&entry.dir).map_err(|error| {
                CommandError::caused(Exit::Host, "cannot end what waits for nobody", &error)
            })?;
            create(&entry.settings, &entry.dir, registry).map(Some)
        }
        Found::Stopped(_) | Found::Lost | Found::Never => {
            create(&entry.settings, &entry.dir, registry).map(Some)
        }
    }
}

impl Attach {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let entry = registry.find(&self.name)?;
        let running = entry.running()?;
        let reader = Reader::open_at_end(&entry.dir.log()).map_err(|error| log_error(&error))?;
        let input =
            !self.no_stdin && (entry.settings.process.stdin || entry.settings.process.terminal.is_some());
        follow(running, reader, &entry.settings, input)
    }
}

fn prepare(
    flags: &Flags,
    registry: &Registry,
    auto_remove: bool,
    detached: bool,
) -> Result<(Settings, ContainerDir), CommandError> {
    let mut settings = resolve(flags, registry)?;
    if auto_remove {
        settings.root.volatile = true;
        settings
            .annotations
            .insert(AUTO_REMOVE.to_owned(), "true".to_owned());
        if detached {
            // Nobody of us stays: its shim removes it.
            let lease =
                Store::open(&registry.roots.images()).and_then(|store| store.lease_path(&settings.id));
            settings.remove_at_end = Some(lease.into_iter().collect());
        }
    }
    let dir = registry.dir(&settings.id);
    let lock = registry.lock()?;
    registry.check_free(&settings.name)?;
    // Taken from here on: the settings are what others look at.
    dir.reserve(&settings)
        .map_err(|error| CommandError::caused(Exit::Status(125), "cannot make the container", &error))?;
    drop(lock);
    if let Err(error) = claim_image(&settings, registry) {
        return Err(undo(registry, &dir, error));
    }
    if let Some(path) = &flags.cidfile {
        let write = fs_err::OpenOptions::new().write(true).create_new(true).open(path);
        if let Err(error) = write.and_then(|mut file| file.write_all(settings.id.as_bytes())) {
            let _ = registry.remove(&dir, true);
            return Err(CommandError::caused(
                Exit::Status(125),
                "cannot write the id",
                &error,
            ));
        }
    }
    Ok((settings, dir))
}

/// Claims the container's image, so that it cannot be removed from under the container.
fn claim_image(settings: &Settings, registry: &Registry) -> Result<(), CommandError> {
    let Some(text) = settings.annotations.get(IMAGE_ID) else {
        return Ok(());
    };
    let failed = |error: &(dyn std::error::Error + 'static)| {
        CommandError::caused(Exit::Status(125), "cannot claim the container's image", error)
    };
    let image = text.parse().map_err(|error| failed(&error))?;
    let store = Store::open(&registry.roots.images()).map_err(|error| failed(&error))?;
    store.lease(&settings.id, image).map_err(|error| failed(&error))
}

fn create(
    settings: &Settings,
    dir: &ContainerDir,
    registry: &Registry,
) -> Result<Container<Created>, CommandError> {
    if settings.annotations.contains_key(ANNOTATION) {
        return network::create(settings, dir, registry);
    }
    let launcher = Registry::launcher()?;
    let created = launcher.create(settings, dir, Extras::default());
    if let Some(text) = launcher.notice() {
        let _ = writeln!(std::io::stderr(), "warning: {text}");
    }
    created.map_err(|error| launch_error(settings, &error))
}

fn undo(registry: &Registry, dir: &ContainerDir, mut error: CommandError) -> CommandError {
    if let Err(left) = registry.remove(dir, true) {
        error.because.push(format!("and cleaning up failed: {left}"));
    }
    error
}

fn launch_error(settings: &Settings, error: &LaunchError) -> CommandError {
    let what = format!("cannot start container `{}`", settings.name);
    let made = CommandError::caused(Exit::Status(error.exit_status()), what, error);
    match error.hint() {
        Some(hint) => made.hint(hint),
        None => made,
    }
}

fn log_error(error: &banyan_runtime::log::LogError) -> CommandError {
    CommandError::caused(Exit::Status(125), "cannot follow the container's output", error)
}

fn start_attached(created: Container<Created>, settings: &Settings, input: bool) -> Outcome {
    // From before the start, or the first lines could be missed; earlier runs' output is not shown again.
    let reader = Reader::open_at_end(&created.dir().log()).map_err(|error| log_error(&error))?;
    let running = created.start().map_err(|error| launch_error(settings, &error))?;
    follow(
        running,
        reader,
        settings,
        input || settings.process.terminal.is_some(),
    )
}

/// Shows output and passes input and signals on until the container ends; gives its exit status.
fn follow(mut running: Container<Running>, mut reader: Reader, settings: &Settings, input: bool) -> Outcome {
    let lost = |error: &ContainerError| {
        let what = format!("lost sight of container `{}`", settings.name);
        CommandError::caused(Exit::Status(125), what, error)
    };
    let has_terminal = settings.process.terminal.is_some();
    let mut signals = signals(has_terminal)?;
    // It may have ended already, and its shim too: then its end is the first we hear.
    let activity = running.follow().ok();
    let raw = if has_terminal && input {
        RawMode::enter()
            .map_err(|error| CommandError::caused(Exit::Host, "cannot set up the terminal", &error))?
    } else {
        None
    };
    if let Some(size) = terminal::size().filter(|_| has_terminal) {
        let _ = running.resize(size);
    }
    if input && let Ok(attachment) = running.stdin() {
        pass_input(File::from(attachment.stdin), running.dir().clone(), !has_terminal);
    }
    let exit = loop {
        if let Some(activity) = &activity {
            activity.clear();
        }
        let ended = running.try_wait();
        show(&mut reader, has_terminal)?;
        match (ended, &activity) {
            (Ok(None), Some(activity)) => activity.wait_or(&[running.end_fd(), signals.as_fd()]),
            (Ok(None), None) => return Err(lost(&ContainerError::ShimLost)),
            (Ok(Some(exit)), _) => break exit,
            (Err(error), _) => return Err(lost(&error)),
        }
        while let Some(number) = signals.take() {
            if number == WINDOW_CHANGED {
                if let Some(size) = terminal::size() {
                    let _ = running.resize(size);
                }
            } else {
                // It may have ended; then that is what we hear next.
                let _ = running.signal(number);
            }
        }
    };
    drop(raw);
    Ok(Exit::Status(u8::try_from(exit.code()).unwrap_or(125)))
}

/// `SIGWINCH`.
const WINDOW_CHANGED: i32 = 28;

/// Ctrl-C and its like go to the container (SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM); changes of the window's
/// size to its terminal.
fn signals(terminal: bool) -> Result<Queue, CommandError> {
    let mut numbers = vec![1, 2, 3, 10, 12, 15];
    if terminal {
        numbers.push(WINDOW_CHANGED);
    }
    Queue::new(&numbers).map_err(|error| CommandError::caused(Exit::Host, "cannot wait for signals", &error))
}

/// Writes everything there is now, unfinished lines too.
fn show(reader: &mut Reader, terminal: bool) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    let mut complain = std::io::stderr().lock();
    let mut write = |line: &Line| {
        let end: &[u8] = if line.partial { b"" } else { b"\n" };
        // Our reader going away does not end the container.
        let _ = match line.stream {
            Stream::Stderr if !terminal => complain
                .write_all(&line.bytes)
                .and_then(|()| complain.write_all(end)),
            _ => out.write_all(&line.bytes).and_then(|()| out.write_all(end)),
        };
    };
    while let Some(line) = reader.next().map_err(|error| log_error(&error))? {
        write(&line);
    }
    for line in reader.flush() {
        write(&line);
    }
    let _ = out.flush();
    Ok(())
}

/// Copies our standard input to the container's on a thread of its own, which ends with this process.
fn pass_input(mut to: File, dir: ContainerDir, close_at_end: bool) {
    std::thread::spawn(move || {
        let mut from = std::io::stdin().lock();
        let mut buffer = vec![0; 16 << 10];
        loop {
            match from.read(&mut buffer) {
                Ok(length) if length > 0 => {
                    if to.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
                _ => break,
            }
        }
        drop(to);
        if close_at_end && let Ok(Found::Running(container)) = banyan_runtime::container::open(&dir) {
            let _ = container.close_stdin();
        }
    });
}

/// Lines of a log for `logs`.
pub(super) fn open_log(dir: &ContainerDir, options: ReaderOptions) -> Result<Reader, CommandError> {
    Reader::open(&dir.log(), options).map_err(|error| log_error(&error))
}
