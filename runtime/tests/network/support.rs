//! Namespaces to play with.

use banyan_runtime::{
    network::{Bridge, Endpoint, Hall, LinkName, MacAddress, Reach, Subnet},
    sys::netns,
};
use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
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

/// Whether a TCP connection from `from` to a listener in `to` at `address` carries bytes both ways.
pub(crate) fn tcp_works(from: &Namespace, to: &Namespace, address: &str, patience: Duration) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    // The listener of a connection that was tried before may be open for a moment longer.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    let listener = loop {
        match to.run(|| TcpListener::bind(address)) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse && std::time::Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            bound => break bound.unwrap(),
        }
    };
    let server = thread::spawn(move || {
        if let Ok((mut stream, _)) = listener.accept() {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_ok() {
                let _ = stream.write_all(&byte);
            }
        }
    });
    let answered = from.run(|| {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, patience) else {
            return false;
        };
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.write_all(b"x").is_ok() && stream.read_exact(&mut [0]).is_ok()
    });
    if !answered {
        // Release the listener's thread.
        to.run(|| {
            let _ = TcpStream::connect_timeout(&address, SOON);
        });
    }
    server.join().unwrap();
    answered
}
