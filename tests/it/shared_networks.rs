//! Networks that several projects share: `banyan network …` and `external: true`.

use crate::support::{Project, Ran, Root, can_run_containers, http_get, wait_until};
use serde_json::Value;

/// The program, outside any project.
fn network(root: &Root, arguments: &[&str]) -> Ran {
    let output = root.banyan().arg("network").args(arguments).output().unwrap();
    Ran::new(arguments, output)
}

fn created(root: &Root, arguments: &[&str]) {
    let ran = network(root, &[&["create"], arguments].concat());
    assert_eq!(ran.code, 0, "{}", ran.all());
}

/// A project with one service that serves a page, on its own network and on the shared one with an alias.
fn page(service: &str, alias: &str) -> String {
    format!(
        r#"
services:
  {service}:
    image: busybox
    command: ["sh", "-c", "mkdir -p /srv && echo page of {service} > /srv/index.html && exec httpd -f -p 80 -h /srv"]
    stop_signal: SIGKILL
    networks: {{default: {{}}, edge: {{aliases: [{alias}]}}}}
networks:
  edge: {{external: true}}
"#
    )
}

fn resolves(project: &Project<'_>, from: &str, name: &str) -> bool {
    project
        .run(&["exec", "-T", from, "nslookup", "-type=a", name])
        .code
        == 0
}

fn fetch(project: &Project<'_>, from: &str, name: &str) -> Option<String> {
    let ran = project.run(&[
        "exec",
        "-T",
        from,
        "wget",
        "-q",
        "-O",
        "-",
        &format!("http://{name}/"),
    ]);
    (ran.code == 0).then_some(ran.stdout)
}

/// Links, rules and processes of this machine are not only ours while tests run beside each other; what is under the
/// root is.
fn nobody_is_there(root: &Root) {
    wait_until(5, "the shared networks' run folder to go", || {
        (!root.path().join("run/networks").exists()).then_some(())
    });
}

#[test]
fn two_projects_find_each_other_by_service_name_and_alias_and_a_third_does_not() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    created(&root, &["edge"]);
    let shop = root.project("shop", &page("web", "store"));
    let links = "external_links: [\"shop-web-1:market\"]\n    stop_signal";
    let blog = root.project("blog", &page("journal", "posts").replace("stop_signal", links));
    let alone = root.project(
        "alone",
        "services:\n  hermit:\n    image: busybox\n    command: [\"sleep\", \"1000\"]\n    stop_signal: SIGKILL\n",
    );
    shop.ok(&["up", "-d"]);
    assert!(!resolves(&shop, "web", "journal"), "a name that nobody has yet");
    blog.ok(&["up", "-d"]);
    alone.ok(&["up", "-d"]);
    // No waiting: a name is there as soon as `up` has returned.
    for name in ["journal", "posts", "blog-journal-1", "journal.edge"] {
        assert!(resolves(&shop, "web", name), "shop does not see {name}");
    }
    for name in ["web", "store", "shop-web-1"] {
        assert!(resolves(&blog, "journal", name), "blog does not see {name}");
        assert!(!resolves(&alone, "hermit", name), "a stranger sees {name}");
    }
    assert!(
        resolves(&blog, "journal", "market"),
        "an external link leads nowhere"
    );
    assert!(!resolves(&shop, "web", "market"), "a link is everybody's");
    wait_until(5, "blog's page", || {
        fetch(&shop, "web", "posts").filter(|page| page == "page of journal\n")
    });
    wait_until(5, "shop's page", || {
        fetch(&blog, "journal", "store").filter(|page| page == "page of web\n")
    });
    let address = inspect(&root, "edge")["Containers"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()["IPv4Address"]
        .as_str()
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let ping = alone.run(&["exec", "-T", "hermit", "ping", "-c", "1", "-W", "1", &address]);
    assert_ne!(ping.code, 0, "a stranger reaches {address}");
    // The networks of their own stay theirs.
    let own = shop.ok(&["exec", "-T", "web", "ip", "-4", "-o", "addr", "show", "eth0"]);
    let own = own
        .split_whitespace()
        .nth(3)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let ping = blog.run(&["exec", "-T", "journal", "nc", "-z", "-w", "1", &own, "80"]);
    assert!(ping.code != 0 || own == "172.18.0.2", "{own}");

    let refused = network(&root, &["rm", "edge"]);
    assert_eq!(refused.code, 1, "{}", refused.all());
    assert!(
        refused.stderr.contains("project `blog` (journal-1)")
            && refused.stderr.contains("project `shop` (web-1)"),
        "{}",
        refused.all()
    );
    blog.ok(&["down"]);
    assert!(!resolves(&shop, "web", "journal"), "a name that is gone");
    shop.ok(&["down"]);
    nobody_is_there(&root);
    assert_eq!(network(&root, &["rm", "edge"]).code, 0);
    assert!(!root.path().join("networks/edge").exists());
}

fn inspect(root: &Root, name: &str) -> Value {
    let ran = network(root, &["inspect", name]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let all: Value = serde_json::from_str(&ran.stdout).unwrap();
    all[0].clone()
}

#[test]
fn a_missing_network_is_refused_before_anything_starts() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("lost", &page("web", "store"));
    let ran = project.run(&["up", "-d"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    assert!(ran.stderr.contains("banyan network create edge"), "{}", ran.all());
    assert!(project.ps().is_empty());
    created(&root, &["edge"]);
    project.ok(&["up", "-d"]);
}

#[test]
fn containers_on_nothing_but_a_shared_network_have_names_ports_and_fixed_addresses() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    created(&root, &["edge", "--subnet", "10.99.7.0/24", "--internal"]);
    let compose = |service: &str, address: &str| {
        format!(
            r#"
services:
  {service}:
    image: busybox
    command: ["httpd", "-f", "-p", "80", "-h", "/www"]
    stop_signal: SIGKILL
    ports: ["127.0.0.1::80"]
    networks: {{front: {{ipv4_address: {address}}}}}
networks:
  front: {{external: true, name: edge}}
"#
        )
    };
    let one = root.project("one", &compose("a", "10.99.7.20"));
    let two = root.project("two", &compose("b", "10.99.7.20"));
    one.ok(&["up", "-d"]);
    let taken = two.run(&["up", "-d"]);
    assert!(
        taken.code != 0 && taken.stderr.contains("taken by `a-1` of project `one`"),
        "{}",
        taken.all()
    );
    two.rewrite(&compose("b", "10.99.7.21"));
    two.ok(&["up", "-d"]);
    wait_until(5, "the page through the port", || {
        http_get(two.port("b"), "/index.html").ok()
    });
    wait_until(5, "the page by name", || fetch(&two, "b", "a"));
    assert!(resolves(&one, "a", "b"));
    // It is internal: no route out, and no name of the world outside.
    let routes = one.ok(&["exec", "-T", "a", "ip", "route"]);
    assert!(!routes.contains("default"), "{routes}");
    // Recreated and restarted containers keep their names and addresses.
    two.ok(&["restart"]);
    assert!(resolves(&one, "a", "b"));
    two.ok(&["up", "-d", "--force-recreate"]);
    wait_until(5, "the page again", || fetch(&one, "a", "b"));
    let shown = inspect(&root, "edge");
    let addresses: Vec<_> = shown["Containers"]
        .as_object()
        .unwrap()
        .values()
        .map(|c| c["IPv4Address"].clone())
        .collect();
    assert_eq!(addresses.len(), 2, "{shown}");
    assert!(addresses.contains(&"10.99.7.21/24".into()), "{shown}");
    // Stopped, its name is gone; started, it is back.
    two.ok(&["stop"]);
    assert!(!resolves(&one, "a", "b"));
    two.ok(&["start"]);
    assert!(resolves(&one, "a", "b"));
}

/// Process ids of the engines under a root.
fn engines(root: &Root) -> Vec<String> {
    let path = root.path().display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if command.contains("\0engine\0") && command.contains(&path) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

fn kill(pids: &[String]) {
    let killed = std::process::Command::new("kill")
        .arg("-9")
        .args(pids)
        .status()
        .unwrap();
    assert!(killed.success());
}

#[test]
fn both_engines_are_killed_and_come_back_to_the_same_network() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    created(&root, &["edge"]);
    let shop = root.project("shop", &page("web", "store"));
    let blog = root.project("blog", &page("journal", "posts"));
    shop.ok(&["up", "-d"]);
    blog.ok(&["up", "-d"]);
    let hall = std::fs::read_to_string(root.path().join("run/networks/edge/hall.json")).unwrap();
    let before = engines(&root);
    assert_eq!(before.len(), 2, "{before:?}");
    kill(&before);
    wait_until(10, "two other engines", || {
        let now = engines(&root);
        (now.len() == 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
    });
    wait_until(5, "names again", || {
        (resolves(&shop, "web", "posts") && resolves(&blog, "journal", "store")).then_some(())
    });
    wait_until(5, "the page again", || fetch(&shop, "web", "journal"));
    let now = std::fs::read_to_string(root.path().join("run/networks/edge/hall.json")).unwrap();
    assert_eq!(now, hall, "the hall was made anew while containers were in it");
    // A third project joins through whoever is there now.
    let third = root.project("third", &page("late", "last"));
    third.ok(&["up", "-d"]);
    wait_until(5, "an older neighbour's page", || fetch(&third, "late", "store"));
    assert!(resolves(&shop, "web", "last"));
    for project in [&shop, &blog, &third] {
        project.ok(&["down"]);
    }
    nobody_is_there(&root);
    assert_eq!(network(&root, &["rm", "edge"]).code, 0);
}

#[test]
fn what_died_altogether_is_out_of_the_names_and_leaves_with_the_next_down() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    created(&root, &["edge"]);
    let shop = root.project("shop", &page("web", "store"));
    let blog = root.project("blog", &page("journal", "posts"));
    shop.ok(&["up", "-d"]);
    blog.ok(&["up", "-d"]);
    assert!(resolves(&shop, "web", "posts"));
    // Blog's engine, shim and container, so that nobody is left to say anything.
    let members = std::fs::read_to_string(root.path().join("run/networks/edge/member-blog.json")).unwrap();
    let member: Value = serde_json::from_str(&members).unwrap();
    let container = member["containers"].as_object().unwrap().values().next().unwrap();
    let process = container["process"]["pid"].to_string();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let shim = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:\t"))
        .unwrap()
        .to_owned();
    kill(&[member["engine"]["pid"].to_string(), shim, process]);
    wait_until(5, "the name to go", || {
        (!resolves(&shop, "web", "posts")).then_some(())
    });
    shop.ok(&["down"]);
    nobody_is_there(&root);
    blog.ok(&["down"]);
    let ran = network(&root, &["rm", "edge"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
}

#[test]
fn projects_that_come_at_once_meet_on_one_network() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    created(&root, &["edge"]);
    let names = ["red", "green", "blue", "grey"];
    let projects: Vec<_> = names
        .iter()
        .map(|name| root.project(name, &page(&format!("svc-{name}"), &format!("alias-{name}"))))
        .collect();
    std::thread::scope(|scope| {
        for project in &projects {
            scope.spawn(|| project.ok(&["up", "-d"]));
        }
    });
    let shown = inspect(&root, "edge");
    let addresses: std::collections::BTreeSet<_> = shown["Containers"]
        .as_object()
        .unwrap()
        .values()
        .map(|c| c["IPv4Address"].to_string())
        .collect();
    assert_eq!(addresses.len(), names.len(), "{shown}");
    for (from, project) in names.iter().zip(&projects) {
        for to in names {
            let service = format!("svc-{from}");
            wait_until(5, &format!("{to}'s page from {from}"), || {
                fetch(project, &service, &format!("alias-{to}"))
            });
        }
    }
    std::thread::scope(|scope| {
        for project in &projects {
            scope.spawn(|| project.ok(&["down"]));
        }
    });
    nobody_is_there(&root);
}

#[test]
fn networks_are_made_shown_and_removed_as_docker_does_it() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    created(
        &root,
        &[
            "data",
            "--subnet",
            "10.98.0.0/16",
            "--gateway",
            "10.98.0.9",
            "--ip-range",
            "10.98.4.0/24",
            "--ipv6",
            "--label",
            "team=a",
            "--opt",
            "mtu=1400",
        ],
    );
    let shown = inspect(&root, "data");
    assert_eq!(shown["IPAM"]["Config"][0]["Gateway"], "10.98.0.9");
    assert_eq!(shown["IPAM"]["Config"][0]["IPRange"], "10.98.4.0/24");
    assert_eq!(shown["IPAM"]["Config"][1]["Subnet"], "fd62:616e:7961:1000::/64");
    assert_eq!(
        (&shown["Labels"]["team"], &shown["EnableIPv6"]),
        (&"a".into(), &true.into())
    );
    let project = root.project(
        "six",
        r#"
services:
  a:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    networks: [data, default]
networks: {data: {external: true}}
"#,
    );
    project.ok(&["up", "-d"]);
    let links = project.ok(&["exec", "-T", "a", "ip", "addr"]);
    assert!(
        links.contains("10.98.4.0/16") || links.contains("10.98.4.1/16"),
        "{links}"
    );
    assert!(
        links.contains("fd62:616e:7961:1000::2/64") && links.contains("mtu 1400"),
        "{links}"
    );
    let listed = network(&root, &["ls", "--format", "json"]).stdout;
    let lines: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<_> = lines.iter().map(|line| line["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["data", "six_default"]);
    assert_eq!(
        (&lines[0]["IPv6"], &lines[0]["Driver"]),
        (&"true".into(), &"bridge".into())
    );
    let own = inspect(&root, "six_default");
    assert_eq!(own["Labels"]["com.docker.compose.project"], "six");
    assert_eq!(own["Containers"].as_object().unwrap().len(), 1);
    for (arguments, code, said) in [
        (&["rm", "six_default"][..], 1, "belongs to project `six`"),
        (&["rm", "nothing"], 1, "there is no network `nothing`"),
        (&["create", "data"], 1, "there is a network `data` already"),
        (&["create", "x/y"], 64, "is not a network name"),
        (
            &["create", "x", "--gateway", "10.1.1.1"],
            64,
            "is in no `--subnet`",
        ),
        (&["create", "x", "--opt", "colour=red"], 64, "is not supported"),
        (
            &["create", "x", "--subnet", "10.98.7.0/24"],
            1,
            "overlaps network `data`",
        ),
    ] {
        let ran = network(&root, arguments);
        assert!(
            ran.code == code && ran.stderr.contains(said),
            "{arguments:?}: {}",
            ran.all()
        );
    }
    created(&root, &["idle"]);
    assert!(
        network(&root, &["prune"])
            .stdout
            .contains("idle\n1 network would go")
    );
    assert!(
        network(&root, &["prune", "--force"])
            .stdout
            .contains("idle\nremoved 1 network")
    );
    project.ok(&["down"]);
    assert_eq!(network(&root, &["rm", "data"]).code, 0);
    assert!(network(&root, &["ls", "-q"]).stdout.is_empty());
}

/// Runs a command of both projects at the same time; `ok` or not, since its engine may be killed under it.
fn both(projects: [&Project<'_>; 2], arguments: &[&str], meanwhile: impl FnOnce()) -> Vec<Ran> {
    std::thread::scope(|scope| {
        let runs = projects.map(|project| scope.spawn(move || project.run(arguments)));
        meanwhile();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

#[test]
fn engines_killed_at_any_moment_leave_a_network_that_the_next_up_and_down_put_right() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    created(&root, &["edge"]);
    let shop = root.project("shop", &page("web", "store"));
    let blog = root.project("blog", &page("journal", "posts"));
    let projects = [&shop, &blog];
    let kill_after = |milliseconds| {
        std::thread::park_timeout(std::time::Duration::from_millis(milliseconds));
        for engine in engines(&root) {
            // It may have ended by itself.
            let _ = std::process::Command::new("kill").args(["-9", &engine]).output();
        }
    };
    for (during_up, during_down) in [(30, 5), (90, 40), (150, 15), (250, 80)] {
        both(projects, &["up", "-d"], || kill_after(during_up));
        for ran in both(projects, &["up", "-d"], || {}) {
            assert_eq!(ran.code, 0, "killed after {during_up} ms: {}", ran.all());
        }
        wait_until(10, "names of both", || {
            (resolves(&shop, "web", "posts") && resolves(&blog, "journal", "store")).then_some(())
        });
        wait_until(5, "the page", || fetch(&shop, "web", "posts"));
        both(projects, &["down", "-t", "0"], || kill_after(during_down));
        for ran in both(projects, &["down", "-t", "0"], || {}) {
            assert_eq!(ran.code, 0, "killed after {during_down} ms: {}", ran.all());
        }
        nobody_is_there(&root);
    }
    let ran = network(&root, &["rm", "edge"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
}
