//! Scenarios: files, commands, observations, as data in `tests/scenarios/*.yaml`, run against real containers.
//!
//! `cargo test --test scenarios [WORD…]` runs those whose file or sentence has every word. Each worker has a root of its
//! own and runs one scenario after the other in it, in a folder named `app`; nothing of a scenario may be left when the
//! next begins.

#![allow(clippy::unwrap_used, reason = "a runner that cannot go on fails")]

mod act;
mod case;
mod expect;
#[path = "../it/support/mod.rs"]
mod support;

use case::{File, Scenario};
use std::{
    collections::VecDeque,
    process::ExitCode,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// Scenarios run at the same time. They mostly wait.
const WORKERS: usize = 4;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&String> = arguments.iter().filter(|word| !word.starts_with("--")).collect();
    let all: Vec<(String, Scenario)> = read()
        .into_iter()
        .filter(|(name, _)| words.iter().all(|word| name.contains(word.as_str())))
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in &all {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if !support::can_run_containers() {
        return ExitCode::SUCCESS;
    }
    let (begun, total) = (Instant::now(), all.len());
    let (waiting, failed) = (Mutex::new(VecDeque::from(all)), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS.min(total) {
            scope.spawn(|| work(&waiting, &failed));
        }
    });
    let failed = failed.into_inner().unwrap();
    for (name, why) in &failed {
        println!("\n---- {name}\n{why}");
    }
    println!(
        "\n{} of {total} scenarios as described, in {:.1} s",
        total - failed.len(),
        begun.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// Every scenario with its name: the file, and the sentence.
fn read() -> Vec<(String, Scenario)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let file = File::read(&path);
        let subject = path.file_stem().unwrap().to_string_lossy().into_owned();
        for mut scenario in file.scenarios {
            for (name, content) in &file.files {
                scenario
                    .files
                    .entry(name.clone())
                    .or_insert_with(|| content.clone());
            }
            all.push((format!("{subject}: {}", scenario.it), scenario));
        }
    }
    let mut names: Vec<_> = all.iter().map(|(name, _)| name).collect();
    names.sort();
    names
        .windows(2)
        .for_each(|pair| assert_ne!(pair[0], pair[1], "two scenarios with one name"));
    all
}

fn work(waiting: &Mutex<VecDeque<(String, Scenario)>>, failed: &Mutex<Vec<(String, String)>>) {
    let root = support::Root::new();
    loop {
        let next = waiting.lock().unwrap().pop_front();
        let Some((name, scenario)) = next else { return };
        let begun = Instant::now();
        let outcome = act::play(&root, &scenario);
        let took = begun.elapsed();
        let slow = if took > Duration::from_secs(5) {
            "  (slow)"
        } else {
            ""
        };
        match outcome {
            Ok(()) => println!("ok      {:5.1} s  {name}{slow}", took.as_secs_f64()),
            Err(why) => {
                println!("FAILED  {:5.1} s  {name}", took.as_secs_f64());
                failed.lock().unwrap().push((name, why));
            }
        }
    }
}
