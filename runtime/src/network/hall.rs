//! The hall: a project's private network namespace.

use super::{
    Subnet, SysctlError, link,
    netlink::{NetlinkError, Socket},
    nft::{Chain, ChainKind, Direction, Family, Hook, Rule, SetKind, Transaction, Verdict},
    sysctl,
};
use crate::sys::{
    netlink::{Family as Subsystem, namespace_cookie},
    netns,
};
use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// Our table in the hall.
pub(super) const TABLE: &str = "banyan";
/// The set of bridges that have a way out.
pub(super) const OUTBOUND: &str = "outbound";
/// The hall's own end of the uplink.
pub(super) const UPLINK: &str = "uplink";
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Why a hall could not be made, entered or changed.
#[derive(Debug, thiserror::Error)]
pub enum HallError {
    /// No new namespace.
    #[error("cannot make a network namespace")]
    Create(#[source] io::Error),
    /// The namespace could not be entered.
    #[error("cannot enter the network namespace")]
    Enter(#[source] io::Error),
    /// No thread to work in it.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A kernel setting was refused.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// A step over netlink failed.
    #[error("cannot {step} `{object}`")]
    Netlink {
        /// What was being done.
        step: &'static str,
        /// To what.
        object: String,
        /// What the kernel said.
        #[source]
        cause: NetlinkError,
    },
}

impl HallError {
    /// For `map_err`: a step and its object.
    pub(super) fn step(step: &'static str, object: impl ToString) -> impl FnOnce(NetlinkError) -> Self {
        let object = object.to_string();
        move |cause| Self::Netlink { step, object, cause }
    }

    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        let missing = |cause: &io::Error| cause.raw_os_error() == Some(libc::EPROTONOSUPPORT);
        match self {
            Self::Create(cause) if cause.raw_os_error() == Some(libc::EPERM) => {
                Some("run as root: a network of one's own needs CAP_SYS_ADMIN".into())
            }
            Self::Create(cause) if cause.raw_os_error() == Some(libc::ENOSPC) => {
                Some("raise `/proc/sys/user/max_net_namespaces`".into())
            }
            Self::Netlink {
                cause: NetlinkError::Open { cause, .. },
                ..
            } if missing(cause) => Some("load the kernel module `nf_tables`".into()),
            _ => None,
        }
    }
}

/// The two netlink sockets that speak with one namespace.
#[derive(Debug)]
pub(super) struct Sockets {
    /// Links, addresses, routes.
    pub(super) route: Socket,
    /// Rules.
    pub(super) netfilter: Socket,
}

impl Sockets {
    /// Opens both in the calling thread's namespace.
    pub(super) fn open() -> Result<Self, HallError> {
        let open =
            |subsystem| Socket::open(subsystem).map_err(HallError::step("reach", "the kernel's network"));
        Ok(Self {
            route: open(Subsystem::Route)?,
            netfilter: open(Subsystem::Netfilter)?,
        })
    }
}

/// A network namespace for the bridges of one project. It lives as long as anyone holds its descriptor: this
/// process, or a child that inherited it. Cheap to reopen from a descriptor after a crash.
#[derive(Debug)]
pub struct Hall {
    namespace: OwnedFd,
    /// Unique among all namespaces since boot.
    id: u64,
    sockets: Mutex<Sockets>,
}

impl Hall {
    /// Makes an empty hall: loopback up, forwarding on, everything between networks refused.
    ///
    /// # Errors
    /// When the kernel refuses; see [`HallError::hint`].
    pub fn create() -> Result<Self, HallError> {
        let (namespace, sockets) = on_thread(|| {
            netns::unshare().map_err(HallError::Create)?;
            let mut sockets = Sockets::open()?;
            prepare(&mut sockets)?;
            Ok::<_, HallError>((netns::current().map_err(HallError::Enter)?, sockets))
        })??;
        Ok(Self::assemble(namespace, sockets))
    }

    /// Takes up a hall made earlier, as by a process that has died since.
    ///
    /// # Errors
    /// When the descriptor is not a network namespace, or cannot be entered.
    pub fn from_fd(namespace: OwnedFd) -> Result<Self, HallError> {
        let sockets = on_thread(|| {
            netns::enter(&namespace).map_err(HallError::Enter)?;
            Sockets::open()
        })??;
        Ok(Self::assemble(namespace, sockets))
    }

    fn assemble(namespace: OwnedFd, sockets: Sockets) -> Self {
        // Linux 5.14 has the cookie; before, the inode number is unique among the living, which is enough.
        let id = namespace_cookie(sockets.route.fd())
            .or_else(|_| inode(&namespace))
            .unwrap_or_default();
        Self {
            namespace,
            id,
            sockets: Mutex::new(sockets),
        }
    }

    /// The namespace, to be inherited by a child or entered.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// What the kernel calls the namespace in `/proc/PID/fd` and `/proc/PID/ns`: `net:[INODE]`. Unique among those that
    /// live, so that a path can be recognised before it is opened.
    ///
    /// # Errors
    /// When the descriptor cannot be looked at.
    pub fn label(&self) -> io::Result<String> {
        Ok(format!("net:[{}]", inode(&self.namespace)?))
    }

    /// A number that no other namespace has or had since boot.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Runs `work` on a new thread inside the hall and waits for it.
    ///
    /// # Errors
    /// When the hall cannot be entered. A panic of `work` is passed on.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, HallError> {
        run_in(self.fd(), work)
    }

    /// The addresses of the hall's own interfaces: gateways and the uplink.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn addresses(&self) -> Result<Vec<Subnet>, HallError> {
        let found = link::addresses(&mut self.sockets().route)
            .map_err(HallError::step("list addresses of", "the hall"))?;
        Ok(found
            .into_iter()
            .map(|(_, address)| address)
            .filter(|a| !is_loopback(a.address()))
            .collect())
    }

    /// The hall's netlink sockets; they speak with the hall from any thread.
    pub(super) fn sockets(&self) -> MutexGuard<'_, Sockets> {
        // A panic while the lock was held leaves nothing half-done here: every request is complete in itself.
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback()
}

fn inode(fd: &OwnedFd) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::File::from(fd.try_clone()?).metadata()?.ino())
}

/// Runs `work` on a new thread inside `namespace` and waits for it. A thread of its own, because a pooled thread
/// left in another namespace would betray whoever uses it next.
///
/// # Errors
/// When the namespace cannot be entered. A panic of `work` is passed on.
pub(super) fn run_in<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, HallError> {
    on_thread(|| {
        netns::enter(namespace).map_err(HallError::Enter)?;
        Ok(work())
    })?
}

/// Starts a thread inside `namespace` that goes on by itself.
///
/// # Errors
/// When the namespace cannot be entered.
pub(super) fn enter_thread(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), HallError> {
    let namespace = namespace.try_clone_to_owned().map_err(HallError::Enter)?;
    let (entered, outcome) = std::sync::mpsc::sync_channel(1);
    thread::Builder::new()
        .name("banyan-hall".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let result = netns::enter(&namespace);
            // The thread itself holds the namespace from here on.
            drop(namespace);
            let inside = result.is_ok();
            if entered.send(result).is_ok() && inside {
                work();
            }
        })
        .map_err(HallError::Thread)?;
    outcome
        .recv()
        .map_err(|_| HallError::Enter(io::ErrorKind::BrokenPipe.into()))?
        .map_err(HallError::Enter)
}

/// Runs `work` on a new thread and waits for it; a panic is passed on.
fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, HallError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("banyan-netns".into())
            .stack_size(256 * 1024)
            .spawn_scoped(scope, work)
            .map_err(HallError::Thread)?;
        thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}

/// Settings, loopback and rules of a new hall. The calling thread is inside.
fn prepare(sockets: &mut Sockets) -> Result<(), HallError> {
    sysctl::write("ipv4/ip_forward", "1")?;
    // All containers of a network are neighbours; telling them so only costs packets.
    sysctl::write("ipv4/conf/all/send_redirects", "0")?;
    sysctl::write("ipv4/conf/default/send_redirects", "0")?;
    for (key, value) in [
        ("ipv6/conf/default/accept_ra", "0"),
        // No link-local addresses: bridges have the addresses we give them, ports have none.
        ("ipv6/conf/default/addr_gen_mode", "1"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/all/forwarding", "1"),
        // With `br_netfilter` loaded, frames between two ports of one bridge would pass our IP rules.
        ("bridge/bridge-nf-call-iptables", "0"),
        ("bridge/bridge-nf-call-ip6tables", "0"),
        ("bridge/bridge-nf-call-arptables", "0"),
    ] {
        sysctl::write_if_present(key, value)?;
    }
    sockets
        .route
        .request(vec![link::set_up_by_name("lo")])
        .map_err(HallError::step("bring up", "lo"))?;
    rules()
        .commit(&mut sockets.netfilter)
        .map_err(HallError::step("write the rules of", "the hall"))
}

/// Replaces the translations at the hall's entry.
///
/// # Errors
/// When the kernel refuses; what was there before stays then.
pub(super) fn forward(
    hall: &Hall,
    chain: &'static str,
    priority: i32,
    rules: impl Iterator<Item = Rule>,
) -> Result<(), HallError> {
    let entry = Chain {
        name: chain,
        kind: ChainKind::Nat,
        hook: Hook::Prerouting,
        priority,
        policy: Verdict::Accept,
    };
    let mut transaction =
        Transaction::new()
            .chain(Family::Inet, TABLE, entry)
            .flush_chain(Family::Inet, TABLE, chain);
    for rule in rules {
        transaction = transaction.rule(Family::Inet, TABLE, chain, rule);
    }
    transaction
        .commit(&mut hall.sockets().netfilter)
        .map_err(HallError::step("write the rules of", "the hall"))
}

/// The hall's whole rule set. Default: nothing passes between networks, nothing reaches the hall's own addresses.
fn rules() -> Transaction {
    let filter = |name, hook, priority, policy| Chain {
        name,
        kind: ChainKind::Filter,
        hook,
        priority,
        policy,
    };
    let accept = Verdict::Accept;
    let mut transaction = Transaction::new()
        .table(Family::Inet, TABLE)
        .set(Family::Inet, TABLE, OUTBOUND, SetKind::InterfaceName)
        .chain(
            Family::Inet,
            TABLE,
            filter("prerouting", Hook::Prerouting, -300, accept),
        )
        .chain(
            Family::Inet,
            TABLE,
            filter("input", Hook::Input, 0, Verdict::Drop),
        )
        .chain(
            Family::Inet,
            TABLE,
            filter("forward", Hook::Forward, 0, Verdict::Drop),
        )
        .chain(
            Family::Inet,
            TABLE,
            Chain {
                name: "postrouting",
                kind: ChainKind::Nat,
                hook: Hook::Postrouting,
                priority: 100,
                policy: accept,
            },
        );
    let chains = [
        // Neighbour discovery uses addresses that no route leads to.
        ("prerouting", Rule::new().transport(ICMPV6).verdict(accept)),
        (
            "prerouting",
            Rule::new()
                .interface_not(Direction::In, "lo")
                .from_elsewhere()
                .counter()
                .verdict(Verdict::Drop),
        ),
        (
            "input",
            Rule::new().interface(Direction::In, "lo").verdict(accept),
        ),
        ("input", Rule::new().established().verdict(accept)),
        ("input", Rule::new().transport(ICMPV6).verdict(accept)),
        (
            "input",
            Rule::new().for_this_interface().transport(ICMP).verdict(accept),
        ),
        (
            "input",
            Rule::new()
                .for_this_interface()
                .transport(UDP)
                .destination_port(53)
                .verdict(accept),
        ),
        (
            "input",
            Rule::new()
                .for_this_interface()
                .transport(TCP)
                .destination_port(53)
                .verdict(accept),
        ),
        (
            "input",
            Rule::new()
                .for_this_interface()
                .transport(UDP)
                .destination_ports(&super::FORWARDED_DNS_PORTS)
                .verdict(accept),
        ),
        (
            "input",
            Rule::new()
                .for_this_interface()
                .transport(TCP)
                .destination_ports(&super::FORWARDED_DNS_PORTS)
                .verdict(accept),
        ),
        ("forward", Rule::new().established().verdict(accept)),
        // Published by translation: what came to an entry port of the uplink's address ([`forward`]).
        (
            "forward",
            Rule::new()
                .interface(Direction::In, UPLINK)
                .translated()
                .verdict(accept),
        ),
        (
            "forward",
            Rule::new()
                .interface_in(Direction::In, OUTBOUND)
                .interface(Direction::Out, UPLINK)
                .verdict(accept),
        ),
        (
            "postrouting",
            Rule::new().interface(Direction::Out, UPLINK).masquerade(),
        ),
    ];
    for (chain, rule) in chains {
        transaction = transaction.rule(Family::Inet, TABLE, chain, rule);
    }
    transaction
}
