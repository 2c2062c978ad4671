//! Build contexts that lie elsewhere: a git repository, an archive or a Dockerfile at a URL.
//!
//! 1. [`Remote::of`] tells them from folders, with Docker's grammar: `https://host/x.git#REF:DIR`, `git@host:x.git`,
//!    `ssh://`, `git://`, `file://`, `github.com/OWNER/NAME`; other URLs are archives or Dockerfiles;
//! 2. [`Remote::fetch`] asks what the reference is now (a commit; an entity tag), and fetches it unless it is in the store.
//!
//! The program `git` does what concerns git: its configuration, agents and credentials are the caller's own. A commit is
//! fetched without history where the server can do that, with its submodules, and kept without `.git` unless `ADD` wants it.
//!
//! Deliberately absent: `?` forms, LFS beyond what the caller's git does.

mod file;
mod git;

use crate::{
    archive::layer,
    build::cache::Mixer,
    image::{Event, Progress, Store, StoreError},
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Hosts whose `https://HOST/OWNER/NAME` is a repository without saying `.git`.
const FORGES: [&str; 4] = ["github.com", "gitlab.com", "codeberg.org", "bitbucket.org"];

/// Variables of the caller that git uses to prove who it is.
pub const GIT_VARIABLES: [&str; 6] = [
    "SSH_AUTH_SOCK",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "GIT_CONFIG_GLOBAL",
];

/// A context that is no folder of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// A repository.
    Git {
        /// As git takes it.
        url: String,
        /// Branch, tag, full reference or commit; `None`: what the repository has as `HEAD`.
        reference: Option<String>,
        /// Folder in it; empty is all of it.
        folder: String,
    },
    /// An archive, or a Dockerfile alone.
    File {
        /// Where.
        url: String,
    },
}

/// What becomes of a repository's `.git`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitDir {
    /// It is left out, as of a build context.
    Left,
    /// It is among the files (`ADD --keep-git-dir`).
    Kept,
}

/// A context that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The folder, in the store. Nobody writes to it.
    pub folder: PathBuf,
    /// What it is: a commit, or a digest.
    pub version: String,
}

/// Why a context was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The program is missing.
    #[error("`{url}` is a git repository, and there is no program `git`")]
    NoGit {
        /// Which.
        url: String,
    },
    /// It said no.
    #[error("`git {command}` failed for `{url}`: {said}")]
    Git {
        /// The repository.
        url: String,
        /// What was asked.
        command: &'static str,
        /// The end of what it said.
        said: String,
    },
    /// The repository has no such thing.
    #[error("`{url}` has no branch, tag or commit `{reference}`")]
    NoReference {
        /// The repository.
        url: String,
        /// As written.
        reference: String,
    },
    /// The folder is not in it.
    #[error("`{url}` has no folder `{folder}` at {version}")]
    NoFolder {
        /// The repository.
        url: String,
        /// As written.
        folder: String,
        /// The commit.
        version: String,
    },
    /// A download.
    #[error("cannot fetch `{url}`: {reason}")]
    Fetch {
        /// Which.
        url: String,
        /// Why.
        reason: String,
    },
    /// What came is no context.
    #[error("cannot unpack `{url}`")]
    Unpack {
        /// Which.
        url: String,
        /// Why.
        #[source]
        cause: layer::LayerError,
    },
    /// The disk.
    #[error("cannot keep `{url}` in the store")]
    Keep {
        /// Which.
        url: String,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RemoteError {
    /// What the reader can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoGit { .. } => Some("install git, or clone it and name the folder".into()),
            Self::Git { url, .. } => Some(format!(
                "try `git ls-remote {url}`: credentials and agents are git's own"
            )),
            Self::NoReference { url, .. } => Some(format!("`git ls-remote {url}` lists what there is")),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }

    /// Whether the other side could not be asked, and an earlier answer may do.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        matches!(self, Self::Git { .. } | Self::Fetch { .. } | Self::NoGit { .. })
    }
}

impl Remote {
    /// What a context is when it is no folder.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let (address, fragment) = match text.split_once('#') {
            Some((address, fragment)) => (address, Some(fragment)),
            None => (text, None),
        };
        let git = |url: String| {
            let (reference, folder) =
                match fragment.map(|fragment| fragment.split_once(':').unwrap_or((fragment, ""))) {
                    Some((reference, folder)) => (reference, folder),
                    None => ("", ""),
                };
            let reference = Some(reference.to_owned()).filter(|reference| !reference.is_empty());
            Some(Self::Git {
                url,
                reference,
                folder: folder.trim_matches('/').to_owned(),
            })
        };
        let Some((scheme, rest)) = address.split_once("://") else {
            if address.starts_with("github.com/") {
                return git(format!("https://{address}"));
            }
            // scp's form, as git takes it: `user@host:path`.
            let (user, place) = address.split_once('@')?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let is_address = !user.is_empty()
                && user.chars().all(plain)
                && !user.starts_with('-')
                && place
                    .split_once(':')
                    .is_some_and(|(host, _)| !host.is_empty() && host.chars().all(plain));
            return is_address.then(|| git(address.to_owned())).flatten();
        };
        match scheme {
            "git" | "ssh" | "file" => git(address.to_owned()),
            "http" | "https" => {
                let path = rest.split_once('/').map_or("", |(_, path)| path);
                let host = rest.split('/').next().unwrap_or_default();
                let whole = path.trim_end_matches('/').split('/').count() == 2;
                if path.ends_with(".git") || (FORGES.contains(&host) && whole) {
                    git(address.to_owned())
                } else {
                    Some(Self::File { url: text.to_owned() })
                }
            }
            _ => None,
        }
    }

    /// Fetches it, unless the store has it. `environment` is added to that of this process, for git.
    ///
    /// # Errors
    /// Whatever git, the server or the disk says.
    pub fn fetch(
        &self,
        store: &Store,
        environment: &BTreeMap<String, String>,
        progress: &dyn Progress,
    ) -> Result<Fetched, RemoteError> {
        self.fetch_as(store, environment, GitDir::Left, progress)
    }

    /// The same, and says what becomes of `.git`.
    ///
    /// # Errors
    /// Whatever git, the server or the disk says.
    pub fn fetch_as(
        &self,
        store: &Store,
        environment: &BTreeMap<String, String>,
        git_dir: GitDir,
        progress: &dyn Progress,
    ) -> Result<Fetched, RemoteError> {
        let _working = store.working()?;
        let cache = store.dir().join("build/remote");
        let url = match self {
            Self::Git { url, .. } | Self::File { url } => url,
        };
        fs_err::create_dir_all(&cache).map_err(|cause| RemoteError::Keep {
            url: url.clone(),
            cause,
        })?;
        match self {
            Self::Git {
                url,
                reference,
                folder,
            } => {
                let repository = git::Repository { url, environment };
                let (commit, name) = repository.resolve(reference.as_deref())?;
                let place = cache.join(match git_dir {
                    GitDir::Left => key(&[url, &commit]),
                    GitDir::Kept => key(&[url, &commit, ".git"]),
                });
                if !place.exists() {
                    progress.event(Event::Notice(&format!(
                        "fetching {url} at {}",
                        &commit[..12.min(commit.len())]
                    )));
                    keep(url, &cache, &place, |draft| {
                        repository.check_out(draft, &commit, name.as_deref(), git_dir)
                    })?;
                }
                let folder = inside(&place, folder).ok_or_else(|| RemoteError::NoFolder {
                    url: url.clone(),
                    folder: folder.clone(),
                    version: commit.clone(),
                })?;
                Ok(Fetched {
                    folder,
                    version: commit,
                })
            }
            Self::File { url } => file::fetch(url, &cache, progress),
        }
    }
}

fn key(parts: &[&str]) -> String {
    let mut mixer = Mixer::new("remote context");
    parts.iter().for_each(|part| mixer.text(part));
    mixer.finish().hex()
}

/// Fills a new folder and moves it to its place at once, so that what is in the place is complete.
fn keep(
    url: &str,
    cache: &Path,
    place: &Path,
    fill: impl FnOnce(&Path) -> Result<(), RemoteError>,
) -> Result<(), RemoteError> {
    let failed = |cause| RemoteError::Keep {
        url: url.to_owned(),
        cause,
    };
    let mut unique = place.file_name().unwrap_or_default().to_owned();
    unique.push(format!(
        ".{}.{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let draft = cache.join(unique);
    let made = fs_err::create_dir_all(&draft)
        .map_err(failed)
        .and_then(|()| fill(&draft));
    let moved = made.and_then(|()| match fs_err::rename(&draft, place) {
        // Another build was first with the same.
        Err(_) if place.is_dir() => Ok(()),
        moved => moved.map_err(failed),
    });
    if draft.exists() {
        // What is left of a failure is only in the way of itself.
        let _ = fs_err::remove_dir_all(&draft);
    }
    moved
}

/// A folder of what was fetched; links in it must not lead out.
fn inside(place: &Path, folder: &str) -> Option<PathBuf> {
    let whole = fs_err::canonicalize(place).ok()?;
    let found = fs_err::canonicalize(place.join(folder)).ok()?;
    (found.starts_with(&whole) && found.is_dir()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_folders_repositories_or_files() {
        let git = |url: &str, reference: Option<&str>, folder: &str| {
            Some(Remote::Git {
                url: url.into(),
                reference: reference.map(Into::into),
                folder: folder.into(),
            })
        };
        let file = |url: &str| Some(Remote::File { url: url.into() });
        for (text, expected) in [
            (
                "https://example.com/a/b.git",
                git("https://example.com/a/b.git", None, ""),
            ),
            (
                "https://example.com/b.git#v1",
                git("https://example.com/b.git", Some("v1"), ""),
            ),
            (
                "https://example.com/b.git#v1:sub/dir",
                git("https://example.com/b.git", Some("v1"), "sub/dir"),
            ),
            (
                "https://example.com/b.git#:sub",
                git("https://example.com/b.git", None, "sub"),
            ),
            (
                "http://example.com:8080/b.git#feature/x",
                git("http://example.com:8080/b.git", Some("feature/x"), ""),
            ),
            (
                "git@example.com:a/b.git#main",
                git("git@example.com:a/b.git", Some("main"), ""),
            ),
            ("deploy@example.com:a/b", git("deploy@example.com:a/b", None, "")),
            (
                "ssh://git@example.com:22/a/b",
                git("ssh://git@example.com:22/a/b", None, ""),
            ),
            ("git://example.com/b#x", git("git://example.com/b", Some("x"), "")),
            ("file:///srv/b.git#x:y", git("file:///srv/b.git", Some("x"), "y")),
            ("github.com/a/b#x", git("https://github.com/a/b", Some("x"), "")),
            ("https://github.com/a/b", git("https://github.com/a/b", None, "")),
            (
                "https://github.com/a/b/archive/x.tar.gz",
                file("https://github.com/a/b/archive/x.tar.gz"),
            ),
            (
                "https://example.com/context.tar.gz",
                file("https://example.com/context.tar.gz"),
            ),
            (
                "https://example.com/Dockerfile",
                file("https://example.com/Dockerfile"),
            ),
            ("./folder", None),
            ("/srv/a@b:c", None),
            ("a#b", None),
            ("docker-image://busybox", None),
            ("service:web", None),
            ("-x@host:y", None),
        ] {
            assert_eq!(Remote::of(text), expected, "{text}");
        }
    }

    #[test]
    fn folders_of_a_repository_do_not_lead_out() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let place = temp.path();
        fs_err::create_dir_all(place.join("in/sub")).expect("a folder");
        let _ = std::os::unix::fs::symlink("/etc", place.join("in/out"));
        assert!(inside(&place.join("in"), "sub").is_some());
        for wrong in ["out", "../..", "missing"] {
            assert_eq!(inside(&place.join("in"), wrong), None, "{wrong}");
        }
    }
}
