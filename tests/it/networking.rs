//! Networks of a project as its containers see them.

use crate::support::{Project, Root, can_run_containers, engines, in_network, wait_until};
use std::{
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

const NETWORKS: &str = r#"
x-base: &base
  image: busybox
  command: ["sleep", "1000"]
  stop_signal: SIGKILL
services:
  front: {<<: *base, networks: [outside]}
  middle:
    <<: *base
    networks: {outside: {}, inside: {aliases: [gate], ipv4_address: 172.31.5.9}}
  back: {<<: *base, networks: [inside]}
networks:
  outside: {}
  inside:
    internal: true
    ipam: {config: [{subnet: 172.31.5.0/24}]}
"#;

#[test]
fn networks_are_isolated_and_names_are_seen_only_where_both_are() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("nets", NETWORKS);
    project.ok(&["up", "-d"]);
    let resolves = |from: &str, name: &str| {
        project
            .run(&["exec", "-T", from, "nslookup", "-type=a", name])
            .code
            == 0
    };
    assert!(resolves("front", "middle"));
    assert!(resolves("back", "middle"));
    assert!(resolves("back", "gate"));
    assert!(!resolves("front", "gate"), "an alias of another network resolves");
    assert!(
        !resolves("front", "back"),
        "a service of another network resolves"
    );
    let ping = |from: &str, to: &str| {
        project
            .run(&["exec", "-T", from, "ping", "-c", "1", "-W", "1", to])
            .code
            == 0
    };
    assert!(ping("back", "172.31.5.9"));
    assert!(
        !ping("front", "172.31.5.9"),
        "an address of another network answers"
    );
}

#[test]
fn a_service_can_share_the_network_of_another_or_have_none() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "modes",
        r#"
services:
  web:
    image: busybox
    command: ["httpd", "-f", "-p", "80", "-h", "/www"]
    stop_signal: SIGKILL
  beside:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    network_mode: "service:web"
  alone:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    network_mode: none
"#,
    );
    project.ok(&["up", "-d"]);
    let page = wait_until(5, "the page", || {
        let ran = project.run(&[
            "exec",
            "-T",
            "beside",
            "wget",
            "-q",
            "-O",
            "-",
            "http://127.0.0.1/index.html",
        ]);
        (ran.code == 0).then_some(ran.stdout)
    });
    assert_eq!(page, "hello from busybox\n");
    let links = project.ok(&["exec", "-T", "alone", "ip", "-o", "link"]);
    assert_eq!(links.lines().count(), 1, "{links}");
}

#[test]
fn a_stopped_container_keeps_its_address_from_those_that_are_new() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let service = |name: &str| {
        format!("  {name}: {{image: busybox, command: [sleep, \"1000\"], stop_signal: SIGKILL}}\n")
    };
    let project = root.project("slots", &format!("services:\n{}", service("web")));
    project.ok(&["up", "-d"]);
    let address = |name: &str| {
        let shown = project.ok(&["exec", "-T", name, "ip", "-4", "-o", "addr", "show", "eth0"]);
        shown.split_whitespace().nth(3).unwrap().to_owned()
    };
    let before = address("web");
    project.ok(&["stop", "-t", "0"]);
    wait_until(10, "the engine's end", || {
        engines(&project).is_empty().then_some(())
    });
    // It is planned before the one that is there.
    project.rewrite(&format!("services:\n{}{}", service("a"), service("web")));
    project.ok(&["up", "-d"]);
    assert_eq!(address("web"), before);
    assert_ne!(address("a"), before);
}

/// The network namespace of a service's container, and its addresses on the default network.
fn inside(project: &Project<'_>, service: &str) -> (std::fs::File, Ipv4Addr, Ipv6Addr) {
    let shown = project.ok(&["container", "inspect", &project.id(service)]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let file = std::fs::File::open(format!("/proc/{}/ns/net", shown[0]["State"]["Pid"])).unwrap();
    let networks = shown[0]["NetworkSettings"]["Networks"].as_object().unwrap();
    let place = networks.values().next().unwrap();
    let text = |key: &str| place[key].as_str().unwrap();
    (
        file,
        text("IPAddress").parse().unwrap(),
        text("GlobalIPv6Address").parse().unwrap(),
    )
}

#[test]
fn a_containers_own_name_server_is_not_disturbed_and_ipv6_reaches_neighbours() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "own",
        r#"
services:
  server: {image: busybox, command: [sleep, "1000"], stop_signal: SIGKILL}
  client: {image: busybox, command: [sleep, "1000"], stop_signal: SIGKILL}
networks:
  default: {enable_ipv6: true}
"#,
    );
    project.ok(&["up", "-d"]);
    let (server, v4, v6) = inside(&project, "server");
    let (client, ..) = inside(&project, "client");
    let soon = Some(Duration::from_secs(5));
    let listening = in_network(&server, || UdpSocket::bind("0.0.0.0:53").unwrap());
    listening.set_read_timeout(soon).unwrap();
    // Neighbours find the container's server where it is,
    in_network(&client, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.send_to(b"a question", (v4, 53)).unwrap();
    });
    let mut bytes = [0; 16];
    let length = listening.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"a question");
    // and the container itself still has names at 127.0.0.11, which its server hears nothing of.
    project.ok(&["exec", "-T", "server", "nslookup", "-type=a", "client"]);
    listening
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    listening.recv(&mut bytes).unwrap_err();

    let listener = in_network(&server, || TcpListener::bind((v6, 8000)).unwrap());
    in_network(&client, || {
        TcpStream::connect_timeout(&(v6, 8000).into(), Duration::from_secs(5)).unwrap()
    });
    listener.accept().unwrap();
    let said = project.ok(&["exec", "-T", "client", "nslookup", "-type=aaaa", "server"]);
    assert!(said.contains(&v6.to_string()), "{said}");
}
