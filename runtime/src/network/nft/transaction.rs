//! Changes to the rule set, all or nothing.

use super::{
    DELCHAIN, DELRULE, DELSETELEM, DELTABLE, NEWCHAIN, NEWRULE, NEWSET, NEWSETELEM, NEWTABLE, Rule,
    SUBSYSTEM,
    expression::{Verdict, name_bytes},
    fixed,
};
use crate::network::netlink::{APPEND, CREATE, EXCL, Message, NetlinkError, Socket};

const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_POSITION: u16 = 6;
const NFTA_RULE_USERDATA: u16 = 7;
/// `NFTNL_UDATA_RULE_COMMENT`: how nft(8) stores a rule's comment.
const UDATA_COMMENT: u8 = 0;
/// The type number under which nft(8) prints a set of interface names.
const TYPE_IFNAME: u32 = 41;

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4; also where iptables-nft keeps its rules.
    Ipv4,
    /// IPv6; also where ip6tables-nft keeps its rules.
    Ipv6,
}

impl Family {
    /// `NFPROTO_*`.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }

    /// The family of a number, if it is one of ours.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        [Self::Inet, Self::Ipv4, Self::Ipv6]
            .into_iter()
            .find(|f| f.number() == number)
    }
}

/// Where a chain is called from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Everything that arrives, before routing.
    Prerouting,
    /// For this namespace's own sockets.
    Input,
    /// Passing through.
    Forward,
    /// From this namespace's own sockets.
    Output,
    /// Everything that leaves, after routing.
    Postrouting,
}

impl Hook {
    /// `NF_INET_*`.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Input => 1,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }
}

/// What a chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Accept and drop.
    Filter,
    /// Translate addresses of connections.
    Nat,
    /// Like filter, but a packet whose addresses were rewritten is routed anew.
    Route,
}

impl ChainKind {
    fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }
}

/// A chain called from a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it may do.
    pub kind: ChainKind,
    /// Where it is called from.
    pub hook: Hook,
    /// Its place among the hook's chains; lower comes first.
    pub priority: i32,
    /// What becomes of packets that reach its end.
    pub policy: Verdict,
}

/// What a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// Interface names.
    InterfaceName,
}

/// A transaction in the making.
#[derive(Debug, Default)]
pub struct Transaction {
    messages: Vec<Message>,
    set_count: u32,
}

impl Transaction {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many changes it holds.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Makes a table unless it exists.
    #[must_use]
    pub fn table(self, family: Family, table: &str) -> Self {
        self.push(NEWTABLE, CREATE, family, |m| m.text(1, table).be32(2, 0))
    }

    /// Makes a table that must not exist.
    #[must_use]
    pub fn new_table(self, family: Family, table: &str) -> Self {
        self.push(NEWTABLE, CREATE | EXCL, family, |m| m.text(1, table).be32(2, 0))
    }

    /// Makes a table anew: what it held is deleted. That is costly: the kernel frees it after an RCU grace period, and whoever
    /// closes a netfilter socket of this namespace meanwhile waits for it. Where there is none, use [`Self::new_table`].
    #[must_use]
    pub fn renewed_table(self, family: Family, table: &str) -> Self {
        self.table(family, table)
            .delete_table(family, table)
            .table(family, table)
    }

    /// Deletes a table and all it holds.
    #[must_use]
    pub fn delete_table(self, family: Family, table: &str) -> Self {
        self.push(DELTABLE, 0, family, |m| m.text(1, table))
    }

    /// Makes a chain called from a hook unless it exists.
    #[must_use]
    pub fn chain(self, family: Family, table: &str, chain: Chain<'_>) -> Self {
        self.push(NEWCHAIN, CREATE, family, |m| {
            m.text(1, table)
                .text(3, chain.name)
                .nest(4, |m| {
                    m.be32(1, chain.hook.number())
                        .bytes(2, &chain.priority.to_be_bytes())
                })
                .be32(5, chain.policy.code())
                .text(7, chain.kind.name())
        })
    }

    /// Makes a chain that is called from no hook, unless it exists.
    #[must_use]
    pub fn plain_chain(self, family: Family, table: &str, chain: &str) -> Self {
        self.push(NEWCHAIN, CREATE, family, |m| m.text(1, table).text(3, chain))
    }

    /// Deletes an empty chain.
    #[must_use]
    pub fn delete_chain(self, family: Family, table: &str, chain: &str) -> Self {
        self.push(DELCHAIN, 0, family, |m| m.text(1, table).text(3, chain))
    }

    /// Deletes all rules of a chain.
    #[must_use]
    pub fn flush_chain(self, family: Family, table: &str, chain: &str) -> Self {
        self.push(DELRULE, 0, family, |m| {
            m.text(NFTA_RULE_TABLE, table).text(NFTA_RULE_CHAIN, chain)
        })
    }

    /// Adds a rule at the end of a chain.
    #[must_use]
    pub fn rule(self, family: Family, table: &str, chain: &str, rule: Rule) -> Self {
        self.push(NEWRULE, CREATE | APPEND, family, |m| {
            m.text(NFTA_RULE_TABLE, table)
                .text(NFTA_RULE_CHAIN, chain)
                .nest(NFTA_RULE_EXPRESSIONS, |m| rule.write(m))
        })
    }

    /// Adds a rule with a comment to a chain of someone else: before the rule `before`, or at the end.
    #[must_use]
    pub fn foreign_rule(
        self,
        family: Family,
        place: (&str, &str),
        before: Option<u64>,
        comment: &str,
        rule: Rule,
    ) -> Self {
        // With a position, NLM_F_APPEND would mean "after it".
        let flags = if before.is_some() { CREATE } else { CREATE | APPEND };
        self.push(NEWRULE, flags, family, |m| {
            let m = m.text(NFTA_RULE_TABLE, place.0).text(NFTA_RULE_CHAIN, place.1);
            let m = match before {
                Some(handle) => m.be64(NFTA_RULE_POSITION, handle),
                None => m,
            };
            m.nest(NFTA_RULE_EXPRESSIONS, |m| rule.write(m))
                .bytes(NFTA_RULE_USERDATA, &comment_data(comment))
        })
    }

    /// Deletes one rule by its handle.
    #[must_use]
    pub fn delete_rule(self, family: Family, table: &str, chain: &str, handle: u64) -> Self {
        self.push(DELRULE, 0, family, |m| {
            m.text(NFTA_RULE_TABLE, table)
                .text(NFTA_RULE_CHAIN, chain)
                .be64(NFTA_RULE_HANDLE, handle)
        })
    }

    /// Makes a set unless it exists.
    #[must_use]
    pub fn set(mut self, family: Family, table: &str, set: &str, kind: SetKind) -> Self {
        self.set_count += 1;
        let id = self.set_count;
        let (key_type, key_length) = match kind {
            SetKind::InterfaceName => (TYPE_IFNAME, 16),
        };
        // NFTA_SET_TABLE, NAME, FLAGS, KEY_TYPE, KEY_LEN, ID.
        self.push(NEWSET, CREATE, family, |m| {
            m.text(1, table)
                .text(2, set)
                .be32(3, 0)
                .be32(4, key_type)
                .be32(5, key_length)
                .be32(10, id)
        })
    }

    /// Adds interface names to a set; names that are in it already stay.
    #[must_use]
    pub fn add_names<'a>(
        self,
        family: Family,
        table: &str,
        set: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.elements(NEWSETELEM, CREATE, family, (table, set), names)
    }

    /// Takes interface names out of a set; each must be in it.
    #[must_use]
    pub fn remove_names<'a>(
        self,
        family: Family,
        table: &str,
        set: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.elements(DELSETELEM, 0, family, (table, set), names)
    }

    /// Carries it out.
    ///
    /// # Errors
    /// The first message refused; nothing has changed then.
    pub fn commit(self, socket: &mut Socket) -> Result<(), NetlinkError> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let edge = |kind| Message::new(kind, 0, &fixed(0, SUBSYSTEM >> 8));
        let mut batch = Vec::with_capacity(self.messages.len() + 2);
        batch.push(edge(BATCH_BEGIN));
        batch.extend(self.messages);
        batch.push(edge(BATCH_END));
        socket.transaction(batch)
    }

    fn elements<'a>(
        self,
        kind: u16,
        flags: u16,
        family: Family,
        (table, set): (&str, &str),
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return self;
        }
        self.push(kind, flags, family, |m| {
            m.text(1, table).text(2, set).nest(3, |m| {
                names.fold(m, |m, name| {
                    m.nest(1, |m| m.nest(1, |m| m.bytes(1, &name_bytes(name))))
                })
            })
        })
    }

    fn push(mut self, kind: u16, flags: u16, family: Family, fill: impl FnOnce(Message) -> Message) -> Self {
        self.messages
            .push(fill(Message::new(kind, flags, &fixed(family.number(), 0))));
        self
    }
}

/// A comment as nft(8) stores and shows it: type, length, text with its zero byte.
fn comment_data(comment: &str) -> Vec<u8> {
    let text = &comment.as_bytes()[..comment.len().min(120)];
    let length = u8::try_from(text.len() + 1).expect("cut to at most 120 bytes just above");
    let mut data = vec![UDATA_COMMENT, length];
    data.extend(text);
    data.push(0);
    data
}

/// The comment in a rule's user data.
pub(super) fn read_comment(data: &[u8]) -> Option<&str> {
    let mut rest = data;
    while let [kind, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *kind == UDATA_COMMENT {
            return std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok();
        }
        rest = &tail[value.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_round_trip_and_broken_user_data_is_no_comment() {
        assert_eq!(read_comment(&comment_data("banyan by-1")), Some("banyan by-1"));
        assert_eq!(read_comment(&[]), None);
        assert_eq!(read_comment(&[7, 200, 1]), None);
        assert_eq!(read_comment(&[7, 1, 0, 0, 2, b'x', 0]), Some("x"));
    }
}
