//! The way out, and the host as it was afterwards.

use super::support::{NEVER, Namespace, SOON, bridge, can_run, container, endpoint, name, tcp_works};
use banyan_runtime::network::{Forward, Hall, Outbound, Reach, Uplink, resolv_conf::ResolvConf, sweep};
use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

/// The world outside: a network with a server on it, and a host connected to it.
struct World {
    /// Held so that the network lives.
    outside: Hall,
    server: Namespace,
    host: Namespace,
    state: tempfile::TempDir,
}

const SERVER: &str = "192.0.2.9:8000";

impl World {
    fn new() -> Self {
        let outside = Hall::create().unwrap();
        outside
            .add_bridge(&bridge("lan", "192.0.2.1/24", Reach::Internal))
            .unwrap();
        let server = container(&outside, "lan", "192.0.2.9/24", "192.0.2.1");
        let host = container(&outside, "lan", "192.0.2.2/24", "192.0.2.1");
        // A new namespace has the machine's setting, which docker changes.
        host.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap());
        Self {
            outside,
            server,
            host,
            state: tempfile::tempdir().unwrap(),
        }
    }

    fn state(&self) -> &Path {
        self.state.path()
    }

    fn project(&self) -> (Hall, Uplink) {
        let hall = Hall::create().unwrap();
        let uplink = self.host.run(|| Uplink::ensure(&hall, self.state()).unwrap());
        hall.add_bridge(&bridge("net", "172.20.0.1/24", Reach::Outside))
            .unwrap();
        (hall, uplink)
    }

    /// Everything of the host's network that we might have changed.
    fn census(&self) -> String {
        self.host.run(|| {
            let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
            let mut text = read("/proc/thread-self/net/dev_mcast");
            text.retain(|c| !c.is_ascii_digit());
            for setting in [
                "conf/eth0/forwarding",
                "conf/all/forwarding",
                "conf/default/forwarding",
                "ip_forward",
            ] {
                text += &format!("{setting} {}", read(&format!("/proc/sys/net/ipv4/{setting}")));
            }
            text += &read("/proc/thread-self/net/route");
            text += &output("nft", &["list", "ruleset"]).unwrap_or_default();
            text
        })
    }
}

/// Runs a program in the calling thread's namespace; `None` when it is not installed.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn containers_reach_the_outside_from_the_hosts_address_and_the_host_is_restored() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let before = world.census();
    let (hall, uplink) = world.project();
    assert_eq!((uplink.mtu, uplink.warnings.as_slice()), (1500, [].as_slice()));
    let client = container(&hall, "net", "172.20.0.2/24", "172.20.0.1");
    assert!(tcp_works(&client, &world.server, SERVER, SOON));

    let listener = world.server.run(|| TcpListener::bind(SERVER).unwrap());
    let _stream = client.run(|| TcpStream::connect(SERVER).unwrap());
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), "192.0.2.2");
    drop(listener);

    // Again: nothing changes. A flushed rule set is repaired.
    let again = world.host.run(|| Uplink::ensure(&hall, world.state()).unwrap());
    assert_eq!(again, uplink);
    assert_ne!(world.census(), before);
    world.host.run(|| Uplink::remove(&hall, world.state()).unwrap());
    assert_eq!(world.census(), before);
    assert_eq!(
        std::fs::read_dir(world.state()).unwrap().count(),
        0,
        "the state file must go"
    );
    world.host.run(|| Uplink::remove(&hall, world.state()).unwrap());
    assert_eq!(world.census(), before);
}

#[test]
fn internal_networks_and_other_projects_are_out_of_reach() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let (hall, uplink) = world.project();
    let (other_hall, other) = world.project();
    assert_ne!(uplink.hall, other.hall);
    hall.add_bridge(&bridge("inner", "172.21.0.1/24", Reach::Internal))
        .unwrap();
    let closed = container(&hall, "inner", "172.21.0.2/24", "172.21.0.1");
    assert!(
        !tcp_works(&closed, &world.server, SERVER, NEVER),
        "an internal network has no way out"
    );

    // Same subnet in both projects; the other project's hall and its gateway cannot be reached.
    let client = container(&hall, "net", "172.20.0.2/24", "172.20.0.1");
    let _neighbour = container(&other_hall, "net", "172.20.0.7/24", "172.20.0.1");
    let in_other = other_hall
        .run(|| TcpListener::bind((other.hall, 53)).unwrap())
        .unwrap();
    let reached = client.run(|| TcpStream::connect_timeout(&(other.hall, 53).into(), NEVER).is_ok());
    assert!(!reached, "another project's hall is out of reach");
    drop(in_other);
    // Nor from the network outside, by routing through the host.
    let from_outside = world.server.run(|| {
        output("ip", &["route", "add", "198.19.0.0/16", "via", "192.0.2.2"]);
        TcpStream::connect_timeout(&(uplink.hall, 53).into(), NEVER).is_ok()
    });
    assert!(!from_outside);
    for hall in [&hall, &other_hall] {
        world.host.run(|| Uplink::remove(hall, world.state()).unwrap());
    }
}

#[test]
fn the_host_is_restored_only_with_the_last_uplink_and_after_a_crash() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let before = world.census();
    let (first, _) = world.project();
    let (second, _) = world.project();
    world.host.run(|| Uplink::remove(&first, world.state()).unwrap());
    let client = container(&second, "net", "172.20.0.2/24", "172.20.0.1");
    assert!(
        tcp_works(&client, &world.server, SERVER, SOON),
        "the other project keeps its way out"
    );
    // As if killed: the hall vanishes without `remove`; its link follows.
    let name = world
        .host
        .run(|| Uplink::ensure(&second, world.state()).unwrap())
        .link;
    drop((client, first, second));
    let deadline = std::time::Instant::now() + SOON;
    let alive = || {
        world.host.run(|| {
            std::fs::read_to_string("/proc/thread-self/net/dev")
                .unwrap()
                .contains(name.as_str())
        })
    };
    while alive() {
        assert!(std::time::Instant::now() < deadline, "the link outlives its hall");
        thread::yield_now();
    }
    assert_ne!(world.census(), before);
    world.host.run(|| sweep(world.state()).unwrap());
    assert_eq!(world.census(), before);
}

#[test]
fn eight_projects_at_once_get_addresses_of_their_own_and_leave_nothing() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let before = world.census();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (hall, _) = world.project();
                let client = container(&hall, "net", "172.20.0.2/24", "172.20.0.1");
                let connected = client.run(|| {
                    // The listener may be somebody else's turn; a refusal travels both ways as well.
                    TcpStream::connect_timeout(&SERVER.parse().unwrap(), SOON)
                });
                assert_ne!(connected.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
                world.host.run(|| Uplink::remove(&hall, world.state()).unwrap());
            });
        }
    });
    assert_eq!(world.census(), before);
}

#[test]
fn dockers_forward_policy_drop_does_not_keep_containers_in() {
    if !can_run() {
        return;
    }
    let world = World::new();
    // What Docker's daemon leaves on a host.
    let rules = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n\
                 :DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A FORWARD -o docker0 -j DOCKER\n\
                 -A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n-A DOCKER-USER -j RETURN\nCOMMIT\n";
    let restored = world.host.run(|| {
        let mut child = Command::new("iptables-nft-restore")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .ok()?;
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), rules.as_bytes()).unwrap();
        child.wait().unwrap().success().then_some(())
    });
    if restored.is_none() {
        assert!(
            std::env::var_os("BANYAN_TESTS_MUST_RUN").is_none(),
            "iptables-nft is missing"
        );
        eprintln!("skipped: iptables-nft is not installed");
        return;
    }
    let listed = || world.host.run(|| output("iptables-nft", &["-S"]).unwrap());
    let before = listed();
    let (hall, uplink) = world.project();
    let client = container(&hall, "net", "172.20.0.2/24", "172.20.0.1");
    assert!(tcp_works(&client, &world.server, SERVER, SOON));
    // iptables still understands its own table.
    let now = listed();
    assert!(now.contains(&format!("-A FORWARD -i {} ", uplink.link)), "{now}");
    // What the administrator refuses stays refused.
    world.host.run(|| {
        output(
            "iptables-nft",
            &["-I", "DOCKER-USER", "-d", "192.0.2.9", "-j", "DROP"],
        )
    });
    assert!(!tcp_works(&client, &world.server, SERVER, NEVER));
    world.host.run(|| {
        output(
            "iptables-nft",
            &["-D", "DOCKER-USER", "-d", "192.0.2.9", "-j", "DROP"],
        )
    });
    world.host.run(|| Uplink::remove(&hall, world.state()).unwrap());
    assert_eq!(listed(), before);
}

#[test]
fn a_host_that_forwards_only_for_us_is_no_router_for_strangers() {
    if !can_run() {
        return;
    }
    let world = World::new();
    // A second network of the host, with a machine on it that must not be reached through the host.
    world
        .outside
        .add_bridge(&bridge("other", "198.51.100.1/24", Reach::Internal))
        .unwrap();
    let victim = container(&world.outside, "other", "198.51.100.9/24", "198.51.100.2");
    let mut second = endpoint("other", "198.51.100.2/24", "198.51.100.1");
    (second.interface, second.gateways) = (name("eth1"), vec![]);
    world.outside.connect(world.host.fd(), &[second], None).unwrap();
    world
        .server
        .run(|| output("ip", &["route", "add", "198.51.100.0/24", "via", "192.0.2.2"]));
    let target = "198.51.100.9:8000";
    assert!(!tcp_works(&world.server, &victim, target, NEVER), "not before");
    let (hall, _) = world.project();
    let client = container(&hall, "net", "172.20.0.2/24", "172.20.0.1");
    assert!(
        tcp_works(&client, &victim, target, SOON),
        "containers reach both networks of the host"
    );
    assert!(
        !tcp_works(&world.server, &victim, target, NEVER),
        "strangers do not"
    );
    world.host.run(|| Uplink::remove(&hall, world.state()).unwrap());
}

#[test]
fn what_is_forwarded_comes_with_the_clients_address_and_goes_with_the_uplink() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let before = world.census();
    let (hall, uplink) = world.project();
    let target = container(&hall, "net", "172.20.0.2/24", "172.20.0.1");
    let forward = Forward {
        protocol: 6,
        from: "0.0.0.0:8080".parse().unwrap(),
        entry: 50_000,
        to: "172.20.0.2:8000".parse().unwrap(),
    };
    let set = |forwards: &[Forward]| world.host.run(|| uplink.forward(&hall, forwards).unwrap());
    let listener = target.run(|| TcpListener::bind("172.20.0.2:8000").unwrap());
    let reach = |address: &str| {
        world.server.run(|| {
            let address = address.parse().unwrap();
            TcpStream::connect_timeout(&address, std::time::Duration::from_millis(500)).is_ok()
        })
    };
    assert!(!reach("192.0.2.2:8080"), "not before");
    set(&[forward]);
    assert!(reach("192.0.2.2:8080"));
    let (_, client) = listener.accept().unwrap();
    assert_eq!(client.ip().to_string(), "192.0.2.9");
    // The entry is a door for translated packets only: nobody opens connections into a hall by routing.
    world.server.run(|| {
        output(
            "ip",
            &["route", "add", &format!("{}/32", uplink.hall), "via", "192.0.2.2"],
        )
    });
    assert!(!reach(&format!("{}:50000", uplink.hall)));
    set(&[]);
    assert!(!reach("192.0.2.2:8080"), "not after");
    set(&[forward]);
    world.host.run(|| Uplink::remove(&hall, world.state()).unwrap());
    assert_eq!(world.census(), before);
}

#[test]
fn a_build_step_gets_out_without_ceremony() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let before = world.census();
    let host_names = ResolvConf::parse("nameserver 172.17.0.53\n");
    let outbound = world
        .host
        .run(|| Outbound::open(world.state(), &host_names).unwrap());
    let (first, second) = (Namespace::new(), Namespace::new());
    let place = outbound.connect(first.fd()).unwrap();
    assert_eq!(
        place.address.to_string(),
        "192.168.224.2",
        "not the subnet of the host's name server"
    );
    assert_eq!(
        outbound.connect(second.fd()).unwrap().address.to_string(),
        "192.168.224.3"
    );
    assert!(tcp_works(&first, &world.server, SERVER, SOON));
    drop(place);
    world.host.run(|| outbound.close().unwrap());
    assert_eq!(world.census(), before);
}
