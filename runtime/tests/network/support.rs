//! Namespaces to play with.

use banyan_runtime::{
    network::{Bridge, Endpoint, Hall, LinkName, MacAddress, Reach, Subnet},
    sys::netns,
};
use std::{
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
    time::Duration,
};

/// Longest wait for a packet that should come.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Wait for a packet that must not come.
pub(crate) const NEVER: Duration = Duration::from_millis(150);

/// Whether this process may make network namespaces; says so when not.
pub(crate) fn can_run() -> bool {
    let can = thread::spawn(|| netns::unshare().is_ok()).join().unwrap();
    if !can {
        assert!(
            std::env::var_os("BANYAN_TESTS_MUST_RUN").is_none(),
            "network namespaces cannot be made here"
        );
        eprintln!("skipped: network namespaces cannot be made here (not root?)");
    }
    can
}

/// A bare network namespace: a container's, or a host's.
pub(crate) struct Namespace(OwnedFd);

impl Namespace {
    pub(crate) fn new() -> Self {
        Self(
            thread::spawn(|| {
                netns::unshare().unwrap();
                netns::current().unwrap()
            })
            .join()
            .unwrap(),
        )
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Runs `work` on a thread inside.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    netns::enter(&self.0).unwrap();
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

pub(crate) fn subnet(text: &str) -> Subnet {
    text.parse().unwrap()
}

pub(crate) fn name(text: &str) -> LinkName {
    LinkName::new(text).unwrap()
}

pub(crate) fn bridge(bridge: &str, gateway: &str, reach: Reach) -> Bridge {
    Bridge {
        name: name(bridge),
        gateways: vec![subnet(gateway)],
        mtu: 1500,
        reach,
    }
}

/// An `eth0` with one address whose default route leads to `gateway`.
pub(crate) fn endpoint(bridge: &str, address: &str, gateway: &str) -> Endpoint {
    let address = subnet(address);
    let gateway: IpAddr = gateway.parse().unwrap();
    Endpoint {
        bridge: name(bridge),
        interface: name("eth0"),
        mac: MacAddress::for_ip(address.address()),
        addresses: vec![address],
        gateways: vec![gateway],
        mtu: 1500,
    }
}

/// A container connected to `bridge`.
pub(crate) fn container(hall: &Hall, bridge: &str, address: &str, gateway: &str) -> Namespace {
    let namespace = Namespace::new();
    hall.connect(namespace.fd(), &[endpoint(bridge, address, gateway)], None)
        .unwrap();
    namespace
}
