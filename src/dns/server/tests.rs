//! The server with real sockets and the client everybody has: `dig`.
//!
//! Needs root and `dig`; without them each test says so and passes, unless `BANYAN_TESTS_MUST_RUN` is set.

use super::*;
use crate::dns::{Client, Endpoint, Network};
use banyan_runtime::{
    network::{
        Bridge, EmbeddedDns, Endpoint as Wire, FORWARDED_DNS_PORT, LinkName, MacAddress, Reach, Subnet,
    },
    sys::netns,
};
use std::{
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::Command,
    thread,
};

struct Bench {
    hall: Hall,
    zones: Arc<Zones>,
    stop: watch::Sender<bool>,
    /// Stands for the host's resolver, on this process's loopback; a port cannot be named in `resolv.conf`, so it is
    /// a loopback address of its own.
    _upstream: tempfile::TempDir,
}

fn name(text: &str) -> LinkName {
    LinkName::new(text).unwrap()
}

fn skip(reason: &str) {
    assert!(std::env::var_os("BANYAN_TESTS_MUST_RUN").is_none(), "{reason}");
    eprintln!("skipped: {reason}");
}

/// Two networks: `open` (10.81.0.0/24) with `web` twice and `me`, `shut` (10.82.0.0/24, internal) with `db`.
async fn bench() -> Option<Bench> {
    let hall = match Hall::create() {
        Ok(hall) => hall,
        Err(error) => {
            skip(&error.to_string());
            return None;
        }
    };
    let zones = Arc::new(Zones::new());
    let directory = tempfile::tempdir().unwrap();
    let resolv_conf = directory.path().join("resolv.conf");
    std::fs::write(&resolv_conf, "nameserver 127.81.82.83\n").unwrap();
    let forwarder = Arc::new(Forwarder::new(&resolv_conf));
    let (stop, stopped) = watch::channel(false);
    for (key, gateway, reach) in [
        ("open", "10.81.0.1/24", Reach::Outside),
        ("shut", "10.82.0.1/24", Reach::Internal),
    ] {
        let gateway: Subnet = gateway.parse().unwrap();
        hall.add_bridge(&Bridge {
            name: name(key),
            gateways: vec![gateway],
            mtu: 1500,
            reach,
        })
        .unwrap();
        let network = Network {
            name: format!("p_{key}"),
            subnets: vec![gateway.network()],
            internal: reach == Reach::Internal,
        };
        zones.update(|r| r.set_network(key, network));
        let listeners = bind(&hall, gateway.address(), FORWARDED_DNS_PORT).unwrap();
        tokio::spawn(serve(
            listeners,
            Arc::clone(&zones),
            Arc::clone(&forwarder),
            stopped.clone(),
        ));
    }
    for (container, network, address, names) in [
        ("web1", "open", "10.81.0.11", ["web", "p-web-1"]),
        ("web2", "open", "10.81.0.12", ["web", "p-web-2"]),
        ("me", "open", "10.81.0.2", ["me", "p-me-1"]),
        ("db", "shut", "10.82.0.2", ["db", "p-db-1"]),
    ] {
        let endpoint = Endpoint {
            container: container.into(),
            network: network.into(),
            addresses: vec![address.parse().unwrap()],
            names: names.map(str::to_owned).to_vec(),
        };
        zones.update(|r| r.add(endpoint));
    }
    Some(Bench {
        hall,
        zones,
        stop,
        _upstream: directory,
    })
}

/// A container's namespace at `address` on `network`.
fn container(hall: &Hall, network: &str, address: &str) -> OwnedFd {
    let namespace = thread::spawn(|| {
        netns::unshare().unwrap();
        netns::current().unwrap()
    })
    .join()
    .unwrap();
    let own: Subnet = format!("{address}/24").parse().unwrap();
    let gateway = own.nth(1).unwrap();
    let (IpAddr::V4(server), IpAddr::V4(client)) = (gateway, own.address()) else {
        panic!("IPv4 only")
    };
    let endpoint = Wire {
        bridge: name(network),
        interface: name("eth0"),
        mac: MacAddress::for_ip(own.address()),
        addresses: vec![own],
        gateways: vec![gateway],
        mtu: 1500,
    };
    hall.connect(
        namespace.as_fd(),
        &[endpoint],
        Some(EmbeddedDns {
            server,
            port: FORWARDED_DNS_PORT,
            client,
        }),
    )
    .unwrap();
    namespace
}

/// Runs `work` inside a namespace, off the runtime.
async fn inside<T: Send + 'static>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = namespace.try_clone().unwrap();
    tokio::task::spawn_blocking(move || {
        thread::spawn(move || {
            netns::enter(&namespace).unwrap();
            work()
        })
        .join()
        .unwrap()
    })
    .await
    .unwrap()
}

/// `dig`'s short answer and status, or `None` when there is no `dig`.
async fn dig(namespace: &OwnedFd, arguments: &'static [&'static str]) -> Option<String> {
    inside(namespace, move || {
        let mut command = Command::new("dig");
        command
            .args(["+time=3", "+tries=1", "+noall", "+answer", "+comments"])
            .args(arguments);
        let text = String::from_utf8(command.output().ok()?.stdout).unwrap();
        let status = text
            .split("status: ")
            .nth(1)
            .and_then(|t| t.split(',').next())
            .unwrap_or("NONE")
            .to_owned();
        let records = text.lines().filter(|l| !l.starts_with(';') && !l.is_empty());
        let mut answers: Vec<_> = records.filter_map(|l| l.split_whitespace().last()).collect();
        answers.sort_unstable();
        Some(format!("{status} {}", answers.join(" ")).trim().to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dig_sees_what_each_container_may_see() {
    let Some(bench) = bench().await else { return };
    let me = container(&bench.hall, "open", "10.81.0.2");
    let db = container(&bench.hall, "shut", "10.82.0.2");
    if dig(&me, &["@127.0.0.11", "web"]).await.is_none() {
        return skip("dig is not installed");
    }
    for (who, arguments, expected) in [
        (&me, &["@127.0.0.11", "web"][..], "NOERROR 10.81.0.11 10.81.0.12"),
        (
            &me,
            &["@127.0.0.11", "+tcp", "WEB"],
            "NOERROR 10.81.0.11 10.81.0.12",
        ),
        (&me, &["@10.81.0.1", "p-web-2"], "NOERROR 10.81.0.12"),
        (
            &me,
            &["@10.81.0.1", "+tcp", "web.p_open"],
            "NOERROR 10.81.0.11 10.81.0.12",
        ),
        (&me, &["@127.0.0.11", "web", "AAAA"], "NOERROR"),
        (&me, &["@127.0.0.11", "web", "MX"], "NOERROR"),
        (&me, &["@127.0.0.11", "-x", "10.81.0.12"], "NOERROR web.p_open."),
        (&me, &["@127.0.0.11", "db"], "NXDOMAIN"),
        (&db, &["@127.0.0.11", "web"], "NXDOMAIN"),
        (&db, &["@127.0.0.11", "db"], "NOERROR 10.82.0.2"),
        (&db, &["@127.0.0.11", "example.com"], "NXDOMAIN"),
        // Another network's gateway cannot be asked.
        (&db, &["@10.81.0.1", "web"], "NONE"),
    ] {
        assert_eq!(dig(who, arguments).await.unwrap(), expected, "{arguments:?}");
    }
    // Changes are seen at once.
    bench.zones.update(|r| r.remove_container("web1"));
    assert_eq!(
        dig(&me, &["@127.0.0.11", "web"]).await.unwrap(),
        "NOERROR 10.81.0.12"
    );
    bench.stop.send_replace(true);
}

/// A resolver of the world outside that knows `big.example` (120 addresses) and denies everything else.
fn upstream(socket: &std::net::UdpSocket, listener: &std::net::TcpListener) {
    use hickory_proto::{
        op::{Message, ResponseCode},
        rr::{RData, Record, rdata::A},
    };
    let answer = |bytes: &[u8], tcp: bool| {
        let query = Message::from_vec(bytes).unwrap();
        let question = query.queries[0].clone();
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.add_query(question.clone());
        match question.name().to_lowercase().to_ascii().as_str() {
            "big.example." if tcp => {
                for n in 0..120 {
                    let data = RData::A(A::new(192, 0, 2, n));
                    reply.add_answer(Record::from_rdata(question.name().clone(), 60, data));
                }
            }
            "big.example." => reply.metadata.truncation = true,
            "one.example." => {
                let data = RData::A(A::new(192, 0, 2, 1));
                reply.add_answer(Record::from_rdata(question.name().clone(), 60, data));
            }
            _ => reply.metadata.response_code = ResponseCode::NXDomain,
        }
        reply.to_vec().unwrap()
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if length < 12 {
                    return;
                }
                let _ = socket.send_to(&answer(&buffer[..length], false), from);
            }
        });
        scope.spawn(|| {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    return;
                }
                let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut bytes).unwrap();
                let reply = answer(&bytes, true);
                stream
                    .write_all(&u16::try_from(reply.len()).unwrap().to_be_bytes())
                    .unwrap();
                stream.write_all(&reply).unwrap();
            }
        });
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_names_are_forwarded_to_resolvers_on_the_hosts_loopback() {
    let Some(bench) = bench().await else { return };
    let at = "127.81.82.83:53";
    let (Ok(socket), Ok(listener)) = (std::net::UdpSocket::bind(at), std::net::TcpListener::bind(at)) else {
        return skip("port 53 of a loopback address is not to be had");
    };
    let outside = thread::spawn(move || upstream(&socket, &listener));
    let me = container(&bench.hall, "open", "10.81.0.2");
    if let Some(one) = dig(&me, &["@127.0.0.11", "one.example"]).await {
        assert_eq!(one, "NOERROR 192.0.2.1");
        assert_eq!(
            dig(&me, &["@127.0.0.11", "none.example"]).await.unwrap(),
            "NXDOMAIN"
        );
        // Does not fit a datagram: truncated there, whole over TCP; dig does the second by itself.
        let big = dig(&me, &["@127.0.0.11", "+noedns", "big.example"])
            .await
            .unwrap();
        assert_eq!(big.split(' ').count(), 121, "{big}");
        assert_eq!(
            dig(&me, &["@127.0.0.11", "+ignore", "+noedns", "big.example"])
                .await
                .unwrap(),
            "NOERROR"
        );
    } else {
        skip("dig is not installed");
    }
    // End the resolver: an empty datagram, an empty connection.
    std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .send_to(&[], at)
        .unwrap();
    drop(std::net::TcpStream::connect(at).unwrap());
    outside.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_malformed_tcp_clients_do_not_hold_up_their_neighbours() {
    let Some(bench) = bench().await else { return };
    bench.zones.update(|r| r.set_client("me", Client::default()));
    let attacker = container(&bench.hall, "open", "10.81.0.2");
    let neighbour = container(&bench.hall, "open", "10.81.0.11");
    let slow = inside(&attacker, || {
        (0..1000)
            .filter_map(|n| {
                let mut stream = std::net::TcpStream::connect("10.81.0.1:53").ok()?;
                // A length, and then nothing; or rubbish.
                let _ = stream.write_all(if n % 2 == 0 {
                    &[0, 100, 1]
                } else {
                    &[0, 13, 0, 1, 2, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255]
                });
                Some(stream)
            })
            .collect::<Vec<_>>()
    })
    .await;
    let worst = inside(&neighbour, || {
        let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01";
        let mut worst = Duration::ZERO;
        for _ in 0..200 {
            let begin = std::time::Instant::now();
            let mut stream = std::net::TcpStream::connect("10.81.0.1:53").unwrap();
            stream.write_all(&[0, 21]).unwrap();
            stream.write_all(query).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            worst = worst.max(begin.elapsed());
        }
        worst
    })
    .await;
    println!("slowest of 200 answers over TCP beside 1,000 slow clients: {worst:?}");
    assert!(worst < PATIENCE, "{worst:?}");
    drop(slow);
}

/// `cargo test --release --lib -- --ignored --nocapture answers_per_second`, with `dnsperf` installed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; run it by name"]
async fn answers_per_second() {
    let Some(bench) = bench().await else { return };
    let me = container(&bench.hall, "open", "10.81.0.2");
    let report = inside(&me, || {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "web A\nweb AAAA\np-web-1 A\nme A\n").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let run = |server: &str| {
            let output = Command::new("dnsperf")
                .args(["-s", server, "-d", &path, "-l", "5", "-c", "4", "-Q", "200000"])
                .output();
            String::from_utf8(output.expect("dnsperf is installed").stdout).unwrap()
        };
        run("10.81.0.1") + &run("127.0.0.11")
    })
    .await;
    println!("{report}");
}
