//! The host's side as a whole: made to fit the uplinks that exist.

use super::{
    Family, HallError, Sockets, Survey, UplinkError, foreign, forward, forwarding, is_uplink, state::State,
};
use crate::network::netlink::NetlinkError;
use crate::network::nft::{self, Chain, ChainKind, Direction, Hook, Rule, SetKind, Transaction, Verdict};

/// Our table on the host; all projects and roots share it.
const TABLE: &str = "banyan";
/// The sets: our uplinks, interfaces that forward only because of us, and the host's other interfaces.
const UPLINKS: &str = "uplinks";
const OPENED: &str = "opened";
const OTHERS: &str = "others";

/// Makes the host fit `live`, the uplinks that exist, and tells what may be in the way. With none, everything of
/// ours goes, and settings are put back.
pub(super) fn settle(
    sockets: &mut Sockets,
    state: &mut State,
    survey: &Survey,
    live: &[String],
) -> Result<Vec<String>, UplinkError> {
    let tables =
        nft::tables(&mut sockets.netfilter).map_err(HallError::step("list tables of", "the host"))?;
    forward::sweep(sockets, &tables, live)?;
    let exists = tables
        .iter()
        .any(|(family, name)| *family == Family::Inet && name == TABLE);
    if live.is_empty() {
        // The guard in our table goes last: until the settings are back, nothing may slip through.
        foreign::admit(sockets, live)?;
        forwarding::restore(state)?;
        if exists {
            Transaction::new()
                .delete_table(Family::Inet, TABLE)
                .commit(&mut sockets.netfilter)
                .map_err(HallError::step("remove the table", TABLE))?;
        }
        state.discard()?;
        return Ok(Vec::new());
    }
    // The guard comes first: at no moment does the host forward for strangers.
    let remembered = remembered_interfaces(state);
    let renewed = || Transaction::new().renewed_table(Family::Inet, TABLE);
    let table = match exists {
        true => renewed(),
        false => Transaction::new().new_table(Family::Inet, TABLE),
    };
    match write_table(sockets, table, survey, live, &remembered) {
        // Somebody has put it there since we looked.
        Err(error) if error.is(libc::EEXIST) => write_table(sockets, renewed(), survey, live, &remembered),
        other => other,
    }
    .map_err(HallError::step("write the table", TABLE))?;
    let opened = forwarding::open(state, survey)?;
    let more = opened.interfaces.iter().filter(|name| !remembered.contains(name));
    let more: Vec<&str> = more.map(String::as_str).collect();
    if !more.is_empty() {
        Transaction::new()
            .add_names(Family::Inet, TABLE, OPENED, more)
            .commit(&mut sockets.netfilter)
            .map_err(HallError::step("write the table", TABLE))?;
    }
    let mut warnings = opened.warnings;
    warnings.extend(foreign::admit(sockets, live)?);
    Ok(warnings)
}

/// The interfaces named in the state file's keys (`ipv4/conf/eth0/forwarding`).
fn remembered_interfaces(state: &State) -> Vec<String> {
    state
        .before
        .keys()
        .filter_map(|key| key.split('/').nth(2))
        .map(str::to_owned)
        .collect()
}

/// Writes the whole table in one transaction; connections in progress do not notice.
fn write_table(
    sockets: &mut Sockets,
    table: Transaction,
    survey: &Survey,
    live: &[String],
    opened: &[String],
) -> Result<(), NetlinkError> {
    let chain = |name, kind, hook, priority| Chain {
        name,
        kind,
        hook,
        priority,
        policy: Verdict::Accept,
    };
    let others = survey
        .links
        .iter()
        .map(|l| l.name.as_str())
        .filter(|name| *name != "lo" && !is_uplink(name));
    let (into, out) = (Direction::In, Direction::Out);
    let drop = Verdict::Drop;
    let mut transaction = table
        .set(Family::Inet, TABLE, UPLINKS, SetKind::InterfaceName)
        .set(Family::Inet, TABLE, OPENED, SetKind::InterfaceName)
        .set(Family::Inet, TABLE, OTHERS, SetKind::InterfaceName)
        .add_names(Family::Inet, TABLE, UPLINKS, live.iter().map(String::as_str))
        .add_names(Family::Inet, TABLE, OPENED, opened.iter().map(String::as_str))
        .add_names(Family::Inet, TABLE, OTHERS, others)
        .chain(
            Family::Inet,
            TABLE,
            chain("forward", ChainKind::Filter, Hook::Forward, -10),
        )
        .chain(
            Family::Inet,
            TABLE,
            chain("postrouting", ChainKind::Nat, Hook::Postrouting, 100),
        );
    for (chain, rule) in [
        // Projects are strangers to each other, and nobody opens connections into a hall by routing.
        (
            "forward",
            Rule::new()
                .interface_in(out, UPLINKS)
                .established()
                .verdict(Verdict::Accept),
        ),
        // Ports published by translation (`forward`), and nothing else that is new.
        (
            "forward",
            Rule::new()
                .interface_in(out, UPLINKS)
                .translated()
                .verdict(Verdict::Accept),
        ),
        (
            "forward",
            Rule::new().interface_in(out, UPLINKS).counter().verdict(drop),
        ),
        // Forwarding is on for our sake only: the host stays no router for others.
        (
            "forward",
            Rule::new()
                .interface_in(into, OPENED)
                .interface_in(out, OTHERS)
                .counter()
                .verdict(drop),
        ),
        (
            "postrouting",
            Rule::new().interface_in(into, UPLINKS).masquerade(),
        ),
    ] {
        transaction = transaction.rule(Family::Inet, TABLE, chain, rule);
    }
    transaction.commit(&mut sockets.netfilter)
}
