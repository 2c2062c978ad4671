//! A rule's expressions.

use crate::network::netlink::Message;
use std::{
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
};

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
/// `NFT_REG_VERDICT`, and the 16-byte registers `NFT_REG_1`, `NFT_REG_2`.
const VERDICT_REGISTER: u32 = 0;
const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const CSUM_INET: u32 = 1;
const CSUM_PSEUDO_HEADER: u32 = 1;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// `IPS_DST_NAT` (linux/netfilter/nf_conntrack_common.h), in the machine's byte order.
const IPS_DST_NAT: u32 = 1 << 5;
/// `NF_CT_STATE_BIT` of established and related, in the machine's byte order.
const CT_ESTABLISHED_RELATED: u32 = 0b110;
const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const CMP_LTE: u32 = 3;
const CMP_GTE: u32 = 5;
const FIB_RESULT_OIF: u32 = 1;
const FIB_RESULT_ADDRTYPE: u32 = 3;
const FIB_SADDR: u32 = 1 << 0;
const FIB_DADDR: u32 = 1 << 1;
const FIB_IIF: u32 = 1 << 3;
const RTN_LOCAL: u32 = 2;
/// `IFNAMSIZ`: interface names are compared with all their sixteen bytes.
const NAME_LENGTH: usize = 16;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Passes this chain.
    Accept,
    /// Vanishes.
    Drop,
}

impl Verdict {
    /// `NF_DROP`, `NF_ACCEPT`.
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
        }
    }
}

/// Which way a packet crosses an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Arrived on it.
    In,
    /// Leaves by it.
    Out,
}

impl Direction {
    fn meta(self) -> u32 {
        match self {
            Self::In => META_IIFNAME,
            Self::Out => META_OIFNAME,
        }
    }
}

/// Destination translation: the new address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// New destination address.
    pub address: IpAddr,
    /// New destination port.
    pub port: u16,
}

/// A rule in the making; methods append matches and statements in the order of evaluation.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    expressions: Vec<(&'static str, Message)>,
}

impl Rule {
    /// A rule that matches everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Matches packets that cross the interface `name`.
    #[must_use]
    pub fn interface(self, direction: Direction, name: &str) -> Self {
        self.load_meta(direction.meta())
            .compare(CMP_EQ, &name_bytes(name))
    }

    /// Matches packets that do not cross the interface `name`.
    #[must_use]
    pub fn interface_not(self, direction: Direction, name: &str) -> Self {
        self.load_meta(direction.meta())
            .compare(CMP_NEQ, &name_bytes(name))
    }

    /// Matches packets that cross an interface whose name does not begin with `prefix`.
    #[must_use]
    pub fn interface_prefix_not(self, direction: Direction, prefix: &str) -> Self {
        self.load_meta(direction.meta())
            .compare(CMP_NEQ, prefix.as_bytes())
    }

    /// Matches packets that cross an interface named in the set `set` of the same table.
    #[must_use]
    pub fn interface_in(self, direction: Direction, set: &str) -> Self {
        self.load_meta(direction.meta()).lookup(set, false)
    }

    /// Matches packets that cross an interface not named in the set `set`.
    #[must_use]
    pub fn interface_not_in(self, direction: Direction, set: &str) -> Self {
        self.load_meta(direction.meta()).lookup(set, true)
    }

    /// Matches replies, and packets that belong to a known connection.
    #[must_use]
    pub fn established(self) -> Self {
        self.add("ct", |m| m.be32(1, REGISTER_1).be32(2, CT_STATE))
            .masked(CT_ESTABLISHED_RELATED)
    }

    /// Matches packets of connections whose destination was translated ([`Rule::translate`], by whatever table).
    #[must_use]
    pub fn translated(self) -> Self {
        self.add("ct", |m| m.be32(1, REGISTER_1).be32(2, CT_STATUS))
            .masked(IPS_DST_NAT)
    }

    /// Matches IPv4 packets only; needed before address matches in an `inet` table.
    #[must_use]
    pub fn ipv4(self) -> Self {
        self.load_meta(META_NFPROTO).compare(CMP_EQ, &[2])
    }

    /// Matches IPv6 packets only.
    #[must_use]
    pub fn ipv6(self) -> Self {
        self.load_meta(META_NFPROTO).compare(CMP_EQ, &[10])
    }

    /// Matches a transport protocol by its number (6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6).
    #[must_use]
    pub fn transport(self, protocol: u8) -> Self {
        self.load_meta(META_L4PROTO).compare(CMP_EQ, &[protocol])
    }

    /// Matches the source address.
    #[must_use]
    pub fn source(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => self
                .ipv4()
                .load_payload(NETWORK_HEADER, 12, 4)
                .compare(CMP_EQ, &a.octets()),
            IpAddr::V6(a) => self
                .ipv6()
                .load_payload(NETWORK_HEADER, 8, 16)
                .compare(CMP_EQ, &a.octets()),
        }
    }

    /// Matches the destination address.
    #[must_use]
    pub fn destination(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => self
                .ipv4()
                .load_payload(NETWORK_HEADER, 16, 4)
                .compare(CMP_EQ, &a.octets()),
            IpAddr::V6(a) => self
                .ipv6()
                .load_payload(NETWORK_HEADER, 24, 16)
                .compare(CMP_EQ, &a.octets()),
        }
    }

    /// Matches the source port; the transport must have been matched before.
    #[must_use]
    pub fn source_port(self, port: u16) -> Self {
        self.load_payload(TRANSPORT_HEADER, 0, 2)
            .compare(CMP_EQ, &port.to_be_bytes())
    }

    /// Matches the destination port; the transport must have been matched before.
    #[must_use]
    pub fn destination_port(self, port: u16) -> Self {
        self.load_payload(TRANSPORT_HEADER, 2, 2)
            .compare(CMP_EQ, &port.to_be_bytes())
    }

    /// Matches a range of destination ports; the transport must have been matched before.
    #[must_use]
    pub fn destination_ports(self, ports: &RangeInclusive<u16>) -> Self {
        // Big-endian bytes compare as the numbers do.
        self.load_payload(TRANSPORT_HEADER, 2, 2)
            .compare(CMP_GTE, &ports.start().to_be_bytes())
            .compare(CMP_LTE, &ports.end().to_be_bytes())
    }

    /// Matches packets whose destination is an address *of the interface they arrived on*.
    #[must_use]
    pub fn for_this_interface(self) -> Self {
        self.fib(FIB_RESULT_ADDRTYPE, FIB_DADDR | FIB_IIF)
            .compare(CMP_EQ, &RTN_LOCAL.to_ne_bytes())
    }

    /// Matches packets whose destination is any address of this host.
    #[must_use]
    pub fn to_this_host(self) -> Self {
        self.fib(FIB_RESULT_ADDRTYPE, FIB_DADDR)
            .compare(CMP_EQ, &RTN_LOCAL.to_ne_bytes())
    }

    /// Matches packets whose source address would not be answered through the interface they arrived on: spoofed ones.
    #[must_use]
    pub fn from_elsewhere(self) -> Self {
        self.fib(FIB_RESULT_OIF, FIB_SADDR | FIB_IIF)
            .compare(CMP_EQ, &[0; 4])
    }

    /// Rewrites the IPv4 source address in place, checksums included, without connection tracking.
    #[must_use]
    pub fn set_source(self, address: Ipv4Addr) -> Self {
        self.write_ipv4(12, address)
    }

    /// Rewrites the IPv4 destination address in place, checksums included, without connection tracking.
    #[must_use]
    pub fn set_destination(self, address: Ipv4Addr) -> Self {
        self.write_ipv4(16, address)
    }

    /// Rewrites the source port of TCP (6) or UDP (17).
    #[must_use]
    pub fn set_source_port(self, protocol: u8, port: u16) -> Self {
        self.write_port(0, protocol, port)
    }

    /// Rewrites the destination port of TCP (6) or UDP (17).
    #[must_use]
    pub fn set_destination_port(self, protocol: u8, port: u16) -> Self {
        self.write_port(2, protocol, port)
    }

    /// Counts packets and bytes, for whoever reads the rule set.
    #[must_use]
    pub fn counter(self) -> Self {
        self.add("counter", |m| m.be64(1, 0).be64(2, 0))
    }

    /// Replaces the source address by the outgoing interface's, and the replies' destination back.
    #[must_use]
    pub fn masquerade(self) -> Self {
        self.add("masq", |m| m)
    }

    /// Replaces destination address and port, and the replies' source back.
    #[must_use]
    pub fn translate(self, to: Translation) -> Self {
        let (family, address) = match to.address {
            IpAddr::V4(a) => (2, a.octets().to_vec()),
            IpAddr::V6(a) => (10, a.octets().to_vec()),
        };
        self.immediate(REGISTER_1, &address)
            .immediate(REGISTER_2, &to.port.to_be_bytes())
            // NFTA_NAT_TYPE = NFT_NAT_DNAT, FAMILY, REG_ADDR_MIN, REG_PROTO_MIN.
            .add("nat", |m| {
                m.be32(1, 1)
                    .be32(2, family)
                    .be32(3, REGISTER_1)
                    .be32(5, REGISTER_2)
            })
    }

    /// Ends the rule with a verdict.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.add("immediate", |m| {
            m.be32(1, VERDICT_REGISTER).nest(2, |m| {
                m.nest(NFTA_DATA_VERDICT, |m| m.be32(NFTA_VERDICT_CODE, verdict.code()))
            })
        })
    }

    /// `NFTA_RULE_EXPRESSIONS` for `message`.
    pub(super) fn write(self, message: Message) -> Message {
        self.expressions
            .into_iter()
            .fold(message, |message, (name, data)| {
                message.nest(NFTA_LIST_ELEM, |m| {
                    m.text(NFTA_EXPR_NAME, name)
                        .nest(NFTA_EXPR_DATA, |m| m.raw(data.body()))
                })
            })
    }

    fn add(mut self, name: &'static str, fill: impl FnOnce(Message) -> Message) -> Self {
        self.expressions.push((name, fill(Message::new(0, 0, &[]))));
        self
    }

    /// Matches when any of `bits` is set in the register.
    fn masked(self, bits: u32) -> Self {
        self.add("bitwise", |m| {
            m.be32(1, REGISTER_1)
                .be32(2, REGISTER_1)
                .be32(3, 4)
                .nest(4, |m| m.bytes(NFTA_DATA_VALUE, &bits.to_ne_bytes()))
                .nest(5, |m| m.bytes(NFTA_DATA_VALUE, &[0; 4]))
        })
        .compare(CMP_NEQ, &[0; 4])
    }

    fn load_meta(self, key: u32) -> Self {
        self.add("meta", |m| m.be32(1, REGISTER_1).be32(2, key))
    }

    fn load_payload(self, base: u32, offset: u32, length: u32) -> Self {
        self.add("payload", |m| {
            m.be32(1, REGISTER_1)
                .be32(2, base)
                .be32(3, offset)
                .be32(4, length)
        })
    }

    fn compare(self, operation: u32, value: &[u8]) -> Self {
        self.add("cmp", |m| {
            m.be32(1, REGISTER_1)
                .be32(2, operation)
                .nest(3, |m| m.bytes(NFTA_DATA_VALUE, value))
        })
    }

    fn lookup(self, set: &str, inverted: bool) -> Self {
        // NFTA_LOOKUP_SET, SREG, FLAGS = NFT_LOOKUP_F_INV.
        self.add("lookup", |m| {
            m.text(1, set).be32(2, REGISTER_1).be32(5, u32::from(inverted))
        })
    }

    fn fib(self, result: u32, flags: u32) -> Self {
        self.add("fib", |m| m.be32(1, REGISTER_1).be32(2, result).be32(3, flags))
    }

    fn immediate(self, register: u32, value: &[u8]) -> Self {
        self.add("immediate", |m| {
            m.be32(1, register).nest(2, |m| m.bytes(NFTA_DATA_VALUE, value))
        })
    }

    fn write_ipv4(self, offset: u32, address: Ipv4Addr) -> Self {
        self.immediate(REGISTER_1, &address.octets()).add("payload", |m| {
            // NFTA_PAYLOAD_SREG, BASE, OFFSET, LEN, CSUM_TYPE, CSUM_OFFSET (of the IPv4 header), CSUM_FLAGS.
            m.be32(5, REGISTER_1)
                .be32(2, NETWORK_HEADER)
                .be32(3, offset)
                .be32(4, 4)
                .be32(6, CSUM_INET)
                .be32(7, 10)
                .be32(8, CSUM_PSEUDO_HEADER)
        })
    }

    fn write_port(self, offset: u32, protocol: u8, port: u16) -> Self {
        let checksum = if protocol == 6 { 16 } else { 6 };
        self.immediate(REGISTER_1, &port.to_be_bytes())
            .add("payload", |m| {
                m.be32(5, REGISTER_1)
                    .be32(2, TRANSPORT_HEADER)
                    .be32(3, offset)
                    .be32(4, 2)
                    .be32(6, CSUM_INET)
                    .be32(7, checksum)
            })
    }
}

/// An interface name as rules and sets compare it.
pub(super) fn name_bytes(name: &str) -> [u8; NAME_LENGTH] {
    let mut bytes = [0; NAME_LENGTH];
    let length = name.len().min(NAME_LENGTH - 1);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}
