//! The last step: the canonical tree into `model::Project`.
//!
//! The tree has been checked, so values are taken as they are; what cannot be expressed (an address out of range, a
//! secret from a store that does not exist) is reported here.

mod lifecycle;
mod mounts;
mod networks;
mod service;

use super::{
    diagnostic::Report,
    node::{Map, Node},
};
use crate::model::{FileSource, Place, Project, ServiceName, Volume};
use std::{collections::BTreeMap, path::PathBuf};

/// What the tree does not hold.
pub(crate) struct Frame<'a> {
    pub(crate) root: &'a Node,
    /// Services that take part.
    pub(crate) enabled: &'a std::collections::HashSet<String>,
    /// Parts that enabled services use, by kind and key.
    pub(crate) used: &'a super::used::Used,
    pub(crate) project: Project,
}

/// Makes the project; mistakes go to `report`, and what is wrong is left out.
pub(crate) fn project(frame: Frame<'_>, report: &mut Report) -> Project {
    let Frame {
        root,
        enabled,
        used,
        mut project,
    } = frame;
    let empty = Map::new();
    let map = |key: &str| root.get(key).and_then(Node::as_map).unwrap_or(&empty);
    for (key, entry) in map("services") {
        let Ok(name) = ServiceName::new(key.as_str()) else {
            continue;
        };
        let provided = entry.node.get("provider").is_some();
        if provided {
            report
                .warning(
                    entry.key,
                    format!("service `{key}` comes from an external provider and is left out"),
                )
                .because("`provider` is not supported");
        }
        let service = service::service(&name, entry, project.name.as_str(), report);
        if enabled.contains(key) && !provided {
            project.services.insert(name, service);
        } else {
            project.disabled.insert(name, service);
        }
    }
    let provided: Vec<ServiceName> = project
        .disabled
        .keys()
        .filter(|name| map("services")[name.as_str()].node.get("provider").is_some())
        .cloned()
        .collect();
    for service in project.services.values_mut() {
        service.depends_on.retain(|name, _| !provided.contains(name));
    }
    for (key, entry) in map("networks")
        .iter()
        .filter(|(key, _)| used.networks.contains(*key))
    {
        project
            .networks
            .insert(key.clone(), networks::network(key, entry, report));
    }
    for (key, entry) in map("volumes")
        .iter()
        .filter(|(key, _)| used.volumes.contains(*key))
    {
        project
            .volumes
            .insert(key.clone(), volume(key, &entry.node, report));
    }
    for (key, entry) in map("secrets")
        .iter()
        .filter(|(key, _)| used.secrets.contains(*key))
    {
        project
            .secrets
            .extend(source("secret", key, &entry.node, report).map(|source| (key.clone(), source)));
    }
    for (key, entry) in map("configs")
        .iter()
        .filter(|(key, _)| used.configs.contains(*key))
    {
        project
            .configs
            .extend(source("config", key, &entry.node, report).map(|source| (key.clone(), source)));
    }
    project
}

fn volume(key: &str, node: &Node, report: &mut Report) -> Volume {
    let driver = node.text("driver").unwrap_or("local").to_owned();
    if !matches!(driver.as_str(), "local" | "") && !node.flag("external") {
        let at = node.get("driver").map_or(node.span, |node| node.span);
        report
            .error(
                at,
                format!("the volume driver `{driver}` of `{key}` is not supported"),
            )
            .hint("use `local`; it mounts nfs and others with `driver_opts` (`type`, `o`, `device`)");
    }
    Volume {
        name: node.text("name").unwrap_or(key).to_owned(),
        external: node.flag("external"),
        driver,
        driver_opts: node.texts_by_key("driver_opts"),
        labels: node.texts_by_key("labels"),
    }
}

fn source(kind: &str, key: &str, node: &Node, report: &mut Report) -> Option<FileSource> {
    if let Some(command) = node.get("x-banyan").and_then(|own| own.get("command")) {
        return Some(FileSource::Command(command.texts()));
    }
    if let Some(path) = node.text("file") {
        return Some(FileSource::File(PathBuf::from(path)));
    }
    if let Some(name) = node.text("environment") {
        return Some(FileSource::Environment(name.to_owned()));
    }
    if let Some(text) = node.text("content") {
        return Some(FileSource::Content(text.to_owned()));
    }
    if !node.flag("external") && node.get("driver").is_none() {
        return None;
    }
    let at = node
        .get("external")
        .or_else(|| node.get("driver"))
        .map_or(node.span, |node| node.span);
    report
        .error(
            at,
            format!(
                "the {kind} `{key}` would come from a store outside of this project, which is not supported"
            ),
        )
        .hint("use `file`, `environment`, or `x-banyan: {command: [\"pass\", \"show\", \"name\"]}`");
    None
}

/// Reading canonical nodes.
impl Node {
    /// The text under `key`, unless it is empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    fn owned(&self, key: &str) -> Option<String> {
        self.text(key).map(str::to_owned)
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Node::as_bool).unwrap_or(false)
    }

    fn int(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_int()
    }

    /// A whole number that is not negative.
    fn count(&self, key: &str) -> Option<u64> {
        self.int(key).and_then(|number| u64::try_from(number).ok())
    }

    fn duration(&self, key: &str) -> Option<std::time::Duration> {
        super::units::duration(self.text(key)?)
    }

    fn items(&self, key: &str) -> impl Iterator<Item = &Node> {
        self.get(key).and_then(Node::as_list).into_iter().flatten()
    }

    fn texts(&self) -> Vec<String> {
        self.as_list()
            .into_iter()
            .flatten()
            .filter_map(Node::scalar_text)
            .collect()
    }

    fn texts_of(&self, key: &str) -> Vec<String> {
        self.get(key).map(Node::texts).unwrap_or_default()
    }

    fn texts_by_key(&self, key: &str) -> BTreeMap<String, String> {
        let map = self.get(key).and_then(Node::as_map).into_iter().flatten();
        map.map(|(key, entry)| (key.clone(), entry.node.scalar_text().unwrap_or_default()))
            .collect()
    }

    fn optional_texts_by_key(&self, key: &str) -> BTreeMap<String, Option<String>> {
        let map = self.get(key).and_then(Node::as_map).into_iter().flatten();
        map.map(|(key, entry)| (key.clone(), entry.node.scalar_text()))
            .collect()
    }
}

/// Parses the text under `key`; what cannot be parsed is reported.
fn parsed<T: std::str::FromStr>(node: &Node, key: &str, what: &str, report: &mut Report) -> Option<T> {
    let value = node.get(key)?;
    let text = value.as_str().filter(|text| !text.is_empty())?;
    let result = text.parse().ok();
    if result.is_none() {
        report.error(value.span, format!("`{text}` is not {what}"));
    }
    result
}

/// The place of a node, for messages of later stages.
fn place(node: &Node, report: &Report) -> Option<Place> {
    report.sources.place(node.span)
}
