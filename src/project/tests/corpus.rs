//! The corpus of `tests/compose`: our trees equal docker compose's, which `tests/compare-config --record` wrote down.

use crate::project::{LoadOptions, Skip, resolve};
use serde_json::Value as Json;
use std::{collections::BTreeMap, path::Path};

fn replace(json: &mut Json, from: &str, to: &str) {
    match json {
        Json::String(text) => *text = text.replace(from, to),
        Json::Array(list) => list.iter_mut().for_each(|item| replace(item, from, to)),
        Json::Object(map) => map.values_mut().for_each(|item| replace(item, from, to)),
        _ => {}
    }
}

/// Numbers are equal when their values are: docker writes `2`, where we may hold 2.0.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// The flags in a case's `args` file.
fn flags(text: &str, options: &mut LoadOptions) {
    let mut words = text.split_whitespace();
    while let (Some(flag), Some(value)) = (words.next(), words.next()) {
        match flag {
            "-f" => options.files.push(value.into()),
            "-p" => options.project_name = Some(value.into()),
            "--profile" => options.profiles.push(value.into()),
            "--env-file" => options.env_files.push(value.into()),
            other => panic!("the flag {other} is not known to this test"),
        }
    }
}

#[test]
fn every_project_of_the_corpus_is_read_as_docker_compose_reads_it() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose");
    let read = |path: &Path| fs_err::read_to_string(path).expect("a file of the corpus");
    let differences = read(&dir.join("differences"));
    let environment = BTreeMap::from([
        ("HOME".to_owned(), "/root".to_owned()),
        ("CALLER".to_owned(), "from-caller".to_owned()),
    ]);
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in read(&dir.join("expected.jsonl")).lines() {
        let mut case: Json = serde_json::from_str(line).expect("a line of JSON");
        let name = case["name"].as_str().expect("a name").to_owned();
        let path = dir.join(&name);
        let mut options = LoadOptions {
            environment: environment.clone(),
            ..LoadOptions::default()
        };
        if path.is_dir() {
            options.working_dir.clone_from(&path);
            if path.join("args").is_file() {
                flags(&read(&path.join("args")), &mut options);
            }
        } else {
            options.working_dir.clone_from(&dir);
            options.files.push(path);
        }
        replace(&mut case["tree"], "@DIR@", &dir.to_string_lossy());
        let mut ours = match resolve(&options, Skip::default()) {
            Ok((resolved, _)) => resolved.to_json(),
            Err(error) => Json::String(error.to_text(&dir)),
        };
        replace(&mut ours, "$", "$$");
        compared += 1;
        let meant = differences
            .lines()
            .any(|line| line.starts_with(&format!("{name}: ")));
        if same(&case["tree"], &ours) == meant {
            wrong.push(format!("{name}:\n docker {}\n banyan {ours}", case["tree"]));
        }
    }
    assert!(compared >= 150, "the corpus has only {compared} projects");
    assert!(
        wrong.is_empty(),
        "{} of {compared} are not as expected:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
