//! Which addresses an uplink gets: pure, so that it can be tested against any host.
//!
//! The pair's number is the host's end's interface index: unique on the host, so two projects that start at once
//! never need to agree on anything.

use super::Survey;
use crate::network::Subnet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where pairs are taken from, in order of preference: benchmarking (RFC 2544), shared address space (RFC 6598), and
/// corners of the private ranges. Each has room for 32,768 pairs.
const POOLS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(198, 19, 0, 0),
    Ipv4Addr::new(100, 127, 0, 0),
    Ipv4Addr::new(10, 213, 0, 0),
    Ipv4Addr::new(172, 31, 0, 0),
];
const POOL_PREFIX: u8 = 16;
/// A unique local prefix (RFC 4193) of our own.
const POOL_IPV6: Ipv6Addr = Ipv6Addr::new(0xfdba, 0x9a9a, 0x6279, 0, 0, 0, 0, 0);

/// The addresses of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) host: Ipv4Addr,
    pub(super) hall: Ipv4Addr,
    pub(super) ipv6: Option<(Ipv6Addr, Ipv6Addr)>,
}

/// Chooses the pair for the uplink whose host's end is link `index`; the one it has already, if any. `None` when
/// the host uses all pools for something else.
pub(super) fn choose(index: u32, survey: &Survey) -> Option<Range> {
    let ipv6 = survey.has_ipv6_way_out().then(|| {
        let base = POOL_IPV6.to_bits() + u128::from(index) * 2;
        (Ipv6Addr::from_bits(base), Ipv6Addr::from_bits(base + 1))
    });
    let pair = |host: Ipv4Addr| Range {
        host,
        hall: Ipv4Addr::from_bits(host.to_bits() + 1),
        ipv6,
    };
    let existing = survey
        .addresses
        .iter()
        .find_map(|(at, address)| match address.address() {
            IpAddr::V4(v4) if *at == index => Some(v4),
            _ => None,
        });
    if let Some(host) = existing {
        return Some(pair(host));
    }
    POOLS.into_iter().find_map(|pool| {
        let whole = Subnet::new(pool.into(), POOL_PREFIX).expect("16 fits IPv4");
        if taken_by_others(whole, survey) {
            return None;
        }
        // Interface numbers above 32,767 wrap around; step over a pair that is in use.
        (0..16).find_map(|step| {
            let host = Ipv4Addr::from_bits(pool.to_bits() + ((index.wrapping_add(step) & 0x7fff) << 1));
            let own = Subnet::new(host.into(), 31).expect("31 fits IPv4");
            let used = survey
                .addresses
                .iter()
                .any(|(_, address)| own.contains(address.address()));
            (!used).then(|| pair(host))
        })
    })
}

/// Whether a route or an address that is not of our uplinks lies in `pool`. The default route does not count.
fn taken_by_others(pool: Subnet, survey: &Survey) -> bool {
    let ours: Vec<u32> = survey.uplinks().map(|l| l.index).collect();
    let routed = survey.routes.iter().any(|route| {
        route.destination.prefix() != 0 && !ours.contains(&route.link) && route.destination.overlaps(pool)
    });
    let addressed = survey
        .addresses
        .iter()
        .any(|(at, address)| !ours.contains(at) && pool.contains(address.address()));
    routed || addressed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{LinkInfo, RouteInfo};

    fn survey(links: &[(u32, &str)], addresses: &[(u32, &str)], routes: &[(u32, &str)]) -> Survey {
        let link = |(index, name): &(u32, &str)| LinkInfo {
            index: *index,
            name: (*name).to_owned(),
            mtu: 1500,
            up: true,
            master: None,
        };
        let route = |(link, to): &(u32, &str)| RouteInfo {
            destination: to.parse().unwrap(),
            link: *link,
            gateway: None,
        };
        Survey {
            links: links.iter().map(link).collect(),
            addresses: addresses.iter().map(|(i, a)| (*i, a.parse().unwrap())).collect(),
            routes: routes.iter().map(route).collect(),
        }
    }

    #[test]
    fn the_pair_follows_from_the_interface_number() {
        let host = survey(
            &[(2, "eth0")],
            &[(2, "192.0.2.5/24")],
            &[(2, "0.0.0.0/0"), (2, "192.0.2.0/24")],
        );
        let range = choose(7, &host).unwrap();
        assert_eq!(
            (range.host.to_string(), range.hall.to_string()),
            ("198.19.0.14".into(), "198.19.0.15".into())
        );
        assert_eq!(range.ipv6, None);
    }

    #[test]
    fn a_pool_that_the_host_uses_is_passed_over() {
        let vpn = survey(
            &[(2, "eth0"), (3, "tun0")],
            &[(3, "198.18.0.1/15")],
            &[(3, "198.18.0.0/15")],
        );
        assert_eq!(choose(7, &vpn).unwrap().host.to_string(), "100.127.0.14");
    }

    #[test]
    fn our_own_uplinks_do_not_count_as_use_of_the_pool_but_their_pairs_are_respected() {
        let host = survey(
            &[(7, "by-1f")],
            &[(7, "198.19.0.14/31")],
            &[(7, "198.19.0.14/31")],
        );
        assert_eq!(choose(7, &host).unwrap().host.to_string(), "198.19.0.14");
        assert_eq!(choose(7 + 0x8000, &host).unwrap().host.to_string(), "198.19.0.16");
    }

    #[test]
    fn ipv6_comes_only_where_the_host_has_a_way_out() {
        let host = survey(&[(2, "eth0")], &[], &[(2, "::/0")]);
        let (outer, inner) = choose(5, &host).unwrap().ipv6.unwrap();
        assert_eq!(
            (outer.to_string(), inner.to_string()),
            ("fdba:9a9a:6279::a".into(), "fdba:9a9a:6279::b".into())
        );
    }

    #[test]
    fn a_host_that_uses_everything_gets_no_pair() {
        let full = survey(&[(2, "eth0")], &[], &[(2, "128.0.0.0/1"), (2, "0.0.0.0/1")]);
        assert_eq!(choose(7, &full), None);
    }
}
