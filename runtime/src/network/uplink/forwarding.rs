//! Forwarding on the host: only where it is needed, and put back afterwards.
//!
//! The kernel forwards a packet when the interface it *arrived on* has forwarding switched on. Our links have it;
//! replies from outside arrive on the host's own interfaces, which need it too. Where the host forwards already
//! (`ip_forward` is 1) nothing is changed. IPv6 has had a switch per interface only since Linux 6.17
//! (`force_forwarding`); the older switch for the whole host would stop it from accepting router advertisements, so
//! it is left alone and the user is told.

use super::{Survey, UplinkError, is_uplink, state::State, sysctl};

/// Interfaces whose forwarding we switched on, and whether the host forwarded anyway.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// Interfaces that forward only because of us.
    pub(super) interfaces: Vec<String>,
    /// What could not be done.
    pub(super) warnings: Vec<String>,
}

/// Whether the host forwards IPv4 of its own accord.
fn host_forwards() -> bool {
    sysctl::read("ipv4/ip_forward").as_deref() == Some("1")
}

fn host_forwards_ipv6() -> bool {
    sysctl::read("ipv6/conf/all/forwarding").as_deref() == Some("1")
}

/// Switches forwarding on where replies may arrive.
pub(super) fn open(state: &mut State, survey: &Survey) -> Result<Opened, UplinkError> {
    let mut opened = Opened::default();
    let routed = |ipv4: bool| {
        survey
            .links
            .iter()
            .filter(|link| link.name != "lo" && !is_uplink(&link.name))
            .filter(move |link| {
                survey
                    .routes
                    .iter()
                    .any(|r| r.link == link.index && r.destination.is_ipv4() == ipv4)
            })
            .map(|link| link.name.clone())
    };
    if !host_forwards() {
        for name in routed(true) {
            switch_on(state, &format!("ipv4/conf/{name}/forwarding"))?;
            opened.interfaces.push(name);
        }
    }
    if survey.has_ipv6_way_out() && !host_forwards_ipv6() {
        if sysctl::read("ipv6/conf/all/force_forwarding").is_none() {
            opened.warnings.push(
                "IPv6 stays inside: this kernel forwards IPv6 for the whole host or not at all (`sysctl \
                 net.ipv6.conf.all.forwarding=1` opens it)"
                    .into(),
            );
            return Ok(opened);
        }
        for name in routed(false) {
            switch_on(state, &format!("ipv6/conf/{name}/force_forwarding"))?;
            if !opened.interfaces.contains(&name) {
                opened.interfaces.push(name);
            }
        }
    }
    Ok(opened)
}

/// Puts everything back that nobody else has taken over meanwhile.
pub(super) fn restore(state: &mut State) -> Result<(), UplinkError> {
    for (key, value) in &state.before {
        // Somebody switched the whole host on after us, which set this one too; it is theirs now.
        let taken_over = if key.starts_with("ipv4/") {
            host_forwards()
        } else {
            host_forwards_ipv6()
        };
        if !taken_over {
            // The interface may be gone.
            sysctl::write_if_present(key, value)?;
        }
    }
    Ok(())
}

fn switch_on(state: &mut State, key: &str) -> Result<(), UplinkError> {
    let Some(now) = sysctl::read(key) else {
        return Ok(());
    };
    if now == "1" {
        return Ok(());
    }
    // Written down first: a crash between the two lines then restores what is still there.
    state.before.entry(key.to_owned()).or_insert(now);
    state.save()?;
    Ok(sysctl::write(key, "1")?)
}
