//! nf_tables without the `nft` program: `linux/netfilter/nf_tables.h`, nft(8).
//!
//! 1. [`Rule`] puts expressions together, in the order in which the kernel evaluates them.
//! 2. [`Transaction`] collects tables, chains, sets and rules; the kernel applies all of it or nothing.
//! 3. [`list`] reads back chains and rules of others, so that ours can be placed among them and taken out again.
//!
//! Absent on purpose: maps, objects, flow tables, and any attempt to understand other people's rules beyond their
//! last verdict.

mod expression;
mod list;
mod transaction;

pub use expression::{Direction, Rule, Translation, Verdict};
pub use list::{ChainInfo, RuleInfo, base_chains, rules, tables};
pub use transaction::{Chain, ChainKind, Family, Hook, SetKind, Transaction};

/// `NFNL_SUBSYS_NFTABLES` in the upper byte of a message type.
const SUBSYSTEM: u16 = 10 << 8;
const NEWTABLE: u16 = SUBSYSTEM;
const GETTABLE: u16 = SUBSYSTEM | 1;
const DELTABLE: u16 = SUBSYSTEM | 2;
const NEWCHAIN: u16 = SUBSYSTEM | 3;
const GETCHAIN: u16 = SUBSYSTEM | 4;
const DELCHAIN: u16 = SUBSYSTEM | 5;
const NEWRULE: u16 = SUBSYSTEM | 6;
const GETRULE: u16 = SUBSYSTEM | 7;
const DELRULE: u16 = SUBSYSTEM | 8;
const NEWSET: u16 = SUBSYSTEM | 9;
const NEWSETELEM: u16 = SUBSYSTEM | 12;
const DELSETELEM: u16 = SUBSYSTEM | 14;

/// `struct nfgenmsg`: family, version zero, resource.
fn fixed(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}
