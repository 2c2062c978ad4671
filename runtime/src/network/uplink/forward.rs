//! Published ports as address translation: from the host to the hall, and from there to a container.
//!
//! Two steps, because halls are private: the host knows one address of a hall (the uplink's), and only the hall knows its
//! containers. A packet for a published port becomes one for the hall's address at an *entry* port, and the hall makes it
//! one for the container. Source addresses are not touched: the container sees the client.
//!
//! The host's rules are in one table for each uplink, `banyan-by-…`, so that they can be replaced without touching those of
//! other halls, and be found when the hall has died ([`sweep`]). The host's own connections to its ports do not come this
//! way (they start behind the hook), nor do other halls'.

use super::{HallError, PREFIX, Sockets, Uplink, UplinkError, close_aside, is_uplink};
use crate::network::{
    Hall,
    hall::{self, UPLINK},
    nft::{Chain, ChainKind, Direction, Family, Hook, Rule, Transaction, Translation, Verdict},
};
use std::net::{IpAddr, SocketAddr};

/// What tables for single uplinks are called: this, and the uplink's name.
const TABLE_PREFIX: &str = "banyan-";
const CHAIN: &str = "published";
/// `NF_IP_PRI_NAT_DST` (linux/netfilter_ipv4.h).
const DESTINATION: i32 = -100;

/// One published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Transport: 6 TCP, 17 UDP.
    pub protocol: u8,
    /// The host's address and port; an unspecified address means all addresses of its family.
    pub from: SocketAddr,
    /// Port of the hall's own address that stands for it. No two forwards of a transport may have the same.
    pub entry: u16,
    /// The container's address and port, in `from`'s family.
    pub to: SocketAddr,
}

impl Uplink {
    /// Forwards exactly these ports into `hall`; an empty list forwards none. Connections under way stay where they are.
    ///
    /// # Errors
    /// When the kernel refuses the rules. The hall's are written before the host's, so a packet never finds half a way.
    pub fn forward(&self, hall: &Hall, forwards: &[Forward]) -> Result<(), UplinkError> {
        hall::forward(
            hall,
            CHAIN,
            DESTINATION,
            forwards.iter().filter_map(|f| self.inside(f)),
        )?;
        let table = format!("{TABLE_PREFIX}{}", self.link);
        let mut sockets = Sockets::open()?;
        let mut transaction = Transaction::new().renewed_table(Family::Inet, &table);
        let rules: Vec<Rule> = forwards
            .iter()
            .filter_map(|forward| self.outside(forward))
            .collect();
        if rules.is_empty() {
            transaction = transaction.delete_table(Family::Inet, &table);
        } else {
            let chain = Chain {
                name: CHAIN,
                kind: ChainKind::Nat,
                hook: Hook::Prerouting,
                priority: DESTINATION,
                policy: Verdict::Accept,
            };
            transaction = transaction.chain(Family::Inet, &table, chain);
        }
        for rule in rules {
            transaction = transaction.rule(Family::Inet, &table, CHAIN, rule);
        }
        let written = transaction.commit(&mut sockets.netfilter);
        close_aside(sockets);
        written.map_err(HallError::step("write the table", table))?;
        Ok(())
    }

    /// Whether ports of addresses of `family` can be forwarded: there must be a way in.
    #[must_use]
    pub fn can_forward(&self, family: IpAddr) -> bool {
        self.address_like(family).is_some()
    }

    /// The hall's address of the same family.
    fn address_like(&self, family: IpAddr) -> Option<IpAddr> {
        match family {
            IpAddr::V4(_) => Some(self.hall.into()),
            IpAddr::V6(_) => self.ipv6.map(|(_, hall)| hall.into()),
        }
    }

    fn inside(&self, forward: &Forward) -> Option<Rule> {
        let rule = Rule::new()
            .interface(Direction::In, UPLINK)
            .destination(self.address_like(forward.to.ip())?)
            .transport(forward.protocol)
            .destination_port(forward.entry)
            .translate(Translation {
                address: forward.to.ip(),
                port: forward.to.port(),
            });
        Some(rule)
    }

    fn outside(&self, forward: &Forward) -> Option<Rule> {
        let from = forward.from.ip();
        let address = self.address_like(from)?;
        // Other halls are told from the world by their links: they take the listener, as the host does.
        let rule = Rule::new().interface_prefix_not(Direction::In, PREFIX);
        let rule = match (from.is_unspecified(), from) {
            (true, IpAddr::V4(_)) => rule.ipv4().to_this_host(),
            (true, IpAddr::V6(_)) => rule.ipv6().to_this_host(),
            (false, _) => rule.destination(from),
        };
        let rule = rule
            .transport(forward.protocol)
            .destination_port(forward.from.port())
            .counter()
            .translate(Translation {
                address,
                port: forward.entry,
            });
        Some(rule)
    }
}

/// Removes the tables of uplinks that do not live.
pub(super) fn sweep(
    sockets: &mut Sockets,
    tables: &[(Family, String)],
    live: &[String],
) -> Result<(), HallError> {
    for (family, table) in tables {
        let dead = table
            .strip_prefix(TABLE_PREFIX)
            .is_some_and(|link| is_uplink(link) && !live.iter().any(|l| l == link));
        if dead {
            Transaction::new()
                .delete_table(*family, table)
                .commit(&mut sockets.netfilter)
                .map_err(HallError::step("remove the table", table))?;
        }
    }
    Ok(())
}
