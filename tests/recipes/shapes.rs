//! The shapes of gaudi's 42 published examples, each brought up for real, or refused. What they say is in
//! `src/project/tests/shapes.yaml`; ports of this machine are free ones here, images of registries and the repository on the
//! network have stand-ins, and everything else is as written.

use super::{elsewhere::repository, is_asked_for, project, shared_root};
use crate::support::{Ran, Root, free_port};
use serde_yaml::{Mapping, Value};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

#[derive(serde::Deserialize)]
struct Case {
    shape: String,
    file: Value,
    #[serde(default)]
    files: BTreeMap<String, String>,
    refused: Option<String>,
}

/// What the examples run.
const PROGRAMS: &[(&str, &str)] = &[
    ("index.php", "<?php echo 'a fig';"),
    ("up", "well"),
    ("job.py", "print('a fig')"),
    ("job.rb", "puts 'a fig'"),
    ("job.php", "<?php echo 'a fig';"),
    ("job.js", "console.log('a fig')"),
    (
        "job.go",
        "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"a fig\") }\n",
    ),
    (
        "web.js",
        "for (const port of [80, 8080]) require('http').createServer((_, answer) => answer.end('a fig')).listen(port)",
    ),
];

#[test]
fn every_shape_of_gaudis_examples_comes_up_or_is_refused() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let dockerfile = "FROM busybox\nCMD [\"sleep\", \"1000\"]\n";
    let Some(url) = repository(root.path(), "stand-in", &[("Dockerfile", dockerfile)]) else {
        return;
    };
    let table = include_str!("../../src/project/tests/shapes.yaml");
    let cases: Vec<BTreeMap<String, Value>> = serde_yaml::from_str(table).unwrap();
    assert_eq!(cases.len(), 42);
    let only = std::env::var("BANYAN_TESTS_SHAPE").unwrap_or_default();
    let mut failed = Vec::new();
    for (number, mut case) in cases.into_iter().enumerate() {
        let text = case["file"].as_str().unwrap().to_owned();
        case.insert("file".into(), serde_yaml::from_str(&text).unwrap());
        case.remove("says");
        let case: Case = serde_yaml::from_value(serde_yaml::to_value(case).unwrap()).unwrap();
        if !case.shape.contains(&only) {
            continue;
        }
        let began = Instant::now();
        let mut result = try_out(&root, number, &case, &url);
        if result.as_ref().is_err_and(|why| why.contains("is in use")) {
            // Somebody else took a port that was free.
            result = try_out(&root, number, &case, &url);
        }
        eprintln!("{:>3} s  {}: {result:?}", began.elapsed().as_secs(), case.shape);
        if let Err(why) = result {
            failed.push(format!("{}: {why}", case.shape));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Brings one up, asks it, and takes it down. `Ok` has what was seen.
fn try_out(root: &Root, number: usize, case: &Case, url: &str) -> Result<String, String> {
    let name = format!("shape{number}");
    let project = project(root, &name, "", PROGRAMS);
    let mut file = case.file.clone();
    let mut pages = Vec::new();
    for container in containers(&mut file) {
        here(
            root,
            container,
            url,
            &project.folder.display().to_string(),
            &mut pages,
        );
    }
    std::fs::write(
        project.folder.join(".gaudi.yml"),
        serde_yaml::to_string(&file).unwrap(),
    )
    .unwrap();
    for (path, text) in &case.files {
        let path = project.folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let run = |words: &[&str]| {
        let mut command = root.banyan();
        command.args(["-p", &name, "-f", ".gaudi.yml"]).args(words);
        Ran::new(words, command.current_dir(&project.folder).output().unwrap())
    };
    let result = (|| {
        let up = run(&["up", "-d"]);
        if let Some(reason) = &case.refused {
            return if up.code == 65 && up.stderr.contains(reason.as_str()) {
                Ok(format!("refused: {reason}"))
            } else {
                Err(format!("is not refused: {}", up.all()))
            };
        }
        if up.code != 0 {
            return Err(format!("{}\n{}", up.all(), run(&["logs"]).stdout));
        }
        let seen = settled(&run)?;
        for port in &pages {
            answers(*port).map_err(|why| format!("{why}\n{}", run(&["logs"]).stdout))?;
        }
        let mut called = 0;
        for (tool, _) in case.file["binaries"].as_mapping().into_iter().flatten() {
            let ran = run(&["run", "--rm", "-T", tool.as_str().unwrap(), "--version"]);
            if ran.code != 0 || !ran.stdout.contains('.') {
                return Err(ran.all());
            }
            called += 1;
        }
        Ok(format!("{seen}, {} pages, {called} called", pages.len()))
    })();
    let down = run(&["down", "-v", "-t", "2"]);
    if case.refused.is_none() && down.code != 0 {
        return Err(down.all());
    }
    result
}

/// All containers of the file.
fn containers(file: &mut Value) -> impl Iterator<Item = &mut Mapping> {
    let sections = file.as_mapping_mut().unwrap().values_mut();
    let all = sections.flat_map(|section| section.as_mapping_mut().unwrap().values_mut());
    all.map(|container| container.as_mapping_mut().unwrap())
}

/// Changes what belongs to the machine that it runs on.
fn here(root: &Root, container: &mut Mapping, url: &str, folder: &str, pages: &mut Vec<u16>) {
    let kind = container
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(ports) = container.get_mut("ports").and_then(Value::as_mapping_mut) {
        for (number, target) in std::mem::take(ports).into_values().enumerate() {
            let published = free_port();
            ports.insert(published.into(), target);
            let serves = [
                "apache",
                "nginx",
                "varnish",
                "phpmyadmin",
                "django",
                "ror",
                "graphite",
                "nodejs",
            ];
            if number == 0 && serves.contains(&kind.as_str()) {
                pages.push(published);
            }
        }
    }
    if let Some(volumes) = container.get_mut("volumes").and_then(Value::as_mapping_mut) {
        for (source, target) in std::mem::take(volumes) {
            let source = source
                .as_str()
                .unwrap()
                .replacen("/tmp/", &format!("{folder}/tmp/"), 1);
            volumes.insert(source.into(), target);
        }
    }
    if let Some(port) = container
        .get_mut("ambassador")
        .and_then(|ambassador| ambassador.get_mut("port"))
    {
        *port = free_port().into();
    }
    if kind == "golang" && !has_go_modules() {
        crate::support::skip("no server of Go modules answers: this program goes without");
        container.remove("custom");
    }
    if let Some(path) = container.get_mut("path") {
        *path = url.into();
    }
    if let Some(image) = container.get("image").and_then(Value::as_str)
        && ["index", "prebuild"].contains(&kind.as_str())
    {
        stand_in(root, image);
    }
}

/// Whether the server that Go asks for modules has an address here.
fn has_go_modules() -> bool {
    use std::net::ToSocketAddrs as _;
    ("proxy.golang.org", 443).to_socket_addrs().is_ok()
}

/// An image of this name that runs, and nothing else.
fn stand_in(root: &Root, image: &str) {
    let folder = root.path().join("src/stand-in");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("Dockerfile"),
        "FROM busybox\nCMD [\"sleep\", \"1000\"]\n",
    )
    .unwrap();
    let words = ["image", "build", "-t", image, "."];
    let output = root.banyan().args(words).current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Until every container is well, or has done its work.
fn settled(run: &dyn Fn(&[&str]) -> Ran) -> Result<String, String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let said = run(&["ps", "-a", "--format", "json"]).stdout;
        let all: Vec<serde_json::Value> = said
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let count =
            |wanted: &dyn Fn(&serde_json::Value) -> bool| all.iter().filter(|one| wanted(one)).count();
        // A job has to come to its end.
        let well = count(&|one| {
            let healthy = one["Health"] == "" || one["Health"] == "healthy";
            one["State"] == "running" && healthy && one["Service"] != "job"
        });
        let done = count(&|one| one["State"] == "exited" && one["ExitCode"] == 0);
        if well + done == all.len() {
            return Ok(format!("{well} run, {done} have run"));
        }
        let failed = count(&|one| one["State"] == "exited" && one["ExitCode"] != 0);
        if failed > 0 || Instant::now() > deadline {
            return Err(format!("{said}\n{}", run(&["logs"]).stdout));
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// Until a web server answers with a page, or with that there is none.
fn answers(port: u16) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = super::more::try_answer(port, "/").unwrap_or_else(|error| error.to_string());
        let status = answer.split_whitespace().nth(1).unwrap_or_default();
        if ["200", "302", "403", "404"].contains(&status) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("port {port} answers {answer}"));
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
}
