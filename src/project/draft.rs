//! From files to one tree: read, parse, replace variables, check, extend, include, merge, make canonical.

use super::{Skip, canonical, dialect, interpolate::Variable};
use super::{
    check::Check,
    diagnostic::Report,
    files::{self, Files},
    find,
    merge::{merge, strip_marks},
    node::{Entry, Map, Mark, Node, Value},
    paths, recipes,
    source::Span,
    substitute::{Substitute, variables},
    suggest::did_you_mean,
    trail::Trail,
    unique,
    yaml::Reading,
};
use crate::model::Dialect;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

/// Reads files into a tree; keeps what all files of a project share.
pub(crate) struct Drafter<'a> {
    pub(crate) disk: &'a Files,
    pub(crate) report: &'a mut Report,
    pub(crate) skip: Skip,
    pub(crate) home: Option<String>,
    check: Check,
    substitute: Substitute,
    /// Services of files named by `extends`, checked and canonical.
    extended: HashMap<PathBuf, Option<Map>>,
    /// A file could not be read to its end: what is missing from it must not be reported as missing.
    pub(crate) broken: bool,
    /// The dialect of the first document.
    pub(crate) dialect: Option<Dialect>,
    /// How many values `extends` has made.
    copied: usize,
    /// All files read, in order.
    pub(crate) read: Vec<PathBuf>,
    /// Variables that the files mention.
    pub(crate) variables: BTreeMap<String, Variable>,
}

/// Most values that all `extends` together may make; 2,000 services of 250 values each.
const COPIED: usize = 500_000;

/// Where a set of files lives, and what its variables are.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    /// The main files that led here, for cycles.
    pub(crate) through: Vec<PathBuf>,
}

impl<'a> Drafter<'a> {
    pub(crate) fn new(disk: &'a Files, report: &'a mut Report, skip: Skip, home: Option<String>) -> Self {
        Self {
            disk,
            report,
            skip,
            home,
            check: Check::default(),
            substitute: Substitute::default(),
            extended: HashMap::new(),
            broken: false,
            dialect: None,
            copied: 0,
            read: vec![],
            variables: BTreeMap::new(),
        }
    }

    /// The documents of a file; a mistake is reported at `at`, the place that named the file.
    pub(crate) fn documents(&mut self, path: &Path, at: Span) -> Vec<Node> {
        match self.disk.read(path) {
            Ok(text) => {
                if !self.read.iter().any(|known| known == path) {
                    self.read.push(path.to_owned());
                }
                let file = self.report.sources.add(path, text);
                let (documents, reading) = super::yaml::parse(file, self.report);
                self.broken |= reading == Reading::Broken;
                documents
            }
            Err(error) => {
                self.broken = true;
                self.report
                    .error(at, format!("cannot read `{}`", path.display()))
                    .because(files::short(&error));
                vec![]
            }
        }
    }

    /// Merges the documents of several files into one canonical tree with absolute paths.
    pub(crate) fn tree(&mut self, files: Vec<(PathBuf, Vec<Node>)>, scope: &Scope) -> Node {
        let mut whole = Node::map(Map::new(), Span::NONE);
        for (path, documents) in files {
            for document in documents {
                if document.is_null() {
                    continue;
                }
                let Some(mut document) = self.document(document, &path, scope) else {
                    continue;
                };
                self.include(&mut document, scope);
                whole = merge(whole, document, &Trail::Root, self.report);
                unique::project(&mut whole);
            }
        }
        strip_marks(&mut whole);
        canonical::project(&mut whole, self.report);
        unique::project(&mut whole);
        if !self.skip.paths {
            paths::project(&mut whole, &scope.directory, self.home.as_deref());
        }
        inherit_variables(&mut whole, &scope.environment);
        whole
    }

    /// One document: variables, types, `extends`.
    fn document(&mut self, mut document: Node, path: &Path, scope: &Scope) -> Option<Node> {
        if document.as_map().is_none() {
            let kind = document.kind();
            self.report
                .error(document.span, format!("a project file is a mapping, not {kind}"))
                .hint("start with `services:`");
            return None;
        }
        self.prepare(&mut document, path, scope);
        if let Some(version) = document.as_map_mut().and_then(|map| map.shift_remove("version"))
            && self.read.first().is_some_and(|first| first == path)
        {
            self.report
                .warning(version.key, "`version` is obsolete and ignored")
                .hint("remove it");
        }
        self.extends(&mut document, path, scope);
        Some(document)
    }

    fn prepare(&mut self, document: &mut Node, path: &Path, scope: &Scope) {
        let dialect = dialect::of(document, path);
        self.dialect.get_or_insert(dialect);
        let named_fig = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("fig."));
        if dialect == Dialect::Fig && !named_fig {
            self.report
                .warning(
                    document.span,
                    "this file is read as a fig file: its services stand at the top level",
                )
                .hint("put them under `services:` to make it a compose file");
        }
        let context = dialect::Context {
            environment: &scope.environment,
        };
        let span = document.span;
        let original = std::mem::replace(document, Node::null(span));
        *document = dialect::translate(original, dialect, &context, self.report);
        variables(document, &mut self.variables);
        if !self.skip.interpolation {
            self.substitute
                .tree(document, &scope.environment, &Trail::Root, self.report);
        }
        self.check.project(document, self.report);
        recipes::settle(
            document,
            &scope.directory,
            self.home.as_deref(),
            self.disk,
            self.report,
        );
    }

    /// Resolves `extends` of every service of a document.
    fn extends(&mut self, document: &mut Node, path: &Path, scope: &Scope) {
        let Some(services) = document.get_mut("services").and_then(Node::as_map_mut) else {
            return;
        };
        let names: Vec<String> = services
            .iter()
            .filter(|(_, e)| e.node.get("extends").is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let mut through = vec![];
            let resolved = self.extended_service(&name, services, path, scope, &mut through);
            if let Some(entry) = services.get_mut(&name) {
                // A service whose base is unknown is not judged any further.
                entry.node = resolved.unwrap_or_else(|| Node::new(Value::Bad, entry.node.span));
            }
        }
    }

    /// Service `name` of `services` with what it extends, recursively.
    fn extended_service(
        &mut self,
        name: &str,
        services: &Map,
        path: &Path,
        scope: &Scope,
        through: &mut Vec<(PathBuf, String)>,
    ) -> Option<Node> {
        let service = services.get(name)?.node.clone();
        if service.is_bad() {
            return None;
        }
        let Some(extends) = service.get("extends").filter(|node| !node.is_bad()) else {
            return Some(service);
        };
        let step = (path.to_owned(), name.to_owned());
        if through.contains(&step) {
            let mut chain: Vec<String> = through.iter().map(|(_, name)| format!("`{name}`")).collect();
            chain.push(format!("`{name}`"));
            self.report
                .error(
                    extends.span,
                    format!("services extend each other in a circle: {}", chain.join(" → ")),
                )
                .hint("remove one `extends` of the circle");
            return None;
        }
        through.push(step);
        let base_name = extends.as_str().or_else(|| extends.get("service")?.as_str());
        let Some(base_name) = base_name else {
            if extends.get("service").is_none() {
                self.report
                    .error(
                        extends.span,
                        format!("`services.{name}.extends` does not say which service"),
                    )
                    .hint("add `service: NAME`");
            }
            return None;
        };
        let at = extends.get("service").map_or(extends.span, |node| node.span);
        let base = match extends.get("file").and_then(Node::as_str) {
            Some(file) => {
                let file_at = extends.get("file").map_or(extends.span, |node| node.span);
                let base_dir = if through.len() == 1 {
                    scope.directory.clone()
                } else {
                    folder(path)
                };
                let file = PathBuf::from(paths::absolute(file, &base_dir, self.home.as_deref()));
                let others = self.extended_file(&file, file_at, scope)?;
                self.known(base_name, &others, name, at, Some(&file))?;
                self.extended_service(base_name, &others, &file, scope, through)?
            }
            None => {
                self.known(base_name, services, name, at, None)?;
                self.extended_service(base_name, services, path, scope, through)?
            }
        };
        through.pop();
        let (root, services_key) = (Trail::Root, "services");
        let services_trail = root.key(services_key);
        let mut merged = merge(base, service, &services_trail.key(name), self.report);
        unique::service(&mut merged);
        merged.as_map_mut()?.shift_remove("extends");
        self.copied += super::yaml::size(&merged);
        if self.copied > COPIED {
            self.report
                .error(at, "the `extends` of this project copy too many values");
            return None;
        }
        Some(merged)
    }

    fn known(&mut self, base: &str, services: &Map, name: &str, at: Span, file: Option<&Path>) -> Option<()> {
        if services.contains_key(base) {
            return Some(());
        }
        let place = file.map_or_else(|| "this file".to_owned(), |file| format!("`{}`", file.display()));
        let others = services.keys().map(String::as_str).filter(|other| *other != name);
        self.report
            .error(
                at,
                format!("`{name}` extends `{base}`, but {place} has no such service"),
            )
            .maybe_hint(did_you_mean(base, others));
        None
    }

    /// The services of a file named by `extends`, canonical, with its own paths.
    fn extended_file(&mut self, file: &Path, at: Span, scope: &Scope) -> Option<Map> {
        if let Some(known) = self.extended.get(file) {
            return known.clone();
        }
        let own = Scope {
            directory: folder(file),
            ..scope.clone()
        };
        let mut whole = Node::map(Map::new(), Span::NONE);
        let documents = self.documents(file, at);
        let read = !documents.is_empty();
        for mut document in documents {
            self.prepare(&mut document, file, &own);
            whole = merge(whole, document, &Trail::Root, self.report);
        }
        canonical::project(&mut whole, self.report);
        if !self.skip.paths {
            paths::project(&mut whole, &own.directory, self.home.as_deref());
        }
        let services = match whole.as_map_mut().and_then(|map| map.shift_remove("services")) {
            Some(Entry {
                node:
                    Node {
                        value: Value::Map(services),
                        ..
                    },
                ..
            }) => Some(services),
            _ => {
                if read {
                    self.report
                        .error(at, format!("`{}` has no `services`", file.display()));
                }
                None
            }
        };
        self.extended.insert(file.to_owned(), services.clone());
        services
    }

    /// Reads what `include` names and adds it to the document.
    fn include(&mut self, document: &mut Node, scope: &Scope) {
        let Some(include) = document.as_map_mut().and_then(|map| map.shift_remove("include")) else {
            return;
        };
        for item in include.node.as_list().unwrap_or_default() {
            if let Some(tree) = self.included(item, scope) {
                self.import(tree, document);
            }
        }
    }

    fn included(&mut self, item: &Node, scope: &Scope) -> Option<Node> {
        let texts = |node: Option<&Node>| -> Vec<(String, Span)> {
            match node.map(|node| &node.value) {
                Some(Value::Str(text)) => node.map(|node| (text.clone(), node.span)).into_iter().collect(),
                Some(Value::List(list)) => list
                    .iter()
                    .filter_map(|item| Some((item.as_str()?.to_owned(), item.span)))
                    .collect(),
                _ => vec![],
            }
        };
        let paths_given = if item.as_str().is_some() {
            texts(Some(item))
        } else {
            texts(item.get("path"))
        };
        if paths_given.is_empty() && !item.is_bad() {
            self.report
                .error(item.span, "this `include` names no file")
                .hint("add `path: FILE`");
        }
        let home = self.home.clone();
        let resolve = |text: &str, base: &Path| PathBuf::from(paths::absolute(text, base, home.as_deref()));
        let mut own = scope.clone();
        let mut sets = Vec::new();
        for (i, (text, span)) in paths_given.iter().enumerate() {
            let path = resolve(text, &scope.directory);
            if i == 0 {
                if scope.through.contains(&path) {
                    let chain: Vec<String> = scope
                        .through
                        .iter()
                        .chain([&path])
                        .map(|path| format!("`{}`", path.display()))
                        .collect();
                    self.report
                        .error(
                            *span,
                            format!("files include each other in a circle: {}", chain.join(" → ")),
                        )
                        .hint("remove one `include` of the circle");
                    return None;
                }
                own.through.push(path.clone());
                let directory = item.get("project_directory").and_then(Node::as_str);
                own.directory =
                    directory.map_or_else(|| folder(&path), |text| resolve(text, &scope.directory));
            }
            let documents = self.documents(&path, *span);
            sets.push((path, documents));
        }
        let mut env_files: Vec<(PathBuf, Span)> = texts(item.get("env_file"))
            .into_iter()
            .map(|(text, span)| (resolve(&text, &scope.directory), span))
            .collect();
        let default = own.directory.join(".env");
        if env_files.is_empty() && self.disk.is_file(&default) {
            env_files.push((default, item.span));
        }
        for (path, span) in env_files {
            if path == Path::new("/dev/null") {
                continue;
            }
            if !self.disk.is_file(&path) {
                self.report
                    .error(span, format!("there is no env file `{}`", path.display()));
                continue;
            }
            let values =
                find::env_file(&path, &own.environment, self.disk, Some(self.report)).unwrap_or_default();
            for (key, value) in values {
                own.environment.entry(key).or_insert(value);
            }
        }
        Some(self.tree(sets, &own))
    }

    /// Adds the parts of an included tree to a document; two different parts of one name are a mistake.
    fn import(&mut self, mut tree: Node, document: &mut Node) {
        for kind in ["services", "volumes", "networks", "secrets", "configs", "models"] {
            let Some(Entry {
                key,
                node:
                    Node {
                        value: Value::Map(parts),
                        ..
                    },
                ..
            }) = tree.as_map_mut().and_then(|map| map.shift_remove(kind))
            else {
                continue;
            };
            let Some(map) = document.as_map_mut() else { return };
            let own = map
                .entry(kind.to_owned())
                .or_insert_with(|| Entry::new(key, Node::map(Map::new(), key)));
            if own.node.is_null() {
                own.node.value = Value::Map(Map::new());
            }
            let Some(own) = own.node.as_map_mut() else {
                continue;
            };
            for (name, part) in parts {
                match own.get(&name) {
                    Some(mine) if mine.node.mark == Mark::Plain && !mine.node.same(&part.node) => {
                        let mine = mine.key;
                        self.report
                            .error(mine, format!("`{kind}.{name}` is also defined by an included file"))
                            .related(part.key, "included")
                            .hint("rename one of them, or change it in an override file (`-f`, `include` with two paths)");
                    }
                    Some(_) => {}
                    None => {
                        own.insert(name, part);
                    }
                }
            }
        }
    }
}

/// The folder of a file.
fn folder(path: &Path) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

/// Variables named without value get the scope's value, so that an included file sees its own env file.
fn inherit_variables(root: &mut Node, environment: &BTreeMap<String, String>) {
    let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) else {
        return;
    };
    for service in services.values_mut() {
        let variables = service.node.get_mut("environment").and_then(Node::as_map_mut);
        for (key, entry) in variables.into_iter().flatten() {
            if entry.node.is_null()
                && let Some(value) = environment.get(key)
            {
                entry.node.value = Value::Str(value.clone());
            }
        }
    }
}
