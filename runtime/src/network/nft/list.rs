//! Reading tables, chains and rules of others.

use super::{
    GETCHAIN, GETRULE, GETTABLE,
    expression::Verdict,
    fixed,
    transaction::{Family, Hook, read_comment},
};
use crate::network::netlink::{Attributes, NetlinkError, Socket};

/// Length of `struct nfgenmsg`.
const FIXED: usize = 4;

/// A chain that is called from a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainInfo {
    /// Family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// What becomes of packets that reach its end.
    pub policy: Verdict,
}

/// A rule, as far as we understand rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its number within the table.
    pub handle: u64,
    /// Its comment.
    pub comment: Option<String>,
    /// Whether it ends the walk for every packet: no match at all, then drop or reject.
    pub refuses_all: bool,
}

/// All chains called from `hook`, of every table of the families we know.
///
/// # Errors
/// When the kernel has no nf_tables, or refuses.
pub fn base_chains(socket: &mut Socket, hook: Hook) -> Result<Vec<ChainInfo>, NetlinkError> {
    let replies = socket.dump(GETCHAIN, &fixed(0, 0), |m| m)?;
    Ok(replies
        .iter()
        .filter_map(|reply| {
            let family = Family::from_number(*reply.payload.first()?)?;
            let attributes = reply.attributes(FIXED);
            let at = attributes.nested(4)?.be32(1)?;
            (at == hook.number()).then_some(ChainInfo {
                family,
                table: attributes.text(1)?.to_owned(),
                name: attributes.text(3)?.to_owned(),
                policy: if attributes.be32(5) == Some(0) {
                    Verdict::Drop
                } else {
                    Verdict::Accept
                },
            })
        })
        .collect())
}

/// Whether a table of this name exists, per family.
///
/// # Errors
/// When the kernel has no nf_tables, or refuses.
pub fn tables(socket: &mut Socket) -> Result<Vec<(Family, String)>, NetlinkError> {
    let replies = socket.dump(GETTABLE, &fixed(0, 0), |m| m)?;
    Ok(replies
        .iter()
        .filter_map(|reply| {
            let family = Family::from_number(*reply.payload.first()?)?;
            Some((family, reply.attributes(FIXED).text(1)?.to_owned()))
        })
        .collect())
}

/// The rules of one chain, in order.
///
/// # Errors
/// When the kernel refuses; a chain that does not exist has no rules.
pub fn rules(
    socket: &mut Socket,
    family: Family,
    table: &str,
    chain: &str,
) -> Result<Vec<RuleInfo>, NetlinkError> {
    let replies = socket.dump(GETRULE, &fixed(family.number(), 0), |m| {
        m.text(1, table).text(2, chain)
    })?;
    Ok(replies
        .iter()
        .filter_map(|reply| {
            let attributes = reply.attributes(FIXED);
            // Older kernels ignore the filter.
            if attributes.text(1) != Some(table) || attributes.text(2) != Some(chain) {
                return None;
            }
            Some(RuleInfo {
                handle: attributes.be64(3)?,
                comment: attributes.get(7).and_then(read_comment).map(str::to_owned),
                refuses_all: attributes.nested(4).is_some_and(refuses_all),
            })
        })
        .collect())
}

/// Whether the expressions are nothing but counters and logs before a drop or reject.
fn refuses_all(expressions: Attributes<'_>) -> bool {
    let mut refuses = false;
    for (_, element) in expressions {
        let expression = Attributes::new(element);
        match expression.text(1) {
            Some("counter" | "log") => {}
            Some("reject") => refuses = true,
            // iptables-nft spells REJECT as an extension of its own.
            Some("target") => {
                refuses = expression.nested(2).and_then(|d| d.text(1)) == Some("REJECT");
                if !refuses {
                    return false;
                }
            }
            Some("immediate") => {
                let code = expression
                    .nested(2)
                    .and_then(|d| d.nested(2))
                    .and_then(|d| d.nested(2))
                    .and_then(|d| d.be32(1));
                if code != Some(Verdict::Drop.code()) {
                    return false;
                }
                refuses = true;
            }
            _ => return false,
        }
    }
    refuses
}
