//! A compose service out of a recipe.

use super::{
    super::{
        diagnostic::Report,
        node::{Entry, Map, Node, Value},
        source::Span,
        yaml,
    },
    scripts, template_mistake,
};
use crate::recipe::{self, After, Container, Recipe, Scene, View};
use std::path::{Path, PathBuf};

/// What a service is put together from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cast<'a> {
    pub(super) scene: &'a Scene,
    /// The number of the service.
    pub(super) own: usize,
    /// Where its `type` stands.
    pub(super) at: Span,
    pub(super) directory: &'a Path,
    /// This machine trusts certificate authorities of its own.
    pub(super) authorities: bool,
}

/// All authorities that this machine trusts, as Debian keeps them; inside of a container too.
pub(super) const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

impl Cast<'_> {
    pub(super) fn container(&self) -> &Container {
        &self.scene.0[self.own]
    }

    pub(super) fn text(&self, text: impl Into<String>) -> Node {
        Node::str(text, self.at)
    }

    pub(super) fn list(&self, texts: impl IntoIterator<Item = String>) -> Node {
        let items = texts.into_iter().map(|text| self.text(text));
        Node::new(Value::List(items.collect()), self.at)
    }

    pub(super) fn map<const N: usize>(&self, fields: [(&str, Node); N]) -> Node {
        let entries = fields.map(|(key, node)| (key.to_owned(), Entry::new(self.at, node)));
        Node::map(entries.into_iter().collect(), self.at)
    }
}

/// Adds an item to a list of a service.
pub(super) fn push(service: &mut Map, key: &str, item: Node) {
    let span = item.span;
    let list = service
        .entry(key.into())
        .or_insert_with(|| Entry::new(span, Node::new(Value::List(vec![]), span)));
    if let Value::List(list) = &mut list.node.value {
        list.push(item);
    }
}

/// A service of a recipe. `user` is what the project file says about it.
pub(super) fn recipe(cast: &Cast<'_>, recipe: &Recipe, user: &Map, report: &mut Report) -> Option<Node> {
    let files = |name: &str| recipe.file(name).map(str::to_owned);
    let view = View {
        scene: cast.scene,
        own: cast.own,
        files: &files,
    };
    let mut render = |name: &str| -> Option<String> {
        let Some(text) = recipe.file(name) else {
            report.error(cast.at, format!("the recipe `{}` has no {name}", recipe.name));
            return None;
        };
        let file = format!("{}/{name}", recipe.name);
        let done = recipe::render(&file, text, view);
        done.map_err(|error| {
            let of_user = recipe.name.starts_with('/');
            let text = error.file.rsplit('/').next().and_then(|name| recipe.file(name));
            template_mistake(&error, text.filter(|_| of_user), cast.at, report);
        })
        .ok()
    };
    let (fragment, mut dockerfile) = (render("service.yaml")?, render("Dockerfile")?);
    let mut service = parse(cast, &recipe.name, &fragment, report)?;
    let (context, added) = context(cast);
    dockerfile += &recipe::add(&added, None);
    let commanded = user.get("command").is_some_and(|entry| !entry.node.is_null());
    match recipe.declaration.after {
        After::Command => scripts::as_command(cast, &mut service, commanded),
        After::Up => scripts::around(cast, recipe, &mut service, &mut dockerfile, report),
    }
    build(cast, &mut service, &context, dockerfile);
    expose(cast, recipe, &mut service);
    wait_for_links(cast, user, &mut service);
    if recipe.declaration.runs_programs() && cast.authorities {
        bind(cast, &mut service, AUTHORITIES, AUTHORITIES);
    }
    if recipe.declaration.binary {
        let here = Entry::new(cast.at, Node::bool(true, cast.at));
        extension(cast, &mut service).insert("here".into(), here);
        if !user.contains_key("profiles") {
            // It is called, not started.
            let profile = cast.list(["binaries".to_owned()]);
            service.insert("profiles".into(), Entry::new(cast.at, profile));
        }
    }
    Some(Node::map(service, cast.at))
}

/// `service.yaml` as a mapping whose every part stands where the `type` stands: that is what a user can change.
fn parse(cast: &Cast<'_>, name: &str, text: &str, report: &mut Report) -> Option<Map> {
    let path = PathBuf::from(format!("{name}/service.yaml"));
    let file = report.sources.add(&path, text.to_owned());
    let (documents, _) = yaml::parse(file, report);
    let mut document = documents.into_iter().next()?;
    move_to(&mut document, cast.at);
    match document.value {
        Value::Map(map) => Some(map),
        Value::Null => Some(Map::new()),
        _ => {
            report.error(
                cast.at,
                format!("service.yaml of the recipe `{name}` is no mapping"),
            );
            None
        }
    }
}

fn move_to(node: &mut Node, at: Span) {
    node.span = at;
    match &mut node.value {
        Value::Map(map) => {
            for entry in map.values_mut() {
                entry.key = at;
                move_to(&mut entry.node, at);
            }
        }
        Value::List(list) => list.iter_mut().for_each(|item| move_to(item, at)),
        _ => {}
    }
}

/// The folder that the build sees, and `add` relative to it: what all added files have in common.
pub(super) fn context(cast: &Cast<'_>) -> (PathBuf, Vec<(String, String)>) {
    cast.container().added_under(cast.directory)
}

pub(super) fn build(cast: &Cast<'_>, service: &mut Map, context: &Path, dockerfile: String) {
    let fetches = dockerfile.contains("id=authorities");
    let mut build = cast.map([
        ("context", cast.text(context.display().to_string())),
        ("dockerfile_inline", cast.text(dockerfile)),
    ]);
    if let Some(map) = build.as_map_mut().filter(|_| fetches && cast.authorities) {
        let secrets = cast.list(["authorities".to_owned()]);
        map.insert("secrets".into(), Entry::new(cast.at, secrets));
    }
    service.insert("build".into(), Entry::new(cast.at, build));
}

pub(super) fn bind(cast: &Cast<'_>, service: &mut Map, source: &str, target: &str) {
    let mount = cast.map([
        ("type", cast.text("bind")),
        ("source", cast.text(source)),
        ("target", cast.text(target)),
        ("read_only", Node::bool(true, cast.at)),
    ]);
    push(service, "volumes", mount);
}

/// The service's `x-banyan`, made when it is missing.
pub(super) fn extension<'m>(cast: &Cast<'_>, service: &'m mut Map) -> &'m mut Map {
    let empty = || Entry::new(cast.at, Node::map(Map::new(), cast.at));
    let entry = service.entry("x-banyan".into()).or_insert_with(empty);
    if !matches!(entry.node.value, Value::Map(_)) {
        entry.node.value = Value::Map(Map::new());
    }
    match &mut entry.node.value {
        Value::Map(map) => map,
        _ => unreachable!("made a mapping above"),
    }
}

/// Its ports, so that links give the variables of them.
fn expose(cast: &Cast<'_>, recipe: &Recipe, service: &mut Map) {
    let own = cast
        .container()
        .port
        .filter(|_| recipe.declaration.port.is_some());
    let others = recipe.declaration.expose.iter().copied();
    for port in own.into_iter().chain(others) {
        push(service, "expose", cast.text(port.to_string()));
    }
}

/// A service by type starts when what it links to is ready, unless `depends_on` says otherwise.
fn wait_for_links(cast: &Cast<'_>, user: &Map, service: &mut Map) {
    let links = user
        .get("links")
        .and_then(|entry| entry.node.as_list())
        .unwrap_or_default();
    let mut waits = Map::new();
    for link in links.iter().filter_map(Node::as_str) {
        let name = link.split(':').next().unwrap_or(link);
        let ready = cast.scene.named(name).and_then(|number| cast.scene.get(number));
        if ready.is_some_and(|other| other.checked) {
            let condition = cast.map([
                ("condition", cast.text("service_healthy")),
                ("required", Node::bool(true, cast.at)),
            ]);
            waits.insert(name.to_owned(), Entry::new(cast.at, condition));
        }
    }
    if !waits.is_empty() {
        service.insert(
            "depends_on".into(),
            Entry::new(cast.at, Node::map(waits, cast.at)),
        );
    }
}
