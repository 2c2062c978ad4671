//! One service.

use super::{
    super::{
        node::{Entry, Value},
        units,
    },
    Node, Report, lifecycle, mounts, networks, place,
};
use crate::model::{
    BlkioDevice, BlkioRate, Build, BuildSecret, CpuLimits, ImageSource, IoLimits, Link, Logging,
    MemoryLimits, Namespace, PullPolicy, Service, ServiceName, SshAgent, Ulimit,
};
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

pub(super) fn service(name: &ServiceName, entry: &Entry, project: &str, report: &mut Report) -> Service {
    let node = &entry.node;
    Service {
        name: name.clone(),
        place: report.sources.place(entry.key),
        places: places(node, report),
        image: image(name, node, project),
        pull_policy: pull_policy(node),
        platform: node.owned("platform"),
        command: node
            .get("command")
            .filter(|node| !node.is_null())
            .map(Node::texts),
        entrypoint: node
            .get("entrypoint")
            .filter(|node| !node.is_null())
            .map(Node::texts),
        environment: node.optional_texts_by_key("environment"),
        working_dir: node.owned("working_dir"),
        user: node.owned("user"),
        group_add: node.texts_of("group_add"),
        labels: node.texts_by_key("labels"),
        annotations: node.texts_by_key("annotations"),
        container_name: node.owned("container_name"),
        replicas: replicas(node),
        profiles: node.texts_of("profiles"),
        attach: node.get("attach").and_then(Node::as_bool).unwrap_or(true),
        depends_on: lifecycle::dependencies(node),
        restart: lifecycle::restart(node, report),
        health_check: lifecycle::health(node),
        ready: lifecycle::ready(node, report),
        restart_unhealthy: node
            .get("x-banyan")
            .is_some_and(|own| own.flag("restart_unhealthy")),
        here: node.get("x-banyan").is_some_and(|own| own.flag("here")),
        pre_start: lifecycle::hooks(node, "pre_start"),
        post_start: lifecycle::hooks(node, "post_start"),
        pre_stop: lifecycle::hooks(node, "pre_stop"),
        stop_grace_period: node.duration("stop_grace_period"),
        stop_signal: node.owned("stop_signal"),
        init: node.flag("init"),
        tty: node.flag("tty"),
        stdin_open: node.flag("stdin_open"),
        network_mode: networks::mode(node),
        networks: networks::attachments(node, report),
        ports: networks::published(node),
        expose: networks::exposed(node),
        links: links(node, report),
        external_links: external_links(node),
        extra_hosts: pairs(&node.texts_of("extra_hosts"), '='),
        hostname: node.owned("hostname"),
        domainname: node.owned("domainname"),
        dns: addresses(node, report),
        dns_search: node.texts_of("dns_search"),
        dns_opt: node.texts_of("dns_opt"),
        mac_address: node.owned("mac_address"),
        mounts: mounts::mounts(node, report),
        volumes_from: volumes_from(node),
        secrets: mounts::grants(node, "secrets", "/run/secrets/"),
        configs: mounts::grants(node, "configs", "/"),
        read_only: node.flag("read_only"),
        shm_size: node.count("shm_size").filter(|size| *size > 0),
        storage_opt: node.texts_by_key("storage_opt"),
        privileged: node.flag("privileged"),
        cap_add: capabilities(node, "cap_add"),
        cap_drop: capabilities(node, "cap_drop"),
        security_opt: node.texts_of("security_opt"),
        devices: mounts::devices(node, report),
        device_cgroup_rules: node.texts_of("device_cgroup_rules"),
        userns_mode: node.owned("userns_mode"),
        ipc: namespace(node, "ipc"),
        pid: namespace(node, "pid"),
        uts: namespace(node, "uts"),
        cgroup: namespace(node, "cgroup"),
        cgroup_parent: node.owned("cgroup_parent"),
        sysctls: node.texts_by_key("sysctls"),
        ulimits: ulimits(node),
        cpu: cpu(node),
        memory: memory(node),
        io: io(node),
        pids_limit: node
            .int("pids_limit")
            .or_else(|| limit(node, "pids")?.as_int())
            .filter(|pids| *pids > 0),
        oom_score_adj: node
            .int("oom_score_adj")
            .and_then(|score| i32::try_from(score).ok())
            .unwrap_or(0),
        oom_kill_disable: node.flag("oom_kill_disable"),
        logging: node
            .get("logging")
            .map_or_else(Logging::default, |logging| Logging {
                driver: logging.owned("driver"),
                options: logging.texts_by_key("options"),
            }),
        watch: lifecycle::watch(node),
    }
}

/// Positions of keys, list items and mapping values, two levels deep.
fn places(node: &Node, report: &Report) -> BTreeMap<String, crate::model::Place> {
    let mut places = BTreeMap::new();
    for (key, entry) in node.as_map().into_iter().flatten() {
        places.extend(report.sources.place(entry.key).map(|place| (key.clone(), place)));
        match &entry.node.value {
            Value::List(list) => {
                let items = list.iter().enumerate();
                places.extend(
                    items.filter_map(|(i, item)| Some((format!("{key}[{i}]"), place(item, report)?))),
                );
            }
            Value::Map(map) => {
                let parts = map.iter();
                places.extend(
                    parts.filter_map(|(part, e)| {
                        Some((format!("{key}.{part}"), report.sources.place(e.key)?))
                    }),
                );
            }
            _ => {}
        }
    }
    places
}

fn image(name: &ServiceName, node: &Node, project: &str) -> ImageSource {
    let given = node.owned("image");
    ImageSource {
        named: given.is_some(),
        name: given.unwrap_or_else(|| format!("{project}-{name}")),
        build: node.get("build").map(build),
    }
}

fn build(node: &Node) -> Build {
    let ssh = node.get("ssh").and_then(Node::as_map).into_iter().flatten();
    Build {
        context: node.text("context").unwrap_or(".").to_owned(),
        dockerfile: node.text("dockerfile").unwrap_or("Dockerfile").to_owned(),
        dockerfile_inline: node.owned("dockerfile_inline"),
        args: node.optional_texts_by_key("args"),
        target: node.owned("target"),
        additional_contexts: node.texts_by_key("additional_contexts"),
        labels: node.texts_by_key("labels"),
        tags: node.texts_of("tags"),
        network: node.owned("network"),
        extra_hosts: pairs(&node.texts_of("extra_hosts"), '='),
        no_cache: node.flag("no_cache"),
        pull: node.flag("pull"),
        platforms: node.texts_of("platforms"),
        shm_size: node.count("shm_size").filter(|size| *size > 0),
        secrets: node
            .items("secrets")
            .filter_map(|item| {
                let source = item.owned("source")?;
                let id = item
                    .text("target")
                    .map(|t| t.strip_prefix("/run/secrets/").unwrap_or(t).to_owned());
                Some(BuildSecret {
                    id: id.unwrap_or_else(|| source.clone()),
                    source,
                })
            })
            .collect(),
        ssh: ssh
            .map(|(id, e)| SshAgent {
                id: id.clone(),
                path: e.node.as_str().map(PathBuf::from),
            })
            .collect(),
        privileged: node.flag("privileged"),
        entitlements: node.texts_of("entitlements"),
        cache_from: node.texts_of("cache_from"),
        cache_to: node.texts_of("cache_to"),
    }
}

fn pull_policy(node: &Node) -> PullPolicy {
    match node.text("pull_policy") {
        Some("always") => PullPolicy::Always,
        Some("never") => PullPolicy::Never,
        Some("build") => PullPolicy::Build,
        Some("daily") => PullPolicy::Every(std::time::Duration::from_secs(86_400)),
        Some("weekly") => PullPolicy::Every(std::time::Duration::from_secs(7 * 86_400)),
        Some(text) => {
            let every = text.strip_prefix("every_").and_then(units::pull_interval);
            every.map_or(PullPolicy::Missing, PullPolicy::Every)
        }
        None => PullPolicy::Missing,
    }
}

/// `scale`, else `deploy.replicas`, else 1.
fn replicas(node: &Node) -> u32 {
    let deployed = || node.get("deploy").and_then(|deploy| deploy.int("replicas"));
    let count = node.int("scale").or_else(deployed).unwrap_or(1);
    u32::try_from(count).unwrap_or(0)
}

fn links(node: &Node, report: &mut Report) -> Vec<Link> {
    let mut links = Vec::new();
    for item in node.items("links") {
        let Some(text) = item.as_str() else { continue };
        let (service, alias) = text.split_once(':').unwrap_or((text, text));
        match ServiceName::new(service) {
            Ok(service) => links.push(Link {
                service,
                alias: alias.to_owned(),
            }),
            Err(error) => {
                report
                    .error(item.span, error.to_string())
                    .hint("links are written `SERVICE[:ALIAS]`");
            }
        }
    }
    links
}

fn external_links(node: &Node) -> Vec<(String, String)> {
    let pair = |text: String| match text.split_once(':') {
        Some((container, alias)) => (container.to_owned(), alias.to_owned()),
        None => (text.clone(), text),
    };
    node.texts_of("external_links").into_iter().map(pair).collect()
}

/// `a=b` texts as pairs.
fn pairs(texts: &[String], separator: char) -> Vec<(String, String)> {
    texts
        .iter()
        .filter_map(|text| text.split_once(separator))
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect()
}

fn addresses(node: &Node, report: &mut Report) -> Vec<IpAddr> {
    let mut list = Vec::new();
    for item in node.items("dns") {
        let text = item.as_str().unwrap_or_default();
        match text.parse() {
            Ok(address) => list.push(address),
            Err(_) if text.is_empty() => {}
            Err(_) => {
                report
                    .error(item.span, format!("`{text}` is not an IP address"))
                    .hint("`dns` lists name servers by address");
            }
        }
    }
    list
}

/// `SERVICE[:ro]`, `container:NAME[:ro]`.
fn volumes_from(node: &Node) -> Vec<(String, bool)> {
    let from = |text: String| {
        let (text, read_only) = match text.strip_suffix(":ro") {
            Some(text) => (text.to_owned(), true),
            None => (text.strip_suffix(":rw").unwrap_or(&text).to_owned(), false),
        };
        if text.starts_with("container:") {
            (text, read_only)
        } else {
            (format!("service:{text}"), read_only)
        }
    };
    node.texts_of("volumes_from").into_iter().map(from).collect()
}

/// Upper case, without `CAP_`.
fn capabilities(node: &Node, key: &str) -> Vec<String> {
    let plain = |text: String| {
        let text = text.to_uppercase();
        text.strip_prefix("CAP_")
            .map_or_else(|| text.clone(), str::to_owned)
    };
    node.texts_of(key).into_iter().map(plain).collect()
}

fn namespace(node: &Node, key: &str) -> Namespace {
    match node.text(key) {
        Some("host") => Namespace::Host,
        Some("shareable") => Namespace::Shareable,
        Some("none") => Namespace::None,
        Some(text) => match (text.strip_prefix("service:"), text.strip_prefix("container:")) {
            (Some(name), _) => ServiceName::new(name).map_or(Namespace::Private, Namespace::Service),
            (_, Some(name)) => Namespace::Container(name.to_owned()),
            _ => Namespace::Private,
        },
        None => Namespace::Private,
    }
}

fn ulimits(node: &Node) -> BTreeMap<String, Ulimit> {
    let map = node.get("ulimits").and_then(Node::as_map).into_iter().flatten();
    let ulimit = |(name, entry): (&String, &Entry)| {
        let both = entry.node.as_int();
        let soft = both.or_else(|| entry.node.int("soft"))?;
        let hard = both.or_else(|| entry.node.int("hard"))?;
        Some((name.to_lowercase(), Ulimit { soft, hard }))
    };
    map.filter_map(ulimit).collect()
}

/// A value of `deploy.resources.limits`.
fn limit<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.get("deploy")?.get("resources")?.get("limits")?.get(key)
}

fn cpu(node: &Node) -> CpuLimits {
    let number = |node: &Node| match node.value {
        #[expect(clippy::cast_precision_loss, reason = "counts of processors are small")]
        Value::Int(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => None,
    };
    let cpus = node.get("cpus").or_else(|| limit(node, "cpus")).and_then(number);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is within 0..=1e15"
    )]
    let nano_cpus = cpus
        .map(|cpus| (cpus * 1e9).round())
        .filter(|n| (1.0..=1e15).contains(n))
        .map(|n| n as u64);
    CpuLimits {
        nano_cpus,
        shares: node.count("cpu_shares").filter(|n| *n > 0),
        quota: node.int("cpu_quota").filter(|n| *n != 0),
        period: node.count("cpu_period").filter(|n| *n > 0),
        cpuset: node.owned("cpuset"),
        rt_runtime: node.int("cpu_rt_runtime").filter(|n| *n != 0),
        rt_period: node.count("cpu_rt_period").filter(|n| *n > 0),
    }
}

fn memory(node: &Node) -> MemoryLimits {
    let reserved = || {
        node.get("deploy")?
            .get("resources")?
            .get("reservations")?
            .get("memory")?
            .as_int()
    };
    let size = |value: Option<i64>| value.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    MemoryLimits {
        limit: size(node.int("mem_limit").or_else(|| limit(node, "memory")?.as_int())),
        reservation: size(node.int("mem_reservation").or_else(reserved)),
        swap_limit: node.int("memswap_limit").filter(|n| *n != 0),
        swappiness: node
            .int("mem_swappiness")
            .and_then(|n| u8::try_from(n).ok())
            .filter(|n| *n <= 100),
    }
}

fn io(node: &Node) -> IoLimits {
    let Some(config) = node.get("blkio_config") else {
        return IoLimits::default();
    };
    let weight = |node: &Node| {
        node.int("weight")
            .and_then(|n| u16::try_from(n).ok())
            .filter(|n| *n > 0)
    };
    let rates = |key: &str| {
        let rate = |item: &Node| {
            Some(BlkioRate {
                path: item.owned("path")?.into(),
                rate: item.count("rate")?,
            })
        };
        config.items(key).filter_map(rate).collect()
    };
    IoLimits {
        weight: weight(config),
        weight_device: config
            .items("weight_device")
            .filter_map(|item| {
                Some(BlkioDevice {
                    path: item.owned("path")?.into(),
                    weight: weight(item)?,
                })
            })
            .collect(),
        read_bps: rates("device_read_bps"),
        write_bps: rates("device_write_bps"),
        read_iops: rates("device_read_iops"),
        write_iops: rates("device_write_iops"),
    }
}
