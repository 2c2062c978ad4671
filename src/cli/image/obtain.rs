//! `pull`, `push`, `debian`, `login`, `logout`.

use super::{
    CommandError, Exit, Global, Outcome, credentials, docker_config, failed, launcher, platform, reference,
    render::Printer, store, with_hint,
};
use banyan_runtime::{
    debian,
    registry::{Client, Credentials, credentials::Login as User, pull::pull, push::push},
};
use clap::Args;
use std::io::{BufRead, Read, Write};

/// `image pull`.
#[derive(Debug, Args)]
pub(super) struct Pull {
    /// Name
    name: String,
    /// Which image of an index to take
    #[arg(long)]
    platform: Option<String>,
}

impl Pull {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let (store, printer) = (store(global)?, Printer::new(global));
        let image = pull(
            &store,
            &reference(&self.name)?,
            &platform(self.platform.as_deref())?,
            &credentials()?,
            &printer,
        )
        .map_err(|error| {
            with_hint(
                CommandError::caused(Exit::Failed, format!("cannot pull `{}`", self.name), &error),
                error.hint(),
            )
        })?;
        let _ = writeln!(std::io::stdout(), "{}", image.id);
        Ok(Exit::Success)
    }
}

/// `image push`.
#[derive(Debug, Args)]
pub(super) struct Push {
    /// Name, which says where it goes
    name: String,
}

impl Push {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let (store, printer) = (store(global)?, Printer::new(global));
        let digest = push(&store, &reference(&self.name)?, &credentials()?, &printer).map_err(|error| {
            with_hint(
                CommandError::caused(Exit::Failed, format!("cannot push `{}`", self.name), &error),
                error.hint(),
            )
        })?;
        let _ = writeln!(std::io::stdout(), "{digest}");
        Ok(Exit::Success)
    }
}

/// `image debian`.
#[derive(Debug, Args)]
pub(super) struct Debian {
    /// Release (`bookworm`, `trixie`, `12`)
    suite: String,
    /// Name for the image (default: `debian:<suite>`)
    #[arg(short, long)]
    tag: Option<String>,
    /// Another mirror than the one this machine's apt uses
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Leave out manuals, translations and documentation
    #[arg(long)]
    slim: bool,
    /// One more package; may be given several times
    #[arg(long, value_name = "PACKAGE")]
    include: Vec<String>,
}

impl Debian {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let (store, printer) = (store(global)?, Printer::new(global));
        let (suite, slim) = match self.suite.strip_suffix("-slim") {
            Some(suite) => (suite, true),
            None => (self.suite.as_str(), self.slim),
        };
        let suffix = if slim { "-slim" } else { "" };
        let name = reference(self.tag.as_ref().unwrap_or(&format!("debian:{suite}{suffix}")))?;
        let options = debian::Options {
            mirror: self.mirror.clone(),
            slim,
            packages: self.include.clone(),
        };
        let image = debian::assemble(&store, suite, &options, &launcher()?, &printer).map_err(|error| {
            let what = format!("cannot assemble Debian `{suite}`");
            with_hint(CommandError::caused(Exit::Failed, what, &error), error.hint())
        })?;
        store
            .tag(image.id, &name)
            .map_err(|error| failed("cannot tag the image", &error))?;
        let _ = writeln!(std::io::stdout(), "{}", image.id);
        Ok(Exit::Success)
    }
}

/// Remember a login for a registry
#[derive(Debug, Args)]
pub struct Login {
    /// Registry (default: Docker Hub)
    #[arg(default_value = "docker.io")]
    server: String,
    /// User name
    #[arg(short, long)]
    username: String,
    /// Password; better given on standard input
    #[arg(long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

impl Login {
    /// Checks the login with the registry and remembers it.
    ///
    /// # Errors
    /// When the registry does not take it, or the file cannot be written.
    pub fn run(&self) -> Outcome {
        let wrong = |error: &(dyn std::error::Error + 'static)| {
            CommandError::caused(Exit::Failed, format!("cannot log in to `{}`", self.server), error)
        };
        let password = match &self.password {
            Some(password) => password.clone(),
            None => {
                let mut text = String::new();
                let stdin = std::io::stdin();
                let read = if self.password_stdin {
                    stdin.lock().read_to_string(&mut text)
                } else {
                    stdin.lock().read_line(&mut text)
                };
                read.map_err(|error| wrong(&error))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        let login = User {
            user: self.username.clone(),
            password,
        };
        let mut credentials = credentials()?;
        // Only what the registry takes is remembered, so it is tried from a file of its own first.
        let trial_file = tempfile_path();
        let mut trial = Credentials::load(&trial_file).map_err(|error| wrong(&error))?;
        trial.store(&self.server, &login).map_err(|error| wrong(&error))?;
        let checked = Client::new(&self.server, "", &trial).check_login();
        fs_err::remove_file(&trial_file).map_err(|error| wrong(&error))?;
        checked.map_err(|error| wrong(&error))?;
        credentials
            .store(&self.server, &login)
            .map_err(|error| wrong(&error))?;
        let _ = writeln!(std::io::stdout(), "Login Succeeded");
        Ok(Exit::Success)
    }
}

fn tempfile_path() -> std::path::PathBuf {
    docker_config().with_file_name(format!("login-{}.json", std::process::id()))
}

/// Forget the login for a registry
#[derive(Debug, Args)]
pub struct Logout {
    /// Registry (default: Docker Hub)
    #[arg(default_value = "docker.io")]
    server: String,
}

impl Logout {
    /// Forgets the login.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn run(&self) -> Outcome {
        let was_there = credentials()?
            .remove(&self.server)
            .map_err(|error| CommandError::caused(Exit::Failed, "cannot forget the login", &error))?;
        let text = if was_there {
            "Removed the login for"
        } else {
            "There was no login for"
        };
        let _ = writeln!(std::io::stdout(), "{text} {}", self.server);
        Ok(Exit::Success)
    }
}
