//! A container's interfaces: names, order, and which one is the way out. Pure.

use super::address::NetworkPlan;
use crate::model::Attachment;
use banyan_runtime::network::{Endpoint, LinkName, LinkNameError, MacAddress, MacAddressError, Reach};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Why an interface cannot be as the file wants it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceError {
    /// A bad `mac_address`.
    #[error(transparent)]
    Mac(#[from] MacAddressError),
    /// A bad `interface_name`.
    #[error(transparent)]
    Name(#[from] LinkNameError),
    /// Two interfaces of one name.
    #[error("two networks have the interface name `{name}`; give each another one")]
    Twice {
        /// The name.
        name: String,
    },
    /// A network that is not planned.
    #[error("there is no network `{network}`")]
    NoNetwork {
        /// Its key.
        network: String,
    },
}

/// Arranges a container's interfaces. `addresses` holds what it got on each network, by key; `mtu` is the uplink's.
///
/// Networks are connected by falling `priority`, then by key, as `eth0`, `eth1` and so on where no name is given. The
/// default route leads through the network with the highest `gw_priority`, then the first connected, among those that
/// have a way out.
///
/// # Errors
/// The first bad name or address.
pub fn endpoints(
    attachments: &BTreeMap<String, Attachment>,
    plans: &BTreeMap<String, NetworkPlan>,
    addresses: &BTreeMap<String, Vec<IpAddr>>,
    mtu: u32,
) -> Result<Vec<(String, Endpoint)>, InterfaceError> {
    let order = in_order(attachments);
    let plan = |key: &String| {
        plans
            .get(key)
            .ok_or_else(|| InterfaceError::NoNetwork { network: key.clone() })
    };
    let outside = |key: &String| plans.get(key).is_some_and(|p| p.reach == Reach::Outside);
    let way_out = way_out(attachments, outside);
    let mut used: BTreeSet<String> = attachments.values().filter_map(|a| a.interface.clone()).collect();
    let mut made: Vec<(String, Endpoint)> = Vec::new();
    for (key, attachment) in order {
        let plan = plan(key)?;
        let interface = match &attachment.interface {
            Some(name) => LinkName::new(name.clone())?,
            None => free_name(&mut used)?,
        };
        if made.iter().any(|(_, other)| other.interface == interface) {
            return Err(InterfaceError::Twice {
                name: interface.to_string(),
            });
        }
        let own = addresses.get(key).map(Vec::as_slice).unwrap_or_default();
        let subnets = own.iter().filter_map(|a| {
            let subnet = plan.subnets().find(|s| s.subnet.contains(*a))?;
            Some(subnet.interface(*a))
        });
        let mac = match &attachment.mac_address {
            Some(text) => text.parse()?,
            None => own
                .first()
                .map_or(MacAddress([2, 0x42, 0, 0, 0, 2]), |a| MacAddress::for_ip(*a)),
        };
        let gateways = plan
            .subnets()
            .map(|s| s.gateway)
            .filter(|_| way_out == Some(key))
            .collect();
        let endpoint = Endpoint {
            bridge: plan.bridge.clone(),
            interface,
            mac,
            addresses: subnets.collect(),
            gateways,
            mtu: plan.mtu.unwrap_or(mtu),
        };
        made.push((key.clone(), endpoint));
    }
    Ok(made)
}

/// Networks in the order in which they are connected.
fn in_order(attachments: &BTreeMap<String, Attachment>) -> Vec<(&String, &Attachment)> {
    let mut order: Vec<(&String, &Attachment)> = attachments.iter().collect();
    order.sort_by_key(|(key, attachment)| (-attachment.priority, *key));
    order
}

/// The network through which the default route leads, of those that `outside` says lead out.
pub fn way_out(
    attachments: &BTreeMap<String, Attachment>,
    outside: impl Fn(&String) -> bool,
) -> Option<&String> {
    in_order(attachments)
        .into_iter()
        .filter(|(key, _)| outside(key))
        .max_by(|(_, a), (_, b)| {
            a.gw_priority
                .cmp(&b.gw_priority)
                .then(std::cmp::Ordering::Greater)
        })
        .map(|(key, _)| key)
}

/// The first of `eth0`, `eth1` … that nobody has.
fn free_name(used: &mut BTreeSet<String>) -> Result<LinkName, InterfaceError> {
    let name = (0_u32..)
        .map(|n| format!("eth{n}"))
        .find(|name| !used.contains(name))
        .unwrap_or_default();
    used.insert(name.clone());
    Ok(LinkName::new(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Network, network::address::plan_networks};

    fn network(internal: bool) -> Network {
        Network {
            name: String::new(),
            external: false,
            driver: "bridge".into(),
            driver_opts: BTreeMap::new(),
            internal,
            attachable: false,
            ipv4: true,
            ipv6: false,
            ipam: vec![],
            labels: BTreeMap::new(),
        }
    }

    /// Networks `a` (internal), `b`, `c`; shows `network=interface` with `*` at the way out.
    fn check(attachments: &[(&str, Attachment)], expected: &str) {
        let networks = [("a", true), ("b", false), ("c", false)];
        let networks = networks
            .map(|(key, internal)| (key.to_owned(), network(internal)))
            .into();
        let plans = plan_networks(&networks, &[], &BTreeMap::new()).unwrap();
        let attachments = attachments
            .iter()
            .map(|(k, a)| ((*k).to_owned(), a.clone()))
            .collect();
        let text = match endpoints(&attachments, &plans, &BTreeMap::new(), 1500) {
            Ok(made) => {
                let show = |(key, e): &(String, Endpoint)| {
                    format!(
                        "{key}={}{}",
                        e.interface,
                        if e.gateways.is_empty() { "" } else { "*" }
                    )
                };
                made.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn order_names_and_way_out_follow_the_priorities() {
        let plain = Attachment::default;
        check(
            &[("a", plain()), ("b", plain()), ("c", plain())],
            "a=eth0 b=eth1* c=eth2",
        );
        check(&[("a", plain())], "a=eth0");
        check(
            &[
                ("b", plain()),
                (
                    "c",
                    Attachment {
                        priority: 5,
                        ..plain()
                    },
                ),
            ],
            "c=eth0* b=eth1",
        );
        check(
            &[
                ("b", plain()),
                (
                    "c",
                    Attachment {
                        gw_priority: 5,
                        ..plain()
                    },
                ),
            ],
            "b=eth0 c=eth1*",
        );
        check(
            &[
                ("b", plain()),
                (
                    "c",
                    Attachment {
                        interface: Some("eth0".into()),
                        ..plain()
                    },
                ),
            ],
            "b=eth1* c=eth0",
        );
    }

    #[test]
    fn bad_names_are_refused() {
        check(
            &[(
                "b",
                Attachment {
                    mac_address: Some("03:00:00:00:00:00".into()),
                    ..Attachment::default()
                },
            )],
            "`03:00:00:00:00:00` is not a MAC address; write six hexadecimal pairs such as `02:42:ac:11:00:02`, the \
             first one even",
        );
        check(&[("z", Attachment::default())], "there is no network `z`");
        let named = Attachment {
            interface: Some("lan".into()),
            ..Attachment::default()
        };
        check(
            &[("a", named.clone()), ("b", named)],
            "two networks have the interface name `lan`; give each another one",
        );
    }
}
