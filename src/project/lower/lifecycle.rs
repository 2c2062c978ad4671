//! Time: order, health, restarts, hooks, watching.

use super::{Node, Report};
use crate::model::{
    Condition, Dependency, HealthCheck, HealthTest, Hook, HttpCheck, Protocol, Ready, Restart,
    RestartCondition, ServiceName, WatchAction, WatchRule,
};
use std::{collections::BTreeMap, path::PathBuf};

pub(super) fn dependencies(node: &Node) -> BTreeMap<ServiceName, Dependency> {
    let map = node
        .get("depends_on")
        .and_then(Node::as_map)
        .into_iter()
        .flatten();
    let dependency = |(name, entry): (&String, &super::super::node::Entry)| {
        let node = &entry.node;
        let condition = match node.text("condition") {
            Some("service_healthy") => Condition::ServiceHealthy,
            Some("service_completed_successfully") => Condition::ServiceCompletedSuccessfully,
            _ => Condition::ServiceStarted,
        };
        let required = node.get("required").and_then(Node::as_bool).unwrap_or(true);
        Some((
            ServiceName::new(name.as_str()).ok()?,
            Dependency {
                condition,
                restart: node.flag("restart"),
                required,
            },
        ))
    };
    map.filter_map(dependency).collect()
}

pub(super) fn health(node: &Node) -> Option<HealthCheck> {
    let check = node.get("healthcheck")?;
    let list = check.texts_of("test");
    let test = match list.split_first() {
        _ if check.flag("disable") => Some(HealthTest::None),
        None => None,
        Some((word, rest)) => Some(match word.as_str() {
            "NONE" => HealthTest::None,
            "CMD-SHELL" => HealthTest::Shell(rest.join(" ")),
            _ => HealthTest::Exec(rest.to_vec()),
        }),
    };
    Some(HealthCheck {
        test,
        interval: check.duration("interval"),
        timeout: check.duration("timeout"),
        retries: check.count("retries").and_then(|n| u32::try_from(n).ok()),
        start_period: check.duration("start_period"),
        start_interval: check.duration("start_interval"),
    })
}

/// `x-banyan.ready`, checked by `extension`. A second test beside it would leave open which one decides.
pub(super) fn ready(node: &Node, report: &mut Report) -> Option<Ready> {
    let ready = node.get("x-banyan")?.get("ready")?;
    if let Some(test) = node
        .get("healthcheck")
        .and_then(|check| check.get("test").or(check.get("disable")))
    {
        report
            .error(
                test.span,
                "`healthcheck.test` and `x-banyan.ready` are two tests of one service",
            )
            .because("one of them must decide whether it is healthy")
            .hint("keep one; `healthcheck.interval`, `timeout`, `retries` and `start_period` serve both");
    }
    let (kind, entry) = ready.as_map()?.first()?;
    let port = |node: Option<&Node>| {
        node.and_then(Node::as_int)
            .and_then(|port| u16::try_from(port).ok())
    };
    match kind.as_str() {
        "tcp" => port(Some(&entry.node)).map(Ready::Tcp),
        "http" => {
            let status = entry.node.get("status").and_then(Node::scalar_text);
            let (from, to) = status
                .and_then(|text| super::super::extension::status_range(&text))
                .unwrap_or((200, 399));
            let path = entry.node.as_str().or(entry.node.text("path")).unwrap_or("/");
            Some(Ready::Http(HttpCheck {
                port: port(entry.node.get("port"))
                    .or_else(|| web_port(node))
                    .unwrap_or(80),
                path: path.to_owned(),
                tls: entry.node.text("scheme") == Some("https"),
                from,
                to,
            }))
        }
        "log" => entry.node.as_str().map(|text| Ready::Log(text.to_owned())),
        "exec" => Some(Ready::Exec(entry.node.texts())),
        _ => None,
    }
}

/// The port a service is most likely reached at: the first published over TCP, else the first exposed.
fn web_port(node: &Node) -> Option<u16> {
    let published = super::networks::published(node);
    let published = published.iter().find(|port| port.protocol == Protocol::Tcp);
    published
        .map(|port| port.target)
        .or_else(|| super::networks::exposed(node).first().map(|exposed| exposed.port))
}

/// `restart`, else `deploy.restart_policy`, else never.
pub(super) fn restart(node: &Node, report: &mut Report) -> Restart {
    let plain = |condition| Restart {
        condition,
        max_attempts: None,
        delay: None,
        window: None,
    };
    let policy = node.get("deploy").and_then(|deploy| deploy.get("restart_policy"));
    if let Some(text) = node.text("restart") {
        return match text {
            "always" => plain(RestartCondition::Always),
            "unless-stopped" => plain(RestartCondition::UnlessStopped),
            text if text.starts_with("on-failure") => Restart {
                max_attempts: text
                    .strip_prefix("on-failure:")
                    .and_then(|n| n.parse().ok())
                    .filter(|n| *n > 0),
                ..plain(RestartCondition::OnFailure)
            },
            _ => plain(RestartCondition::No),
        };
    }
    let Some(policy) = policy else {
        return plain(RestartCondition::No);
    };
    let condition = match policy.text("condition") {
        Some("none") => RestartCondition::No,
        Some("on-failure") => RestartCondition::OnFailure,
        None | Some("any" | "always" | "unless-stopped") => RestartCondition::UnlessStopped,
        Some(other) => {
            let at = policy.get("condition").map_or(policy.span, |node| node.span);
            report
                .error(at, format!("`{other}` is not a restart condition"))
                .hint("write `none`, `on-failure` or `any`");
            RestartCondition::No
        }
    };
    Restart {
        condition,
        max_attempts: policy
            .count("max_attempts")
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0),
        delay: policy.duration("delay"),
        window: policy.duration("window"),
    }
}

pub(super) fn hooks(node: &Node, key: &str) -> Vec<Hook> {
    node.items(key).map(hook).collect()
}

fn hook(node: &Node) -> Hook {
    Hook {
        command: node.texts_of("command"),
        user: node.owned("user"),
        privileged: node.flag("privileged"),
        working_dir: node.owned("working_dir"),
        environment: node.optional_texts_by_key("environment"),
        image: node.owned("image"),
        per_replica: node.flag("per_replica"),
    }
}

pub(super) fn watch(node: &Node) -> Vec<WatchRule> {
    let Some(develop) = node.get("develop") else {
        return vec![];
    };
    let rule = |item: &Node| {
        let action = match item.text("action")? {
            "sync" => WatchAction::Sync,
            "restart" => WatchAction::Restart,
            "sync+restart" => WatchAction::SyncRestart,
            "sync+exec" => WatchAction::SyncExec,
            _ => WatchAction::Rebuild,
        };
        Some(WatchRule {
            path: PathBuf::from(item.text("path")?),
            action,
            target: item.owned("target"),
            ignore: item.texts_of("ignore"),
            include: item.texts_of("include"),
            initial_sync: item.flag("initial_sync"),
            exec: item.get("exec").map(hook),
        })
    };
    develop.items("watch").filter_map(rule).collect()
}
