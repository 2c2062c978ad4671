//! `cp`, `export`, `diff`: a container's files from outside.
//!
//! [`transfer`] is what `cp` of services uses too: it knows ends ([`End`]), not containers by name.

use super::{print_line, registry::Registry};
use crate::cli::{CommandError, Exit, Outcome};
use banyan_runtime::container::{
    ContainerDir, ContainerError,
    files::{CopyError, CopyOptions, FileTree, Owner, Scope, changes, copy},
};
use clap::Args;
use std::{
    fs::File,
    io::{BufWriter, IsTerminal, Write},
    path::PathBuf,
};

/// `cp`.
#[derive(Debug, Args)]
pub struct Cp {
    /// Keep owners
    #[arg(short, long)]
    archive: bool,
    /// Follow a symbolic link in SOURCE
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing when it is done
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, PATH, or - for a tar stream
    source: String,
    /// CONTAINER:PATH, PATH, or - for a tar stream
    destination: String,
}

/// `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Write to a file instead of standard output
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Name or id
    name: String,
}

/// `diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// Name or id
    name: String,
}

/// One end of a copy.
#[derive(Debug)]
pub(in crate::cli) enum End {
    /// A path of this machine.
    Local(String),
    /// A path in a container, and what the user calls the container.
    Container(ContainerDir, String, String),
    /// A tar stream: standard input or output.
    Stream,
}

/// Splits `CONTAINER:PATH`; `None` for a path of this machine, which may contain `:` after a `/` or begin with `.`.
pub(in crate::cli) fn split(word: &str) -> Option<(&str, &str)> {
    if word.starts_with(['/', '.']) {
        return None;
    }
    let (name, path) = word.split_once(':')?;
    (!name.contains('/')).then_some((name, path))
}

impl Cp {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let end = |word: &str| -> Result<End, CommandError> {
            Ok(match split(word) {
                Some((name, path)) => {
                    End::Container(registry.find(name)?.dir, name.to_owned(), path.to_owned())
                }
                None if word == "-" => End::Stream,
                None => End::Local(word.to_owned()),
            })
        };
        let options = CopyOptions {
            follow_link: self.follow_link,
            archive: self.archive,
        };
        transfer(&end(&self.source)?, &end(&self.destination)?, options, self.quiet)
    }
}

/// Copies between a container and this machine, and says how much on standard error unless `quiet`.
pub(in crate::cli) fn transfer(
    source: &End,
    destination: &End,
    options: CopyOptions,
    quiet: bool,
) -> Outcome {
    let usage = |what: &str| Err(CommandError::new(Exit::Usage, what));
    let (tally, target) = match (source, destination) {
        (End::Container(..), End::Container(..)) => {
            return usage("copying between containers is not supported");
        }
        (End::Container(dir, name, path), End::Stream) => {
            if std::io::stdout().is_terminal() {
                return usage("refusing to write an archive to a terminal; redirect the output");
            }
            let out = BufWriter::with_capacity(1 << 18, std::io::stdout().lock());
            let read = open(dir).and_then(|tree| tree.read(&absolute(path), options.follow_link, out));
            read.map_err(|error| failed(name, source, destination, &error))?;
            return Ok(Exit::Success);
        }
        (End::Stream, End::Container(dir, name, path)) => {
            // The stream names its owners; without -a everything becomes root's, as for files.
            let owner = if options.archive {
                Owner::Archive
            } else {
                Owner::Root
            };
            let written = open(dir).and_then(|tree| tree.write(&absolute(path), std::io::stdin(), owner));
            written.map_err(|error| failed(name, source, destination, &error))?;
            return Ok(Exit::Success);
        }
        (End::Container(dir, name, path), End::Local(local)) => {
            let copied = open(dir).and_then(|tree| {
                let (host, local) = (FileTree::host()?, here(local)?);
                copy(&tree, &absolute(path), &host, &local, options)
            });
            let tally = copied.map_err(|error| failed(name, source, destination, &error))?;
            (tally, local.clone())
        }
        (End::Local(local), End::Container(dir, name, path)) => {
            let copied = open(dir).and_then(|tree| {
                let (host, local) = (FileTree::host()?, here(local)?);
                copy(&host, &local, &tree, &absolute(path), options)
            });
            let tally = copied.map_err(|error| failed(name, source, destination, &error))?;
            (tally, format!("{name}:{path}"))
        }
        _ => return usage("one of source and destination must be in a container: CONTAINER:PATH"),
    };
    if !quiet {
        // Standard error may be closed.
        let _ = writeln!(
            std::io::stderr(),
            "Successfully copied {} to {target}",
            size(tally.bytes)
        );
    }
    Ok(Exit::Success)
}

fn open(dir: &ContainerDir) -> Result<FileTree, CopyError> {
    Ok(dir.file_tree(Scope::Mounted)?)
}

/// Paths in a container start at its root whether they say so or not.
fn absolute(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// A path of this machine from its root, with the `/` or `/.` at its end kept.
fn here(path: &str) -> Result<String, CopyError> {
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    let current = std::env::current_dir().map_err(|cause| CopyError::Open {
        path: path.to_owned(),
        cause,
    })?;
    let joined = format!("{}/{path}", current.display());
    // `..` at the end names a directory's contents no more than its name would.
    Ok(joined)
}

/// Bytes as `docker` writes them: powers of a thousand, four digits.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}{}", UNITS[unit])
}

fn failed(name: &str, source: &End, destination: &End, error: &CopyError) -> CommandError {
    let inside = |end: &End| matches!(end, End::Container(..));
    let what = match error {
        CopyError::Missing(path) if inside(source) => {
            return CommandError::new(
                Exit::Failed,
                format!("could not find the file `{path}` in container `{name}`"),
            );
        }
        _ if inside(source) => format!("cannot copy from container `{name}`"),
        _ => format!("cannot copy to container `{name}`"),
    };
    let made = CommandError::caused(Exit::Failed, what, error);
    match error {
        CopyError::NoDirectory(_) => made.hint("the directory that a copy goes to must exist"),
        CopyError::DirectoryOntoFile(_) if inside(destination) => {
            made.hint("name a directory, or one that does not exist yet")
        }
        CopyError::ReadOnly(_) => made.hint("copy to a volume that can be written"),
        _ => made,
    }
}

impl Export {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let entry = registry.find(&self.name)?;
        export(&entry.dir, &self.name, self.output.as_deref())
    }
}

/// Writes a container's root filesystem, without its volumes, as a tar archive.
pub(in crate::cli) fn export(dir: &ContainerDir, name: &str, output: Option<&std::path::Path>) -> Outcome {
    let what = || format!("cannot export container `{name}`");
    let tree = dir
        .file_tree(Scope::Root)
        .map_err(|error| CommandError::caused(Exit::Failed, what(), &error))?;
    let result = match output {
        None if std::io::stdout().is_terminal() => {
            return Err(CommandError::new(
                Exit::Usage,
                "refusing to write an archive to a terminal; use -o or redirect the output",
            ));
        }
        None => tree.export(BufWriter::with_capacity(1 << 18, std::io::stdout().lock())),
        Some(path) => {
            let mut new = path.as_os_str().to_owned();
            new.push(".new");
            let new = PathBuf::from(new);
            let written = File::create(&new)
                .map_err(|cause| CopyError::Open {
                    path: new.display().to_string(),
                    cause,
                })
                .and_then(|file| {
                    let tally = tree.export(BufWriter::with_capacity(1 << 18, &file))?;
                    // Complete or not there at all.
                    fs_err::rename(&new, path).map_err(|cause| CopyError::Open {
                        path: path.display().to_string(),
                        cause,
                    })?;
                    Ok(tally)
                });
            if written.is_err() {
                let _ = fs_err::remove_file(&new);
            }
            written
        }
    };
    result
        .map(|_| Exit::Success)
        .map_err(|error| CommandError::caused(Exit::Failed, what(), &error))
}

impl Diff {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let entry = registry.find(&self.name)?;
        let list = changes(&entry.dir).map_err(|error: ContainerError| {
            CommandError::caused(
                Exit::Failed,
                format!("cannot tell what container `{}` changed", self.name),
                &error,
            )
        })?;
        for (change, path) in list {
            print_line(&format!("{change} {path}"));
        }
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::{size, split};

    #[test]
    fn only_a_name_before_a_colon_is_a_container() {
        assert_eq!(split("c:/x"), Some(("c", "/x")));
        assert_eq!(split("c:x:y"), Some(("c", "x:y")));
        assert_eq!(split("./c:x"), None);
        assert_eq!(split("/a:b"), None);
        assert_eq!(split("a/b:c"), None);
        assert_eq!(split("plain"), None);
    }

    #[test]
    fn sizes_have_four_digits() {
        let table = [
            (0, "0B"),
            (999, "999B"),
            (2048, "2.05kB"),
            (51_200, "51.2kB"),
            (999_999, "1.00MB"),
            (1_500_000_000, "1.50GB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
    }
}
