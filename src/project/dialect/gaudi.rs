//! gaudi 0.2: `applications` that run and `binaries` that are called.
//!
//! Each container becomes a service (struct `Container` of gaudi's `container/container.go` has the keys). A `type` becomes
//! a build from a recipe; `index` and `github` become an image and a remote build; `custom` a build of a folder.
//! Binaries get the profile `binaries`, so that only `banyan run NAME` starts them. What gaudi did by accident (everything
//! privileged, container names without the project) is not repeated.

use super::{
    super::{
        diagnostic::Report,
        node::{Entry, Map, Node, Value},
        source::Span,
        suggest::did_you_mean,
    },
    Context, recipe,
};

/// The keys of a container.
const KEYS: &[&str] = &[
    "add",
    "after_script",
    "ambassador",
    "apt_get",
    "before_script",
    "custom",
    "environments",
    "extends",
    "image",
    "links",
    "path",
    "ports",
    "template",
    "type",
    "volumes",
];

pub(super) fn translate(document: Node, context: &Context<'_>, report: &mut Report) -> Node {
    let span = document.span;
    let Value::Map(mut map) = document.value else {
        return document;
    };
    let mut containers = Map::new();
    let mut binaries = Vec::new();
    for section in ["applications", "binaries"] {
        let Some(entry) = map.shift_remove(section) else {
            continue;
        };
        let Node {
            value: Value::Map(own),
            ..
        } = entry.node
        else {
            report
                .error(entry.node.span, format!("`{section}` must be a mapping"))
                .hint("write `NAME:` lines below it");
            continue;
        };
        for (name, container) in own {
            if let Some(first) = containers.get(&name).map(|entry: &Entry| entry.key) {
                report
                    .error(container.key, format!("`{name}` is defined twice"))
                    .related(first, "first defined");
                continue;
            }
            if section == "binaries" {
                binaries.push(name.clone());
            }
            containers.insert(name, container);
        }
    }
    for (key, entry) in &map {
        report
            .error(entry.key, format!("a gaudi file has no key `{key}`"))
            .maybe_hint(did_you_mean(key, ["applications", "binaries"]));
    }
    if containers.is_empty() && report.errors() == 0 {
        report
            .error(span, "no application or binary to start")
            .hint("add one under `applications:`");
    }
    extends(&mut containers, report);
    let names: Vec<String> = containers.keys().cloned().collect();
    let mut services = Map::new();
    for (name, entry) in containers {
        let binary = binaries.contains(&name);
        let ambassador = ambassador(&name, &entry.node);
        if let Some(node) = container(&name, &entry, binary, &names, context, report) {
            services.insert(name, Entry::new(entry.key, node));
        }
        services.extend(ambassador);
    }
    Node::map(
        Map::from_iter([("services".to_owned(), Entry::new(span, Node::map(services, span)))]),
        span,
    )
}

/// Fields left empty take the parent's value, whole; `ambassador` is not inherited.
fn extends(containers: &mut Map, report: &mut Report) {
    let names: Vec<String> = containers.keys().cloned().collect();
    for name in &names {
        let mut seen = vec![name.clone()];
        let mut at = name.clone();
        while let Some((parent, span)) = parent_of(containers, &at) {
            if seen.contains(&parent) {
                report
                    .error(
                        span,
                        format!("`{name}` extends itself, through {}", seen.join(" → ")),
                    )
                    .hint("remove one `extends`");
                break;
            }
            let Some(fields) = containers
                .get(&parent)
                .and_then(|entry| entry.node.as_map())
                .cloned()
            else {
                if at == *name {
                    report
                        .error(span, format!("`{name}` extends `{parent}`, which does not exist"))
                        .maybe_hint(did_you_mean(&parent, names.iter().map(String::as_str)));
                }
                break;
            };
            if let Some(own) = containers.get_mut(name).and_then(|entry| entry.node.as_map_mut()) {
                for (key, entry) in fields
                    .into_iter()
                    .filter(|(key, _)| key != "ambassador" && key != "extends")
                {
                    own.entry(key).or_insert(entry);
                }
            }
            seen.push(parent.clone());
            at = parent;
        }
    }
    for entry in containers.values_mut() {
        entry.node.as_map_mut().map(|map| map.shift_remove("extends"));
    }
}

fn parent_of(containers: &Map, name: &str) -> Option<(String, Span)> {
    let node = containers.get(name)?.node.get("extends")?;
    Some((node.as_str()?.to_owned(), node.span))
}

/// A compose service with `type`: the recipe and the hooks, as in a gaudi file.
pub(super) fn expand(name: &str, entry: &mut Entry, context: &Context<'_>, report: &mut Report) {
    let Some(map) = entry.node.as_map_mut().filter(|map| map.contains_key("type")) else {
        return;
    };
    let own = [
        "add",
        "after_script",
        "apt_get",
        "before_script",
        "custom",
        "type",
    ];
    let fields: Map = own
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), map.shift_remove(*key)?)))
        .collect();
    let at = fields["type"].node.span;
    if let Some(other) = ["image", "build"].iter().find(|key| map.contains_key(**key)) {
        report
            .error(at, format!("service `{name}` has both `type` and `{other}`"))
            .hint("remove one of the two: a `type` brings its own build");
        return;
    }
    if let Some(kind) = fields["type"].node.as_str() {
        from_recipe(kind, at, &fields, map, report);
        hooks(name, &fields, map, context, report);
    }
}

/// One container as a service.
fn container(
    name: &str,
    entry: &Entry,
    binary: bool,
    names: &[String],
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Node> {
    let Some(map) = entry.node.as_map() else {
        report.error(
            entry.node.span,
            format!("`{name}` must be a mapping, not {}", entry.node.kind()),
        );
        return None;
    };
    for (key, field) in map {
        if !KEYS.contains(&key.as_str()) && !key.starts_with("x-") {
            let environment = (key == "environment").then(|| "gaudi says `environments`".to_owned());
            report
                .error(field.key, format!("`{name}` has no key `{key}` in a gaudi file"))
                .maybe_hint(environment.or_else(|| did_you_mean(key, KEYS.iter().copied())));
        }
    }
    let mut service = Map::new();
    source(name, entry, map, &mut service, context, report);
    for item in map
        .get("links")
        .and_then(|e| e.node.as_list())
        .into_iter()
        .flatten()
    {
        let link = item.as_str().unwrap_or_default();
        if link == name {
            report.error(item.span, format!("`{name}` links to itself"));
        } else if !names.iter().any(|known| known == link) {
            report
                .error(
                    item.span,
                    format!("`{name}` links to `{link}`, which does not exist"),
                )
                .maybe_hint(did_you_mean(link, names.iter().map(String::as_str)));
        }
    }
    if let Some(links) = map.get("links") {
        service.insert("links".into(), links.clone());
    }
    pairs_to_list(map.get("ports"), "ports", ":", &mut service, report);
    volumes(map.get("volumes"), &mut service, report);
    if let Some(environments) = map.get("environments") {
        service.insert("environment".into(), environments.clone());
    }
    let span = entry.key;
    service.insert("tty".into(), Entry::new(span, Node::bool(true, span)));
    service.insert("stdin_open".into(), Entry::new(span, Node::bool(true, span)));
    if binary {
        let profile = Node::new(Value::List(vec![Node::str("binaries", span)]), span);
        service.insert("profiles".into(), Entry::new(span, profile));
    }
    Some(Node::map(service, entry.node.span))
}

/// `type`, `image`, `path`, `template` and the hooks: where the container's files come from and what it runs.
fn source(
    name: &str,
    entry: &Entry,
    map: &Map,
    service: &mut Map,
    context: &Context<'_>,
    report: &mut Report,
) {
    let Some(kind) = map.get("type").and_then(|e| e.node.as_str()) else {
        let at = map.get("type").map_or(entry.key, |e| e.node.span);
        report
            .error(at, format!("`{name}` has no `type`"))
            .hint("for example `type: php-fpm`, or `type: index` with `image:`");
        service.insert("image".into(), Entry::new(at, Node::new(Value::Bad, at)));
        return;
    };
    let at = map.get("type").map_or(entry.key, |e| e.node.span);
    let field = |key: &str| map.get(key).filter(|e| e.node.as_str().is_some()).cloned();
    let build =
        |key: &str, value: Node| Node::map(Map::from_iter([(key.to_owned(), Entry::new(at, value))]), at);
    match kind {
        "index" | "prebuild" => match field("image") {
            Some(image) => {
                service.insert("image".into(), image);
            }
            None => {
                report
                    .error(at, format!("`{name}` is of type `{kind}`, but names no `image`"))
                    .hint("add `image: NAME`");
                service.insert("image".into(), Entry::new(at, Node::new(Value::Bad, at)));
            }
        },
        "github" | "remote" => match field("path") {
            Some(path) => {
                service.insert("build".into(), Entry::new(path.key, build("context", path.node)));
                service.extend(field("image").map(|image| ("image".to_owned(), image)));
            }
            None => {
                report
                    .error(at, format!("`{name}` is of type `{kind}`, but names no `path`"))
                    .hint("add `path: URL`");
                service.insert("image".into(), Entry::new(at, Node::new(Value::Bad, at)));
            }
        },
        "custom" => match field("template") {
            Some(template) => {
                let text = template.node.as_str().unwrap_or_default();
                // A template is a folder, or a file in it.
                let folder = match text.rsplit_once('/') {
                    Some((folder, file)) if file.contains('.') || file == "Dockerfile" => folder,
                    _ => text,
                };
                let context = Node::str(folder, template.node.span);
                service.insert(
                    "build".into(),
                    Entry::new(template.key, build("context", context)),
                );
            }
            None => {
                report
                    .error(
                        at,
                        format!("`{name}` is of type `custom`, but names no `template`"),
                    )
                    .hint("add `template: FOLDER`");
                service.insert("image".into(), Entry::new(at, Node::new(Value::Bad, at)));
            }
        },
        kind => from_recipe(kind, at, map, service, report),
    }
    hooks(name, map, service, context, report);
}

/// A `type` with a recipe: a build whose Dockerfile is written out, so that `config` shows it.
fn from_recipe(kind: &str, at: Span, map: &Map, service: &mut Map, report: &mut Report) {
    let recipe = match recipe::find(kind) {
        Ok(recipe) => recipe,
        Err((message, hint)) => {
            report.error(at, message).hint(hint);
            service.insert("image".into(), Entry::new(at, Node::new(Value::Bad, at)));
            return;
        }
    };
    let packages = map
        .get("apt_get")
        .and_then(|e| e.node.as_list())
        .unwrap_or_default();
    let order = recipe::Order {
        kind,
        packages: packages.iter().filter_map(Node::scalar_text).collect(),
    };
    for (key, entry) in map
        .get("custom")
        .and_then(|e| e.node.as_map())
        .into_iter()
        .flatten()
    {
        if !recipe.parameters.contains(&key.as_str()) {
            report
                .warning(
                    entry.key,
                    format!("the type `{kind}` has no parameter `{key}`; it is ignored"),
                )
                .maybe_hint(did_you_mean(key, recipe.parameters.iter().copied()));
        }
    }
    let mut dockerfile = (recipe.dockerfile)(&order);
    for (from, to) in map.get("add").and_then(|e| e.node.as_map()).into_iter().flatten() {
        dockerfile += &format!("COPY {from} {}\n", to.node.as_str().unwrap_or("/"));
    }
    let fields = [
        ("context", Node::str(".", at)),
        ("dockerfile_inline", Node::str(dockerfile.replace('$', "$$"), at)),
    ];
    let build = Node::map(
        fields
            .map(|(k, v)| (k.to_owned(), Entry::new(at, v)))
            .into_iter()
            .collect(),
        at,
    );
    service.insert("build".into(), Entry::new(at, build));
}

/// `before_script` runs before, `after_script` after the daemon is up; for types that run nothing the latter is the command.
fn hooks(name: &str, map: &Map, service: &mut Map, context: &Context<'_>, report: &mut Report) {
    let mut script = |key: &str| -> Option<(String, Span)> {
        let entry = map.get(key)?;
        let text = entry.node.as_str()?.trim().to_owned();
        if text.starts_with('/') && !text.contains(char::is_whitespace) {
            report
                .error(
                    entry.node.span,
                    format!("`{key}` of `{name}` is an absolute path"),
                )
                .hint("give a path relative to the project file, or the commands themselves");
            return None;
        }
        let file = context.directory.join(&text);
        let is_file = !text.contains(['\n', ' ', ';']) && context.disk.is_file(&file);
        let command = if is_file {
            let mounted = format!("/.banyan/{key}");
            let mount = Node::str(format!("{}:{mounted}:ro", file.display()), entry.node.span);
            push(service, "volumes", mount);
            format!("sh {mounted}")
        } else {
            text.replace('$', "$$")
        };
        Some((command, entry.node.span))
    };
    let (before, after) = (script("before_script"), script("after_script"));
    let shell = |text: &str, span: Span| {
        Node::new(
            Value::List(["sh", "-c", text].map(|word| Node::str(word, span)).to_vec()),
            span,
        )
    };
    let runs_nothing = matches!(
        map.get("type").and_then(|e| e.node.as_str()),
        Some("nodejs" | "golang" | "python" | "empty")
    );
    match (before, after) {
        (Some((before, span)), Some((after, _))) if runs_nothing => {
            let command = shell(&format!("{before}\n{after}"), span);
            service.insert("command".into(), Entry::new(span, command));
        }
        (None, Some((after, span))) if runs_nothing => {
            service.insert("command".into(), Entry::new(span, shell(&after, span)));
        }
        (before, after) => {
            for (key, script) in [("pre_start", before), ("post_start", after)] {
                let Some((text, span)) = script else { continue };
                let command = Entry::new(span, shell(&text, span));
                push(
                    service,
                    key,
                    Node::map(Map::from_iter([("command".to_owned(), command)]), span),
                );
            }
        }
    }
}

/// Adds an item to a list of a service.
fn push(service: &mut Map, key: &str, item: Node) {
    let span = item.span;
    let list = service
        .entry(key.into())
        .or_insert_with(|| Entry::new(span, Node::new(Value::List(vec![]), span)));
    if let Value::List(list) = &mut list.node.value {
        list.push(item);
    }
}

/// A mapping `a: b` as a list of `a:b`.
fn pairs_to_list(entry: Option<&Entry>, key: &str, between: &str, service: &mut Map, report: &mut Report) {
    let Some(entry) = entry else { return };
    let Some(map) = entry.node.as_map() else {
        report
            .error(
                entry.node.span,
                format!("`{key}` must be a mapping, not {}", entry.node.kind()),
            )
            .hint("write `HOST: CONTAINER` lines");
        return;
    };
    for (left, right) in map {
        let text = format!("{left}{between}{}", right.node.scalar_text().unwrap_or_default());
        push(service, key, Node::str(text, right.key.to(right.node.span)));
    }
}

/// Host paths are relative to the project file, and made when missing.
fn volumes(entry: Option<&Entry>, service: &mut Map, report: &mut Report) {
    let Some(entry) = entry else { return };
    let Some(map) = entry.node.as_map() else {
        report
            .error(
                entry.node.span,
                format!("`volumes` must be a mapping, not {}", entry.node.kind()),
            )
            .hint("write `HOST: CONTAINER` lines");
        return;
    };
    for (host, target) in map {
        let host = if host.starts_with(['/', '.', '~']) {
            host.clone()
        } else {
            format!("./{host}")
        };
        let text = format!("{host}:{}", target.node.scalar_text().unwrap_or_default());
        push(
            service,
            "volumes",
            Node::str(text, target.key.to(target.node.span)),
        );
    }
}

/// `ambassador: {type, remote, port}` adds a container that hands a port on to the application.
fn ambassador(name: &str, node: &Node) -> Option<(String, Entry)> {
    let ambassador = node.get("ambassador")?;
    ambassador.get("type")?;
    let (port, span) = (ambassador.get("port")?.scalar_text()?, ambassador.span);
    let dockerfile = format!(
        "FROM debian:bookworm-slim\n\
         RUN apt-get update && apt-get install -y --no-install-recommends socat && rm -rf /var/lib/apt/lists/*\n\
         CMD [\"socat\", \"TCP-LISTEN:{port},fork,reuseaddr\", \"TCP:{name}:{port}\"]\n"
    );
    let text = |text: String| Node::str(text, span);
    let list = |text: String| Node::new(Value::List(vec![Node::str(text, span)]), span);
    let build = Node::map(
        Map::from_iter([("dockerfile_inline".to_owned(), Entry::new(span, text(dockerfile)))]),
        span,
    );
    let fields = [
        ("build", build),
        ("links", list(name.to_owned())),
        ("ports", list(format!("{port}:{port}"))),
    ];
    let service = fields.map(|(key, node)| (key.to_owned(), Entry::new(span, node)));
    Some((
        format!("ambassador-{name}"),
        Entry::new(span, Node::map(service.into_iter().collect(), span)),
    ))
}
