//! Who reaches whom.

use super::support::{NEVER, Namespace, SOON, bridge, can_run, container, endpoint, name, subnet, tcp_works};
use banyan_runtime::network::{EmbeddedDns, FORWARDED_DNS_PORT, Hall, Reach};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
};

#[test]
fn members_of_a_network_reach_each_other_and_nobody_else() {
    if !can_run() {
        return;
    }
    let hall = Hall::create().unwrap();
    hall.add_bridge(&bridge("front", "172.20.0.1/24", Reach::Outside))
        .unwrap();
    hall.add_bridge(&bridge("back", "172.21.0.1/24", Reach::Outside))
        .unwrap();
    let web = container(&hall, "front", "172.20.0.2/24", "172.20.0.1");
    let api = container(&hall, "front", "172.20.0.3/24", "172.20.0.1");
    let db = container(&hall, "back", "172.21.0.2/24", "172.21.0.1");
    assert!(tcp_works(&web, &api, "172.20.0.3:8000", SOON));
    assert!(tcp_works(&api, &web, "172.20.0.2:8000", SOON));
    assert!(
        !tcp_works(&web, &db, "172.21.0.2:8000", NEVER),
        "networks must be strangers to each other"
    );
    assert!(
        !tcp_works(&db, &web, "172.20.0.2:8000", NEVER),
        "networks must be strangers to each other"
    );
}

#[test]
fn a_container_on_two_networks_reaches_both() {
    if !can_run() {
        return;
    }
    let hall = Hall::create().unwrap();
    hall.add_bridge(&bridge("front", "172.20.0.1/24", Reach::Outside))
        .unwrap();
    hall.add_bridge(&bridge("back", "172.21.0.1/24", Reach::Internal))
        .unwrap();
    let both = Namespace::new();
    let mut second = endpoint("back", "172.21.0.9/24", "172.21.0.1");
    (second.interface, second.gateways) = (name("eth1"), vec![]);
    hall.connect(
        both.fd(),
        &[endpoint("front", "172.20.0.9/24", "172.20.0.1"), second],
        None,
    )
    .unwrap();
    let web = container(&hall, "front", "172.20.0.2/24", "172.20.0.1");
    let db = container(&hall, "back", "172.21.0.2/24", "172.21.0.1");
    assert!(tcp_works(&both, &web, "172.20.0.2:8000", SOON));
    assert!(tcp_works(&both, &db, "172.21.0.2:8000", SOON));
    hall.disconnect(both.fd(), &name("eth1")).unwrap();
    hall.disconnect(both.fd(), &name("eth1")).unwrap();
    assert!(!tcp_works(&both, &db, "172.21.0.2:8000", NEVER));
}

#[test]
fn ipv6_works_at_once_without_duplicate_detection() {
    if !can_run() {
        return;
    }
    let hall = Hall::create().unwrap();
    let mut six = bridge("six", "172.20.0.1/24", Reach::Outside);
    six.gateways.push(subnet("fd00:1::1/64"));
    hall.add_bridge(&six).unwrap();
    let make = |v4: &str, v6: &str| {
        let mut endpoint = endpoint("six", v4, "172.20.0.1");
        endpoint.addresses.push(subnet(v6));
        endpoint.gateways.push("fd00:1::1".parse().unwrap());
        let namespace = Namespace::new();
        hall.connect(namespace.fd(), &[endpoint], None).unwrap();
        namespace
    };
    let (a, b) = (
        make("172.20.0.2/24", "fd00:1::2/64"),
        make("172.20.0.3/24", "fd00:1::3/64"),
    );
    assert!(tcp_works(&a, &b, "[fd00:1::3]:8000", SOON));
    let plain = container(&hall, "six", "172.20.0.4/24", "172.20.0.1");
    let addresses = plain.run(|| std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap());
    assert!(
        !addresses.contains("eth0"),
        "IPv6 must be off where it was not asked for: {addresses}"
    );
}

#[test]
fn a_successor_takes_over_an_address_while_the_old_namespace_still_lives() {
    if !can_run() {
        return;
    }
    let hall = Hall::create().unwrap();
    hall.add_bridge(&bridge("net", "172.20.0.1/24", Reach::Outside))
        .unwrap();
    let client = container(&hall, "net", "172.20.0.2/24", "172.20.0.1");
    let old = container(&hall, "net", "172.20.0.3/24", "172.20.0.1");
    assert!(tcp_works(&client, &old, "172.20.0.3:8000", SOON));
    for _ in 0..3 {
        let new = container(&hall, "net", "172.20.0.3/24", "172.20.0.1");
        assert!(tcp_works(&client, &new, "172.20.0.3:8000", SOON));
    }
    drop(old);
}

#[test]
fn a_hall_reopened_from_its_descriptor_is_the_same_hall() {
    if !can_run() {
        return;
    }
    let hall = Hall::create().unwrap();
    hall.add_bridge(&bridge("net", "172.20.0.1/24", Reach::Outside))
        .unwrap();
    let again = Hall::from_fd(hall.fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(hall.id(), again.id());
    // Adding what exists completes it.
    again
        .add_bridge(&bridge("net", "172.20.0.1/24", Reach::Outside))
        .unwrap();
    drop(hall);
    assert!(again.addresses().unwrap().contains(&subnet("172.20.0.1/24")));
    again.remove_bridge(&name("net")).unwrap();
    again.remove_bridge(&name("net")).unwrap();
    assert!(again.addresses().unwrap().is_empty());
}

#[test]
fn the_embedded_name_server_address_answers_over_udp_and_tcp() {
    if !can_run() {
        return;
    }
    let hall = Hall::create().unwrap();
    hall.add_bridge(&bridge("net", "172.20.0.1/24", Reach::Internal))
        .unwrap();
    let client = Namespace::new();
    let dns = EmbeddedDns {
        server: "172.20.0.1".parse().unwrap(),
        port: FORWARDED_DNS_PORT,
        client: "172.20.0.2".parse().unwrap(),
    };
    hall.connect(
        client.fd(),
        &[endpoint("net", "172.20.0.2/24", "172.20.0.1")],
        Some(dns),
    )
    .unwrap();
    let (udp, tcp) = hall
        .run(|| {
            let at = ("172.20.0.1", FORWARDED_DNS_PORT);
            (UdpSocket::bind(at).unwrap(), TcpListener::bind(at).unwrap())
        })
        .unwrap();
    let server = thread::spawn(move || {
        let mut buffer = [0; 16];
        let (length, from) = udp.recv_from(&mut buffer).unwrap();
        udp.send_to(&buffer[..length], from).unwrap();
        let (mut stream, peer) = tcp.accept().unwrap();
        let mut whole = Vec::new();
        stream.read_to_end(&mut whole).unwrap();
        stream.write_all(&whole).unwrap();
        (from, peer)
    });
    client.run(|| {
        // A server of the container's own on port 53 is not in the way.
        let own = UdpSocket::bind("0.0.0.0:53").unwrap();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect("127.0.0.11:53").unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.send(b"question").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 8);
        assert_eq!(&buffer[..8], b"question");
        // More than one segment, so that sizes and checksums are put to the test.
        let long = vec![7; 100_000];
        let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(&long).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut echo = Vec::new();
        stream.read_to_end(&mut echo).unwrap();
        assert_eq!(echo, long);
        drop(own);
    });
    let (udp_from, tcp_from) = server.join().unwrap();
    assert_eq!(udp_from.ip().to_string(), "172.20.0.2");
    assert_eq!(tcp_from.ip().to_string(), "172.20.0.2");
}

#[test]
fn the_halls_own_ports_are_closed_but_for_names() {
    if !can_run() {
        return;
    }
    let hall = Hall::create().unwrap();
    hall.add_bridge(&bridge("net", "172.20.0.1/24", Reach::Outside))
        .unwrap();
    hall.add_bridge(&bridge("other", "172.21.0.1/24", Reach::Outside))
        .unwrap();
    let client = container(&hall, "net", "172.20.0.2/24", "172.20.0.1");
    let listeners = hall
        .run(|| {
            ["172.20.0.1:53", "172.20.0.1:8080", "172.21.0.1:53"].map(|at| TcpListener::bind(at).unwrap())
        })
        .unwrap();
    let connects = |at: &str, patience| {
        client.run(|| TcpStream::connect_timeout(&at.parse().unwrap(), patience).is_ok())
    };
    assert!(connects("172.20.0.1:53", SOON));
    assert!(!connects("172.20.0.1:8080", NEVER));
    assert!(
        !connects("172.21.0.1:53", NEVER),
        "the gateway of another network is out of reach"
    );
    drop(listeners);
}

#[test]
fn fifty_containers_connect_in_parallel() {
    if !can_run() {
        return;
    }
    let hall = Hall::create().unwrap();
    hall.add_bridge(&bridge("net", "172.20.0.1/24", Reach::Outside))
        .unwrap();
    let namespaces: Vec<_> = (0..50).map(|_| Namespace::new()).collect();
    let begin = std::time::Instant::now();
    thread::scope(|scope| {
        for (number, namespace) in namespaces.iter().enumerate() {
            let hall = &hall;
            scope.spawn(move || {
                let address = format!("172.20.0.{}", number + 2);
                let dns = EmbeddedDns {
                    server: "172.20.0.1".parse().unwrap(),
                    port: FORWARDED_DNS_PORT,
                    client: address.parse().unwrap(),
                };
                let wanted = endpoint("net", &format!("{address}/24"), "172.20.0.1");
                hall.connect(namespace.fd(), &[wanted], Some(dns)).unwrap();
            });
        }
    });
    println!("50 connections: {:?}", begin.elapsed());
    assert!(tcp_works(
        &namespaces[0],
        &namespaces[49],
        "172.20.0.51:8000",
        SOON
    ));
}
