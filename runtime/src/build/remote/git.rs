//! The program `git`: which commit a reference is, and its files.

use super::{GitDir, RemoteError};
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    process::{Command, Stdio},
};

/// The program `git`, for one repository.
#[derive(Debug)]
pub(super) struct Repository<'a> {
    pub(super) url: &'a str,
    pub(super) environment: &'a BTreeMap<String, String>,
}

impl Repository<'_> {
    /// Runs git and gives what it printed.
    fn git(&self, command: &'static str, folder: &Path, words: &[&str]) -> Result<String, RemoteError> {
        let mut git = Command::new("git");
        // No hooks and no questions; an unknown host key is refused instead of asked about.
        git.args([
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "advice.detachedHead=false",
            "-c",
            "gc.auto=0",
        ]);
        git.args(words).current_dir(folder).stdin(Stdio::null());
        git.envs(self.environment)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C");
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            git.env_remove(variable);
        }
        let output = git.output().map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => RemoteError::NoGit {
                url: self.url.to_owned(),
            },
            _ => RemoteError::Keep {
                url: self.url.to_owned(),
                cause,
            },
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let said = lines[lines.len().saturating_sub(3)..].join("; ");
        Err(RemoteError::Git {
            url: self.url.to_owned(),
            command,
            said,
        })
    }

    /// The commit of a reference, and its full name where it has one.
    pub(super) fn resolve(&self, reference: Option<&str>) -> Result<(String, Option<String>), RemoteError> {
        let wanted = reference.unwrap_or("HEAD");
        let is_commit =
            |text: &str| matches!(text.len(), 40 | 64) && text.chars().all(|c| c.is_ascii_hexdigit());
        if is_commit(wanted) {
            return Ok((wanted.to_lowercase(), None));
        }
        let patterns = [
            wanted.to_owned(),
            format!("refs/heads/{wanted}"),
            format!("refs/tags/{wanted}"),
            format!("refs/tags/{wanted}^{{}}"),
        ];
        let mut words = vec!["ls-remote", "--", self.url];
        words.extend(patterns.iter().map(String::as_str));
        let listed = self.git("ls-remote", Path::new("/"), &words)?;
        let of = |name: &str| {
            let lines = listed.lines().filter_map(|line| line.split_once('\t'));
            lines
                .into_iter()
                .find(|(_, own)| *own == name)
                .map(|(commit, _)| commit.to_owned())
        };
        let [exact, branch, tag, peeled] = &patterns;
        // As git does: the full name, then tags, then branches; of a tag with a message, what it stands for.
        let exact = Some(exact).filter(|exact| *exact == "HEAD" || exact.starts_with("refs/"));
        let found = [exact, Some(tag), Some(branch)]
            .into_iter()
            .flatten()
            .find_map(|name| Some((of(name)?, name)));
        let (commit, name) = found.ok_or_else(|| RemoteError::NoReference {
            url: self.url.to_owned(),
            reference: wanted.to_owned(),
        })?;
        let commit = if name == tag {
            of(peeled).unwrap_or(commit)
        } else {
            commit
        };
        if !is_commit(&commit) {
            let reference = wanted.to_owned();
            return Err(RemoteError::NoReference {
                url: self.url.to_owned(),
                reference,
            });
        }
        Ok((commit, Some(name.clone())))
    }

    /// The files of a commit, without history where the server can do that.
    pub(super) fn check_out(
        &self,
        folder: &Path,
        commit: &str,
        name: Option<&str>,
        git_dir: GitDir,
    ) -> Result<(), RemoteError> {
        let git = |command, words: &[&str]| self.git(command, folder, words);
        git("init", &["init", "--quiet", "--template="])?;
        // The commit alone, where the server gives it; else what has that name now; else everything (a server of plain
        // files knows no shallow copies).
        let by = |words: &[&str]| git("fetch", &[&["fetch", "--quiet", "--no-tags"], words].concat());
        let all = [
            "--",
            self.url,
            "+refs/heads/*:refs/remotes/banyan/*",
            "+refs/tags/*:refs/tags/*",
        ];
        let has = || git("cat-file", &["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_ok();
        let mut fetched = by(&["--depth=1", "--", self.url, commit]);
        if let (Err(_), Some(name)) = (&fetched, name) {
            fetched = by(&["--depth=1", "--", self.url, name])
                .and_then(|said| if has() { Ok(said) } else { by(&all) });
        }
        if fetched.is_err() {
            fetched = by(&all);
        }
        fetched?;
        if !has() {
            let reference = commit.to_owned();
            return Err(RemoteError::NoReference {
                url: self.url.to_owned(),
                reference,
            });
        }
        git("checkout", &["checkout", "--quiet", "--detach", commit])?;
        let has_submodules = folder.join(".gitmodules").exists();
        if has_submodules || git_dir == GitDir::Kept {
            // Relative addresses of submodules are relative to the repository's.
            git("remote", &["remote", "add", "origin", self.url])?;
        }
        if has_submodules {
            let update = [
                "submodule",
                "--quiet",
                "update",
                "--init",
                "--recursive",
                "--depth=1",
            ];
            git("submodule", &update)?;
        }
        if git_dir == GitDir::Kept {
            return Ok(());
        }
        forget_git(folder).map_err(|cause| RemoteError::Keep {
            url: self.url.to_owned(),
            cause,
        })
    }
}

/// Removes `.git` of the repository and of its submodules, which is a file there.
fn forget_git(folder: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if entry.file_name() == ".git" {
            if kind.is_dir() {
                fs_err::remove_dir_all(entry.path())?;
            } else {
                fs_err::remove_file(entry.path())?;
            }
        } else if kind.is_dir() {
            forget_git(&entry.path())?;
        }
    }
    Ok(())
}
