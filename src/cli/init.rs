//! `banyan init`: a first project file for the folder.

use super::{CommandError, Exit, Global, Outcome};
use crate::{
    init::{Draft, Folder, Question, draft, questions},
    project::FILE_NAMES,
};
use clap::Args;
use std::{
    io::{BufRead, Write},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
};

/// The file that is written when `-f` names no other.
const NAME: &str = "banyan.yaml";
/// How often a question is asked before a wrong answer is a mistake.
const TRIES: u32 = 3;
/// Ports tried, from 8080 on.
const PORTS: std::ops::Range<u16> = 8080..8180;

/// Flags of `init`.
#[derive(Debug, Clone, Args)]
pub struct Init {
    /// Ask nothing
    #[arg(short, long)]
    yes: bool,
}

/// Writes it.
///
/// # Errors
/// A folder that has one, or that nothing is known of; a file that cannot be written.
pub(super) fn run(global: &Global, args: &Init) -> Outcome {
    let folder = match &global.project_directory {
        Some(folder) => folder.clone(),
        None => std::env::current_dir()
            .map_err(|error| CommandError::caused(Exit::Host, "cannot tell the current folder", &error))?,
    };
    let path = match global.file.as_slice() {
        [] => folder.join(NAME),
        [one] => one.clone(),
        _ => return Err(CommandError::new(Exit::Usage, "`init` writes one file").hint("give one `-f`")),
    };
    let there = FILE_NAMES
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.exists());
    if let Some(there) = there.or_else(|| path.exists().then(|| path.clone())) {
        let error = CommandError::new(Exit::Failed, format!("there is {} already", there.display()));
        return Err(error.hint("`banyan up` brings it up, `banyan config` shows what it means"));
    }
    let Some(mut draft) = draft(&Folder::read(&folder)) else {
        let error = CommandError::new(
            Exit::Failed,
            format!("nothing in {} tells what runs", folder.display()),
        );
        return Err(error.hint(
            "it looks for Dockerfile, composer.json, index.php, manage.py, requirements.txt, pyproject.toml, Gemfile, \
             _config.yml, go.mod, package.json, index.html; `banyan recipe ls` lists the types to write a file by hand",
        ));
    };
    for why in &draft.why {
        say(&format!("found {why}"));
    }
    draft.published = free_port();
    if !args.yes {
        for question in questions(&draft) {
            ask(&mut draft, &question)?;
        }
    }
    for note in &draft.notes {
        say(&format!("note: {note}"));
    }
    if global.dry_run {
        super::print(&draft.text());
        return Ok(Exit::Success);
    }
    write(&path, &draft.text())?;
    say(&format!(
        "wrote {}",
        path.strip_prefix(&folder).unwrap_or(&path).display()
    ));
    let file = if global.file.is_empty() {
        String::new()
    } else {
        format!(" -f {}", path.display())
    };
    let then = match draft.app.port {
        Some(_) => format!(", then open http://localhost:{}", draft.published),
        None => String::new(),
    };
    say(&format!("next: banyan{file} up -d --wait{then}"));
    Ok(Exit::Success)
}

/// Asks on standard error; the end of standard input takes the default.
fn ask(draft: &mut Draft, question: &Question) -> Result<(), CommandError> {
    let mut wrong = String::new();
    for _ in 0..TRIES {
        let default = if question.default.is_empty() {
            "nothing"
        } else {
            &question.default
        };
        // Standard error may be closed.
        let _ = write!(std::io::stderr(), "{} [{default}]: ", question.text);
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        read.map_err(|error| CommandError::caused(Exit::Host, "cannot read the answer", &error))?;
        if !answer.ends_with('\n') {
            say("");
        }
        match draft.answer(question, &answer) {
            Ok(()) => return Ok(()),
            Err(expected) => wrong = format!("`{}` is no answer: {expected}", answer.trim()),
        }
        say(&wrong);
    }
    Err(CommandError::new(Exit::Usage, wrong).hint("`banyan init --yes` asks nothing"))
}

/// The first port from 8080 on that nobody listens on.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    PORTS.into_iter().find(free).unwrap_or(PORTS.start)
}

/// Writes a file that was not there.
fn write(path: &PathBuf, text: &str) -> Result<(), CommandError> {
    let file = std::fs::File::options().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        CommandError::caused(Exit::Failed, format!("cannot write {}", path.display()), &error)
    })
}

fn say(line: &str) {
    // Standard error may be closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
