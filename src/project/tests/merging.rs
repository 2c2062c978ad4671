//! Tables: what one file (or service) over another gives, key by key; extends, include and profiles.

use super::*;
use serde_json::json;

/// The project's tree as `config --format json` prints it, or what is wrong as text.
fn tree(
    files: &[(&str, &str)],
    change: impl FnOnce(&mut LoadOptions, &Path),
) -> Result<serde_json::Value, String> {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let dir = temp.path().join("app");
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let mut options = LoadOptions {
        working_dir: dir.clone(),
        ..LoadOptions::default()
    };
    change(&mut options, &dir);
    match resolve(&options, Skip::default()) {
        Ok((resolved, _)) => {
            let text = resolved.to_json().to_string();
            let text = text.replace(&*dir.to_string_lossy(), "@");
            Ok(serde_json::from_str(&text).expect("our own JSON"))
        }
        Err(wrong) => Err(wrong.to_text(&dir)),
    }
}

/// A row: the service's keys below, those above, where to look (JSON pointer below the service), what is there.
type Row = (&'static str, &'static str, &'static str, serde_json::Value);

#[expect(clippy::too_many_lines, reason = "a table")]
fn rows() -> Vec<Row> {
    let nothing = serde_json::Value::Null;
    vec![
        // Scalars: the later one.
        ("hostname: a", "hostname: b", "/hostname", json!("b")),
        (
            "privileged: true",
            "privileged: false",
            "/privileged",
            nothing.clone(),
        ),
        ("hostname: a", "user: b", "/hostname", json!("a")),
        ("command: [a]", "command:", "/command", nothing.clone()),
        // Commands are replaced as a whole.
        ("command: [a, b]", "command: [c]", "/command", json!(["c"])),
        ("command: a b", "command: [c]", "/command", json!(["c"])),
        (
            "entrypoint: [a]",
            "entrypoint: b c",
            "/entrypoint",
            json!(["b", "c"]),
        ),
        (
            "healthcheck: {test: [CMD, a], retries: 2}",
            "healthcheck: {test: [CMD, b]}",
            "/healthcheck",
            json!({"test": ["CMD", "b"], "retries": 2}),
        ),
        // Lists and maps of KEY=VALUE are one thing.
        (
            "environment: {A: 1, B: 2}",
            "environment: [B=3, C=4]",
            "/environment",
            json!({"A": "1", "B": "3", "C": "4"}),
        ),
        (
            "labels: [a=1]",
            "labels: {a: 2, b: 3}",
            "/labels",
            json!({"a": "2", "b": "3"}),
        ),
        (
            "annotations: {a: 1}",
            "annotations: [b=2]",
            "/annotations",
            json!({"a": "1", "b": "2"}),
        ),
        (
            "sysctls: {net.core.somaxconn: 1}",
            "sysctls: [net.core.somaxconn=2]",
            "/sysctls",
            json!({"net.core.somaxconn": "2"}),
        ),
        (
            "build: {context: ., args: {A: 1, B: 1}}",
            "build: {context: ., args: [B=2]}",
            "/build/args",
            json!({"A": "1", "B": "2"}),
        ),
        (
            "build: .",
            "build: {target: dev}",
            "/build",
            json!({"context": "@", "dockerfile": "Dockerfile", "target": "dev"}),
        ),
        (
            "deploy: {labels: {a: 1}}",
            "deploy: {labels: [b=2]}",
            "/deploy/labels",
            json!({"a": "1", "b": "2"}),
        ),
        // Lists grow, each value once.
        ("cap_add: [A]", "cap_add: [B, A]", "/cap_add", json!(["A", "B"])),
        ("cap_drop: [ALL]", "cap_drop: [ALL]", "/cap_drop", json!(["ALL"])),
        (
            "dns: 1.1.1.1",
            "dns: [8.8.8.8, 1.1.1.1]",
            "/dns",
            json!(["1.1.1.1", "8.8.8.8"]),
        ),
        (
            "dns_search: a.test",
            "dns_search: b.test",
            "/dns_search",
            json!(["a.test", "b.test"]),
        ),
        ("tmpfs: /a", "tmpfs: [/b]", "/tmpfs", json!(["/a", "/b"])),
        (
            "expose: [80]",
            "expose: ['80', 81]",
            "/expose",
            json!(["80", "81"]),
        ),
        (
            "extra_hosts: [a=1.1.1.1]",
            "extra_hosts: {b: 2.2.2.2}",
            "/extra_hosts",
            json!(["a=1.1.1.1", "b=2.2.2.2"]),
        ),
        (
            "security_opt: [a]",
            "security_opt: [b]",
            "/security_opt",
            json!(["a", "b"]),
        ),
        (
            "group_add: [1]",
            "group_add: [2]",
            "/group_add",
            json!(["1", "2"]),
        ),
        // Lists with a key: the later entry of the same key wins.
        (
            "volumes: [a:/x, b:/y]",
            "volumes: [c:/x]",
            "/volumes/0/source",
            json!("c"),
        ),
        (
            "volumes: [./a:/x]",
            "volumes: [./b:/x:ro]",
            "/volumes/0",
            json!({"type": "bind", "source": "@/b", "target": "/x", "read_only": true, "bind": {"create_host_path": true}}),
        ),
        (
            "devices: [/dev/a:/dev/x]",
            "devices: [/dev/b:/dev/x]",
            "/devices/0/source",
            json!("/dev/b"),
        ),
        (
            "ports: ['80:80']",
            "ports: ['81:80']",
            "/ports/1/published",
            json!("81"),
        ),
        (
            "ports: ['80:80']",
            "ports: ['80:80']",
            "/ports/1",
            nothing.clone(),
        ),
        (
            "ports: ['80:80']",
            "ports: ['80:80/udp']",
            "/ports/1/protocol",
            json!("udp"),
        ),
        // Lists and maps of names are one thing.
        (
            "depends_on: [x]",
            "depends_on: {y: {condition: service_healthy}}",
            "/depends_on",
            json!({"x": {"condition": "service_started", "required": true}, "y": {"condition": "service_healthy", "required": true}}),
        ),
        (
            "networks: [n]",
            "networks: {n: {aliases: [z]}}",
            "/networks",
            json!({"n": {"aliases": ["z"]}}),
        ),
        (
            "networks: {n: {aliases: [a]}}",
            "networks: {n: {aliases: [b]}}",
            "/networks/n/aliases",
            json!(["a", "b"]),
        ),
        // Special ones.
        (
            "ulimits: {nofile: {soft: 1, hard: 2}}",
            "ulimits: {nofile: 5}",
            "/ulimits/nofile",
            json!(5),
        ),
        (
            "ulimits: {nofile: 5}",
            "ulimits: {nproc: 6}",
            "/ulimits",
            json!({"nofile": 5, "nproc": 6}),
        ),
        (
            "logging: {driver: json-file, options: {a: '1'}}",
            "logging: {options: {b: '2'}}",
            "/logging",
            json!({"driver": "json-file", "options": {"a": "1", "b": "2"}}),
        ),
        (
            "logging: {driver: json-file, options: {a: '1'}}",
            "logging: {driver: none}",
            "/logging",
            json!({"driver": "none"}),
        ),
        (
            "deploy: {resources: {limits: {cpus: '1', memory: 1M}}}",
            "deploy: {resources: {limits: {memory: 2M}}}",
            "/deploy/resources/limits",
            json!({"cpus": 1, "memory": "2097152"}),
        ),
        // Tags.
        (
            "environment: [A=1, AB=2]",
            "environment: {A: !reset null}",
            "/environment",
            json!({"AB": "2"}),
        ),
        ("ports: ['80:80']", "ports: !reset []", "/ports", nothing.clone()),
        (
            "ports: ['80:80']",
            "ports: !override ['81:81']",
            "/ports/0/published",
            json!("81"),
        ),
        (
            "environment: {A: 1, B: 2}",
            "environment: {A: !reset null}",
            "/environment",
            json!({"B": "2"}),
        ),
        (
            "environment: {A: 1}",
            "environment: !override {C: 3}",
            "/environment",
            json!({"C": "3"}),
        ),
        ("command: [a]", "command: !reset null", "/command", nothing),
    ]
}

const REST: &str = "  x: {image: i}\n  y: {image: i}\nvolumes: {a: , b: , c: }\nnetworks: {n: }\n";

#[test]
fn a_file_over_another_merges_by_the_rule_of_each_key() {
    let mut wrong = Vec::new();
    for (below, above, pointer, expected) in rows() {
        let under = format!("services:\n  s:\n    image: i\n    {below}\n{REST}");
        let over = format!("services:\n  s:\n    {above}\n");
        let files = [
            ("compose.yaml", under.as_str()),
            ("compose.override.yaml", over.as_str()),
        ];
        let found = tree(&files, |_, _| {}).map(|tree| {
            tree["services"]["s"]
                .pointer(pointer)
                .cloned()
                .unwrap_or_default()
        });
        if found != Ok(expected.clone()) {
            wrong.push(format!(
                "{below}\n + {above}\n {pointer}: {found:?}, not {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn extends_follows_chains_through_files_and_names_cycles() {
    let base = "services:\n  base:\n    image: i\n    environment: {A: base, B: base}\n    volumes: ['./data:/data']\n    depends_on: [other]\n    networks: [n]\n  other: {image: i}\nnetworks: {n: }\n";
    let main = "services:\n  mid:\n    extends: {file: sub/base.yaml, service: base}\n    environment: {B: mid}\n  top:\n    extends: mid\n    environment: {C: top}\n  other: {image: i}\nnetworks: {n: }\n";
    let project = tree(&[("compose.yaml", main), ("sub/base.yaml", base)], |_, _| {}).expect("loads");
    let top = &project["services"]["top"];
    assert_eq!(top["environment"], json!({"A": "base", "B": "mid", "C": "top"}));
    // A path belongs to the file that says it.
    assert_eq!(top["volumes"][0]["source"], "@/sub/data");
    assert_eq!(top["image"], "i");
    // What is named is not brought along: it must be here too.
    let alone = "services:\n  web:\n    extends: {file: sub/base.yaml, service: base}\n  other: {image: i}\n";
    let error = tree(&[("compose.yaml", alone), ("sub/base.yaml", base)], |_, _| {})
        .expect_err("the network is not defined here");
    assert!(error.contains('n'), "{error}");

    let table = [
        (
            "services:\n  a: {extends: b}\n  b: {extends: a}\n",
            "`a` → `b` → `a`",
        ),
        (
            "services:\n  a: {extends: {service: nobody}}\n",
            "no such service",
        ),
        (
            "services:\n  a: {extends: {file: none.yaml, service: b}}\n",
            "none.yaml",
        ),
        ("services:\n  a: {extends: a}\n", "a"),
    ];
    for (text, part) in table {
        let error = tree(&[("compose.yaml", text)], |_, _| {}).expect_err(text);
        assert!(error.contains(part), "{text}\n{error}");
    }
}

#[test]
fn include_brings_whole_projects_each_with_its_own_folder() {
    let part =
        "services:\n  db:\n    image: db:${TAG}\n    env_file: db.env\n    volumes: ['./data:/data']\n";
    let files = [
        ("part/compose.yaml", part),
        ("part/.env", "TAG=from-part\n"),
        ("part/db.env", "A=1\n"),
        ("other.env", "TAG=from-other\n"),
        ("more.yaml", "services: {db: {labels: {more: \"yes\"}}}"),
    ];
    let table = [
        // (include, image, folder of the data, label)
        (
            "include: [part/compose.yaml]",
            "db:from-part",
            "@/part/data",
            json!(null),
        ),
        (
            "include: [{path: part/compose.yaml, env_file: other.env}]",
            "db:from-other",
            "@/part/data",
            json!(null),
        ),
        (
            "include: [{path: [part/compose.yaml, more.yaml]}]",
            "db:from-part",
            "@/part/data",
            json!("yes"),
        ),
        (
            "include: [{path: part/compose.yaml, project_directory: part}]",
            "db:from-part",
            "@/part/data",
            json!(null),
        ),
    ];
    for (include, image, data, label) in table {
        let main = format!("{include}\nservices: {{web: {{image: w, depends_on: [db]}}}}\n");
        let mut all = files.to_vec();
        all.push(("compose.yaml", &main));
        let project = tree(&all, |_, _| {}).unwrap_or_else(|error| panic!("{include}\n{error}"));
        let db = &project["services"]["db"];
        assert_eq!(db["image"], image, "{include}");
        assert_eq!(db["volumes"][0]["source"], data, "{include}");
        assert_eq!(db["environment"]["A"], "1", "{include}");
        assert_eq!(db["labels"]["more"], label, "{include}");
    }
    let twice = "include: [part/compose.yaml]\nservices: {db: {image: mine}}\n";
    let mut all = files.to_vec();
    all.push(("compose.yaml", twice));
    let error = tree(&all, |_, _| {}).expect_err("two say what `db` is");
    assert!(error.contains("db"), "{error}");
    let circle = "include: [compose.yaml]\nservices: {db: {image: mine}}\n";
    let error = tree(&[("compose.yaml", circle)], |_, _| {}).expect_err("a circle");
    assert!(error.contains("compose.yaml:1:11"), "{error}");
}

/// Profiles and services asked for, and the services that take part or what the error says.
type Choice<'a> = (&'a [&'a str], &'a [&'a str], Result<&'a [&'a str], &'a str>);

#[test]
fn profiles_choose_services() {
    let text = "services:\n  always: {image: i}\n  a: {image: i, profiles: [one]}\n  b: {image: i, profiles: [one, two]}\n  c: {image: i, profiles: [three], depends_on: [a]}\n";
    let table: [Choice<'_>; 8] = [
        (&[], &[], Ok(&["always"])),
        (&["one"], &[], Ok(&["a", "always", "b"])),
        (&["two"], &[], Ok(&["always", "b"])),
        (&["*"], &[], Ok(&["a", "always", "b", "c"])),
        (&["one", "three"], &[], Ok(&["a", "always", "b", "c"])),
        (&["three"], &[], Err("`a`")),
        // A service that is named is wanted, and so is its profile.
        (&[], &["a"], Ok(&["a"])),
        (&["none"], &[], Ok(&["always"])),
    ];
    for (profiles, services, expected) in table {
        let loaded = load_files(&[("compose.yaml", text)], |options| {
            options.profiles = profiles.iter().map(ToString::to_string).collect();
            options.services = services.iter().map(ToString::to_string).collect();
        });
        match (loaded, expected) {
            (Ok(loaded), Ok(expected)) => {
                let mut names: Vec<_> = loaded.project.services.keys().map(ToString::to_string).collect();
                names.sort();
                names.retain(|name| services.is_empty() || services.contains(&name.as_str()));
                assert_eq!(names, expected, "{profiles:?} {services:?}");
            }
            (Err(error), Err(part)) => {
                let error = error.to_text(Path::new("/"));
                assert!(error.contains(part), "{profiles:?}\n{error}");
            }
            (loaded, _) => panic!("{profiles:?} {services:?}: {loaded:?}"),
        }
    }
}
