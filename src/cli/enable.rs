//! `banyan enable` and `banyan disable`: a project that comes up with the machine, as a systemd unit.

use super::{CommandError, Exit, Global, Outcome, context};
use crate::model::{Project, ProjectName};
use banyan_runtime::sys::host::is_root;
use clap::Args;
use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Flags of `enable`.
#[derive(Debug, Clone, Args)]
pub struct Enable {
    /// Print the unit, and write nothing
    #[arg(long)]
    print: bool,
    /// Folder for the unit (default: where systemd looks, for the system or for the user)
    #[arg(long, value_name = "DIR")]
    unit_dir: Option<PathBuf>,
}

/// Flags of `disable`.
#[derive(Debug, Clone, Args)]
pub struct Disable {
    /// Folder of the unit
    #[arg(long, value_name = "DIR")]
    unit_dir: Option<PathBuf>,
}

/// Writes the unit and tells systemd, where it runs.
///
/// # Errors
/// A wrong project, or a unit that cannot be written.
pub(super) fn enable(global: &Global, args: &Enable) -> Outcome {
    let project = context::load(global, &[])?;
    let program = std::env::current_exe()
        .map_err(|error| CommandError::caused(Exit::Host, "cannot tell where banyan is", &error))?;
    let user = if is_root() { Manager::System } else { Manager::User };
    let text = unit(global, &project, &program, user);
    if args.print || global.dry_run {
        super::print(&text);
        return Ok(Exit::Success);
    }
    let path = folder(args.unit_dir.as_deref(), user)?.join(unit_name(&project.name));
    let write = fs_err::create_dir_all(path.parent().unwrap_or(Path::new("/")))
        .and_then(|()| fs_err::write(&path, text));
    write.map_err(|error| CommandError::caused(Exit::Host, "cannot write the unit", &error))?;
    say(&format!("wrote {}", path.display()));
    let name = unit_name(&project.name);
    if args.unit_dir.is_none() && systemctl(user, &["daemon-reload"]) && systemctl(user, &["enable", &name]) {
        say(&format!("`{}` comes up with the {}", project.name, user.start()));
    } else {
        say(&format!(
            "systemd does not run here or was not asked: `systemctl {}enable {name}` switches it on",
            user.flag()
        ));
    }
    if user == Manager::User {
        say("`loginctl enable-linger` lets it run while you are not logged in");
    }
    Ok(Exit::Success)
}

/// Removes the unit.
///
/// # Errors
/// When it cannot be removed; that there is none is no error.
pub(super) fn disable(global: &Global, args: &Disable) -> Outcome {
    let name = context::project_name(global)?;
    let user = if is_root() { Manager::System } else { Manager::User };
    let path = folder(args.unit_dir.as_deref(), user)?.join(unit_name(&name));
    if !path.exists() {
        say(&format!("`{name}` is not enabled"));
        return Ok(Exit::Success);
    }
    if args.unit_dir.is_none() {
        // Without systemd there is nothing to switch off.
        let _ = systemctl(user, &["disable", &unit_name(&name)]);
    }
    fs_err::remove_file(&path)
        .map_err(|error| CommandError::caused(Exit::Host, "cannot remove the unit", &error))?;
    if args.unit_dir.is_none() {
        let _ = systemctl(user, &["daemon-reload"]);
    }
    say(&format!("removed {}", path.display()));
    Ok(Exit::Success)
}

/// Whose systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    System,
    User,
}

impl Manager {
    fn flag(self) -> &'static str {
        if self == Self::User { "--user " } else { "" }
    }

    fn start(self) -> &'static str {
        if self == Self::User {
            "user's session"
        } else {
            "machine"
        }
    }
}

fn folder(given: Option<&Path>, manager: Manager) -> Result<PathBuf, CommandError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    if manager == Manager::System {
        return Ok("/etc/systemd/system".into());
    }
    let environment = context::environment();
    let config = environment.get("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| {
        environment
            .get("HOME")
            .map(|home| Path::new(home).join(".config"))
    });
    config
        .map(|config| config.join("systemd/user"))
        .ok_or_else(|| CommandError::new(Exit::Host, "cannot tell your home folder").hint("set HOME"))
}

fn unit_name(project: &ProjectName) -> String {
    format!("banyan-{project}.service")
}

/// The unit (systemd.service(5)): one shot that stays active, because the containers' own processes do not belong to the
/// command that starts them, and systemd must not end them with it.
fn unit(global: &Global, project: &Project, program: &Path, manager: Manager) -> String {
    let mut arguments = vec![program.display().to_string()];
    if let Some(root) = &global.root {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.clone());
        arguments.extend(["--root".into(), root.display().to_string()]);
    }
    arguments.extend(["-p".into(), project.name.to_string()]);
    for file in &project.files {
        arguments.extend(["-f".into(), file.display().to_string()]);
    }
    for profile in &global.profile {
        arguments.extend(["--profile".into(), profile.clone()]);
    }
    for file in &global.env_file {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        arguments.extend(["--env-file".into(), file.display().to_string()]);
    }
    let line = |verb: &[&str]| -> String {
        let all = arguments.iter().map(String::as_str).chain(verb.iter().copied());
        all.map(quote).collect::<Vec<_>>().join(" ")
    };
    let (wanted_by, network) = match manager {
        Manager::System => (
            "multi-user.target",
            "Wants=network-online.target\nAfter=network-online.target\n",
        ),
        Manager::User => ("default.target", ""),
    };
    let mut text = String::new();
    let _ = write!(
        text,
        "# Written by `banyan enable`; `banyan disable` removes it.\n\
         [Unit]\n\
         Description=banyan project {name}\n\
         {network}\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         WorkingDirectory={folder}\n\
         ExecStart={up}\n\
         ExecStop={stop}\n\
         KillMode=process\n\
         TimeoutStartSec=infinity\n\
         \n\
         [Install]\n\
         WantedBy={wanted_by}\n",
        name = project.name,
        folder = escape(&project.directory.display().to_string()),
        up = line(&["--progress", "plain", "up", "-d"]),
        stop = line(&["--progress", "plain", "stop"]),
    );
    text
}

/// `%` and `$` mean something to systemd.
fn escape(text: &str) -> String {
    text.replace('%', "%%").replace('$', "$$")
}

/// One word of a command line, in quotes where it needs them (systemd.syntax(7)).
fn quote(word: &str) -> String {
    let word = escape(word);
    if word
        .chars()
        .all(|c| c.is_alphanumeric() || "/._-=:@%$+,".contains(c))
    {
        return word;
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

fn systemctl(manager: Manager, arguments: &[&str]) -> bool {
    if !Path::new("/run/systemd/system").exists() {
        return false;
    }
    let mut command = Command::new("systemctl");
    if manager == Manager::User {
        command.arg("--user");
    }
    command
        .args(arguments)
        .status()
        .is_ok_and(|status| status.success())
}

fn say(line: &str) {
    // Standard error may be closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_command_line_mean_themselves() {
        assert_eq!(quote("/usr/bin/banyan"), "/usr/bin/banyan");
        assert_eq!(quote("/home/a b/100%"), "\"/home/a b/100%%\"");
        assert_eq!(quote("a\"b\\"), "\"a\\\"b\\\\\"");
        assert_eq!(quote("$HOME"), "$$HOME");
    }
}
