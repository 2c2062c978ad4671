//! Consistency: what no single value shows. Every mistake found is reported; none hides another.

use super::{
    diagnostic::Report,
    node::{Map, Node},
    schema::{self, Record, Shape},
    source::Span,
    suggest::did_you_mean,
    trail::Trail,
};
use std::collections::{HashMap, HashSet};

/// Checks the canonical, completed tree. `enabled` are the services that take part.
pub(crate) fn project(root: &Node, enabled: &HashSet<String>, report: &mut Report) {
    required(root, &schema::PROJECT, &Trail::Root, report);
    let empty = Map::new();
    let map = |key: &str| root.get(key).and_then(Node::as_map).unwrap_or(&empty);
    let known = Known {
        services: map("services"),
        networks: map("networks"),
        volumes: map("volumes"),
        secrets: map("secrets"),
        configs: map("configs"),
        enabled,
    };
    if known.services.is_empty() && report.errors() == 0 {
        report
            .error(root.span, "the project has no services")
            .hint("add one under `services:`");
    }
    let mut container_names: HashMap<&str, Span> = HashMap::new();
    for (name, entry) in known.services.iter().filter(|(name, _)| enabled.contains(*name)) {
        let service = Service {
            name,
            key: entry.key,
            node: &entry.node,
            known: &known,
        };
        service.check(report);
        if let Some(node) = entry.node.get("container_name")
            && let Some(text) = node.as_str()
            && let Some(first) = container_names.insert(text, node.span)
        {
            report
                .error(
                    node.span,
                    format!("two services have the container name `{text}`"),
                )
                .related(first, "first used")
                .hint("choose another name, or remove `container_name`");
        }
    }
    cycles(&known, report);
    for kind in ["volumes", "networks"] {
        for (key, entry) in map(kind) {
            external(key, kind, &entry.node, report);
        }
    }
    for (kind, sources) in [
        ("secrets", &["file", "environment"][..]),
        ("configs", &["file", "environment", "content"]),
    ] {
        for (key, entry) in map(kind) {
            file_object(key, kind, &entry.node, entry.key, sources, report);
        }
    }
    for (key, entry) in map("networks") {
        network(key, &entry.node, report);
        super::unhonoured::network(key, &entry.node, report);
    }
}

/// Services that wait for each other.
fn cycles(known: &Known<'_>, report: &mut Report) {
    let enabled = known
        .services
        .iter()
        .filter(|(name, _)| known.enabled.contains(*name));
    let graph = crate::graph::Graph::new(enabled.map(|(name, entry)| {
        let others = entry
            .node
            .get("depends_on")
            .and_then(Node::as_map)
            .into_iter()
            .flatten();
        (
            name.as_str(),
            others
                .map(|(other, _)| other.as_str())
                .filter(move |other| *other != name.as_str()),
        )
    }));
    for cycle in graph.cycles() {
        let edge = cycle.get(1).and_then(|next| {
            known
                .services
                .get(cycle[0])?
                .node
                .get("depends_on")?
                .as_map()?
                .get(*next)
        });
        let names: Vec<String> = cycle.iter().map(|name| format!("`{name}`")).collect();
        report
            .error(
                edge.map_or(Span::NONE, |entry| entry.key),
                "services wait for each other in a circle",
            )
            .because(format!("{} (each waits for the next)", names.join(" → ")))
            .hint("remove one `depends_on`, `links` or `network_mode: service:…` of the circle");
    }
}

/// Everything that a service may refer to.
struct Known<'a> {
    services: &'a Map,
    networks: &'a Map,
    volumes: &'a Map,
    secrets: &'a Map,
    configs: &'a Map,
    enabled: &'a HashSet<String>,
}

/// Keys without which a record means nothing.
fn required(node: &Node, record: &'static Record, trail: &Trail<'_>, report: &mut Report) {
    let Some(map) = node.as_map() else { return };
    // `extends` has been resolved, or was reported when it could not be.
    if record.what == "extends" {
        return;
    }
    for key in record.required {
        if !map.contains_key(*key) {
            report
                .error(node.span, format!("`{trail}` has no `{key}`"))
                .hint(format!("add `{key}`"));
        }
    }
    for (key, entry) in map {
        if let Some(field) = record.field(key) {
            required_in(&entry.node, &field.shape, &trail.key(key), report);
        }
    }
}

fn required_in(node: &Node, shape: &Shape, trail: &Trail<'_>, report: &mut Report) {
    let record: &'static Record = match shape {
        Shape::Record(record) | Shape::RecordOrNull(record) | Shape::Short(_, record) => {
            return required(node, record, trail, report);
        }
        Shape::List(inner) => {
            for (i, item) in node.as_list().into_iter().flatten().enumerate() {
                required_in(item, inner, &trail.index(i), report);
            }
            return;
        }
        Shape::Map(inner) => {
            for (key, entry) in node.as_map().into_iter().flatten() {
                required_in(&entry.node, inner, &trail.key(key), report);
            }
            return;
        }
        Shape::Ports => &schema::PORT,
        Shape::Mounts => &schema::MOUNT,
        Shape::EnvFiles => &schema::ENV_FILE,
        Shape::Devices => &schema::DEVICE,
        Shape::Ulimit => &schema::ULIMIT,
        Shape::DependsOn => &schema::DEPENDENCY,
        Shape::Named(record) => record,
        _ => return,
    };
    for (i, item) in node.as_list().into_iter().flatten().enumerate() {
        required(item, record, &trail.index(i), report);
    }
    if matches!(shape, Shape::Ulimit) {
        return required(node, record, trail, report);
    }
    for (key, entry) in node.as_map().into_iter().flatten() {
        required(&entry.node, record, &trail.key(key), report);
    }
}

/// One service with what it may refer to.
struct Service<'a> {
    name: &'a str,
    key: Span,
    node: &'a Node,
    known: &'a Known<'a>,
}

impl<'a> Service<'a> {
    fn check(&self, report: &mut Report) {
        if self.node.is_bad() {
            return;
        }
        self.what_to_run(report);
        self.networks(report);
        self.dependencies(report);
        self.mounts(report);
        self.grants(report);
        self.resources(report);
        self.words(report);
        super::unhonoured::service(self.name, self.node, report);
    }

    fn get(&self, path: &str) -> Option<&'a Node> {
        path.split('.').try_fold(self.node, |node, key| node.get(key))
    }

    fn list(&self, path: &str) -> impl Iterator<Item = &'a Node> {
        self.get(path).and_then(Node::as_list).into_iter().flatten()
    }

    fn map(&self, path: &str) -> impl Iterator<Item = (&'a String, &'a super::node::Entry)> {
        self.get(path).and_then(Node::as_map).into_iter().flatten()
    }

    /// Reports a reference to something that does not exist.
    fn unknown(&self, kind: &str, name: &str, at: Span, among: &Map, report: &mut Report) {
        let near = did_you_mean(
            name,
            among
                .keys()
                .map(String::as_str)
                .filter(|other| *other != self.name),
        );
        let declare = match kind {
            "network" | "volume" => Some(format!(
                "declare it: add `{name}:` under the top-level `{kind}s:`"
            )),
            "secret" | "config" => Some(format!("declare it under the top-level `{kind}s:`")),
            _ => None,
        };
        report
            .error(
                at,
                format!(
                    "service `{}` refers to the {kind} `{name}`, which is not defined",
                    self.name
                ),
            )
            .maybe_hint(
                near.filter(|hint| hint.starts_with("did"))
                    .or(declare)
                    .or_else(|| did_you_mean(name, among.keys().map(String::as_str))),
            );
    }

    fn what_to_run(&self, report: &mut Report) {
        let has = |key: &str| {
            self.get(key)
                .is_some_and(|node| !node.is_null() && node.as_str() != Some(""))
        };
        if !has("image") && !has("build") && !has("provider") {
            report
                .error(
                    self.key,
                    format!("service `{}` has neither `image` nor `build`", self.name),
                )
                .hint("add `image: NAME`, or `build: .` for a folder with a Dockerfile");
        }
        if let (Some(inline), Some(_)) = (self.get("build.dockerfile_inline"), self.get("build.dockerfile")) {
            report
                .error(
                    inline.span,
                    format!(
                        "service `{}` has both `dockerfile` and `dockerfile_inline`",
                        self.name
                    ),
                )
                .hint("remove one of the two");
        }
        if let (Some(platform), Some(list)) = (self.get("platform"), self.get("build.platforms"))
            && let (Some(text), Some(items)) = (platform.as_str(), list.as_list())
            && !items.is_empty()
            && !items.iter().any(|item| item.as_str() == Some(text))
        {
            report
                .error(
                    platform.span,
                    format!(
                        "`build.platforms` of `{}` does not hold its platform `{text}`",
                        self.name
                    ),
                )
                .related(list.span, "the list")
                .hint(format!("add `{text}` to the list"));
        }
        for (key, entry) in self.map("build.additional_contexts") {
            if let Some(other) = entry.node.as_str().and_then(|text| text.strip_prefix("service:")) {
                match self.known.services.get(other) {
                    None => self.unknown("service", other, entry.node.span, self.known.services, report),
                    Some(found) if found.node.get("build").is_none() => {
                        report.error(
                            entry.node.span,
                            format!("the context `{key}` is service `{other}`, which has no `build`"),
                        );
                    }
                    Some(_) => {}
                }
            }
        }
        for secret in self.list("build.secrets") {
            self.grant("secret", secret, self.known.secrets, report);
        }
    }

    fn networks(&self, report: &mut Report) {
        if let (Some(mode), Some(networks)) = (self.get("network_mode"), self.get("networks"))
            && mode.as_str().is_some_and(|text| !text.is_empty())
            && networks.as_map().is_some_and(|map| !map.is_empty())
        {
            report
                .error(
                    mode.span,
                    format!("service `{}` has both `network_mode` and `networks`", self.name),
                )
                .related(networks.span, "`networks`")
                .hint("remove one of the two");
        }
        for (name, entry) in self.map("networks") {
            if !self.known.networks.contains_key(name) {
                self.unknown("network", name, entry.key, self.known.networks, report);
            }
            for key in ["ipv4_address", "ipv6_address"] {
                let Some(node) = entry.node.get(key) else { continue };
                let Some(text) = node.as_str() else { continue };
                let fine = if key == "ipv4_address" {
                    text.parse::<std::net::Ipv4Addr>().is_ok()
                } else {
                    text.parse::<std::net::Ipv6Addr>().is_ok()
                };
                if !fine {
                    report.error(node.span, format!("`{text}` is not an address for `{key}`"));
                }
            }
        }
    }

    fn dependencies(&self, report: &mut Report) {
        for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
            let Some(node) = self.get(key) else { continue };
            if let Some(other) = node.as_str().and_then(|text| text.strip_prefix("service:"))
                && !self.known.services.contains_key(other)
            {
                self.unknown("service", other, node.span, self.known.services, report);
            }
        }
        for (other, entry) in self.map("depends_on") {
            if other == self.name {
                report
                    .error(entry.key, format!("service `{}` depends on itself", self.name))
                    .hint("remove the entry");
                continue;
            }
            let required = entry.node.get("required").and_then(Node::as_bool).unwrap_or(true);
            if !self.known.services.contains_key(other) {
                self.unknown("service", other, entry.key, self.known.services, report);
            } else if !self.known.enabled.contains(other) && required {
                let profiles = self
                    .known
                    .services
                    .get(other)
                    .and_then(|entry| entry.node.get("profiles"));
                let names: Vec<&str> = profiles
                    .and_then(Node::as_list)
                    .into_iter()
                    .flatten()
                    .filter_map(Node::as_str)
                    .collect();
                report
                    .error(
                        entry.key,
                        format!(
                            "service `{}` depends on `{other}`, which its profile switches off",
                            self.name
                        ),
                    )
                    .hint(match names.first() {
                        Some(profile) => format!("add `--profile {profile}`, or write `required: false`"),
                        None => "write `required: false`".to_owned(),
                    });
            }
        }
    }

    fn mounts(&self, report: &mut Report) {
        let mut targets: HashMap<&str, Span> = HashMap::new();
        for mount in self.list("volumes") {
            let kind = mount.get("type").and_then(Node::as_str).unwrap_or("");
            let source = mount.get("source").and_then(Node::as_str).unwrap_or("");
            let at = mount.get("source").map_or(mount.span, |node| node.span);
            if kind == "volume" && !source.is_empty() && !self.known.volumes.contains_key(source) {
                let near = did_you_mean(source, self.known.volumes.keys().map(String::as_str));
                report
                    .error(at, format!("service `{}` refers to the volume `{source}`, which is not defined", self.name))
                    .maybe_hint(near.filter(|hint| hint.starts_with("did")).or_else(|| {
                        Some(format!("for a folder write `./{source}`; for a volume add `{source}:` under the top-level `volumes:`"))
                    }));
            }
            if matches!(kind, "bind" | "image")
                && source.is_empty()
                && mount.get("source").is_none_or(|n| !n.is_bad())
            {
                report
                    .error(
                        mount.span,
                        format!("a mount of type `{kind}` in `{}` has no `source`", self.name),
                    )
                    .hint("add `source`");
            }
            if matches!(kind, "npipe" | "cluster") {
                report
                    .error(mount.span, format!("mounts of type `{kind}` are not supported"))
                    .hint("use `bind` or `volume`");
            }
            let Some(target) = mount.get("target").and_then(Node::as_str) else {
                continue;
            };
            if !target.starts_with('/') {
                report
                    .error(
                        mount.span,
                        format!(
                            "the mount target `{target}` in `{}` is not an absolute path",
                            self.name
                        ),
                    )
                    .hint(format!("write `/{}`", target.trim_start_matches("./")));
            }
            if let Some(first) = targets.insert(target, mount.span) {
                report
                    .error(
                        mount.span,
                        format!("two mounts of `{}` have the target `{target}`", self.name),
                    )
                    .related(first, "the other");
            }
        }
    }

    fn grants(&self, report: &mut Report) {
        for secret in self.list("secrets") {
            self.grant("secret", secret, self.known.secrets, report);
        }
        for config in self.list("configs") {
            self.grant("config", config, self.known.configs, report);
        }
    }

    fn grant(&self, kind: &str, grant: &Node, among: &Map, report: &mut Report) {
        let Some(source) = grant.get("source") else { return };
        if let Some(name) = source.as_str()
            && !among.contains_key(name)
        {
            self.unknown(kind, name, source.span, among, report);
        }
    }

    fn resources(&self, report: &mut Report) {
        for (own, deployed) in [
            ("scale", "deploy.replicas"),
            ("cpus", "deploy.resources.limits.cpus"),
            ("mem_limit", "deploy.resources.limits.memory"),
            ("mem_reservation", "deploy.resources.reservations.memory"),
            ("pids_limit", "deploy.resources.limits.pids"),
        ] {
            if let (Some(a), Some(b)) = (self.get(own), self.get(deployed))
                && !a.is_bad()
                && !b.is_bad()
                && a.scalar_text() != b.scalar_text()
            {
                report
                    .error(
                        a.span,
                        format!("`{own}` and `{deployed}` of service `{}` differ", self.name),
                    )
                    .related(b.span, format!("`{deployed}`"))
                    .hint("remove one of the two");
            }
        }
        let scale = self.get("scale").or_else(|| self.get("deploy.replicas"));
        if let Some(node) = scale
            && let Some(count) = node.as_int()
        {
            if count < 0 {
                report.error(
                    node.span,
                    format!("service `{}` cannot run {count} times", self.name),
                );
            }
            if count > 1 && self.get("container_name").is_some() {
                report
                    .error(
                        node.span,
                        format!(
                            "service `{}` runs {count} times, but has a `container_name`",
                            self.name
                        ),
                    )
                    .hint("remove `container_name`: two containers cannot share a name");
            }
        }
        let lists = [
            self.list("gpus"),
            self.list("deploy.resources.reservations.devices"),
        ];
        for request in lists.into_iter().flatten() {
            if let (Some(count), Some(_)) = (request.get("count"), request.get("device_ids")) {
                report
                    .error(count.span, "a device request has both `count` and `device_ids`")
                    .hint("remove one");
            }
        }
    }

    /// Values with a small grammar of their own.
    fn words(&self, report: &mut Report) {
        if let Some(node) = self.get("healthcheck.test")
            && let Some(first) = node.as_list().map(|list| list.first())
        {
            let word = first.and_then(Node::as_str).unwrap_or("");
            if first.is_some() && !matches!(word, "NONE" | "CMD" | "CMD-SHELL") {
                report
                    .error(
                        node.span,
                        format!("the health check of `{}` starts with `{word}`", self.name),
                    )
                    .hint("start the list with \"CMD\" or \"CMD-SHELL\", or write the test as one text");
            }
        }
        if let Some(node) = self.get("restart")
            && let Some(text) = node.as_str()
        {
            let count = text.strip_prefix("on-failure:").map(str::parse::<u32>);
            if !matches!(text, "" | "no" | "always" | "unless-stopped" | "on-failure")
                && !matches!(count, Some(Ok(_)))
            {
                let known = ["no", "always", "unless-stopped", "on-failure", "on-failure:3"];
                report
                    .error(
                        node.span,
                        format!("`restart` of service `{}` cannot be `{text}`", self.name),
                    )
                    .maybe_hint(did_you_mean(text, known));
            }
        }
        if let Some(node) = self.get("pull_policy")
            && let Some(text) = node.as_str()
        {
            let every = text.strip_prefix("every_").map(super::units::pull_interval);
            let plain = ["always", "build", "daily", "missing", "never", "weekly"];
            if !plain.contains(&text) && !matches!(every, Some(Some(_))) {
                report
                    .error(
                        node.span,
                        format!("`pull_policy` of service `{}` cannot be `{text}`", self.name),
                    )
                    .maybe_hint(did_you_mean(
                        text,
                        plain.into_iter().chain(["if_not_present", "every_12h"]),
                    ));
            }
        }
        for rule in self.list("develop.watch") {
            let action = rule.get("action").and_then(Node::as_str).unwrap_or("rebuild");
            if !matches!(action, "rebuild" | "restart") && rule.get("target").is_none() {
                report
                    .error(
                        rule.span,
                        format!(
                            "a watch rule of `{}` with action `{action}` has no `target`",
                            self.name
                        ),
                    )
                    .hint("add `target: PATH`, the folder in the container");
            }
        }
        let place = |key: &str| self.get(key).map_or(self.key, |node| node.span);
        if let Some(score) = self.get("oom_score_adj").and_then(Node::as_int)
            && !(-1000..=1000).contains(&score)
        {
            report.error(
                place("oom_score_adj"),
                format!("`oom_score_adj` is {score}; it goes from -1000 to 1000"),
            );
        }
        self.ports(report);
    }

    fn ports(&self, report: &mut Report) {
        for port in self.list("ports") {
            if let Some(node) = port.get("target")
                && let Some(number) = node.as_int()
                && !(1..=65_535).contains(&number)
            {
                report
                    .error(
                        node.span,
                        format!("the port {number} of `{}` does not exist", self.name),
                    )
                    .hint("ports go from 1 to 65535");
            }
            if let Some(node) = port.get("published")
                && let Some(text) = node.as_str().filter(|text| !text.is_empty())
                && let Err(wrong) = super::short::range(text, text)
            {
                report.error(node.span, wrong.message).maybe_hint(wrong.hint);
            }
            if let Some(node) = port.get("host_ip")
                && let Some(text) = node.as_str().filter(|text| !text.is_empty())
                && text.parse::<std::net::IpAddr>().is_err()
            {
                report.error(node.span, format!("`{text}` is not an IP address"));
            }
            if let Some(node) = port.get("protocol")
                && let Some(text) = node.as_str()
                && !matches!(text, "tcp" | "udp")
            {
                report
                    .error(node.span, format!("the protocol `{text}` is not supported"))
                    .hint("write `tcp` or `udp`");
            }
        }
        for node in self.list("expose") {
            if let Some(text) = node.as_str()
                && let Err(wrong) = super::short::range(text.split('/').next().unwrap_or(text), text)
            {
                report
                    .error(node.span, wrong.message)
                    .hint("write a port, or a range, like `8080` or `8000-8010`");
            }
        }
    }
}

/// What exists already cannot be described as well.
fn external(key: &str, kind: &str, node: &Node, report: &mut Report) {
    if node.get("external").and_then(Node::as_bool) != Some(true) || kind == "networks" {
        return;
    }
    for (other, entry) in node.as_map().into_iter().flatten() {
        if !matches!(other.as_str(), "name" | "external") && !other.starts_with("x-") {
            report
                .error(
                    entry.key,
                    format!("`{kind}.{key}` is external, so `{other}` means nothing"),
                )
                .hint("remove one of the two");
        }
    }
}

fn file_object(key: &str, kind: &str, node: &Node, at: Span, sources: &[&str], report: &mut Report) {
    let Some(map) = node.as_map() else {
        return;
    };
    let given: Vec<&&str> = sources.iter().filter(|name| map.contains_key(**name)).collect();
    let external = map.get("external").and_then(|entry| entry.node.as_bool()) == Some(true);
    let command = node
        .get("x-banyan")
        .and_then(|node| node.get("command"))
        .is_some();
    if given.len() + usize::from(command) > 1 {
        report
            .error(at, format!("`{kind}.{key}` has more than one source"))
            .hint(format!("keep one of {}", super::suggest::quoted(sources, "and")));
    }
    if given.is_empty() && !external && !command && !map.contains_key("driver") {
        report
            .error(
                at,
                format!("`{kind}.{key}` does not say where its content comes from"),
            )
            .hint(format!("add one of {}", super::suggest::quoted(sources, "or")));
    }
}

fn network(key: &str, node: &Node, report: &mut Report) {
    for pool in node
        .get("ipam")
        .and_then(|ipam| ipam.get("config"))
        .and_then(Node::as_list)
        .into_iter()
        .flatten()
    {
        for (field, is_net) in [("subnet", true), ("ip_range", true), ("gateway", false)] {
            let Some(value) = pool.get(field) else { continue };
            let Some(text) = value.as_str() else { continue };
            let address = |text: &str| text.parse::<std::net::IpAddr>().is_ok();
            let bits = |text: &str| text.parse::<u8>().is_ok_and(|bits| bits <= 128);
            let fine = match text.split_once('/') {
                Some((front, back)) => is_net && address(front) && bits(back),
                None => !is_net && address(text),
            };
            if !fine {
                let example = if is_net { "10.5.0.0/16" } else { "10.5.0.1" };
                report
                    .error(
                        value.span,
                        format!("`{text}` is not a `{field}` of network `{key}`"),
                    )
                    .hint(format!("write it like `{example}`"));
            }
        }
    }
}
