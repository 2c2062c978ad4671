//! The uplink: one veth pair between a hall and the host, and what the host needs to pass its packets.
//!
//! [`Uplink::ensure`], in order:
//! 1. takes the host's lock ([`state`]), since several projects and roots share one host;
//! 2. makes the veth pair with a small address range that nothing on the host uses ([`range`]);
//! 3. settles the host ([`host`]): forwarding on the interfaces concerned ([`forwarding`]), our table with
//!    masquerading, and our rules in chains of others that would drop the packets ([`foreign`]).
//!
//! Settling is idempotent and works from what is there: it reads which uplinks exist and makes everything else fit.
//! So [`Uplink::remove`] and [`sweep`] are the same thing with fewer uplinks, and whatever a crash left behind goes
//! with the next call. When the last uplink is gone, the host is as it was.
//!
//! "The host" is the network namespace of the calling thread.
//!
//! [`Uplink::forward`] lets published ports in by translation ([`forward`]); relayed ones need nothing here.
//!
//! Absent on purpose: addresses of containers on the host. It knows halls, and entry ports of theirs.

mod foreign;
mod forward;
mod forwarding;
mod host;
mod range;
mod state;

pub use forward::Forward;

use super::{
    Hall, HallError, LinkName, Subnet, SysctlError,
    hall::{Sockets, UPLINK},
    link::{self, LinkInfo, RouteInfo, VethEnd},
    nft::Family,
    sysctl,
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    thread,
};

/// What the host's ends of our uplinks are called: this, and the hall's number in hexadecimal.
const PREFIX: &str = "by-";

/// Why there is no way out, or why something of it stayed.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// The hall, or the link to it.
    #[error(transparent)]
    Hall(#[from] HallError),
    /// A setting of the host.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The file that remembers the host's settings.
    #[error("cannot use the state file `{path}`")]
    State {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        cause: io::Error,
    },
    /// All ranges we know are in use on this host.
    #[error("every address range for the way out overlaps a route of this host")]
    NoRange,
}

/// A hall's way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The host's end.
    pub link: LinkName,
    /// The host's address on it: where a container reaches the host (`host-gateway`).
    pub host: Ipv4Addr,
    /// The hall's address on it.
    pub hall: Ipv4Addr,
    /// Host's and hall's IPv6 addresses, when the host itself has an IPv6 way out.
    pub ipv6: Option<(Ipv6Addr, Ipv6Addr)>,
    /// Largest packet: that of the link with the host's default route. Bridges should have the same.
    pub mtu: u32,
    /// What may keep packets from passing although we did all we could; for the user's eyes.
    pub warnings: Vec<String>,
}

/// What the host looks like.
struct Survey {
    links: Vec<LinkInfo>,
    addresses: Vec<(u32, Subnet)>,
    routes: Vec<RouteInfo>,
}

impl Survey {
    fn take(sockets: &mut Sockets) -> Result<Self, HallError> {
        Ok(Self {
            links: link::links(&mut sockets.route).map_err(HallError::step("list links of", "the host"))?,
            addresses: link::addresses(&mut sockets.route)
                .map_err(HallError::step("list addresses of", "the host"))?,
            routes: link::routes(&mut sockets.route)
                .map_err(HallError::step("list routes of", "the host"))?,
        })
    }

    /// Our uplinks on this host.
    fn uplinks(&self) -> impl Iterator<Item = &LinkInfo> {
        self.links.iter().filter(|link| is_uplink(&link.name))
    }

    /// The smallest MTU among links with a default route; 1500 without any.
    fn mtu(&self) -> u32 {
        let outward = self
            .routes
            .iter()
            .filter(|r| r.destination.prefix() == 0)
            .map(|r| r.link);
        outward
            .filter_map(|index| self.links.iter().find(|l| l.index == index))
            .map(|l| l.mtu)
            .min()
            .unwrap_or(1500)
    }

    fn has_ipv6_way_out(&self) -> bool {
        self.routes
            .iter()
            .any(|r| !r.destination.is_ipv4() && r.destination.prefix() == 0)
    }
}

/// Whether `name` is one that only we give.
fn is_uplink(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl Uplink {
    /// Gives `hall` a way out, or completes and repairs the one it has. The state file goes into the directory
    /// `state`, which must be the same for all roots of this host, since the host's settings are shared.
    ///
    /// # Errors
    /// When the kernel refuses a step, or no address range is free. A later call completes what was begun.
    pub fn ensure(hall: &Hall, state: &Path) -> Result<Self, UplinkError> {
        let mut sockets = Sockets::open()?;
        let mut state = state::State::lock(state, &sockets)?;
        let survey = Survey::take(&mut sockets)?;
        let name = link_name(hall);
        let mtu = survey.mtu();
        let index = match survey.links.iter().find(|l| l.name == name.as_str()) {
            Some(link) => link.index,
            None => make(&mut sockets, hall, &name, mtu)?,
        };
        let range = range::choose(index, &survey).ok_or(UplinkError::NoRange)?;
        configure(&mut sockets, hall, &name, index, range)?;
        let survey = Survey::take(&mut sockets)?;
        let live: Vec<_> = survey.uplinks().map(|l| l.name.clone()).collect();
        let warnings = host::settle(&mut sockets, &mut state, &survey, &live)?;
        close_aside(sockets);
        Ok(Self {
            link: name,
            host: range.host,
            hall: range.hall,
            ipv6: range.ipv6,
            mtu,
            warnings,
        })
    }

    /// Takes the way out of `hall` away, and restores the host when it was the last. Goes on after errors.
    ///
    /// # Errors
    /// Everything that could not be undone; a later [`sweep`] tries again.
    pub fn remove(hall: &Hall, state: &Path) -> Result<(), Vec<UplinkError>> {
        clear(Some(&link_name(hall)), state)
    }

    /// What the link of a hall is called, whether it exists or not: to be remembered before [`Uplink::ensure`], so that
    /// [`Uplink::remove_named`] can undo it after a crash.
    #[must_use]
    pub fn name_of(hall: &Hall) -> LinkName {
        link_name(hall)
    }

    /// As [`Uplink::remove`], for a hall that died with whoever held it. The kernel removes such a link a little later
    /// by itself, but not what came with it.
    ///
    /// # Errors
    /// Everything that could not be undone; a later [`sweep`] tries again.
    pub fn remove_named(name: &LinkName, state: &Path) -> Result<(), Vec<UplinkError>> {
        if is_uplink(name.as_str()) {
            clear(Some(name), state)
        } else {
            clear(None, state)
        }
    }
}

/// What the host itself uses: its routes (the default one too) and its addresses, but not our uplinks. A hall's
/// subnets should stay clear of these, or the host's neighbours could not be reached from inside.
///
/// # Errors
/// When the kernel refuses to list them.
pub fn host_subnets() -> Result<Vec<Subnet>, UplinkError> {
    let survey = Survey::take(&mut Sockets::open()?)?;
    let ours: Vec<u32> = survey.uplinks().map(|l| l.index).collect();
    let routes = survey
        .routes
        .iter()
        .filter(|r| !ours.contains(&r.link))
        .map(|r| r.destination);
    let addresses = survey
        .addresses
        .iter()
        .filter(|(at, _)| !ours.contains(at))
        .map(|(_, address)| *address);
    Ok(routes
        .chain(addresses)
        .filter(|s| !s.address().is_loopback())
        .collect())
}

/// Removes what halls that died left on the host: rules, and settings when no hall is left.
///
/// # Errors
/// Everything that could not be undone.
pub fn sweep(state: &Path) -> Result<(), Vec<UplinkError>> {
    clear(None, state)
}

fn clear(name: Option<&LinkName>, state: &Path) -> Result<(), Vec<UplinkError>> {
    let mut errors: Vec<UplinkError> = Vec::new();
    let prepared = Sockets::open()
        .map_err(UplinkError::from)
        .and_then(|sockets| Ok((state::State::lock(state, &sockets)?, sockets)));
    let (mut state, mut sockets) = prepared.map_err(|error| vec![error])?;
    if let Some(name) = name {
        match sockets.route.request(vec![link::delete_by_name(name.as_str())]) {
            Err(cause) if cause.is(libc::ENODEV) => {}
            Err(cause) => errors.push(HallError::step("remove the link", name)(cause).into()),
            Ok(()) => {}
        }
    }
    let settled = Survey::take(&mut sockets)
        .map_err(UplinkError::from)
        .and_then(|survey| {
            let live: Vec<_> = survey.uplinks().map(|l| l.name.clone()).collect();
            host::settle(&mut sockets, &mut state, &survey, &live)
        });
    errors.extend(settled.err());
    close_aside(sockets);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Closing waits for what was deleted (`Transaction::renewed_table`), and nobody has to wait for that. Without a thread they
/// are closed here.
fn close_aside(sockets: Sockets) {
    let _ = thread::Builder::new().spawn(move || drop(sockets));
}

/// The host's end belonging to `hall`. Cookies grow by one per namespace; twelve hexadecimal digits last for ever.
fn link_name(hall: &Hall) -> LinkName {
    LinkName::new(format!("{PREFIX}{:x}", hall.id() & 0xffff_ffff_ffff))
        .expect("at most fifteen plain characters")
}

/// Makes the pair, down, and gives the host's end's number.
fn make(sockets: &mut Sockets, hall: &Hall, name: &LinkName, mtu: u32) -> Result<u32, UplinkError> {
    let near = VethEnd {
        name: name.as_str(),
        mac: None,
    };
    let far = VethEnd {
        name: UPLINK,
        mac: None,
    };
    // Link-local addresses on it would be of no use, and show up in the host's tools.
    sockets
        .route
        .request(vec![link::new_veth(&near, None, &far, hall.fd(), mtu)])
        .map_err(HallError::step("make the link", name))?;
    Ok(link::link(&mut sockets.route, name.as_str())
        .map_err(HallError::step("find the link", name))?
        .index)
}

/// Addresses and routes at both ends. Everything here may be done again.
fn configure(
    sockets: &mut Sockets,
    hall: &Hall,
    name: &LinkName,
    index: u32,
    range: range::Range,
) -> Result<(), UplinkError> {
    let v4 = |address: Ipv4Addr| Subnet::new(address.into(), 31).expect("31 fits IPv4");
    let v6 = |address: Ipv6Addr| Subnet::new(address.into(), 127).expect("127 fits IPv6");
    sysctl::write(&format!("ipv4/conf/{name}/forwarding"), "1")?;
    sysctl::write_if_present(&format!("ipv6/conf/{name}/accept_dad"), "0")?;
    sysctl::write_if_present(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
    let disabled = if range.ipv6.is_some() { "0" } else { "1" };
    sysctl::write_if_present(&format!("ipv6/conf/{name}/disable_ipv6"), disabled)?;
    if range.ipv6.is_some() {
        sysctl::write_if_present(&format!("ipv6/conf/{name}/force_forwarding"), "1")?;
    }
    let mut outside = vec![link::add_address(index, v4(range.host))];
    outside.extend(range.ipv6.map(|(host, _)| link::add_address(index, v6(host))));
    outside.push(link::set_up(index));
    sockets
        .route
        .request(outside)
        .map_err(HallError::step("configure the link", name))?;

    let mut inner = hall.sockets();
    let inner_index = link::link(&mut inner.route, UPLINK)
        .map_err(HallError::step("find the link", UPLINK))?
        .index;
    let any = |address: IpAddr| Subnet::new(address, 0).expect("zero fits both families");
    let mut inside = vec![
        link::set_up(inner_index),
        link::add_address(inner_index, v4(range.hall)),
    ];
    inside.push(link::add_route(
        any(Ipv4Addr::UNSPECIFIED.into()),
        range.host.into(),
        inner_index,
        None,
    ));
    if let Some((host, own)) = range.ipv6 {
        inside.push(link::add_address(inner_index, v6(own)));
        inside.push(link::add_route(
            any(Ipv6Addr::UNSPECIFIED.into()),
            host.into(),
            inner_index,
            None,
        ));
    }
    inner
        .route
        .request(inside)
        .map_err(HallError::step("configure the link", UPLINK))?;
    Ok(())
}
