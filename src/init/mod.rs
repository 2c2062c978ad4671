//! A first project file for a folder: what lies in it, and which services by type make it run.
//!
//! 1. [`Folder::read`] takes names and a few texts (the only I/O);
//! 2. [`draft`] finds the application (`php`, `python`, `node`, `ruby`, `go`, `site`) and what it stores in (`stores`);
//! 3. [`questions`] are what the folder does not tell for certain, at most three; [`Draft::answer`] takes the answers;
//! 4. [`Draft::text`] writes the file (`write`).
//!
//! The file names types (`docs/recipes.md`), so that it needs no registry; where the folder asks for a version that Debian does
//! not carry, it names an image. Secrets of `.env` are never copied: the services get names and passwords of their own, and
//! the application gets them in variables, which win over `.env`.

mod folder;
mod go;
mod node;
mod php;
mod python;
mod questions;
mod ruby;
mod site;
mod stores;
#[cfg(test)]
mod tests;
mod write;

pub use folder::Folder;
pub use questions::{Question, Subject};

/// What a project file is going to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// What answers requests or does the work.
    pub app: App,
    /// What it keeps its data in.
    pub stores: Vec<Store>,
    /// Types that `banyan run` calls: `composer`, `npm`.
    pub tools: Vec<&'static str>,
    /// What was found and why that is so, one sentence each.
    pub why: Vec<String>,
    /// What may be missing, and what to do.
    pub notes: Vec<String>,
    /// The port of this machine.
    pub published: u16,
}

/// The application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct App {
    /// What it runs on.
    pub base: Base,
    /// Where it listens; `None` when nothing tells.
    pub port: Option<u16>,
    /// It surely listens there: the command says so.
    pub sure: bool,
    /// Commands before it, at every start.
    pub before: Vec<String>,
    /// The command that starts it; `None` for types that are servers themselves, and where nothing tells.
    pub start: Option<String>,
    /// Debian packages.
    pub packages: Vec<&'static str>,
    /// A list of Python modules, which the image is made with.
    pub requirements: Option<&'static str>,
    /// More Python modules.
    pub pip: Vec<&'static str>,
    /// Variables.
    pub environment: Vec<(String, String)>,
    /// Volume and place of downloads to keep.
    pub cache: Option<(&'static str, &'static str)>,
}

/// What an application runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// A type whose scripts are what it runs.
    Type(&'static str),
    /// An image, because Debian's version is too old.
    Image(String),
    /// PHP behind a web server that serves this folder.
    Php {
        /// `apache` or `nginx`.
        server: &'static str,
        /// Relative; empty is the folder itself.
        root: String,
    },
    /// Files of this folder, by nginx.
    Files {
        /// Relative; empty is the folder itself.
        root: String,
    },
    /// The folder's own Dockerfile.
    Dockerfile(String),
}

impl Default for Base {
    fn default() -> Self {
        Self::Files { root: String::new() }
    }
}

/// A service that stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The type.
    pub kind: &'static str,
    /// The service's name, by which the application finds it.
    pub name: &'static str,
    /// Variables of the application that lead to it.
    pub variables: Vec<(String, String)>,
}

/// What the folder holds, as a draft of a project file; `None` when nothing in it is known.
#[must_use]
pub fn draft(folder: &Folder) -> Option<Draft> {
    let mut draft = Draft {
        published: 8080,
        ..Draft::default()
    };
    // From what says most to what says least: a Dockerfile is the author's own word, an index.html may be part of anything.
    let known = site::dockerfile(folder, &mut draft)
        || php::find(folder, &mut draft)
        || python::find(folder, &mut draft)
        || ruby::find(folder, &mut draft)
        || site::jekyll(folder, &mut draft)
        || go::find(folder, &mut draft)
        || node::find(folder, &mut draft)
        || site::files(folder, &mut draft);
    if !known {
        return None;
    }
    stores::find(folder, &mut draft);
    Some(draft)
}

/// What the folder does not tell for certain.
#[must_use]
pub fn questions(draft: &Draft) -> Vec<Question> {
    questions::all(draft)
}

impl App {
    /// Runs in the container what writes to the folder as the folder's owner, so that the files are theirs.
    fn as_owner(command: &str) -> String {
        format!(
            "setpriv --reuid=\"$(stat -c %u .)\" --regid=\"$(stat -c %g .)\" --clear-groups env HOME=/tmp {command}"
        )
    }
}

/// Whether the version that is asked for (`>=18.2`, `^20`, `1.22`) is newer than `major.minor`. Its first number counts.
fn newer(wanted: &str, carried: (u32, u32)) -> Option<(u32, Option<u32>)> {
    let start = wanted.find(|c: char| c.is_ascii_digit())?;
    // `<20` asks for nothing newer.
    if wanted[..start].trim_end().ends_with('<') {
        return None;
    }
    let mut parts = wanted[start..].split(|c: char| !c.is_ascii_digit());
    let major: u32 = parts.next()?.parse().ok()?;
    let minor: Option<u32> = parts.next().and_then(|part| part.parse().ok());
    ((major, minor.unwrap_or(0)) > carried).then_some((major, minor))
}
