//! Chains of others that would drop our packets: Docker's, ufw's, firewalld's.
//!
//! In nf_tables an `accept` ends only its own chain; a later chain may still drop. A host whose forward policy is
//! drop (Docker sets it) therefore needs rules of ours in *its* chain. They go to the very end, just before what
//! would refuse everything, so every rule that the host's administrator wrote comes first and is obeyed.
//!
//! The rules use nothing but interface names: iptables-nft can list those. They can be as plain as that, since our
//! own table drops whatever is not a reply.

use super::{HallError, Sockets, UplinkError};
use crate::network::nft::{self, ChainInfo, Direction, Hook, Rule, RuleInfo, Transaction, Verdict};

/// What the comments of our rules begin with; the uplink's name follows.
const COMMENT: &str = "banyan ";
/// Our own table, which needs no rules of ours in it.
const OWN_TABLE: &str = "banyan";

/// Adds rules for the uplinks in `live` where they are needed, removes those of uplinks that are gone, and tells
/// what is in the way that cannot be changed from here.
pub(super) fn admit(sockets: &mut Sockets, live: &[String]) -> Result<Vec<String>, UplinkError> {
    let chains = nft::base_chains(&mut sockets.netfilter, Hook::Forward)
        .map_err(HallError::step("list chains of", "the host"))?;
    let mut warnings = Vec::new();
    for chain in chains.iter().filter(|chain| chain.table != OWN_TABLE) {
        let object = format!("{}/{}", chain.table, chain.name);
        let rules = nft::rules(&mut sockets.netfilter, chain.family, &chain.table, &chain.name)
            .map_err(HallError::step("list the rules of", &object))?;
        if let Err(cause) = change(chain, &rules, live).commit(&mut sockets.netfilter) {
            if live.is_empty() {
                return Err(HallError::step("remove our rules from", object)(cause).into());
            }
            // An owner flag (firewalld) or a race with the owner's own rewrite.
            warnings.push(format!(
                "the firewall chain `{object}` may drop packets of containers, and does not let itself be changed: {cause}"
            ));
        }
    }
    if !live.is_empty() {
        warnings.extend(legacy_warning(live));
    }
    Ok(warnings)
}

/// The change that one chain needs; empty when it fits already.
fn change(chain: &ChainInfo, rules: &[RuleInfo], live: &[String]) -> Transaction {
    let ours = |rule: &RuleInfo| {
        rule.comment
            .as_deref()
            .and_then(|c| c.strip_prefix(COMMENT))
            .map(str::to_owned)
    };
    let barrier = rules.iter().position(|rule| rule.refuses_all);
    let needed = chain.policy == Verdict::Drop || barrier.is_some();
    let reachable = &rules[..barrier.unwrap_or(rules.len())];
    let mut transaction = Transaction::new();
    let mut present = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let Some(name) = ours(rule) else { continue };
        // Behind the barrier a rule is of no use: the owner has appended since.
        if needed && index < reachable.len() && live.contains(&name) {
            present.push(name);
        } else {
            transaction = transaction.delete_rule(chain.family, &chain.table, &chain.name, rule.handle);
        }
    }
    if !needed {
        return transaction;
    }
    let before = barrier.map(|index| rules[index].handle);
    for name in live
        .iter()
        .filter(|name| present.iter().filter(|p| p == name).count() < 2)
    {
        for direction in [Direction::In, Direction::Out] {
            let rule = Rule::new()
                .interface(direction, name)
                .counter()
                .verdict(Verdict::Accept);
            let comment = format!("{COMMENT}{name}");
            transaction =
                transaction.foreign_rule(chain.family, (&chain.table, &chain.name), before, &comment, rule);
        }
    }
    transaction
}

/// The old iptables keep their rules where nf_tables cannot see them.
fn legacy_warning(live: &[String]) -> Option<String> {
    let tables = fs_err::read_to_string("/proc/thread-self/net/ip_tables_names").ok()?;
    let first = live.first()?;
    tables.lines().any(|table| table == "filter").then(|| {
        format!(
            "rules of the old iptables are loaded here and cannot be read; if their FORWARD policy is DROP, containers \
             have no way out until `iptables-legacy -I FORWARD -i {first} -j ACCEPT` and the same with `-o`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::nft::Family;

    fn rule(handle: u64, comment: Option<&str>, refuses_all: bool) -> RuleInfo {
        RuleInfo {
            handle,
            comment: comment.map(str::to_owned),
            refuses_all,
        }
    }

    fn check(policy: Verdict, rules: &[RuleInfo], live: &[&str], messages: usize) {
        let chain = ChainInfo {
            family: Family::Ipv4,
            table: "filter".into(),
            name: "FORWARD".into(),
            policy,
        };
        let live: Vec<_> = live.iter().map(|n| (*n).to_owned()).collect();
        assert_eq!(
            change(&chain, rules, &live).len(),
            messages,
            "{policy:?} {rules:?} {live:?}"
        );
    }

    #[test]
    fn only_chains_that_refuse_are_touched_and_only_once() {
        let ours = [
            rule(1, Some("banyan by-1"), false),
            rule(2, Some("banyan by-1"), false),
        ];
        check(Verdict::Accept, &[rule(9, None, false)], &["by-1"], 0);
        check(Verdict::Drop, &[rule(9, None, false)], &["by-1"], 2);
        check(Verdict::Accept, &[rule(9, None, true)], &["by-1"], 2);
        check(Verdict::Drop, &ours, &["by-1"], 0);
        check(Verdict::Drop, &ours, &["by-1", "by-2"], 2);
    }

    #[test]
    fn rules_of_dead_uplinks_and_of_chains_that_opened_up_are_removed() {
        let ours = [
            rule(1, Some("banyan by-1"), false),
            rule(2, Some("banyan by-1"), false),
        ];
        check(Verdict::Drop, &ours, &["by-2"], 4);
        check(Verdict::Drop, &ours, &[], 2);
        check(Verdict::Accept, &ours, &["by-1"], 2);
        check(Verdict::Drop, &[rule(1, Some("somebody else's"), false)], &[], 0);
    }

    #[test]
    fn rules_that_ended_up_behind_a_barrier_move_before_it() {
        let stuck = [
            rule(5, None, true),
            rule(1, Some("banyan by-1"), false),
            rule(2, Some("banyan by-1"), false),
        ];
        check(Verdict::Accept, &stuck, &["by-1"], 4);
    }
}
