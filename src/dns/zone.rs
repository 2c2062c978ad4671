//! Who is called what, seen from where.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use banyan_runtime::network::Subnet;

/// A network whose members find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name on this machine (`project_default`); `db.project_default` means `db` on just this network.
    pub name: String,
    /// Its subnets: reverse questions about addresses in them are never forwarded.
    pub subnets: Vec<Subnet>,
    /// Whether members may ask for names of the world outside.
    pub internal: bool,
}

/// A container on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The container, by any identifier that stays the same.
    pub container: String,
    /// The network's key.
    pub network: String,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
    /// Its names there: service, container name, aliases. The first one answers reverse questions.
    pub names: Vec<String>,
}

/// What one container alone is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// Private names for others: `links: [db:database]` gives (`database`, `db`).
    pub links: Vec<(String, String)>,
    /// The service's own `dns:` servers; empty: the host's.
    pub servers: Vec<IpAddr>,
}

/// What the engine has told us. Changed through [`Zones::update`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    networks: BTreeMap<String, Network>,
    endpoints: Vec<Endpoint>,
    clients: BTreeMap<String, Client>,
}

impl Records {
    /// Adds or replaces a network.
    pub fn set_network(&mut self, key: &str, network: Network) {
        self.networks.insert(key.to_owned(), network);
    }

    /// Removes a network and its endpoints.
    pub fn remove_network(&mut self, key: &str) {
        self.networks.remove(key);
        self.endpoints.retain(|e| e.network != key);
    }

    /// Adds a container to a network, or replaces its place there. The order of additions is a container's order of
    /// preference among networks that it shares with another.
    pub fn add(&mut self, endpoint: Endpoint) {
        self.remove(&endpoint.container, &endpoint.network);
        self.endpoints.push(endpoint);
    }

    /// Takes a container off one network.
    pub fn remove(&mut self, container: &str, network: &str) {
        self.endpoints
            .retain(|e| e.container != container || e.network != network);
    }

    /// Forgets a container.
    pub fn remove_container(&mut self, container: &str) {
        self.endpoints.retain(|e| e.container != container);
        self.clients.remove(container);
    }

    /// Sets what one container alone is told.
    pub fn set_client(&mut self, container: &str, client: Client) {
        self.clients.insert(container.to_owned(), client);
    }
}

/// The zones of one hall: changed by the engine, read by every query. A change is one step: a query sees all of it or
/// nothing.
#[derive(Debug, Default)]
pub struct Zones {
    /// Written by [`Zones::update`] only.
    records: RwLock<Records>,
    /// Rebuilt from `records` by every update.
    index: RwLock<Arc<Index>>,
    /// Moves the start of every answer, so that replicas take turns.
    rotation: AtomicUsize,
    /// What is done before every query.
    first: First,
}

/// Something to do before every query.
#[derive(Default)]
struct First(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl fmt::Debug for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("First").field(&self.0.get().is_some()).finish()
    }
}

impl Zones {
    /// Zones without any network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the records; queries see the change from now on.
    pub fn update(&self, change: impl FnOnce(&mut Records)) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut records);
        let index = Arc::new(Index::build(&records));
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }

    /// Sets what is done before every query: a look at what others may have changed, which updates these zones. It is
    /// on the way of every answer, so it must be quick when nothing has changed. The first one set stays.
    pub fn look_first(&self, look: impl Fn() + Send + Sync + 'static) {
        // Set already.
        let _ = self.first.0.set(Box::new(look));
    }

    /// What queries see now.
    pub fn index(&self) -> Arc<Index> {
        if let Some(look) = self.first.0.get() {
            look();
        }
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next place to start an answer at.
    pub fn turn(&self) -> usize {
        self.rotation.fetch_add(1, Ordering::Relaxed)
    }
}

/// Addresses of one name on one network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 addresses.
    pub v4: Vec<Ipv4Addr>,
    /// IPv6 addresses.
    pub v6: Vec<Ipv6Addr>,
}

/// Everything about one client that a query needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its networks, in order of preference.
    networks: Vec<usize>,
    /// Private names, both sides in wire form.
    links: HashMap<Box<[u8]>, Box<[u8]>>,
    /// Whether questions about the world outside are forwarded.
    pub may_forward: bool,
    /// Its own servers; empty: the host's.
    pub servers: Arc<[IpAddr]>,
}

/// What is known about a name, as one client sees it.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A neighbour.
    Here(&'a Addresses),
    /// A name of this project, on networks that the client is not on.
    Elsewhere,
    /// Not ours.
    Unknown,
}

/// The records, arranged for questions.
#[derive(Debug, Default)]
pub struct Index {
    clients: HashMap<IpAddr, Arc<View>>,
    /// By lower-case wire name: networks in which it is known.
    names: HashMap<Box<[u8]>, Vec<(usize, Addresses)>>,
    /// By address: network, and the name for reverse questions.
    reverse: HashMap<IpAddr, (usize, Box<[u8]>)>,
    subnets: Vec<Subnet>,
}

impl Index {
    fn build(records: &Records) -> Self {
        let mut index = Self::default();
        let numbers: HashMap<&str, usize> = records.networks.keys().map(String::as_str).zip(0..).collect();
        let mut memberships: BTreeMap<&str, Vec<&Endpoint>> = BTreeMap::new();
        for endpoint in &records.endpoints {
            let Some(&number) = numbers.get(endpoint.network.as_str()) else {
                continue;
            };
            let network = &records.networks[&endpoint.network];
            memberships.entry(&endpoint.container).or_default().push(endpoint);
            for name in &endpoint.names {
                for name in [name.clone(), format!("{name}.{}", network.name)] {
                    index.add_name(&name, number, &endpoint.addresses);
                }
            }
            let first = endpoint
                .names
                .first()
                .and_then(|n| wire_name(&format!("{n}.{}", network.name)));
            for address in &endpoint.addresses {
                index
                    .reverse
                    .insert(*address, (number, first.clone().unwrap_or_default()));
            }
        }
        for (container, endpoints) in memberships {
            let client = records.clients.get(container);
            let links = client.into_iter().flat_map(|c| &c.links);
            let view = Arc::new(View {
                networks: endpoints
                    .iter()
                    .filter_map(|e| numbers.get(e.network.as_str()).copied())
                    .collect(),
                links: links
                    .filter_map(|(alias, target)| Some((wire_name(alias)?, wire_name(target)?)))
                    .collect(),
                may_forward: endpoints.iter().any(|e| !records.networks[&e.network].internal),
                servers: client.map(|c| c.servers.as_slice().into()).unwrap_or_default(),
            });
            for address in endpoints.iter().flat_map(|e| &e.addresses) {
                index.clients.insert(*address, Arc::clone(&view));
            }
        }
        index.subnets = records
            .networks
            .values()
            .flat_map(|n| n.subnets.iter().copied())
            .collect();
        index
    }

    fn add_name(&mut self, name: &str, network: usize, addresses: &[IpAddr]) {
        let Some(name) = wire_name(name) else { return };
        let places = self.names.entry(name).or_default();
        let place = match places.iter().position(|(n, _)| *n == network) {
            Some(at) => at,
            None => {
                places.push((network, Addresses::default()));
                places.len() - 1
            }
        };
        let known = &mut places[place].1;
        for address in addresses {
            match address {
                IpAddr::V4(v4) if !known.v4.contains(v4) => known.v4.push(*v4),
                IpAddr::V6(v6) if !known.v6.contains(v6) => known.v6.push(*v6),
                _ => {}
            }
        }
    }

    /// The view of the client with this source address; `None`: no client of ours.
    pub fn view(&self, source: IpAddr) -> Option<&View> {
        self.clients.get(&source).map(Arc::as_ref)
    }

    /// Looks a name up, in lower-case wire form. On several shared networks the client's preferred one answers, as
    /// docker does it.
    pub fn find(&self, view: &View, name: &[u8]) -> Found<'_> {
        let name = view.links.get(name).map_or(name, AsRef::as_ref);
        let Some(places) = self.names.get(name) else {
            return Found::Unknown;
        };
        let seen = view
            .networks
            .iter()
            .find_map(|mine| places.iter().find(|(network, _)| network == mine));
        seen.map_or(Found::Elsewhere, |(_, addresses)| Found::Here(addresses))
    }

    /// The name of an address, in wire form, as the client sees it.
    pub fn reverse(&self, view: &View, address: IpAddr) -> Option<&[u8]> {
        let (network, name) = self.reverse.get(&address)?;
        (view.networks.contains(network) && !name.is_empty()).then_some(name.as_ref())
    }

    /// Whether an address belongs to a network of ours, so that questions about it stay here.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.subnets.iter().any(|subnet| subnet.contains(address))
    }
}

/// A name in lower-case wire form: length-prefixed labels and a zero. `None` for what cannot be a name on the wire
/// (RFC 1035 section 3.1: labels of 1 to 63 bytes, 255 in all).
pub fn wire_name(name: &str) -> Option<Box<[u8]>> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..=63).contains(length))?;
        wire.push(length);
        wire.extend(label.bytes().map(|b| b.to_ascii_lowercase()));
    }
    wire.push(0);
    (wire.len() <= 255).then(|| wire.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(container: &str, network: &str, address: &str, names: &[&str]) -> Endpoint {
        Endpoint {
            container: container.into(),
            network: network.into(),
            addresses: vec![address.parse().unwrap()],
            names: names.iter().map(|n| (*n).to_owned()).collect(),
        }
    }

    fn two_networks() -> Zones {
        let zones = Zones::new();
        zones.update(|r| {
            for (key, subnet, internal) in
                [("front", "172.20.0.0/24", false), ("back", "172.21.0.0/24", true)]
            {
                let network = Network {
                    name: format!("shop_{key}"),
                    subnets: vec![subnet.parse().unwrap()],
                    internal,
                };
                r.set_network(key, network);
            }
            r.add(endpoint("web-1", "front", "172.20.0.2", &["web", "shop-web-1"]));
            r.add(endpoint("web-2", "front", "172.20.0.3", &["web", "shop-web-2"]));
            r.add(endpoint("web-1", "back", "172.21.0.2", &["web"]));
            r.add(endpoint("db", "back", "172.21.0.9", &["db", "Primary"]));
        });
        zones
    }

    fn look(zones: &Zones, source: &str, name: &str) -> Option<Vec<String>> {
        let index = zones.index();
        let view = index.view(source.parse().unwrap())?;
        match index.find(view, &wire_name(name).unwrap()) {
            Found::Here(a) => Some(a.v4.iter().map(ToString::to_string).collect()),
            Found::Elsewhere => Some(vec!["elsewhere".into()]),
            Found::Unknown => Some(vec!["unknown".into()]),
        }
    }

    #[test]
    fn views_follow_networks() {
        let zones = two_networks();
        let found = |source, name| look(&zones, source, name).unwrap().join(" ");
        assert_eq!(found("172.20.0.3", "web"), "172.20.0.2 172.20.0.3");
        assert_eq!(found("172.20.0.3", "db"), "elsewhere");
        assert_eq!(found("172.20.0.2", "db"), "172.21.0.9");
        assert_eq!(found("172.20.0.2", "DB"), "172.21.0.9");
        assert_eq!(found("172.21.0.2", "primary"), "172.21.0.9");
        assert_eq!(found("172.21.0.9", "web"), "172.21.0.2");
        assert_eq!(found("172.20.0.2", "web.shop_back"), "172.21.0.2");
        assert_eq!(found("172.20.0.2", "example.com"), "unknown");
        assert_eq!(look(&zones, "10.0.0.1", "web"), None, "strangers have no view");
    }

    #[test]
    fn a_container_that_leaves_is_gone_at_once() {
        let zones = two_networks();
        zones.update(|r| r.remove_container("web-2"));
        assert_eq!(look(&zones, "172.20.0.2", "web").unwrap(), ["172.20.0.2"]);
        assert_eq!(look(&zones, "172.20.0.3", "web"), None);
        zones.update(|r| r.remove_network("back"));
        assert_eq!(look(&zones, "172.20.0.2", "db").unwrap(), ["unknown"]);
    }

    #[test]
    fn link_aliases_are_private_and_only_internal_clients_stay_inside() {
        let zones = two_networks();
        let links = vec![("Database".to_owned(), "db".to_owned())];
        zones.update(|r| {
            r.set_client(
                "web-1",
                Client {
                    links,
                    servers: vec![],
                },
            )
        });
        assert_eq!(look(&zones, "172.20.0.2", "database").unwrap(), ["172.21.0.9"]);
        assert_eq!(look(&zones, "172.20.0.3", "database").unwrap(), ["unknown"]);
        let index = zones.index();
        let may = |source: &str| index.view(source.parse().unwrap()).unwrap().may_forward;
        assert!(may("172.20.0.2") && may("172.21.0.2") && may("172.20.0.3"));
        assert!(!may("172.21.0.9"));
    }

    #[test]
    fn addresses_have_names_only_for_those_who_share_the_network() {
        let zones = two_networks();
        let index = zones.index();
        let name = |source: &str, address: &str| {
            let view = index.view(source.parse().unwrap()).unwrap();
            index.reverse(view, address.parse().unwrap()).map(<[u8]>::to_vec)
        };
        assert_eq!(
            name("172.20.0.2", "172.21.0.9"),
            Some(wire_name("db.shop_back").unwrap().to_vec())
        );
        assert_eq!(name("172.20.0.3", "172.21.0.9"), None);
        assert!(index.owns("172.21.0.200".parse().unwrap()));
        assert!(!index.owns("8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn names_that_cannot_be_on_the_wire_are_left_out() {
        assert_eq!(wire_name("a..b"), None);
        assert_eq!(wire_name(""), None);
        assert_eq!(wire_name(&"x".repeat(64)), None);
        assert_eq!(wire_name(&"x.".repeat(130)), None);
        assert_eq!(wire_name("Db.").as_deref(), Some([2, b'd', b'b', 0].as_slice()));
    }
}
