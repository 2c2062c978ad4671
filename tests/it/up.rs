//! `up`: order, names, ports, what is recreated and what is kept.

use crate::support::{Root, can_run_containers, engines, http_get, wait_until};

const TWO: &str = r#"
services:
  web:
    image: busybox
    command: ["httpd", "-f", "-p", "80", "-h", "/www"]
    stop_signal: SIGKILL
    ports: ["127.0.0.1::80"]
  client:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    environment: {COLOUR: "${COLOUR:-red}"}
    depends_on: [web]
"#;

#[test]
fn two_services_start_a_name_resolves_and_a_port_answers() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("two", TWO);
    project.ok(&["up", "-d"]);
    let port = project.port("web");
    let body = wait_until(10, "the page", || http_get(port, "/index.html").ok());
    assert_eq!(body, "hello from busybox\n");
    let inside = project.ok(&[
        "exec",
        "-T",
        "client",
        "wget",
        "-q",
        "-O",
        "-",
        "http://web/index.html",
    ]);
    assert_eq!(inside, "hello from busybox\n");
    project.ok(&["down"]);
    assert!(project.ps().is_empty());
    assert!(http_get(port, "/").is_err(), "the port still answers after down");
}

#[test]
fn a_second_up_changes_nothing_and_a_changed_service_alone_is_recreated() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("again", TWO);
    project.ok(&["up", "-d"]);
    let (web, client) = (project.id("web"), project.id("client"));
    project.ok(&["up", "-d"]);
    assert_eq!(
        (project.id("web"), project.id("client")),
        (web.clone(), client.clone())
    );
    let plan = project
        .command(&["--dry-run", "up", "-d"])
        .env("COLOUR", "blue")
        .output()
        .unwrap();
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.contains("its configuration changed"), "{plan}");
    assert_eq!(project.id("client"), client, "--dry-run did something");
    let ran = project
        .command(&["up", "-d"])
        .env("COLOUR", "blue")
        .output()
        .unwrap();
    assert!(ran.status.success());
    assert_eq!(project.id("web"), web);
    assert_ne!(project.id("client"), client);
    let colour = project.ok(&["exec", "-T", "client", "sh", "-c", "echo $COLOUR"]);
    assert_eq!(colour, "blue\n");
}

#[test]
fn a_service_waits_until_what_it_depends_on_is_healthy() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "health",
        r#"
services:
  db:
    image: busybox
    command: ["sh", "-c", "sleep 1; touch /tmp/ready; sleep 1000"]
    stop_signal: SIGKILL
    healthcheck: {test: ["CMD", "test", "-e", "/tmp/ready"], interval: 100ms, retries: 100}
  web:
    image: busybox
    command: ["sh", "-c", "date +%s; sleep 1000"]
    stop_signal: SIGKILL
    depends_on: {db: {condition: service_healthy}}
"#,
    );
    project.ok(&["up", "-d"]);
    let db = project.container("db");
    assert_eq!(db["Health"], "healthy", "{db}");
    assert_eq!(project.container("web")["State"], "running");
}

#[test]
fn a_service_waits_until_a_job_completed_and_the_job_is_not_run_again() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "job",
        r#"
services:
  job:
    image: busybox
    command: ["sh", "-c", "sleep 0.3; echo done >> /data/log"]
    volumes: ["data:/data"]
  web:
    image: busybox
    command: ["sh", "-c", "cat /data/log; sleep 1000"]
    stop_signal: SIGKILL
    volumes: ["data:/data"]
    depends_on: {job: {condition: service_completed_successfully}}
volumes: {data: {}}
"#,
    );
    project.ok(&["up", "-d"]);
    project.ok(&["up", "-d"]);
    let log = project.ok(&["exec", "-T", "web", "cat", "/data/log"]);
    assert_eq!(log, "done\n", "the job ran more than once");
}

#[test]
fn replicas_share_a_name_and_scaling_down_removes_the_last() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "scale",
        r#"
services:
  web:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    deploy: {replicas: 3}
"#,
    );
    project.ok(&["up", "-d"]);
    assert_eq!(project.ps().len(), 3);
    let found = project.ok(&["exec", "-T", "web", "nslookup", "-type=a", "web"]);
    let addresses = found
        .lines()
        .filter(|line| line.starts_with("Address") && !line.contains(":53"))
        .count();
    assert_eq!(addresses, 3, "{found}");
    project.ok(&["up", "-d", "--scale", "web=1"]);
    let left = project.ps();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["Name"], "scale-web-1");
}

#[test]
fn up_attached_shows_output_and_ends_with_the_containers() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "attached",
        "services:\n  one:\n    image: busybox\n    command: [\"sh\", \"-c\", \"echo from one; sleep 1; exit 3\"]\n",
    );
    let ran = project.run(&["up"]);
    assert!(
        ran.stdout.contains("one-1") && ran.stdout.contains("from one"),
        "{}",
        ran.all()
    );
    assert!(ran.stderr.contains("exited with code 3"), "{}", ran.all());
    let ran = project.run(&["up", "--exit-code-from", "one"]);
    assert_eq!(ran.code, 3, "{}", ran.all());
}

#[test]
fn up_attached_to_named_services_ends_with_them_and_leaves_others_running() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "some",
        r#"
services:
  short: {image: busybox, command: [sleep, "0.2"], stop_signal: SIGKILL}
  long: {image: busybox, command: [sleep, "1000"], stop_signal: SIGKILL}
  other: {image: busybox, command: [sleep, "1000"], stop_signal: SIGKILL}
"#,
    );
    project.ok(&["up", "-d", "other"]);
    let ran = project.run(&["up", "short"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let ran = project.run(&["up", "--abort-on-container-exit", "short", "long"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let state = |service: &str| project.container(service)["State"].clone();
    assert_eq!(state("long"), "exited");
    assert_eq!(state("other"), "running");
}

#[test]
fn volumes_outlive_down_and_go_with_down_v() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let compose = r#"
services:
  a:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    volumes: ["data:/data"]
volumes: {data: {}}
"#;
    let project = root.project("vol", compose);
    project.ok(&["up", "-d"]);
    project.ok(&["exec", "-T", "a", "sh", "-c", "echo kept > /data/file"]);
    project.ok(&["down"]);
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["exec", "-T", "a", "cat", "/data/file"]), "kept\n");
    project.ok(&["down", "-v"]);
    project.ok(&["up", "-d"]);
    let ran = project.run(&["exec", "-T", "a", "cat", "/data/file"]);
    assert_ne!(ran.code, 0, "the volume survived `down -v`");
}

#[test]
fn orphans_are_named_and_removed_only_when_asked() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project("orphans", TWO);
    project.ok(&["up", "-d"]);
    project.rewrite(&TWO[..TWO.find("  client:").unwrap()]);
    let ran = project.run(&["up", "-d"]);
    assert!(
        ran.stderr.contains("orphans-client-1") && ran.stderr.contains("--remove-orphans"),
        "{}",
        ran.all()
    );
    assert_eq!(project.ps().len(), 2);
    project.ok(&["up", "-d", "--remove-orphans"]);
    assert_eq!(project.ps().len(), 1);
}

#[test]
fn links_give_the_classic_variables() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "links",
        r#"
services:
  db:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    expose: ["3306"]
  web:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    links: ["db:mysql"]
"#,
    );
    project.ok(&["up", "-d"]);
    let env = project.ok(&["exec", "-T", "web", "env"]);
    let value = |name: &str| {
        env.lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")))
            .map(str::to_owned)
    };
    let address = value("MYSQL_PORT_3306_TCP_ADDR").unwrap_or_else(|| panic!("{env}"));
    assert_eq!(value("MYSQL_PORT"), Some(format!("tcp://{address}:3306")));
    let found = project.ok(&["exec", "-T", "web", "nslookup", "-type=a", "mysql"]);
    assert!(found.contains(&address), "{found}");
}

#[test]
fn builds_leave_no_zombies_to_their_engine() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let project = root.project(
        "builds",
        r#"
services:
  a:
    build: {dockerfile_inline: "FROM busybox\nRUN touch /a\nRUN touch /b\n"}
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
"#,
    );
    project.ok(&["up", "-d"]);
    let [engine] = &engines(&project)[..] else {
        panic!("{:?}", engines(&project))
    };
    let zombies = || {
        let stats = std::fs::read_dir("/proc").unwrap().flatten();
        let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        stats
            .filter(|stat| {
                let rest: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
                rest[0] == "Z" && rest[1] == engine
            })
            .collect::<Vec<_>>()
    };
    wait_until(5, "the end of all zombies", || zombies().is_empty().then_some(()));
}
