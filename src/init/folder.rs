//! What lies in a folder, as far as it is looked at.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Most names taken; a folder with more is told by its first ones.
const NAMES: usize = 5000;
/// How deep below the folder is looked.
const DEPTH: usize = 3;
/// Bytes of the largest text that is read.
const TEXT: u64 = 256 << 10;
/// Folders that hold other people's work.
const FOREIGN: &[&str] = &[
    "node_modules",
    "vendor",
    "venv",
    "env",
    "target",
    "__pycache__",
    "dist",
];

/// Names and texts of a folder.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// By the path in the folder; empty for files whose text does not matter.
    files: BTreeMap<String, String>,
}

impl Folder {
    /// Looks at a folder, at most three levels down. What cannot be read is not there.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut todo: Vec<(PathBuf, usize)> = vec![(path.to_owned(), 1)];
        while let Some((here, depth)) = todo.pop() {
            let Ok(entries) = std::fs::read_dir(&here) else {
                continue;
            };
            let mut entries: Vec<_> = entries.flatten().collect();
            entries.sort_by_key(std::fs::DirEntry::file_name);
            for entry in entries {
                if files.len() >= NAMES {
                    return Self { files };
                }
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    if depth < DEPTH && !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
                        todo.push((entry.path(), depth + 1));
                    }
                    continue;
                }
                let inside = entry.path();
                let Some(inside) = inside.strip_prefix(path).ok().and_then(Path::to_str) else {
                    continue;
                };
                let small = entry
                    .path()
                    .metadata()
                    .is_ok_and(|data| data.is_file() && data.len() <= TEXT);
                let text = if small && is_told_by_its_text(&name) {
                    std::fs::read(entry.path()).unwrap_or_default()
                } else {
                    Vec::new()
                };
                files.insert(inside.to_owned(), String::from_utf8_lossy(&text).into_owned());
            }
        }
        Self { files }
    }

    /// One of these files, for tests and callers that have it in memory.
    #[must_use]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Self {
            files: files.iter().map(pair).collect(),
        }
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The first of these that is there.
    pub(super) fn first(&self, paths: &[&'static str]) -> Option<&'static str> {
        paths.iter().copied().find(|path| self.has(path))
    }

    /// Its text; empty when it is not there.
    pub(super) fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", String::as_str)
    }

    /// Paths and texts of all files with this end.
    pub(super) fn ending<'f>(&'f self, end: &'f str) -> impl Iterator<Item = (&'f str, &'f str)> {
        let all = self.files.iter().filter(move |(path, _)| path.ends_with(end));
        all.map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// Whether the text of a file with this name tells something.
fn is_told_by_its_text(name: &str) -> bool {
    const ENDS: &[&str] = &[".php", ".py", ".js", ".mjs", ".cjs", ".ts", ".rb", ".go", ".ru"];
    const NAMES: &[&str] = &[
        "composer.json",
        "package.json",
        "pyproject.toml",
        "Gemfile",
        "Gemfile.lock",
        "go.mod",
        "Procfile",
        "Dockerfile",
        "Pipfile",
        "setup.py",
    ];
    NAMES.contains(&name)
        || name.starts_with(".env")
        || (name.starts_with("requirements") && name.ends_with(".txt"))
        || ENDS.iter().any(|end| name.ends_with(end))
}
