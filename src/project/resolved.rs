//! A project as `config` shows it: read, merged, completed and checked, but still a tree.

use super::{
    Variable,
    diagnostic::Report,
    emit::{self, Extensions},
    lower,
    node::Node,
    used,
};
use crate::model::{Dialect, Project, ProjectName};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::PathBuf,
};

/// A resolved project.
#[derive(Debug)]
pub struct Resolved {
    pub(super) root: Node,
    pub(super) name: ProjectName,
    pub(super) dialect: Dialect,
    pub(super) directory: PathBuf,
    pub(super) files: Vec<PathBuf>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) variables: BTreeMap<String, Variable>,
    pub(super) enabled: HashSet<String>,
}

impl Resolved {
    /// The project for the engine; mistakes that show only now go to `report`.
    pub(super) fn lower(self, report: &mut Report) -> Project {
        let used = used::used(&self.root, &self.enabled);
        let project = Project {
            name: self.name,
            dialect: self.dialect,
            directory: self.directory,
            files: self.files,
            services: BTreeMap::new(),
            disabled: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            secrets: BTreeMap::new(),
            configs: BTreeMap::new(),
        };
        lower::project(
            lower::Frame {
                root: &self.root,
                enabled: &self.enabled,
                used: &used,
                project,
            },
            report,
        )
    }

    /// Keeps only the services named and what they depend on.
    ///
    /// # Errors
    /// The first name that is no service of the project.
    pub fn select(&mut self, names: &[String]) -> Result<(), String> {
        let mut wanted: Vec<String> = names.to_vec();
        let mut kept = HashSet::new();
        while let Some(name) = wanted.pop() {
            if !self.enabled.contains(&name) {
                return Err(name);
            }
            if kept.insert(name.clone()) {
                wanted.extend(
                    self.dependencies(&name)
                        .into_iter()
                        .filter(|other| self.enabled.contains(other)),
                );
            }
        }
        self.enabled = kept;
        Ok(())
    }

    fn dependencies(&self, name: &str) -> Vec<String> {
        let depends = self
            .service(name)
            .and_then(|node| node.get("depends_on"))
            .and_then(Node::as_map);
        depends
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn service(&self, name: &str) -> Option<&Node> {
        self.root.get("services")?.get(name)
    }

    /// As docker compose's `config --format json` prints it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.emit(Extensions::Top)
    }

    /// As a compose file: the same, with extensions at all levels.
    #[must_use]
    pub fn to_compose(&self) -> Json {
        self.emit(Extensions::All)
    }

    /// The tree with everything that takes no part left out.
    fn emit(&self, extensions: Extensions) -> Json {
        let mut root = self.root.clone();
        let used = used::used(&root, &self.enabled);
        let empty = |kind: &str, keys: &BTreeSet<String>, root: &mut Node| {
            if let Some(map) = root.get_mut(kind).and_then(Node::as_map_mut) {
                map.retain(|key, _| keys.contains(key) || key.starts_with("x-"));
            }
        };
        empty("networks", &used.networks, &mut root);
        empty("volumes", &used.volumes, &mut root);
        empty("secrets", &used.secrets, &mut root);
        empty("configs", &used.configs, &mut root);
        if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
            services.retain(|name, _| self.enabled.contains(name));
        }
        let mut json = emit::project(&root, extensions);
        if let Some(object) = json.as_object_mut() {
            object.insert("name".into(), Json::String(self.name.to_string()));
            object.sort_keys();
        }
        json
    }

    /// The project's name.
    #[must_use]
    pub fn name(&self) -> &ProjectName {
        &self.name
    }

    /// The format of the first file.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Services that take part, dependencies before dependents, otherwise by name.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        let mut names: Vec<&String> = self.enabled.iter().collect();
        names.sort();
        let (mut order, mut seen) = (Vec::new(), HashSet::new());
        for name in names {
            self.visit(name, &mut seen, &mut order);
        }
        order
    }

    fn visit(&self, name: &str, seen: &mut HashSet<String>, order: &mut Vec<String>) {
        let mut stack = vec![(name.to_owned(), false)];
        while let Some((name, done)) = stack.pop() {
            if done {
                order.push(name);
            } else if self.enabled.contains(&name) && seen.insert(name.clone()) {
                let mut others = self.dependencies(&name);
                others.sort_by(|a, b| b.cmp(a));
                stack.push((name, true));
                stack.extend(others.into_iter().map(|other| (other, false)));
            }
        }
    }

    /// Keys of the volumes declared in the files.
    #[must_use]
    pub fn volumes(&self) -> Vec<String> {
        self.keys("volumes")
    }

    /// Keys of the networks declared in the files, and `default` when it is used.
    #[must_use]
    pub fn networks(&self) -> Vec<String> {
        self.keys("networks")
    }

    /// The names of the models that the files define, sorted.
    #[must_use]
    pub fn models(&self) -> Vec<String> {
        let map = self.root.get("models").and_then(Node::as_map);
        let mut names: Vec<_> = map.into_iter().flatten().map(|(key, _)| key.clone()).collect();
        names.sort();
        names
    }

    fn keys(&self, kind: &str) -> Vec<String> {
        let used = used::used(&self.root, &self.enabled);
        let used = if kind == "volumes" {
            used.volumes
        } else {
            used.networks
        };
        let map = self.root.get(kind).and_then(Node::as_map).into_iter().flatten();
        let mut keys: Vec<String> = map
            .map(|(key, _)| key.clone())
            .filter(|key| used.contains(key))
            .collect();
        keys.sort();
        keys
    }

    /// The image of each service that takes part, by service.
    #[must_use]
    pub fn images(&self) -> BTreeMap<String, String> {
        let image = |name: &String| {
            let given = self
                .service(name)
                .and_then(|node| node.get("image"))
                .and_then(Node::as_str);
            (
                name.clone(),
                given.map_or_else(|| format!("{}-{name}", self.name), str::to_owned),
            )
        };
        self.enabled.iter().map(image).collect()
    }

    /// The services that are built, of those that take part.
    #[must_use]
    pub fn built(&self) -> BTreeSet<String> {
        let is_built = |name: &&String| self.service(name).is_some_and(|node| node.get("build").is_some());
        self.enabled.iter().filter(is_built).cloned().collect()
    }

    /// Replaces the images of services, by service (`--resolve-image-digests`).
    pub fn set_images(&mut self, images: &BTreeMap<String, String>) {
        for (name, image) in images {
            let node = self
                .root
                .get_mut("services")
                .and_then(|services| services.get_mut(name));
            if let Some(node) = node.and_then(|service| service.get_mut("image")) {
                node.value = super::node::Value::Str(image.clone());
            }
        }
    }

    /// All profiles of the files, sorted.
    #[must_use]
    pub fn profiles(&self) -> BTreeSet<String> {
        let services = self
            .root
            .get("services")
            .and_then(Node::as_map)
            .into_iter()
            .flatten();
        let lists = services.filter_map(|(_, entry)| entry.node.get("profiles").and_then(Node::as_list));
        lists
            .flatten()
            .filter_map(Node::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// Variables that the files mention, by name.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, Variable> {
        &self.variables
    }

    /// The values used for variables.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// A digest of everything about a service that asks for a new container when it changes: not how it is built or
    /// pulled, how often it runs, or what it waits for.
    #[must_use]
    pub fn hash(&self, service: &str) -> Option<String> {
        let mut json = emit::service(self.service(service)?);
        if let Some(object) = json.as_object_mut() {
            for key in [
                "build",
                "pull_policy",
                "scale",
                "depends_on",
                "profiles",
                "develop",
                "attach",
            ] {
                object.shift_remove(key);
            }
            if let Some(deploy) = object.get_mut("deploy").and_then(Json::as_object_mut) {
                deploy.shift_remove("replicas");
            }
        }
        let digest = Sha256::digest(json.to_string().as_bytes());
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
