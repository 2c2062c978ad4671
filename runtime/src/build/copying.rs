//! `COPY` and `ADD` as steps: what they read, what that is for the cache, and the layer it becomes.

use super::{
    cache::Mixer,
    context::Source,
    copy::{self, Target},
    dockerfile::{CopyFlags, Heredoc, Step, words},
    error::StepError,
    execute::{Builder, Built},
    ignore::Ignore,
    metadata,
    remote::{GitDir, Remote},
    stack::{Node, Stack},
    stages,
};
use crate::image::durable;
use std::path::{Path, PathBuf};

static NOTHING: Ignore = Ignore::new();

/// The parts of a `COPY` or `ADD`.
pub(super) struct CopyStep<'a> {
    pub(super) add: bool,
    pub(super) sources: &'a [String],
    pub(super) target: &'a str,
    pub(super) heredocs: &'a [Heredoc],
    pub(super) flags: &'a CopyFlags,
}

/// What one source turned out to be.
enum Piece {
    /// A here-document.
    Bytes { name: String, content: Vec<u8> },
    /// What a URL gave, and the name it has there.
    Download { name: String, file: Spool },
    /// `into`: a folder below the target (`--parents`).
    Node { node: Node, into: String },
    /// All of a folder that was fetched.
    Folder(PathBuf),
}

/// A file that is fetched; removed when dropped.
struct Spool(PathBuf);

impl Drop for Spool {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// How the words of a step are read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) expand: &'a dyn Fn(&str) -> Result<String, String>,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Reading<'_> {
    fn value(&self, text: &str) -> Result<String, StepError> {
        (self.expand)(text).map_err(StepError::Value)
    }
}

impl Builder<'_, '_> {
    pub(super) fn copy(
        &self,
        index: usize,
        step: &Step,
        mut built: Built,
        copy: &CopyStep<'_>,
        reading: Reading<'_>,
    ) -> Result<(Built, bool), StepError> {
        let stack = built.stack(self.store);
        let raw_target = reading.value(copy.target)?;
        let mut target = metadata::absolute(&built.document.config.working_dir, &raw_target);
        if (raw_target.ends_with('/') || raw_target.ends_with("/.") || raw_target == ".")
            && !target.ends_with('/')
        {
            target.push('/');
        }
        let flags = copy.flags;
        let exclude = flags
            .exclude
            .iter()
            .map(|pattern| reading.value(pattern))
            .collect::<Result<Vec<_>, _>>()?;
        let source = self.source(index, flags.from.as_deref(), &exclude)?;
        let mut mixer = Mixer::new("copy");
        mixer.text(&format!("{:?} {target} {}", built.key, copy.add));
        let chown = flags
            .chown
            .as_deref()
            .map(|text| reading.value(text))
            .transpose()?;
        let chmod = flags
            .chmod
            .as_deref()
            .map(|text| reading.value(text))
            .transpose()?;
        mixer.text(&format!(
            "{chown:?} {chmod:?} {:?} {:?} {exclude:?}",
            flags.parents, flags.unpack
        ));
        let mut pieces = Vec::new();
        for written in copy.sources {
            let heredoc = written
                .strip_prefix("<<")
                .and_then(|_| heredoc_of(written, copy.heredocs));
            match heredoc {
                Some(heredoc) => pieces.push(self.heredoc(heredoc, reading, &mut mixer)?),
                None => pieces.extend(self.pieces(written, &target, copy, &source, reading, &mut mixer)?),
            }
        }
        if pieces.len() > 1 && !target.ends_with('/') {
            target.push('/');
        }
        let owner = chown.map(|chown| lookup_user(&stack, &chown)).transpose()?;
        let cached = self.layer(&mut built, mixer.finish(), step, |draft| {
            let place = Target {
                root: draft.files(),
                below: &stack,
                owner,
                mode: chmod,
            };
            for piece in &pieces {
                match piece {
                    Piece::Bytes { name, content } => {
                        place.write(&target, name, &mut content.as_slice(), 0o644)?;
                    }
                    Piece::Download { name, file } => downloaded(&place, &target, name, file, flags)?,
                    Piece::Node { node, into } => {
                        let target = if into.is_empty() {
                            target.clone()
                        } else {
                            format!("{}/{into}", target.trim_end_matches('/'))
                        };
                        let unpack = flags.unpack.unwrap_or(copy.add);
                        place.copy(&source, node, &target, unpack)?;
                    }
                    Piece::Folder(folder) => {
                        let fetched = Source {
                            stack: Stack::folder(folder.clone()),
                            ignore: &NOTHING,
                            exclude: source.exclude.clone(),
                            hashes: self.hashes,
                            keeps_owners: false,
                        };
                        place.copy(&fetched, &fetched.stack.root(), &target, false)?;
                    }
                }
            }
            Ok(())
        })?;
        Ok((built, cached))
    }

    fn heredoc(
        &self,
        heredoc: &Heredoc,
        reading: Reading<'_>,
        mixer: &mut Mixer,
    ) -> Result<Piece, StepError> {
        let content = if heredoc.expand {
            words::expand_raw(&heredoc.content, self.stages.escape, reading.variable)
                .map_err(StepError::Value)?
        } else {
            heredoc.content.clone()
        };
        mixer.text(&heredoc.name);
        mixer.text(&content);
        Ok(Piece::Bytes {
            name: heredoc.name.clone(),
            content: content.into_bytes(),
        })
    }

    /// What one source is: a repository or URL of `ADD`, or files of where the step copies from.
    fn pieces(
        &self,
        written: &str,
        target: &str,
        copy: &CopyStep<'_>,
        source: &Source<'_>,
        reading: Reading<'_>,
        mixer: &mut Mixer,
    ) -> Result<Vec<Piece>, StepError> {
        let flags = copy.flags;
        let text = reading.value(written)?;
        mixer.text(&text);
        let checksum = flags
            .checksum
            .as_deref()
            .map(|text| reading.value(text))
            .transpose()?;
        if copy.add
            && let Some(remote @ Remote::Git { .. }) = Remote::of(&text)
        {
            return Ok(vec![self.repository(
                &remote,
                &text,
                checksum.as_deref(),
                flags,
                mixer,
            )?]);
        }
        if copy.add && (text.starts_with("http://") || text.starts_with("https://")) {
            let path = text.split(['?', '#']).next().unwrap_or("");
            let path = path.split_once("://").map_or(path, |(_, rest)| rest);
            let name = path.split_once('/').map_or("", |(_, path)| path);
            let name = name.rsplit('/').next().unwrap_or("").to_owned();
            if name.is_empty() && target.ends_with('/') {
                return Err(StepError::Value(format!(
                    "`{text}` has no file name; write the target's in full"
                )));
            }
            let ingest = self.store.dir().join("ingest");
            let file = Spool(ingest.join(format!("add-{}", durable::unique())));
            let digest = copy::download(&text, checksum.as_deref(), &file.0)?;
            mixer.text(&digest.to_string());
            return Ok(vec![Piece::Download { name, file }]);
        }
        let text = text.trim_start_matches('/').to_owned();
        let (pivot, pattern) = match text.split_once("/./") {
            Some((pivot, rest)) if flags.parents => (pivot.to_owned(), format!("{pivot}/{rest}")),
            _ => (String::new(), text),
        };
        let mut pieces = Vec::new();
        for node in source.matches(&pattern)? {
            source.hash(&node, &node.relative(), mixer)?;
            let into = if flags.parents {
                parent_below(&node.relative(), &pivot, node.is_dir())
            } else {
                String::new()
            };
            pieces.push(Piece::Node { node, into });
        }
        Ok(pieces)
    }

    /// The files of a git repository (Dockerfile reference, "ADD", "Adding files from a Git repository").
    fn repository(
        &self,
        remote: &Remote,
        written: &str,
        checksum: Option<&str>,
        flags: &CopyFlags,
        mixer: &mut Mixer,
    ) -> Result<Piece, StepError> {
        let keep = if flags.keep_git_dir {
            GitDir::Kept
        } else {
            GitDir::Left
        };
        // A Dockerfile does not reach into the host, nor use the builder's keys unless it was given them.
        if written.starts_with("file://") {
            let reason = format!("`{written}` is on this machine: `ADD` takes what the build context has");
            return Err(StepError::Value(reason));
        }
        let mut environment = self.request.git.clone();
        let is_open = ["https://", "http://", "git://", "github.com/"];
        if !is_open.iter().any(|start| written.starts_with(start)) {
            let Some(agent) = self.request.ssh.get("default") else {
                return Err(StepError::Value(format!(
                    "`{written}` is fetched over ssh, and this build was given no agent (`--ssh default`)"
                )));
            };
            environment.insert("SSH_AUTH_SOCK".into(), agent.display().to_string());
        }
        let fetched = remote.fetch_as(self.store, &environment, keep, self.progress)?;
        // The checksum of a repository is its commit, or how that begins.
        if let Some(wanted) = checksum
            && (wanted.is_empty() || !fetched.version.starts_with(&wanted.to_lowercase()))
        {
            return Err(StepError::Fetch {
                url: written.to_owned(),
                reason: format!("its commit is {}", fetched.version),
            });
        }
        mixer.text(&format!("{} {}", fetched.version, flags.keep_git_dir));
        Ok(Piece::Folder(fetched.folder))
    }

    pub(super) fn source(
        &self,
        index: usize,
        from: Option<&str>,
        exclude: &[String],
    ) -> Result<Source<'_>, StepError> {
        let is_context = from.is_none();
        let keeps_owners =
            from.is_some_and(|from| !self.folder_of(from).is_some_and(|folder| folder.is_dir()));
        Ok(Source {
            stack: self.source_stack(index, from)?,
            ignore: if is_context { &self.stages.ignore } else { &NOTHING },
            exclude: Ignore::parse(&exclude.join("\n")),
            hashes: self.hashes,
            keeps_owners,
        })
    }

    fn folder_of(&self, name: &str) -> Option<PathBuf> {
        let given = self.request.contexts.get(name)?;
        (!given.contains("://")).then(|| Path::new(given).to_path_buf())
    }

    /// What `from` names: the context, a stage, a named context, an image.
    pub(super) fn source_stack(&self, index: usize, from: Option<&str>) -> Result<Stack, StepError> {
        let Some(from) = from else {
            return Ok(Stack::folder(self.request.context.clone()));
        };
        if let Some(stage) = stages::stage_of(from, &self.stages.all[..index]) {
            return Ok(self
                .board
                .wait(stage)
                .ok_or(StepError::Elsewhere)?
                .stack(self.store));
        }
        if let Some(folder) = self.folder_of(from) {
            return Ok(Stack::folder(folder));
        }
        Ok(Stack {
            layers: self.image(from, None)?.layers,
        })
    }
}

/// Puts a download in its place; `--unpack` unpacks it there where it is an archive.
fn downloaded(
    place: &Target<'_>,
    target: &str,
    name: &str,
    file: &Spool,
    flags: &CopyFlags,
) -> Result<(), StepError> {
    if flags.unpack == Some(true)
        && let Some(unpacked) = place.unpack(&file.0, target)
    {
        return unpacked;
    }
    let failed = |cause| StepError::Io {
        action: "read",
        path: file.0.clone(),
        cause,
    };
    let mut content = fs_err::File::open(&file.0).map_err(failed)?;
    place.write(target, name, &mut content, 0o600)
}

fn heredoc_of<'a>(word: &str, heredocs: &'a [Heredoc]) -> Option<&'a Heredoc> {
    let name = word
        .trim_start_matches('<')
        .trim_start_matches('-')
        .trim_matches(['"', '\'']);
    heredocs.iter().find(|heredoc| heredoc.name == name)
}

/// With `--parents`, the folder below the target: the source's own path after the pivot.
fn parent_below(path: &str, pivot: &str, is_dir: bool) -> String {
    let rest = path
        .strip_prefix(pivot.trim_matches('/'))
        .unwrap_or(path)
        .trim_start_matches('/');
    if is_dir {
        return rest.to_owned();
    }
    // A final slash makes the target a folder for the file.
    rest.rsplit_once('/')
        .map_or_else(|| "./".to_owned(), |(folder, _)| format!("{folder}/"))
}

/// `user[:group]` by the image's own files; a user without a group has the primary one.
pub(super) fn lookup_user(stack: &Stack, text: &str) -> Result<(u32, u32), StepError> {
    let read = |path: &str| {
        let node = stack.find(path, true)?;
        fs_err::read_to_string(node.place()).ok()
    };
    let (user, group) = text
        .split_once(':')
        .map_or((text, None), |(user, group)| (user, Some(group)));
    let field = |file: &str, name: &str, at: usize| {
        let file = read(file).unwrap_or_default();
        let mut lines = file.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let line = lines.find(|fields| fields.first() == Some(&name))?;
        line.get(at)?.parse::<u32>().ok()
    };
    let missing = |what: &str, name: &str| StepError::Value(format!("the image has no {what} `{name}`"));
    // All digits is a number even where a user has such a name; too large a number is nobody's (CVE-2026-46680).
    let id = |name: &str, file: &str, what: &str| match name.parse::<u32>() {
        Ok(number) if number != u32::MAX => Ok(number),
        _ if name.bytes().all(|b| b.is_ascii_digit()) => Err(missing(what, name)),
        _ => field(file, name, 2).ok_or_else(|| missing(what, name)),
    };
    let uid = if user.is_empty() {
        0
    } else {
        id(user, "etc/passwd", "user")?
    };
    let gid = match group {
        Some(group) => id(group, "etc/group", "group")?,
        None if user.bytes().all(|b| b.is_ascii_digit()) => uid,
        None => field("etc/passwd", user, 3).unwrap_or(uid),
    };
    Ok((uid, gid))
}
