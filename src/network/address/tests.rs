//! Which networks get which subnets.

use super::*;

fn network() -> Network {
    Network {
        name: "p_n".into(),
        external: false,
        driver: "bridge".into(),
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        ipv4: true,
        ipv6: false,
        ipam: vec![],
        labels: BTreeMap::new(),
    }
}

pub(super) fn pool(subnet: &str) -> IpamPool {
    IpamPool {
        subnet: Some(subnet.into()),
        ip_range: None,
        gateway: None,
        aux_addresses: BTreeMap::new(),
    }
}

pub(super) fn with(ipam: Vec<IpamPool>) -> Network {
    Network { ipam, ..network() }
}

pub(super) fn plan(
    networks: &[(&str, Network)],
    avoid: &[&str],
) -> Result<BTreeMap<String, NetworkPlan>, AddressError> {
    let networks = networks
        .iter()
        .map(|(k, n)| ((*k).to_owned(), n.clone()))
        .collect();
    let avoid: Vec<Subnet> = avoid.iter().map(|a| a.parse().unwrap()).collect();
    plan_networks(&networks, &avoid, &BTreeMap::new())
}

fn check(networks: &[(&str, Network)], avoid: &[&str], expected: &str) {
    let text = match plan(networks, avoid) {
        Ok(plans) => {
            let show = |(key, plan): (&String, &NetworkPlan)| {
                let subnets: Vec<_> = plan
                    .subnets()
                    .map(|s| format!("{} via {}", s.subnet, s.gateway))
                    .collect();
                format!("{key}: {}", subnets.join(" + "))
            };
            plans.iter().map(show).collect::<Vec<_>>().join("; ")
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(text, expected);
}

#[test]
fn networks_get_dockers_subnets_in_the_order_of_their_keys() {
    check(
        &[("front", network()), ("back", network())],
        &["0.0.0.0/0"],
        "back: 172.18.0.0/16 via 172.18.0.1; front: 172.19.0.0/16 via 172.19.0.1",
    );
}

#[test]
fn what_the_host_uses_and_what_others_name_is_avoided() {
    check(
        &[("a", network())],
        &["172.16.0.0/13", "172.24.0.53/32"],
        "a: 172.25.0.0/16 via 172.25.0.1",
    );
    check(
        &[("a", network()), ("b", with(vec![pool("172.18.5.0/24")]))],
        &[],
        "a: 172.19.0.0/16 via 172.19.0.1; b: 172.18.5.0/24 via 172.18.5.1",
    );
    check(
        &[("a", network())],
        &["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"],
        "network `a`: every private subnet overlaps a route of this host",
    );
}

#[test]
fn a_network_keeps_what_it_has_when_others_come() {
    let networks = BTreeMap::from([("b".to_owned(), network()), ("a".to_owned(), network())]);
    let existing = BTreeMap::from([("b".to_owned(), vec!["172.18.0.0/16".parse().unwrap()])]);
    // The host has meanwhile got a route of its own there (the hall's, seen from inside); `b` stays.
    let plans = plan_networks(&networks, &["172.18.0.0/16".parse().unwrap()], &existing).unwrap();
    let subnet = |key: &str| plans[key].v4.as_ref().unwrap().subnet.to_string();
    assert_eq!(
        (subnet("a"), subnet("b")),
        ("172.19.0.0/16".into(), "172.18.0.0/16".into())
    );
}

#[test]
fn ipv6_comes_when_asked_for() {
    let six = Network {
        ipv6: true,
        ..network()
    };
    check(
        &[("a", six.clone()), ("b", Network { ipv4: false, ..six })],
        &[],
        "a: 172.18.0.0/16 via 172.18.0.1 + fd62:616e:7961::/64 via fd62:616e:7961::1; \
         b: fd62:616e:7961:1::/64 via fd62:616e:7961:1::1",
    );
    check(
        &[("a", with(vec![pool("10.9.0.0/24"), pool("fd00:9::/64")]))],
        &[],
        "a: 10.9.0.0/24 via 10.9.0.1 + fd00:9::/64 via fd00:9::1",
    );
}

#[test]
fn mistakes_name_the_network_and_the_address() {
    let gateway = |subnet: &str, gateway: &str| IpamPool {
        gateway: gateway.parse().ok(),
        ..pool(subnet)
    };
    let range = |subnet: &str, range: &str| IpamPool {
        ip_range: Some(range.into()),
        ..pool(subnet)
    };
    for (ipam, expected) in [
        (
            vec![pool("10.9.0.0/40")],
            "network `n`: `/40` is too long for `10.9.0.0`; the most is `/32`",
        ),
        (
            vec![pool("10.9.0.0/31")],
            "network `n`: the subnet `10.9.0.0/31` has no room for a gateway and a container",
        ),
        (
            vec![gateway("10.9.0.0/24", "10.8.0.1")],
            "network `n`: the gateway `10.8.0.1` is not in the subnet `10.9.0.0/24`",
        ),
        (
            vec![range("10.9.0.0/24", "10.9.1.0/25")],
            "network `n`: the ip_range `10.9.1.0` is not in the subnet `10.9.0.0/24`",
        ),
        (
            vec![pool("10.9.0.0/24"), pool("10.8.0.0/24")],
            "network `n` has two subnets of one family: `10.9.0.0/24` and `10.8.0.0/24`",
        ),
    ] {
        check(&[("n", with(ipam))], &[], expected);
    }
    check(
        &[
            ("a", with(vec![pool("10.9.0.0/16")])),
            ("b", with(vec![pool("10.9.3.0/24")])),
        ],
        &[],
        "networks `a` and `b` overlap: `10.9.0.0/16` and `10.9.3.0/24`",
    );
}

#[test]
fn bridges_have_names_the_kernel_takes() {
    for (key, expected) in [
        ("default", "br-default"),
        ("twelve-chars", "br-twelve-chars"),
        ("a-key-that-is-too-long", "br-akeyt-"),
        ("schön", "br-schn-"),
    ] {
        let name = bridge_name(key);
        assert!(name.as_str().starts_with(expected), "{key}: {name}");
    }
    assert_ne!(
        bridge_name("a-key-that-is-too-long"),
        bridge_name("a-key-that-is-too-long-as-well")
    );
}
