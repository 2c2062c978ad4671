//! Networks, attachments, ports.

use super::{super::node::Entry, Node, Report, parsed};
use crate::model::{
    Attachment, Exposed, IpamPool, Network, NetworkMode, Protocol, PublishVia, PublishedPort, ServiceName,
};
use std::{collections::BTreeMap, net::IpAddr};

pub(super) fn network(key: &str, entry: &Entry, report: &mut Report) -> Network {
    let node = &entry.node;
    let driver = node
        .text("driver")
        .filter(|driver| *driver != "default")
        .unwrap_or("bridge")
        .to_owned();
    if !matches!(driver.as_str(), "bridge" | "none" | "host") && !node.flag("external") {
        let at = node.get("driver").map_or(entry.key, |node| node.span);
        report
            .error(
                at,
                format!("the network driver `{driver}` of `{key}` is not supported"),
            )
            .hint("use `bridge`, or leave `driver` out");
    }
    let empty = Node::null(node.span);
    let ipam = node.get("ipam").unwrap_or(&empty);
    Network {
        name: node.text("name").unwrap_or(key).to_owned(),
        external: node.flag("external"),
        driver,
        driver_opts: node.texts_by_key("driver_opts"),
        internal: node.flag("internal"),
        attachable: node.flag("attachable"),
        ipv4: node.get("enable_ipv4").and_then(Node::as_bool).unwrap_or(true),
        ipv6: node.flag("enable_ipv6"),
        ipam: ipam
            .items("config")
            .map(|pool| self::pool(pool, report))
            .collect(),
        labels: node.texts_by_key("labels"),
    }
}

fn pool(node: &Node, report: &mut Report) -> IpamPool {
    let mut aux_addresses = BTreeMap::new();
    for (name, entry) in node
        .get("aux_addresses")
        .and_then(Node::as_map)
        .into_iter()
        .flatten()
    {
        let text = entry.node.as_str().unwrap_or_default();
        match text.parse() {
            Ok(address) => {
                aux_addresses.insert(name.clone(), address);
            }
            Err(_) => {
                report.error(entry.node.span, format!("`{text}` is not an IP address"));
            }
        }
    }
    IpamPool {
        subnet: node.owned("subnet"),
        ip_range: node.owned("ip_range"),
        gateway: parsed(node, "gateway", "an IP address", report),
        aux_addresses,
    }
}

/// The way a service is connected.
pub(super) fn mode(node: &Node) -> NetworkMode {
    match node.text("network_mode") {
        None | Some("bridge" | "default") => NetworkMode::Networks,
        Some("none") => NetworkMode::None,
        Some("host") => NetworkMode::Host,
        Some(text) => match (text.strip_prefix("service:"), text.strip_prefix("container:")) {
            (Some(service), _) => ServiceName::new(service).map_or(NetworkMode::None, NetworkMode::Service),
            (_, Some(container)) => NetworkMode::Container(container.to_owned()),
            _ => NetworkMode::Networks,
        },
    }
}

pub(super) fn attachments(node: &Node, report: &mut Report) -> BTreeMap<String, Attachment> {
    let map = node.get("networks").and_then(Node::as_map).into_iter().flatten();
    map.filter(|(key, _)| !key.starts_with("x-"))
        .map(|(key, entry)| (key.clone(), attachment(&entry.node, report)))
        .collect()
}

fn attachment(node: &Node, report: &mut Report) -> Attachment {
    let mut link_local: Vec<IpAddr> = Vec::new();
    for item in node.items("link_local_ips") {
        let text = item.as_str().unwrap_or_default();
        match text.parse() {
            Ok(address) => link_local.push(address),
            Err(_) => {
                report.error(item.span, format!("`{text}` is not an IP address"));
            }
        }
    }
    Attachment {
        aliases: node.texts_of("aliases"),
        ipv4: node.text("ipv4_address").and_then(|text| text.parse().ok()),
        ipv6: node.text("ipv6_address").and_then(|text| text.parse().ok()),
        link_local,
        mac_address: node.owned("mac_address"),
        interface: node.owned("interface_name"),
        priority: node.int("priority").unwrap_or(0),
        gw_priority: node.int("gw_priority").unwrap_or(0),
        driver_opts: node.texts_by_key("driver_opts"),
    }
}

fn protocol(text: Option<&str>) -> Protocol {
    if text.is_some_and(|text| text.eq_ignore_ascii_case("udp")) {
        Protocol::Udp
    } else {
        Protocol::Tcp
    }
}

pub(super) fn published(node: &Node) -> Vec<PublishedPort> {
    let via = |node: &Node| {
        node.get("x-banyan")
            .and_then(|own| own.text("publish"))
            .map(str::to_owned)
    };
    let whole = via(node);
    let port = |port: &Node| {
        let published = port
            .text("published")
            .and_then(|text| super::super::short::range(text, text).ok());
        Some(PublishedPort {
            host_ip: port.text("host_ip").and_then(|text| text.parse().ok()),
            published: published.filter(|range| *range != (0, 0)),
            target: u16::try_from(port.int("target")?).ok()?,
            protocol: protocol(port.text("protocol")),
            via: match via(port).or_else(|| whole.clone()).as_deref() {
                Some("nat") => PublishVia::Nat,
                _ => PublishVia::Relay,
            },
        })
    };
    node.items("ports").filter_map(port).collect()
}

/// `expose`: ports and ranges, one entry a port and protocol, in order.
///
/// Ranges are joined before any port is made, so that thousands of ranges over all ports cost what one does.
pub(super) fn exposed(node: &Node) -> Vec<Exposed> {
    let mut ranges: BTreeMap<Protocol, Vec<(u16, u16)>> = BTreeMap::new();
    for text in node.texts_of("expose") {
        let (ports, proto) = text
            .split_once('/')
            .map_or((text.as_str(), None), |(ports, p)| (ports, Some(p)));
        if let Ok(range) = super::super::short::range(ports, &text) {
            ranges.entry(protocol(proto)).or_default().push(range);
        }
    }
    let mut list = Vec::new();
    for (protocol, mut ranges) in ranges {
        ranges.sort_unstable();
        let mut next = 0_u32;
        for (first, last) in ranges {
            let new = u32::from(first).max(next)..=u32::from(last);
            list.extend(
                new.filter_map(|port| u16::try_from(port).ok())
                    .map(|port| Exposed { port, protocol }),
            );
            next = next.max(u32::from(last) + 1);
        }
    }
    list.sort_unstable();
    list
}
