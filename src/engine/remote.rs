//! Build contexts elsewhere: git repositories, fetched with the `git` program into a folder that is gone after the build.
//!
//! What such a context holds is not asked on every `up`: as in docker compose, the image is built again when its section
//! changed, or with `--build`.

use super::Outcome;
use crate::api::wire::{Failure, Fault};
use crate::model::{Build, Service};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A git repository, as docker writes one: `URL[#REF[:FOLDER]]`.
#[derive(Debug, PartialEq, Eq)]
struct Repository {
    url: String,
    /// Branch, tag or commit; the default branch when empty.
    reference: String,
    /// The context's folder in it.
    folder: String,
}

/// Whether a context is not a folder of this machine.
pub fn is_remote(context: &str) -> bool {
    context.contains("://") || context.starts_with("git@") || context.starts_with("github.com/")
}

/// What `#` and what comes after it mean; `None` when it is no git repository.
fn parse(context: &str) -> Option<Repository> {
    let (url, fragment) = context.split_once('#').unwrap_or((context, ""));
    let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
    let bare = url.strip_prefix("github.com/").is_some();
    let web = url.starts_with("http://") || url.starts_with("https://");
    if web && !url.trim_end_matches('/').ends_with(".git") {
        return None;
    }
    // A reference that begins with `-` would be a flag to git.
    let plain = |text: &str| !text.starts_with('-') && !text.contains(char::is_whitespace);
    let inside = !folder.split('/').any(|part| part == "..");
    (plain(url) && plain(reference) && inside).then(|| Repository {
        url: if bare {
            format!("https://{url}")
        } else {
            url.to_owned()
        },
        reference: reference.to_owned(),
        folder: folder.trim_matches('/').to_owned(),
    })
}

/// A fetched context; its files are gone when it is dropped.
#[derive(Debug)]
pub struct Fetched {
    checkout: PathBuf,
    /// The context's folder.
    pub folder: PathBuf,
}

impl Drop for Fetched {
    fn drop(&mut self) {
        // What cannot be removed now lies in a folder that the next fetch empties.
        let _ = fs_err::remove_dir_all(&self.checkout);
    }
}

/// Fetches the context of a service's build into a folder below `place`.
///
/// # Errors
/// A context that is no git repository, a machine without `git`, or what `git` says.
pub fn fetch(service: &Service, section: &Build, place: &Path) -> Outcome<Fetched> {
    let at = || {
        let places = &service.places;
        places
            .get("build.context")
            .or(places.get("build"))
            .or(service.place.as_ref())
    };
    let what = format!(
        "cannot fetch the build context of service `{}`, `{}`",
        service.name, section.context
    );
    let Some(repository) = parse(&section.context) else {
        return Err(Failure::new(Fault::ProjectFile, what)
            .at(at())
            .hint("remote contexts are git repositories: `https://HOST/NAME.git#REF:FOLDER`, `git@HOST:NAME.git`, `github.com/OWNER/NAME`"));
    };
    let host = |error: &std::io::Error| Failure::caused(Fault::Host, what.clone(), error).at(at());
    let checkout = place.join(super::names::new_id());
    fs_err::create_dir_all(&checkout).map_err(|error| host(&error))?;
    let fetched = Fetched {
        folder: checkout.join(&repository.folder),
        checkout,
    };
    let reference = if repository.reference.is_empty() {
        "HEAD"
    } else {
        &repository.reference
    };
    let steps: [&[&str]; 4] = [
        &["init", "--quiet"],
        &[
            "fetch",
            "--quiet",
            "--depth",
            "1",
            "--",
            &repository.url,
            reference,
        ],
        &["checkout", "--quiet", "FETCH_HEAD"],
        &[
            "submodule",
            "--quiet",
            "update",
            "--init",
            "--recursive",
            "--depth",
            "1",
        ],
    ];
    for step in steps {
        let ran = Command::new("git")
            .args(step)
            .current_dir(&fetched.checkout)
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .output();
        let output = match ran {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Failure::new(Fault::Host, what)
                    .at(at())
                    .hint("install git, or clone the repository and name the folder"));
            }
            Err(error) => return Err(host(&error)),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::caused(Fault::Asked, what, &std::io::Error::other(said)).at(at()));
        }
    }
    if !fetched.folder.is_dir() {
        let missing = format!("there is no folder `{}` in it", repository.folder);
        return Err(Failure::caused(Fault::Asked, what, &std::io::Error::other(missing)).at(at()));
    }
    Ok(fetched)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn contexts_are_read_as_docker_reads_them() {
        let read = |text: &str| parse(text).map(|found| (found.url, found.reference, found.folder));
        let is = |url: &str, reference: &str, folder: &str| {
            Some((url.to_owned(), reference.to_owned(), folder.to_owned()))
        };
        assert_eq!(read("github.com/a/b"), is("https://github.com/a/b", "", ""));
        assert_eq!(
            read("https://h/a.git#v1:sub/x"),
            is("https://h/a.git", "v1", "sub/x")
        );
        assert_eq!(read("git@h:a/b.git#:sub"), is("git@h:a/b.git", "", "sub"));
        assert_eq!(read("https://h/archive.tar.gz"), None);
        assert_eq!(read("https://h/a.git#--upload-pack=x"), None);
        assert_eq!(read("https://h/a.git#main:../.."), None);
    }
}
