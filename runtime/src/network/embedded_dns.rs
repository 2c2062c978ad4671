//! `127.0.0.11` inside a container, without a socket of ours in there.
//!
//! Many configuration files name docker's embedded name server: `resolver 127.0.0.11`. Docker binds sockets inside
//! every container's namespace and translates with connection tracking. Here two stateless rules rewrite the
//! packets instead: queries to `127.0.0.11:53` leave as packets from the container's address to the gateway's
//! [`FORWARDED_DNS_PORT`]; what comes back from that port is turned into an answer from `127.0.0.11:53`. So
//!
//! * nothing of ours runs in the container, and the rules outlive any of our processes;
//! * no connection is tracked on the container's behalf, and `route_localnet` stays off, so neighbours cannot
//!   reach the container's loopback (CVE-2020-8558 is about that);
//! * a container's own server on port 53 is not touched: only the address `127.0.0.11` is.
//!
//! A port of its own tells answers to rewritten queries from answers to queries that were sent to the gateway's
//! port 53 directly.

use super::netlink::{NetlinkError, Socket};
use super::nft::{Chain, ChainKind, Family, Hook, Rule, Transaction, Verdict};
use std::{net::Ipv4Addr, ops::RangeInclusive};

/// Docker's address for the embedded name server.
pub const EMBEDDED_DNS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Port on the gateway where rewritten queries arrive. Where several name servers share a gateway (a network shared by
/// projects), each has one of [`FORWARDED_DNS_PORTS`] to itself.
pub const FORWARDED_DNS_PORT: u16 = 5311;

/// All ports that a hall lets rewritten queries through to.
pub const FORWARDED_DNS_PORTS: RangeInclusive<u16> = FORWARDED_DNS_PORT..=FORWARDED_DNS_PORT + 255;

/// What is rewritten, in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedDns {
    /// The name server: a gateway of ours.
    pub server: Ipv4Addr,
    /// The port it hears rewritten queries at: one of [`FORWARDED_DNS_PORTS`].
    pub port: u16,
    /// The container's own address on the server's network.
    pub client: Ipv4Addr,
}

const TABLE: &str = "banyan-dns";

/// Writes the rules, for the container's namespace; they replace whatever was there of ours.
pub(super) fn write(dns: EmbeddedDns, socket: &mut Socket) -> Result<(), NetlinkError> {
    let new = Transaction::new().new_table(Family::Ipv4, TABLE);
    match rules(new, dns).commit(socket) {
        // Connected before.
        Err(error) if error.is(libc::EEXIST) => {
            let renewed = Transaction::new().renewed_table(Family::Ipv4, TABLE);
            rules(renewed, dns).commit(socket)
        }
        other => other,
    }
}

fn rules(table: Transaction, dns: EmbeddedDns) -> Transaction {
    let mut transaction = table
        // A packet whose addresses change here is routed anew: off the loopback, to the network.
        .chain(
            Family::Ipv4,
            TABLE,
            chain("output", ChainKind::Route, Hook::Output),
        )
        .chain(
            Family::Ipv4,
            TABLE,
            chain("input", ChainKind::Filter, Hook::Input),
        );
    for protocol in [6, 17] {
        let query = Rule::new()
            .destination(EMBEDDED_DNS.into())
            .transport(protocol)
            .destination_port(53)
            .set_destination_port(protocol, dns.port)
            .set_source(dns.client)
            .set_destination(dns.server);
        let answer = Rule::new()
            .source(dns.server.into())
            .transport(protocol)
            .source_port(dns.port)
            .set_source_port(protocol, 53)
            .set_source(EMBEDDED_DNS)
            .set_destination(Ipv4Addr::LOCALHOST);
        transaction =
            transaction
                .rule(Family::Ipv4, TABLE, "output", query)
                .rule(Family::Ipv4, TABLE, "input", answer);
    }
    transaction
}

fn chain(name: &str, kind: ChainKind, hook: Hook) -> Chain<'_> {
    // Before everything that others may add at the usual priorities.
    Chain {
        name,
        kind,
        hook,
        priority: -310,
        policy: Verdict::Accept,
    }
}
