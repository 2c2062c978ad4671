//! Published ports as another host sees them: over a link, from a network namespace of its own.

use crate::support::{Project, Root, can_run_containers, in_network, wait_until};
use banyan_runtime::sys::netns;
use std::{
    io::{Read, Write},
    net::{IpAddr, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::Command,
    time::Duration,
};

/// This host's address on the link, and the neighbour's (RFC 5737).
const HERE: &str = "203.0.113.1";
const THERE: &str = "203.0.113.2";

/// A neighbour of this host: a network namespace at the other end of a link.
struct Neighbour {
    namespace: OwnedFd,
    link: String,
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}");
}

impl Neighbour {
    fn new() -> Self {
        let made = std::thread::spawn(|| {
            netns::unshare().unwrap();
            netns::current().unwrap()
        });
        let namespace = made.join().unwrap();
        let link = format!("bt{}", std::process::id());
        // A program's namespace can be named, a descriptor's cannot.
        let at = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        ip(&[
            "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &at,
        ]);
        ip(&["address", "add", &format!("{HERE}/30"), "dev", &link]);
        ip(&["link", "set", &link, "up"]);
        in_network(namespace.as_fd(), || {
            ip(&["address", "add", &format!("{THERE}/30"), "dev", "eth0"]);
            ip(&["link", "set", "eth0", "up"]);
        });
        Self { namespace, link }
    }

    /// The client's address as the page tells it; `None` without an answer.
    fn who_am_i(&self, port: u16) -> Option<IpAddr> {
        in_network(self.namespace.as_fd(), || told(HERE, port))
    }

    fn send(&self, port: u16, bytes: &[u8]) {
        in_network(self.namespace.as_fd(), || {
            let socket = UdpSocket::bind((THERE, 0)).unwrap();
            socket.send_to(bytes, (HERE, port)).unwrap();
        });
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", &self.link]).status();
    }
}

/// Asks the page at `host:port` who asks.
fn told(host: &str, port: u16) -> Option<IpAddr> {
    let address = (host.parse::<IpAddr>().unwrap(), port).into();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.write_all(b"GET /cgi-bin/who HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let told = answer.lines().last()?.trim_matches(['[', ']']);
    let told: IpAddr = told.parse().ok()?;
    Some(told.to_canonical())
}

/// A page that tells the client's address.
const SERVICE: &str = r#"
    image: busybox
    stop_signal: SIGKILL
    command:
      - sh
      - -c
      - |
        mkdir -p /www/cgi-bin
        printf '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n%%s\\n" "$$REMOTE_ADDR"\n' > /www/cgi-bin/who
        chmod +x /www/cgi-bin/who
        exec httpd -f -p 80 -h /www
"#;

fn port(project: &Project<'_>, arguments: &[&str]) -> u16 {
    let said = project.ok(&[&["port"], arguments].concat());
    said.lines()
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

fn answer(project: &Project<'_>, neighbour: &Neighbour) -> IpAddr {
    let port = port(project, &["web", "80"]);
    wait_until(10, "an answer", || neighbour.who_am_i(port))
}

fn tables() -> String {
    let output = Command::new("nft").args(["list", "tables"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_relayed_port_answers_another_host_and_a_translated_one_also_shows_its_address() {
    if !can_run_containers() {
        return;
    }
    let neighbour = Neighbour::new();
    let root = Root::new();
    let relayed = root.project(
        "relayed",
        &format!("services:\n  web:{SERVICE}    ports: ['80']\n"),
    );
    relayed.ok(&["up", "-d"]);
    // The gateway of its network.
    let there: IpAddr = THERE.parse().unwrap();
    assert_ne!(answer(&relayed, &neighbour), there);

    let ports = "    ports: ['80', '7000/udp']\n    x-banyan: {publish: nat}\n";
    let project = root.project("translated", &format!("services:\n  web:{SERVICE}{ports}"));
    project.ok(&["up", "-d"]);
    assert_eq!(answer(&project, &neighbour), there);
    // The host itself has no link to come over: it is relayed.
    assert!(told("127.0.0.1", port(&project, &["web", "80"])).is_some());
    assert!(told(HERE, port(&project, &["web", "80"])).is_some());
    let udp = port(&project, &["--protocol", "udp", "web", "7000"]);
    let inspected = project.ok(&["container", "inspect", &project.id("web")]);
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let pid = &inspected[0]["State"]["Pid"];
    let networks = &inspected[0]["NetworkSettings"]["Networks"];
    assert!(
        networks["translated_default"]["IPAddress"].is_string(),
        "{networks:#}"
    );
    let container = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    let listening = in_network(container.as_fd(), || UdpSocket::bind(("0.0.0.0", 7000)).unwrap());
    listening.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    neighbour.send(udp, b"hello");
    let mut bytes = [0; 16];
    let (length, from) = listening.recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes[..length], from.ip()), (&b"hello"[..], there));
    drop(listening);

    // A recreated container has the same port; a stopped one has none.
    project.ok(&["up", "-d", "--force-recreate"]);
    assert_eq!(answer(&project, &neighbour), there);
    let port = port(&project, &["web", "80"]);
    project.ok(&["stop", "-t", "0"]);
    assert_eq!(neighbour.who_am_i(port), None);
    project.ok(&["start"]);
    assert_eq!(answer(&project, &neighbour), there);

    // The rules outlive the engine, and go with the project.
    assert!(tables().contains("banyan-by-"), "{}", tables());
    project.ok(&["down", "-t", "0"]);
    assert!(!tables().contains("banyan-by-"), "{}", tables());
    relayed.ok(&["down", "-t", "0"]);
}

#[test]
fn translation_without_a_way_back_is_refused() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "nowhere",
        "services:\n  web:\n    image: busybox\n    ports: ['80']\n    x-banyan: {publish: nat}\n    networks: [inside]\nnetworks:\n  inside: {internal: true}\n",
    );
    let ran = project.run(&["up", "-d"]);
    assert_ne!(ran.code, 0);
    assert!(ran.all().contains("default route"), "{}", ran.all());
    assert!(ran.all().contains("compose.yaml:2"), "{}", ran.all());
}
