//! `docs/cli.md` says what the program does: its reference is generated and up to date, every command in it is run or at
//! least parsed, and so is every command that an error message recommends.

use crate::support::{Root, can_run_containers};
use banyan::cli::{Cli, reference};
use clap::Parser;
use std::{collections::BTreeSet, fs, path::Path};

/// Where the generated part begins.
const MARK: &str = "`BANYAN_BLESS=1 cargo test --test it documentation`. -->\n\n";

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md")).unwrap()
}

#[test]
fn the_reference_is_what_the_definitions_say() {
    let page = page();
    let (prose, reference_now) = page.split_once(MARK).unwrap();
    let wanted = reference::markdown();
    if reference_now == wanted {
        return;
    }
    if std::env::var_os("BANYAN_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
        fs::write(path, format!("{prose}{MARK}{wanted}")).unwrap();
        return;
    }
    let different = wanted.lines().zip(reference_now.lines()).find(|(a, b)| a != b);
    panic!("docs/cli.md is out of date at {different:?}; write it with BANYAN_BLESS=1");
}

/// A line's words, parted as by a shell.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[track_caller]
fn parses(line: &str, source: &str) {
    if let Err(error) = Cli::try_parse_from(words(line)) {
        let harmless = matches!(
            error.kind(),
            clap::error::ErrorKind::DisplayHelp
                | clap::error::ErrorKind::DisplayVersion
                // A command is also spoken of without its arguments.
                | clap::error::ErrorKind::MissingRequiredArgument
                | clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        );
        assert!(harmless, "{source}: `{line}` cannot be typed: {error}");
    }
}

#[test]
fn every_example_runs() {
    if !can_run_containers() {
        return;
    }
    let page = page();
    let compose = page
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let root = Root::new();
    let project = root.project("app", compose);
    let mut count = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let (line, why_not) = line.split_once("  # ").unwrap_or((line, ""));
        let line = line.trim();
        count += 1;
        if !why_not.is_empty() {
            parses(line, "docs/cli.md");
            continue;
        }
        let arguments = words(line);
        assert_eq!(arguments[0], "banyan", "{line}");
        let output = root
            .banyan()
            .args(&arguments[1..])
            .current_dir(&project.folder)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {}\n{error}", output.status);
    }
    assert!(count > 30, "the examples were not found");
}

/// `` `banyan …` `` in a text, with what stands for something replaced by something.
fn recommended(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split('`').skip(1).step_by(2) {
        if !part.starts_with("banyan ") || part.contains(['…', '\n', '|', '>']) {
            continue;
        }
        let mut line = String::new();
        let mut depth = 0;
        for character in part.chars() {
            match character {
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    line.push('x');
                }
                _ if depth == 0 => line.push(character),
                _ => {}
            }
        }
        let line = line
            .replace(['[', ']'], "")
            .replace("COMMAND", "up")
            .replace("SHELL", "bash")
            .replace("=N", "=1");
        found.push(line);
    }
    found
}

#[test]
fn every_command_in_the_prose_of_the_documentation_can_be_typed() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut count = 0;
    for entry in fs::read_dir(docs).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // Fences would turn the meaning of backquotes around.
        let prose: String = text.split("```").step_by(2).collect();
        for line in prose.lines().flat_map(recommended) {
            count += 1;
            parses(&line, &path.display().to_string());
        }
    }
    assert!(count > 5, "no commands were found");
}

#[test]
fn every_command_that_a_message_recommends_can_be_typed() {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut count = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for line in recommended(line) {
                count += 1;
                parses(&line, &path.display().to_string());
            }
        }
    }
    assert!(count > 10, "no messages were found");
}

/// Every command and flag of docker compose (`docs/reference` of docker/compose f729794, hidden ones left out).
const DOCKER_COMPOSE: &str = include_str!("../docker-compose-flags.txt");

#[test]
fn a_flag_of_docker_compose_is_here_or_named_as_missing() {
    use clap::CommandFactory;
    let mut ours = Cli::command();
    ours.build();
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/from-docker-compose.md"))
        .unwrap();
    // Named as missing: the row of that name, and the last column of the table of commands.
    let (everywhere, rest) = page.split_once("## Command by command").unwrap();
    let commands = rest.split("\n## ").next().unwrap();
    let commands = commands.replace("\\|", "");
    let last = commands.lines().filter_map(|line| line.split('|').nth(4));
    let row = everywhere.lines().find(|line| line.starts_with("| Missing |"));
    let missing: String = row.into_iter().chain(last).collect::<Vec<_>>().join("\n");
    let mut wrong = Vec::new();
    for line in DOCKER_COMPOSE.lines() {
        let (name, flags) = line.split_once(':').unwrap();
        let top = name.split(' ').next().unwrap();
        let command = if name == "-" {
            Some(&ours)
        } else {
            name.split(' ')
                .try_fold(&ours, |command, word| command.find_subcommand(word))
        };
        let Some(command) = command else {
            if !missing.contains(&format!("`{top}`")) {
                wrong.push(format!("{name} is not here"));
            }
            continue;
        };
        for flag in flags.split_whitespace() {
            let (short, long) = flag
                .split_once(',')
                .map_or((None, flag), |(short, long)| (Some(short), long));
            let found = command
                .get_arguments()
                .find(|arg| arg.get_long() == long.strip_prefix("--"));
            let same =
                found.is_some_and(|arg| short.is_none_or(|short| arg.get_short() == short.chars().nth(1)));
            let spoken = if name == "-" {
                format!("`{long}`")
            } else {
                format!("`{name} {long}`")
            };
            match (same, missing.contains(&spoken)) {
                (false, false) => wrong.push(format!("{spoken} is not here and not named as missing")),
                (true, true) => wrong.push(format!("{spoken} is here and named as missing")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let banyan = |arguments: &[&str]| {
        let output = std::process::Command::new(crate::support::BANYAN)
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        let text = banyan(&["completion", shell]);
        for word in ["up", "exec", "force-recreate", "volumes"] {
            assert!(text.contains(word), "{shell} does not know {word}");
        }
        assert!(!text.contains("engine"), "{shell} offers a hidden command");
    }
    // The shell itself finds no fault with it, and completes.
    let script = dir.path().join("banyan.bash");
    fs::write(&script, banyan(&["completion", "bash"])).unwrap();
    let output = std::process::Command::new("bash")
        .args(["-c", "source ./banyan.bash; COMP_WORDS=(banyan exe); COMP_CWORD=1; _banyan banyan exe banyan; echo ${COMPREPLY[@]}"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "exec\n");
    banyan(&["man", "pages"]);
    for page in ["banyan.1", "banyan-up.1", "banyan-image-ls.1"] {
        let text = fs::read_to_string(dir.path().join("pages").join(page)).unwrap();
        assert!(text.contains(".SH DESCRIPTION"), "{page}");
    }
}

/// Paths of all commands: `up`, `image ls`.
fn commands(command: &clap::Command, path: &str, found: &mut Vec<String>) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name()).trim().to_owned();
        if sub.has_subcommands() {
            commands(sub, &path, found);
        } else {
            found.push(path);
        }
    }
}

/// The command that a line types, if it types one.
fn path_of(line: &str) -> Option<String> {
    use clap::CommandFactory;
    let matches = Cli::command()
        .try_get_matches_from(std::iter::once("banyan".to_owned()).chain(words(line)))
        .ok()?;
    let (mut path, mut next) = (String::new(), Some(matches));
    while let Some((name, below)) = next.as_mut().and_then(clap::ArgMatches::remove_subcommand) {
        path = format!("{path} {name}").trim().to_owned();
        next = Some(below);
    }
    Some(path)
}

#[test]
fn every_command_has_a_scenario() {
    use clap::CommandFactory;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut typed = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        for line in fs::read_to_string(entry.path()).unwrap_or_default().lines() {
            let line = line.trim_start_matches(['-', ' ']);
            let line = ["run: ", "begin: "]
                .iter()
                .find_map(|key| line.strip_prefix(key))
                // In a line for a shell.
                .or_else(|| line.split_once("$BANYAN ")?.1.split('|').next());
            typed.extend(line.and_then(path_of));
        }
    }
    let mut all = Vec::new();
    commands(&Cli::command(), "", &mut all);
    assert!(all.len() > 90, "{all:?}");
    // A Debian image is made of a mirror's packages (tests/it/debian.rs); registries are those of tests/it/registries.rs.
    let elsewhere = ["image debian", "image pull", "image push"];
    let absent: Vec<_> = all
        .iter()
        .filter(|path| !elsewhere.contains(&path.as_str()))
        .filter(|path| !typed.contains(*path))
        .collect();
    assert!(absent.is_empty(), "no scenario types {absent:?}");
}
