//! `banyan recipe …`: what a `type` of a service means.

use super::{CommandError, Exit, Outcome, format::Format};
use crate::recipe::{self, Declaration, Recipe};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{fmt::Write as _, path::PathBuf};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// List the types
    Ls(List),
    /// Show what a type is, and its parameters
    Show(Show),
    /// Write a type's files to a folder, to change them: `type: custom`, `template: DIR`
    Eject(Eject),
}

/// Flags of `recipe ls`.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// `table`, `json`, or a template: `{{.Type}}`
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Which type.
#[derive(Debug, Clone, Args)]
pub struct Show {
    /// The type
    #[arg(value_name = "TYPE")]
    kind: String,
}

/// Flags of `recipe eject`.
#[derive(Debug, Clone, Args)]
pub struct Eject {
    /// The type
    #[arg(value_name = "TYPE")]
    kind: String,
    /// A folder that does not exist, or is empty
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs one.
///
/// # Errors
/// A type that does not exist, or a folder that cannot be written to.
pub(super) fn run(command: &RecipeCommand) -> Outcome {
    match command {
        RecipeCommand::Ls(args) => list(&args.format),
        RecipeCommand::Show(args) => {
            super::print(&described(&find(&args.kind)?));
            Ok(Exit::Success)
        }
        RecipeCommand::Eject(args) => eject(args),
    }
}

fn find(kind: &str) -> Result<Recipe, CommandError> {
    if let Some(refused) = recipe::refused(kind) {
        let error = CommandError::new(
            Exit::Failed,
            format!("the type `{kind}` cannot be had: {}", refused.reason),
        );
        return Err(error.hint(format!("instead: {}", refused.instead)));
    }
    recipe::find(kind).ok_or_else(|| {
        let what = match recipe::OTHERS.iter().find(|(name, _)| *name == kind) {
            Some((_, about)) => format!("`{kind}` has no recipe. {about}"),
            None => format!("there is no type `{kind}`"),
        };
        CommandError::new(Exit::Failed, what).hint("`banyan recipe ls` lists all types")
    })
}

fn list(format: &Format) -> Outcome {
    let mut rows: Vec<(&str, String, String)> = recipe::KINDS
        .iter()
        .filter_map(|kind| {
            let declaration = recipe::find(kind)?.declaration;
            Some((*kind, declaration.about, declaration.brings))
        })
        .collect();
    rows.extend(
        recipe::OTHERS
            .iter()
            .map(|(kind, about)| (*kind, (*about).to_owned(), String::new())),
    );
    rows.sort();
    let object = |(kind, about, brings): &(&str, String, String)| json!({"Type": kind, "About": about, "Brings": brings});
    let objects: Vec<_> = rows.iter().map(object).collect();
    let rendered = format
        .render(&objects)
        .map_err(|why| CommandError::new(Exit::Usage, why))?;
    let text = rendered.unwrap_or_else(|| {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(kind, about, brings)| vec![kind.to_owned(), brings, about])
            .collect();
        super::table::table(&["TYPE", "BRINGS", "WHAT IT IS"], &rows)
    });
    super::print(&text);
    Ok(Exit::Success)
}

/// The declaration, for people.
fn described(recipe: &Recipe) -> String {
    let Declaration {
        about,
        brings,
        port,
        expose,
        after,
        binary,
        wiring,
        parameters,
        ..
    } = &recipe.declaration;
    let mut text = format!("{}: {about}\n", recipe.name);
    let mut line = |key: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {key:<9} {value}");
        }
    };
    line("brings", brings);
    let ports: Vec<String> = port.iter().chain(expose).map(u16::to_string).collect();
    line("port", &ports.join(", "));
    line("wiring", wiring);
    line(
        "scripts",
        match (after, binary) {
            (_, true) => {
                "`before_script` runs before a call by `banyan run`, `after_script` after it; all in the caller's folder, as its owner"
            }
            (recipe::After::Command, _) => "`after_script` is what the container runs",
            (recipe::After::Up, _) => {
                "`before_script` runs before it at every start, `after_script` once it listens"
            }
        },
    );
    if parameters.is_empty() {
        return text + "  no parameters\n";
    }
    text += "\nParameters (under `custom`):\n";
    let rows: Vec<_> = parameters
        .iter()
        .map(|(key, parameter)| {
            let kind = match parameter.kind {
                recipe::Kind::Choice => parameter.choices.join(" or "),
                recipe::Kind::Version => format!("{} only", parameter.carries),
                kind => kind.to_string(),
            };
            let default = match &parameter.default {
                Some(serde_yaml::Value::Sequence(list)) if list.is_empty() => "none".to_owned(),
                Some(value) => match serde_yaml::to_string(value) {
                    Ok(text) => text.trim_end().to_owned(),
                    Err(_) => String::new(),
                },
                None => String::new(),
            };
            vec![format!("  {key}"), kind, default, parameter.help.clone()]
        })
        .collect();
    text + &super::table::table(&["  NAME", "KIND", "DEFAULT", "WHAT IT DOES"], &rows)
}

fn eject(args: &Eject) -> Outcome {
    let recipe = find(&args.kind)?;
    let folder = &args.folder;
    let wrong = |what: &str, error: &std::io::Error| {
        CommandError::caused(Exit::Failed, format!("cannot {what} {}", folder.display()), error)
    };
    let full = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(wrong("look into", &error)),
    };
    if full {
        let error = CommandError::new(Exit::Failed, format!("{} is not empty", folder.display()));
        return Err(error.hint("name a folder that does not exist"));
    }
    std::fs::create_dir_all(folder).map_err(|error| wrong("make", &error))?;
    for (name, content) in &recipe.files {
        std::fs::write(folder.join(name), content).map_err(|error| wrong("write to", &error))?;
    }
    super::print(&format!(
        "{} files in {}; use them with\n\n    type: custom\n    template: {}\n",
        recipe.files.len(),
        folder.display(),
        folder.display()
    ));
    Ok(Exit::Success)
}
