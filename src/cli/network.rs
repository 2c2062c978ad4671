//! `banyan network …`: networks that projects share, and, to look at, those of running projects.

use super::{CommandError, Exit, Global, Outcome, context, table};
use crate::{
    api::wire::{Message, NetworkInfo, Request},
    engine::{events::now, names::new_id, networks::used_by_host},
    model::{IpamPool, Network, ProjectName, hash_of},
    network::shared::{Definition, SharedError, SharedNetworks},
};
use banyan_runtime::network::Subnet;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::IpAddr};

/// The option that sets the largest packet, in bytes.
const MTU: &str = "com.docker.network.driver.mtu";
/// The smallest and the largest value that makes sense for it: what IPv4 needs (RFC 791), what Ethernet can do.
const MTU_BOUNDS: std::ops::RangeInclusive<u32> = 68..=65_535;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Make a network that projects share: in their files it is `external: true`
    Create(Box<Create>),
    /// List networks
    #[command(alias = "list")]
    Ls(List),
    /// Show everything about networks
    Inspect(Inspect),
    /// Remove shared networks that nobody uses
    #[command(alias = "remove")]
    Rm(Remove),
    /// Remove all shared networks that nobody uses
    Prune(Prune),
}

/// Flags of `network create`.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// Its name
    name: String,
    /// Its addresses, such as 10.9.0.0/24; one per family (default: chosen)
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<Subnet>,
    /// Its own address in a subnet (default: the first)
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,
    /// The part of a subnet that containers get addresses from
    #[arg(long, value_name = "SUBNET")]
    ip_range: Vec<Subnet>,
    /// An address to keep free: NAME=ADDRESS; may be given several times
    #[arg(long = "aux-address", value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,
    /// No way out
    #[arg(long)]
    internal: bool,
    /// IPv6 addresses too
    #[arg(long)]
    ipv6: bool,
    /// Others may join it; all shared networks may be joined
    #[arg(long)]
    attachable: bool,
    /// A label: KEY=VALUE; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// An option: `mtu=BYTES`
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Only `bridge`
    #[arg(short, long, default_value = "bridge", value_parser = ["bridge"])]
    driver: String,
}

/// Flags of `network ls`.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// `table` or `json`
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// Flags of `network inspect`.
#[derive(Debug, Clone, Args)]
pub struct Inspect {
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
    /// Only `json`
    #[arg(short, long, default_value = "json", value_parser = ["json"])]
    format: String,
}

/// Flags of `network rm`.
#[derive(Debug, Clone, Args)]
pub struct Remove {
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
    /// One that does not exist is no error
    #[arg(short, long)]
    force: bool,
}

/// Flags of `network prune`.
#[derive(Debug, Clone, Args)]
pub struct Prune {
    /// Do it; without this flag they are only listed
    #[arg(short, long)]
    force: bool,
}

/// A network as it is shown.
#[derive(Debug)]
struct Shown {
    id: String,
    /// Nanoseconds since 1970.
    created: i64,
    network: Network,
    /// Subnets and gateways.
    subnets: Vec<(String, IpAddr)>,
    /// By id: name, Ethernet address, addresses.
    containers: BTreeMap<String, (String, String, Vec<IpAddr>)>,
    /// Whose it is; `None`: a shared one.
    project: Option<String>,
}

/// Runs one.
///
/// # Errors
/// A network that is not there or in use, addresses that cannot be, or the file system's refusal.
pub(super) fn run(global: &Global, command: &NetworkCommand) -> Outcome {
    let store = SharedNetworks::new(&context::roots(global));
    match command {
        NetworkCommand::Create(args) => create(&store, args),
        NetworkCommand::Ls(args) => list(global, &store, args),
        NetworkCommand::Inspect(args) => inspect(global, &store, args),
        NetworkCommand::Rm(args) => remove(global, &store, args),
        NetworkCommand::Prune(args) => prune(&store, args),
    }
}

fn failed(what: String, error: &SharedError) -> CommandError {
    let exit = match error {
        SharedError::Io { .. } | SharedError::Hall(_) => Exit::Host,
        SharedError::Name { .. } => Exit::Usage,
        _ => Exit::Failed,
    };
    let made = CommandError::caused(exit, what, error);
    match error.hint() {
        Some(hint) => made.hint(hint),
        None => made,
    }
}

fn create(store: &SharedNetworks, args: &Create) -> Outcome {
    let network = Network {
        name: args.name.clone(),
        external: true,
        driver: args.driver.clone(),
        driver_opts: options(&args.opt)?,
        internal: args.internal,
        attachable: args.attachable,
        ipv4: true,
        ipv6: args.ipv6,
        ipam: pools(args)?,
        labels: args.label.iter().map(|label| pair(label)).collect(),
    };
    let made = store
        .create(network, &used_by_host(), new_id(), now())
        .map_err(|error| failed(format!("cannot make network `{}`", args.name), &error))?;
    super::print(&format!("{}\n", made.id));
    Ok(Exit::Success)
}

fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// Options as docker names them; those that would do nothing are refused.
fn options(given: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    let mut options = BTreeMap::new();
    for text in given {
        let (key, value) = pair(text);
        if key != "mtu" && key != MTU {
            let what = format!("the network option `{key}` is not supported");
            return Err(CommandError::new(Exit::Usage, what).hint("`mtu=BYTES` is the only one"));
        }
        if !value.parse().is_ok_and(|bytes: u32| MTU_BOUNDS.contains(&bytes)) {
            let what = format!("`{value}` is not a packet size");
            let (least, most) = (MTU_BOUNDS.start(), MTU_BOUNDS.end());
            return Err(CommandError::new(Exit::Usage, what).hint(format!("give {least} to {most} bytes")));
        }
        options.insert(MTU.to_owned(), value);
    }
    Ok(options)
}

/// Gateways, ranges and reserved addresses go to the subnet they are in.
fn pools(args: &Create) -> Result<Vec<IpamPool>, CommandError> {
    let mut pools: Vec<(Subnet, IpamPool)> = args
        .subnet
        .iter()
        .map(|subnet| {
            let pool = IpamPool {
                subnet: Some(subnet.network().to_string()),
                ip_range: None,
                gateway: None,
                aux_addresses: BTreeMap::new(),
            };
            (*subnet, pool)
        })
        .collect();
    let mut place = |what: &str, address: IpAddr, put: &dyn Fn(&mut IpamPool)| {
        let pool = pools.iter_mut().find(|(subnet, _)| subnet.contains(address));
        let Some((_, pool)) = pool else {
            let what = format!("the {what} `{address}` is in no `--subnet`");
            return Err(CommandError::new(Exit::Usage, what).hint("give the subnet it belongs to"));
        };
        put(pool);
        Ok(())
    };
    for gateway in &args.gateway {
        place("gateway", *gateway, &|pool| pool.gateway = Some(*gateway))?;
    }
    for range in &args.ip_range {
        place("range", range.address(), &|pool| {
            pool.ip_range = Some(range.network().to_string())
        })?;
    }
    for text in &args.aux_address {
        let (name, value) = pair(text);
        let address: IpAddr = value
            .parse()
            .map_err(|_| CommandError::new(Exit::Usage, format!("`{text}` is not NAME=ADDRESS")))?;
        place("address", address, &|pool| {
            pool.aux_addresses.insert(name.clone(), address);
        })?;
    }
    Ok(pools.into_iter().map(|(_, pool)| pool).collect())
}

/// All networks: shared ones, and those of projects whose engines answer.
fn all(global: &Global, store: &SharedNetworks) -> Result<Vec<Shown>, CommandError> {
    let definitions = store
        .list()
        .map_err(|error| CommandError::caused(Exit::Host, "cannot list networks", &error))?;
    let mut shown: Vec<Shown> = definitions
        .into_iter()
        .map(|definition| shared(store, definition))
        .collect();
    let running = std::fs::read_dir(context::roots(global).run.join("projects"));
    for entry in running.into_iter().flatten().flatten() {
        if let Ok(project) = ProjectName::new(entry.file_name().to_string_lossy().into_owned()) {
            shown.extend(of_project(global, &project));
        }
    }
    shown.sort_by(|a, b| a.network.name.cmp(&b.network.name));
    Ok(shown)
}

fn shared(store: &SharedNetworks, definition: Definition) -> Shown {
    let members = store.members(&definition.network.name);
    let there = members.into_iter().flat_map(|member| member.containers);
    let living = there.filter(|(_, container)| container.process.open().is_some());
    let pool = |pool: &IpamPool| Some((pool.subnet.clone()?, pool.gateway?));
    Shown {
        containers: living.map(|(id, c)| (id, (c.name, c.mac, c.addresses))).collect(),
        subnets: definition.network.ipam.iter().filter_map(pool).collect(),
        id: definition.id,
        created: definition.created,
        network: definition.network,
        project: None,
    }
}

fn of_project(global: &Global, project: &ProjectName) -> Vec<Shown> {
    let Ok(Some(mut answer)) = context::client(global, project).ask_running(&Request::Networks) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    while let Ok(Some(message)) = answer.read() {
        if let Message::Networks { list } = message {
            found = list;
        }
    }
    let own = found.into_iter().filter(|info| !info.network.external);
    own.map(|info: NetworkInfo| {
        let mut network = info.network;
        network.labels.extend([
            ("com.docker.compose.network".to_owned(), info.key),
            ("com.docker.compose.project".to_owned(), project.to_string()),
        ]);
        Shown {
            // A network of a project has no record of its own; its name is its identity.
            id: hash_of(&network.name),
            created: info.created,
            network,
            subnets: info.subnets,
            containers: info.containers,
            project: Some(project.to_string()),
        }
    })
    .collect()
}

fn list(global: &Global, store: &SharedNetworks, args: &List) -> Outcome {
    let networks = all(global, store)?;
    let id = |network: &Shown| {
        let length = if args.no_trunc { 64 } else { 12 };
        network.id.chars().take(length).collect::<String>()
    };
    let text = if args.quiet {
        networks
            .iter()
            .map(|network| format!("{}\n", id(network)))
            .collect()
    } else if args.format == "json" {
        networks
            .iter()
            .map(|network| format!("{}\n", line(network, &id(network))))
            .collect()
    } else {
        let rows: Vec<_> = networks
            .iter()
            .map(|network| {
                let driver = network.network.driver.clone();
                vec![
                    id(network),
                    network.network.name.clone(),
                    driver,
                    "local".to_owned(),
                ]
            })
            .collect();
        table::table(&["NETWORK ID", "NAME", "DRIVER", "SCOPE"], &rows)
    };
    super::print(&text);
    Ok(Exit::Success)
}

/// As `docker network ls --format json` prints it: all values are texts.
fn line(shown: &Shown, id: &str) -> Value {
    let network = &shown.network;
    let labels: Vec<_> = network
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    json!({
        "CreatedAt": time(shown.created),
        "Driver": network.driver,
        "ID": id,
        "IPv4": network.ipv4.to_string(),
        "IPv6": network.ipv6.to_string(),
        "Internal": network.internal.to_string(),
        "Labels": labels.join(","),
        "Name": network.name,
        "Scope": "local",
    })
}

fn time(nanoseconds: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))
        .unwrap_or_default()
        .to_string()
}

/// Networks by name, or by the beginning of an id.
fn named<'a>(networks: &'a [Shown], name: &str) -> Result<&'a Shown, CommandError> {
    if let Some(found) = networks.iter().find(|network| network.network.name == name) {
        return Ok(found);
    }
    let mut by_id = networks
        .iter()
        .filter(|network| name.len() >= 2 && network.id.starts_with(name));
    match (by_id.next(), by_id.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(CommandError::new(
            Exit::Failed,
            format!("several networks have ids that begin with `{name}`"),
        )),
        _ => Err(
            CommandError::new(Exit::Failed, format!("there is no network `{name}`"))
                .hint("`banyan network ls` lists them; networks of projects exist while these run"),
        ),
    }
}

fn inspect(global: &Global, store: &SharedNetworks, args: &Inspect) -> Outcome {
    let networks = all(global, store)?;
    let mut found = Vec::new();
    for name in &args.names {
        found.push(details(named(&networks, name)?));
    }
    let text = serde_json::to_string_pretty(&found)
        .map_err(|error| CommandError::caused(Exit::Internal, "cannot print networks", &error))?;
    super::print(&format!("{text}\n"));
    Ok(Exit::Success)
}

/// As `docker network inspect` prints it.
fn details(shown: &Shown) -> Value {
    let network = &shown.network;
    let range = |subnet: &String| {
        let pool = network
            .ipam
            .iter()
            .find(|pool| pool.subnet.as_ref() == Some(subnet));
        pool.and_then(|pool| pool.ip_range.clone()).unwrap_or_default()
    };
    let config: Vec<_> = shown
        .subnets
        .iter()
        .map(|(subnet, gateway)| json!({"Subnet": subnet, "IPRange": range(subnet), "Gateway": gateway}))
        .collect();
    let subnets: Vec<Subnet> = shown
        .subnets
        .iter()
        .filter_map(|(text, _)| text.parse().ok())
        .collect();
    let with_length = |addresses: &[IpAddr], ipv4: bool| {
        let address = addresses.iter().find(|address| address.is_ipv4() == ipv4);
        let subnet = |address: &IpAddr| subnets.iter().find(|subnet| subnet.contains(*address));
        address
            .and_then(|address| Some(format!("{address}/{}", subnet(address)?.prefix())))
            .unwrap_or_default()
    };
    let containers: serde_json::Map<String, Value> = shown
        .containers
        .iter()
        .map(|(id, (name, mac, addresses))| {
            let container = json!({
                "Name": name,
                "EndpointID": hash_of(&(&shown.id, id)),
                "MacAddress": mac,
                "IPv4Address": with_length(addresses, true),
                "IPv6Address": with_length(addresses, false),
            });
            (id.clone(), container)
        })
        .collect();
    json!({
        "Name": network.name,
        "Id": shown.id,
        "Created": time(shown.created),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {"Driver": "default", "Options": {}, "Config": config},
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": false,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": containers,
        "Options": network.driver_opts,
        "Labels": network.labels,
    })
}

fn remove(global: &Global, store: &SharedNetworks, args: &Remove) -> Outcome {
    let networks = all(global, store)?;
    for name in &args.names {
        let found = match named(&networks, name) {
            Err(_) if args.force => continue,
            found => found?,
        };
        if let Some(project) = &found.project {
            let what = format!("network `{}` belongs to project `{project}`", found.network.name);
            return Err(CommandError::new(Exit::Failed, what).hint(format!(
                "`banyan -p {project} down` removes it with its containers"
            )));
        }
        store
            .remove(&found.network.name)
            .map_err(|error| failed(format!("cannot remove network `{name}`"), &error))?;
        super::print(&format!("{name}\n"));
    }
    Ok(Exit::Success)
}

fn prune(store: &SharedNetworks, args: &Prune) -> Outcome {
    let definitions = store
        .list()
        .map_err(|error| CommandError::caused(Exit::Host, "cannot list networks", &error))?;
    let mut count = 0;
    for definition in definitions {
        let name = definition.network.name;
        let outcome = if args.force {
            store.remove(&name)
        } else {
            store
                .lock(&name)
                .and_then(|locked| locked.users())
                .and_then(|users| {
                    if users.is_empty() {
                        return Ok(());
                    }
                    Err(SharedError::InUse {
                        name: name.clone(),
                        users,
                    })
                })
        };
        match outcome {
            Ok(()) => {
                super::print(&format!("{name}\n"));
                count += 1;
            }
            // Used, or gone by somebody else's hand.
            Err(SharedError::InUse { .. } | SharedError::Missing { .. }) => {}
            Err(error) => return Err(failed(format!("cannot remove network `{name}`"), &error)),
        }
    }
    let noun = if count == 1 { "network" } else { "networks" };
    super::print(&if args.force {
        format!("removed {count} {noun}\n")
    } else {
        format!("{count} {noun} would go; `--force` removes them\n")
    });
    Ok(Exit::Success)
}
