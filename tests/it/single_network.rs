//! Networks and ports of single containers: `container run --network … -p …`, held by nobody but the container's attendant.

use crate::support::{Ran, Root, can_run_containers, free_port, http_get, victims, wait_until};

const SERVER: &str = "mkdir -p /srv && echo page > /srv/index.html && exec httpd -f -p 80 -h /srv";

fn container(root: &Root, arguments: &[&str]) -> Ran {
    let output = root.banyan().arg("container").args(arguments).output().unwrap();
    Ran::new(arguments, output)
}

#[track_caller]
fn ok(root: &Root, arguments: &[&str]) -> String {
    let ran = container(root, arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.all());
    ran.stdout
}

/// What the page of a container is for another one.
fn page_of(root: &Root, flags: &[&str], host: &str) -> Option<String> {
    let address = format!("http://{host}/");
    let all = [
        &["run", "--rm"],
        flags,
        &["busybox", "wget", "-q", "-O", "-", &address],
    ]
    .concat();
    let ran = container(root, &all);
    (ran.code == 0).then_some(ran.stdout)
}

fn served(port: u16) -> Option<String> {
    http_get(port, "/").ok()
}

/// Nothing of any container under this root: no attendant, no membership, no address, no hall.
#[track_caller]
fn nothing_is_left(root: &Root) {
    assert_eq!(victims::processes_of(root, "container-attendant"), [""; 0]);
    assert!(!root.path().join("run/networks").exists());
    // What a shim removes when its container has ended, it removes a moment after the container's state.
    wait_until(10, "the end of all folders of containers", || {
        let left = std::fs::read_dir(root.path().join("run/containers"));
        (left.into_iter().flatten().count() == 0).then_some(())
    });
    let networks = root.path().join("networks");
    for network in std::fs::read_dir(networks).into_iter().flatten().flatten() {
        let addresses = network.path().join("addresses.json");
        assert!(
            !addresses.exists(),
            "{}",
            std::fs::read_to_string(addresses).unwrap()
        );
    }
}

#[test]
fn a_container_is_on_a_bridge_with_names_and_ports_and_leaves_nothing() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    ok(
        &root,
        &[
            "run",
            "-d",
            "--name",
            "web",
            "--network-alias",
            "site",
            "-p",
            &publish,
            "busybox",
            "sh",
            "-c",
            SERVER,
        ],
    );
    let page = wait_until(10, "the page", || served(port));
    assert_eq!(page, "page\n");
    for name in ["web", "site"] {
        assert_eq!(page_of(&root, &[], name).as_deref(), Some("page\n"), "{name}");
    }
    // Its addresses are its own, and in its files.
    let first = ok(&root, &["exec", "web", "ip", "-4", "addr", "show", "dev", "eth0"]);
    let second = ok(
        &root,
        &[
            "run", "--rm", "busybox", "ip", "-4", "addr", "show", "dev", "eth0",
        ],
    );
    let address = |text: &str| {
        text.split("inet ")
            .nth(1)
            .unwrap()
            .split('/')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_ne!(address(&first), address(&second));
    // Where it is, and where it is published, in docker's words.
    let shown: serde_json::Value = serde_json::from_str(&ok(&root, &["inspect", "web"])).unwrap();
    let settings = &shown[0]["NetworkSettings"];
    assert_eq!(
        settings["Networks"]["bridge"]["IPAddress"],
        address(&first).trim(),
        "{settings:#}"
    );
    assert_eq!(
        settings["Ports"]["80/tcp"][0]["HostPort"],
        port.to_string(),
        "{settings:#}"
    );
    assert_eq!(shown[0]["HostConfig"]["NetworkMode"], "bridge");
    assert!(ok(&root, &["ls"]).contains(&format!("127.0.0.1:{port}->80/tcp")));
    let hosts = ok(&root, &["exec", "web", "cat", "/etc/hosts", "/etc/resolv.conf"]);
    assert!(
        hosts.contains(&address(&first)) && hosts.contains("127.0.0.11"),
        "{hosts}"
    );
    // The same port for another one: said at once, with who has it, and nothing stays.
    let ran = container(
        &root,
        &["run", "--name", "late", "-p", &publish, "busybox", "true"],
    );
    assert_eq!(ran.code, 125, "{}", ran.all());
    assert!(ran.stderr.contains(&port.to_string()), "{}", ran.all());
    assert!(!ok(&root, &["ls", "-a"]).contains("late"));
    // A stopped container has no port, and has it again when it runs again.
    ok(&root, &["stop", "-t", "0", "web"]);
    std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    ok(&root, &["start", "web"]);
    wait_until(10, "the page after a start", || served(port));
    ok(&root, &["restart", "-t", "0", "web"]);
    wait_until(10, "the page after a restart", || served(port));
    let hosts_again = ok(&root, &["exec", "web", "cat", "/etc/hosts"]);
    assert_eq!(hosts_again.matches("10.").count(), 1, "once each: {hosts_again}");
    ok(&root, &["rm", "-f", "web"]);
    nothing_is_left(&root);
}

#[test]
fn networks_are_apart_unless_a_container_is_on_several() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    for name in ["front", "back"] {
        let output = root.banyan().args(["network", "create", name]).output().unwrap();
        assert!(output.status.success());
    }
    ok(
        &root,
        &[
            "run",
            "-d",
            "--name",
            "db",
            "--network",
            "back",
            "busybox",
            "sh",
            "-c",
            SERVER,
        ],
    );
    let both = ["--network", "name=front,alias=door", "--network", "back"];
    ok(
        &root,
        &[
            &["run", "-d", "--name", "app"],
            &both[..],
            &["busybox", "sh", "-c", SERVER],
        ]
        .concat(),
    );
    wait_until(10, "the page", || page_of(&root, &["--network", "back"], "db"));
    wait_until(10, "the page", || page_of(&root, &["--network", "front"], "door"));
    assert_eq!(page_of(&root, &["--network", "front"], "db"), None);
    assert_eq!(page_of(&root, &[], "db"), None);
    // In the network of another container, which is there.
    let inside = container(
        &root,
        &[
            "run",
            "--rm",
            "--network",
            "container:app",
            "busybox",
            "wget",
            "-q",
            "-O",
            "-",
            "http://127.0.0.1/",
        ],
    );
    assert_eq!(inside.stdout, "page\n", "{}", inside.all());
    let rm = root.banyan().args(["network", "rm", "back"]).output().unwrap();
    let said = String::from_utf8_lossy(&rm.stderr).into_owned();
    assert!(
        !rm.status.success() && said.contains("in use by container"),
        "{said}"
    );
    for (flags, text) in [
        (&["--network", "nowhere"][..], "network create nowhere"),
        (&["--network", "none", "-p", "80:80"], "cannot be published"),
        (
            &["--network", "host", "--network", "front"],
            "one network of several",
        ),
        (&["-p", "eighty"], "`eighty`"),
    ] {
        let ran = container(&root, &[&["run", "--rm"], flags, &["busybox", "true"]].concat());
        assert_eq!(ran.code, 125, "{flags:?}: {}", ran.all());
        assert!(ran.stderr.contains(text), "{flags:?}: {}", ran.all());
    }
    ok(&root, &["rm", "-f", "app", "db"]);
    nothing_is_left(&root);
    for name in ["front", "back"] {
        let output = root.banyan().args(["network", "rm", name]).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_killed_attendant_comes_back_and_one_that_cannot_leaves_nothing() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    ok(
        &root,
        &[
            "run", "-d", "--name", "web", "-p", &publish, "busybox", "sh", "-c", SERVER,
        ],
    );
    wait_until(10, "the page", || served(port));
    let attendants = || victims::processes_of(&root, "container-attendant");
    let [pid] = &attendants()[..] else {
        panic!("{:?}", attendants())
    };
    victims::kill(pid);
    wait_until(10, "the page again", || served(port));
    assert!(!attendants().contains(pid));
    assert_eq!(page_of(&root, &[], "web").as_deref(), Some("page\n"));
    // Shim and attendant at once: nobody is left to bring either back; removal takes away what they had.
    for pid in attendants()
        .iter()
        .chain(&victims::processes_of(&root, "banyan-shim"))
    {
        victims::kill(pid);
    }
    ok(&root, &["rm", "-f", "web"]);
    // The shim may have been faster: then its attendant sees the end by itself.
    wait_until(10, "the attendant's end", || {
        attendants().is_empty().then_some(())
    });
    wait_until(10, "the network's end", || {
        (!root.path().join("run/networks").exists()).then_some(())
    });
    ok(
        &root,
        &[
            "run", "--rm", "-d", "--name", "short", "-p", &publish, "busybox", "true",
        ],
    );
    wait_until(10, "a detached container to remove itself", || {
        (attendants().is_empty() && ok(&root, &["ls", "-a", "-q"]).is_empty()).then_some(())
    });
    nothing_is_left(&root);
}
