//! `banyan ui`: the project on the whole screen: its containers, what they use, their output, and keys to act on them.
//!
//! 1. [`look`] and [`output`] look at containers and their output, each on a thread of its own, and tell what they saw.
//! 2. [`view`] folds that and the [`keys`] into what is shown: pure, no clock, no terminal.
//! 3. [`draw`] draws a view.
//! 4. [`screen`] holds the terminal, and gives it back on every way out.
//! 5. [`run`] is the loop between them. What a key does to a service is the command that the user could have typed.

mod draw;
mod keys;
mod look;
mod output;
mod row;
mod screen;
#[cfg(test)]
mod tests;
mod view;

use super::{Ansi, CommandError, Exit, Global, Outcome, context, interrupt, terminal::Style};
use crate::{engine::settings::log_directory, model::ProjectName, project, state::Roots};
use banyan_runtime::sys::{pidfd, poll};
use clap::Args;
use keys::Keys;
use look::Pace;
use output::{Heard, Log};
use ratatui::crossterm::style::force_color_output;
use row::Row;
use screen::Screen;
use std::{
    io::{self, IsTerminal, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use view::{Asked, View};

/// Flags of `ui`.
#[derive(Debug, Clone, Args)]
pub struct Ui {
    /// Only names with this text at first
    filter: Option<String>,
}

/// How long a lone Escape is waited for: what belongs to it comes at once.
const ESCAPE: Duration = Duration::from_millis(40);
/// As shells report a hang-up.
const HUNG_UP: Exit = Exit::Status(129);
/// Times since a start grow without anything happening.
const IDLE: Duration = Duration::from_secs(10);

/// Something to take into the view.
enum Happened {
    Rows(Result<Vec<Row>, CommandError>),
    Lines(Heard),
    Signal(i32),
    /// A command of ours has ended: its words, whether its output is wanted, how it ended.
    Ran(Vec<String>, bool, Result<std::process::Output, io::Error>),
    /// The browser could not be started for this address.
    NotOpened(String),
}

/// Tells the loop something, from any thread.
#[derive(Debug, Clone)]
struct Teller {
    send: mpsc::Sender<Happened>,
    wake: Arc<UnixStream>,
}

impl Teller {
    /// False when nobody listens any more.
    fn tell(&self, happened: Happened) -> bool {
        let heard = self.send.send(happened).is_ok();
        // A full pipe wakes as well.
        let _ = (&*self.wake).write(&[0]);
        heard
    }
}

/// Shows the project until the user leaves.
///
/// # Errors
/// When there is no terminal, or the project cannot be read.
pub(super) fn run(global: &Global, args: &Ui) -> Outcome {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let error = CommandError::new(Exit::Usage, "`ui` needs a terminal for input and output");
        return Err(error.hint("`banyan ps`, `banyan stats` and `banyan logs -f` tell the same in lines"));
    }
    if global.file.iter().any(|file| file.as_os_str() == "-") {
        let error = CommandError::new(Exit::Usage, "`ui` cannot read the project from standard input");
        return Err(error.hint("keys come from there: give a file, or `-p NAME` for what runs"));
    }
    let name = context::project_name(global)?;
    // Without its file a project that runs is shown all the same; only what has no container is not known then.
    let project = super::config::load_options(global)
        .ok()
        .and_then(|options| project::load(&options).ok())
        .map(|loaded| loaded.project)
        .filter(|project| project.name == name);
    let colour = Style::stdout(global).colour;
    let shown = screen::guarded(|| show(global, &name, project, args, colour));
    match shown {
        Ok(outcome) => outcome,
        Err(panic) => {
            Err(CommandError::new(Exit::Internal, "the view broke; the project goes on").details(panic))
        }
    }
}

/// The loop, with the terminal.
fn show(
    global: &Global,
    name: &ProjectName,
    project: Option<crate::model::Project>,
    args: &Ui,
    colour: bool,
) -> Outcome {
    let fail = |error: io::Error| CommandError::caused(Exit::Host, "cannot use the terminal", &error);
    let (mut woken, wake) = UnixStream::pair().map_err(fail)?;
    woken.set_nonblocking(true).map_err(fail)?;
    wake.set_nonblocking(true).map_err(fail)?;
    let (send, happened) = mpsc::channel();
    let teller = Teller {
        send,
        wake: Arc::new(wake),
    };
    let told = teller.clone();
    // Before the terminal is taken, so that no signal can end us with it.
    let signals = [
        interrupt::HANG_UP,
        interrupt::INTERRUPT,
        interrupt::TERMINATE,
        interrupt::RESIZED,
    ];
    interrupt::listen(&signals, move |signal| told.tell(Happened::Signal(signal))).map_err(fail)?;
    let (paces, choices) = start_looking(global, name, project, &teller);
    let mut user = User {
        global,
        name,
        roots: context::roots(global),
        teller,
        paces,
        choices,
        under_way: 0,
    };
    let mut view = View::new(name.as_str());
    view.filter = args.filter.clone().unwrap_or_default();
    // Whether there are colours was decided by the flags and the environment already.
    force_color_output(colour);
    let mut screen = Screen::take().map_err(fail)?;
    // Not through the standard library's buffer: what lies there does not make a descriptor ready.
    let mut stdin = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned().map_err(fail)?);
    let mut keys = Keys::default();
    loop {
        let look = draw::Look {
            colour,
            now: jiff::Timestamp::now().as_second(),
        };
        let drawn = screen.draw(|frame| {
            view.fit(draw::parts(&view, frame.area()));
            draw::draw(frame, &view, look);
        });
        if drawn.is_err() {
            // The terminal went away, and with it whoever could be told.
            return Ok(HUNG_UP);
        }
        let wait = if keys.is_waiting() { ESCAPE } else { IDLE };
        let [typed, woke] = poll::readable([stdin.as_fd(), woken.as_fd()], wait).map_err(fail)?;
        let mut pressed = Vec::new();
        if typed {
            let mut bytes = [0; 1024];
            match stdin.read(&mut bytes) {
                Ok(0) | Err(_) => return Ok(HUNG_UP),
                Ok(length) => pressed = keys.take(&bytes[..length]),
            }
        } else if !woke {
            pressed.extend(keys.give_up());
        }
        if woke {
            // Only to wake: what happened is in the channel.
            while woken.read(&mut [0; 512]).is_ok_and(|length| length > 0) {}
        }
        for happened in happened.try_iter() {
            if let Some(exit) = user.take(&mut view, happened) {
                return Ok(exit);
            }
        }
        for key in pressed {
            match view.press(key) {
                Some(Asked::Quit) => return Ok(Exit::Success),
                Some(Asked::Hand(words)) => {
                    let meanwhile = user
                        .hand(&mut screen, &mut view, &words, &happened)
                        .map_err(fail)?;
                    for happened in meanwhile {
                        if let Some(exit) = user.take(&mut view, happened) {
                            return Ok(exit);
                        }
                    }
                    // What was typed at the same time was not meant for the list.
                    break;
                }
                Some(asked) => user.act(&mut view, asked),
                None => {}
            }
        }
        user.choose(&mut view);
    }
}

/// Starts the threads that look; they end with the channels given.
fn start_looking(
    global: &Global,
    name: &ProjectName,
    project: Option<crate::model::Project>,
    teller: &Teller,
) -> (mpsc::Sender<Pace>, mpsc::Sender<(u64, Vec<Log>)>) {
    let (paces, changes) = mpsc::channel();
    let (global, name, told) = (global.clone(), name.clone(), teller.clone());
    thread::spawn(move || {
        look::watch(&global, &name, project.as_ref(), &changes, |rows| {
            told.tell(Happened::Rows(rows))
        });
    });
    let (choices, chosen) = mpsc::channel();
    let told = teller.clone();
    thread::spawn(move || output::follow(&chosen, |heard| told.tell(Happened::Lines(heard))));
    (paces, choices)
}

/// What acts for the user.
struct User<'a> {
    global: &'a Global,
    name: &'a ProjectName,
    roots: Roots,
    teller: Teller,
    paces: mpsc::Sender<Pace>,
    choices: mpsc::Sender<(u64, Vec<Log>)>,
    /// Commands that run.
    under_way: usize,
}

impl User<'_> {
    /// Takes what happened; gives the exit status when it is the end.
    fn take(&mut self, view: &mut View, happened: Happened) -> Option<Exit> {
        match happened {
            Happened::Rows(Ok(rows)) => view.take_rows(rows),
            Happened::Rows(Err(error)) => view.say(error.what, true),
            Happened::Lines(heard) => view.take_lines(heard),
            // The next drawing sees the new size.
            Happened::Signal(interrupt::RESIZED) => {}
            Happened::Signal(signal) => {
                return Some(Exit::Status(128 + u8::try_from(signal).unwrap_or(0)));
            }
            Happened::NotOpened(address) => {
                view.say(
                    format!("no browser could be started: open {address} yourself"),
                    true,
                );
            }
            Happened::Ran(words, wanted, output) => {
                self.under_way = self.under_way.saturating_sub(1);
                if self.under_way == 0 {
                    let _ = self.paces.send(Pace::Calm);
                }
                ran(view, &words, wanted, output);
            }
        }
        None
    }

    fn act(&mut self, view: &mut View, asked: Asked) {
        match asked {
            Asked::Do(words) => self.start(view, words, false),
            Asked::Tell(words) => self.start(view, words, true),
            Asked::Open(address) => {
                view.say(format!("opening {address}"), false);
                let teller = self.teller.clone();
                thread::spawn(move || {
                    let opened = Command::new("xdg-open")
                        .arg(&address)
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .status();
                    if !opened.is_ok_and(|status| status.success()) {
                        teller.tell(Happened::NotOpened(address));
                    }
                });
            }
            Asked::Quit | Asked::Hand(_) => {}
        }
    }

    /// Runs a command of ours beside the view.
    fn start(&mut self, view: &mut View, words: Vec<String>, wanted: bool) {
        if !wanted {
            view.say(format!("{} …", words.join(" ")), false);
        }
        self.under_way += 1;
        let _ = self.paces.send(Pace::Busy);
        let mut command = self.command(&words, Ansi::Never);
        let teller = self.teller.clone();
        thread::spawn(move || {
            let output = command.stdin(Stdio::null()).output();
            teller.tell(Happened::Ran(words, wanted, output));
        });
    }

    /// This program with the flags it was started with.
    fn command(&self, words: &[String], ansi: Ansi) -> Command {
        let mut command = Command::new("/proc/self/exe");
        for file in &self.global.file {
            command.arg("--file").arg(file);
        }
        for profile in &self.global.profile {
            command.arg("--profile").arg(profile);
        }
        for file in &self.global.env_file {
            command.arg("--env-file").arg(file);
        }
        if let Some(folder) = &self.global.project_directory {
            command.arg("--project-directory").arg(folder);
        }
        if ansi == Ansi::Never {
            command.args(["--ansi", "never", "--progress", "plain"]);
        }
        if let Some(root) = &self.global.root {
            command.arg("--root").arg(root);
        }
        command.arg("--project-name").arg(self.name.as_str()).args(words);
        command
    }

    /// Gives a command the terminal until it ends; gives what happened meanwhile.
    fn hand(
        &self,
        screen: &mut Screen,
        view: &mut View,
        words: &[String],
        happened: &mpsc::Receiver<Happened>,
    ) -> io::Result<Vec<Happened>> {
        let mut command = self.command(words, self.global.ansi);
        let mut meanwhile = Vec::new();
        let ended: io::Result<std::process::ExitStatus> = screen.lend(|| {
            let mut child = command.spawn()?;
            loop {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
                match happened.recv_timeout(Duration::from_millis(50)) {
                    // Keys are the command's meanwhile, Ctrl-C among them; what asks us to end asks it, too.
                    Ok(Happened::Signal(signal)) => {
                        if [interrupt::HANG_UP, interrupt::TERMINATE].contains(&signal) {
                            let told = pidfd::of_child(&child).and_then(|child| pidfd::signal(child, signal));
                            if told.is_err() {
                                child.kill()?;
                            }
                            meanwhile.push(Happened::Signal(signal));
                        }
                    }
                    Ok(other) => meanwhile.push(other),
                    Err(_) => {}
                }
            }
        })?;
        if ended?.code().is_some_and(|code| matches!(code, 126 | 127)) {
            view.say("there is no shell in this container", true);
        }
        Ok(meanwhile)
    }

    /// Follows the output of what is chosen now.
    fn choose(&self, view: &mut View) {
        if let Some(choice) = view.new_choice() {
            let logs = view
                .to_follow()
                .into_iter()
                .map(|(name, id)| Log {
                    name,
                    folder: log_directory(&self.roots.container(&id)),
                })
                .collect();
            let _ = self.choices.send((choice, logs));
        }
    }
}

/// Says how a command ended.
fn ran(view: &mut View, words: &[String], wanted: bool, output: io::Result<std::process::Output>) {
    let line = words.join(" ");
    match output {
        Ok(output) if output.status.success() => {
            if wanted {
                view.show(line, &String::from_utf8_lossy(&output.stdout));
            } else {
                view.say(format!("{line}: done"), false);
            }
        }
        Ok(output) => {
            view.say(format!("{line}: failed"), true);
            view.show(line, &String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => view.say(format!("{line}: {error}"), true),
    }
}
