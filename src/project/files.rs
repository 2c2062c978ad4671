//! The only place of `project` that touches the disk.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Largest file read, in bytes. A project file of 2,000 services has about 1 MB.
const LIMIT: u64 = 32 * 1024 * 1024;

/// Largest file of a template folder that is looked into, in bytes.
const TEMPLATE: u64 = 1024 * 1024;

/// Most files of a template folder.
const TEMPLATES: usize = 500;

/// Where files come from: the disk, and what was read from standard input.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// The text for the file `-`.
    pub(crate) stdin: Option<String>,
}

impl Files {
    /// The text of `path`.
    pub(crate) fn read(&self, path: &Path) -> io::Result<String> {
        if path == Path::new("-") {
            return self
                .stdin
                .clone()
                .ok_or_else(|| io::Error::other("standard input was not given"));
        }
        let file = fs_err::File::open(path)?;
        let size = file.metadata()?;
        if size.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let mut bytes = Vec::new();
        file.take(LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LIMIT {
            return Err(io::Error::other(format!("it is larger than {LIMIT} bytes")));
        }
        String::from_utf8(bytes).map_err(|fault| {
            let line = fault.as_bytes()[..fault.utf8_error().valid_up_to()]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            io::Error::other(format!("line {} is not UTF-8 text", line + 1))
        })
    }

    /// Whether `path` is there and no folder.
    pub(crate) fn is_file(&self, path: &Path) -> bool {
        fs_err::metadata(path).is_ok_and(|data| !data.is_dir())
    }

    /// Name and content of the texts in `folder` and the folders in it, by name. Files that are no text or larger than
    /// [`TEMPLATE`] are left out: nothing in them is replaced.
    pub(crate) fn texts(&self, folder: &Path) -> io::Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(at) = folders.pop() {
            for entry in fs_err::read_dir(&at)? {
                let entry = entry?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                if kind.is_dir() {
                    folders.push(path);
                    continue;
                }
                if fs_err::metadata(&path).map_or(true, |data| !data.is_file() || data.len() > TEMPLATE) {
                    continue;
                }
                let Ok(text) = String::from_utf8(fs_err::read(&path)?) else {
                    continue;
                };
                let name = path.strip_prefix(folder).unwrap_or(&path);
                found.push((name.display().to_string(), text));
                if found.len() > TEMPLATES {
                    return Err(io::Error::other(format!("more than {TEMPLATES} files")));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Whether this machine trusts certificate authorities that are not everybody's (`update-ca-certificates(8)`).
    pub(crate) fn has_own_authorities(&self) -> bool {
        let entries = fs_err::read_dir("/usr/local/share/ca-certificates");
        let mut entries = entries.into_iter().flatten().flatten();
        entries.any(|entry| entry.path().extension().is_some_and(|end| end == "crt"))
    }

    /// The names in `folder` that end like a project file, for hints.
    pub(crate) fn yaml_names(&self, folder: &Path) -> Vec<String> {
        let Ok(entries) = fs_err::read_dir(folder) else {
            return vec![];
        };
        let names = entries
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names
            .filter(|name| name.ends_with(".yml") || name.ends_with(".yaml"))
            .take(20)
            .collect();
        names.sort();
        names
    }
}

/// An I/O error without the words that repeat the path.
pub(crate) fn short(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::IsADirectory => "it is a folder".into(),
        _ => error.to_string(),
    }
}

/// `path` made absolute against `base`, without `.` and `..` where that is safe.
pub(crate) fn absolute(path: &Path, base: &Path) -> PathBuf {
    PathBuf::from(super::short::clean(&base.join(path).to_string_lossy()))
}
