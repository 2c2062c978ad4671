//! What may be typed, for other readers than the parser: shells' completions, manual pages, `docs/cli.md`. All from the
//! definitions that the parser itself uses, so that they cannot disagree.

use super::{Cli, CommandError, Exit, Outcome};
use clap::{Arg, Args, Command, CommandFactory};
use clap_complete::Shell;
use std::{fmt::Write, path::PathBuf};

/// Flags of `completion`.
#[derive(Debug, Clone, Args)]
pub struct Completion {
    /// The shell
    shell: Shell,
}

/// Flags of `man`.
#[derive(Debug, Clone, Args)]
pub struct Man {
    /// Folder that the pages are written to, one a command; made when missing
    folder: PathBuf,
}

/// Writes completions for a shell to standard output.
///
/// # Errors
/// None: a reader that went away wants no more.
pub(super) fn completion(args: &Completion) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut definitions(), "banyan", &mut text);
    super::print(&String::from_utf8_lossy(&text));
    Ok(Exit::Success)
}

/// Writes manual pages.
///
/// # Errors
/// When they cannot be written.
pub(super) fn man(args: &Man) -> Outcome {
    let write = || -> std::io::Result<()> {
        fs_err::create_dir_all(&args.folder)?;
        pages(&definitions(), &mut |name, page| {
            fs_err::write(args.folder.join(name), page)
        })
    };
    write().map_err(|error| CommandError::caused(Exit::Host, "cannot write the manual pages", &error))?;
    Ok(Exit::Success)
}

/// Everything that may be typed, hidden commands left out.
fn definitions() -> Command {
    fn visible(command: Command) -> Command {
        let name = command.get_name().to_owned();
        let mut kept = Command::new(name);
        kept = kept.args(command.get_arguments().cloned());
        if let Some(about) = command.get_about() {
            kept = kept.about(about.clone());
        }
        if let Some(version) = command.get_version() {
            kept = kept.version(version.to_owned());
        }
        let aliases: Vec<String> = command.get_visible_aliases().map(str::to_owned).collect();
        kept = kept.visible_aliases(aliases).disable_help_subcommand(true);
        kept.subcommands(
            command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .cloned()
                .map(visible),
        )
    }
    let mut command = visible(Cli::command());
    command.build();
    command
}

/// `banyan.1`, `banyan-up.1`, `banyan-image-ls.1`, …
fn pages(
    command: &Command,
    write: &mut dyn FnMut(String, Vec<u8>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(&name)
        .render(&mut page)?;
    write(format!("{name}.1"), page)?;
    command.get_subcommands().try_for_each(|sub| pages(sub, write))
}

/// The part of `docs/cli.md` that lists every command and flag.
pub fn markdown() -> String {
    let command = definitions();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "## Flags of every command\n");
    flags(&command, &mut text);
    let _ = writeln!(text, "\n## Commands\n\n| command | what it does |\n|---|---|");
    for sub in command.get_subcommands() {
        let name = sub.get_name();
        let _ = writeln!(text, "| [`{name}`](#banyan-{name}) | {} |", about(sub));
    }
    for sub in command.get_subcommands() {
        section(sub, "banyan", &mut text);
    }
    text
}

fn section(command: &Command, path: &str, text: &mut String) {
    let path = format!("{path} {}", command.get_name());
    let level = if path.split(' ').count() > 2 {
        "####"
    } else {
        "###"
    };
    let usage = command.clone().bin_name(path.clone()).render_usage().to_string();
    let usage = usage
        .trim_start_matches("Usage:")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let _ = writeln!(
        text,
        "\n{level} {path}\n\n{}.\n\n    {usage}\n",
        about(command).trim_end_matches('.')
    );
    let aliases: Vec<_> = command
        .get_visible_aliases()
        .map(|alias| format!("`{alias}`"))
        .collect();
    if !aliases.is_empty() {
        let _ = writeln!(text, "Also: {}.\n", aliases.join(", "));
    }
    flags(command, text);
    for sub in command.get_subcommands() {
        section(sub, &path, text);
    }
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn flags(command: &Command, text: &mut String) {
    let own = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    let list: Vec<&Arg> = command.get_arguments().filter(own).collect();
    if list.is_empty() {
        return;
    }
    let _ = writeln!(text, "| flag | meaning |\n|---|---|");
    for arg in list {
        let _ = writeln!(text, "| {} | {} |", names(arg), meaning(arg));
    }
}

fn names(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .and_then(|names| names.first())
        .map(ToString::to_string);
    let takes = arg.get_action().takes_values();
    if arg.is_positional() {
        return format!(
            "`{}`",
            value.unwrap_or_else(|| arg.get_id().to_string().to_uppercase())
        );
    }
    let short = arg.get_short().map(|short| format!("`-{short}`"));
    let long = arg.get_long().map(|long| match &value {
        Some(value) if takes => format!("`--{long} {value}`"),
        _ => format!("`--{long}`"),
    });
    short.into_iter().chain(long).collect::<Vec<_>>().join(", ")
}

fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let takes = arg.get_action().takes_values();
    let possible: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if takes && !possible.is_empty() && possible.len() < 10 {
        let _ = write!(text, " ({})", possible.join(", "));
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if takes && !defaults.is_empty() {
        let _ = write!(text, "; default {}", defaults.join(", "));
    }
    text.replace('|', "\\|").replace('\n', " ")
}
