//! A small generative fuzzer: mutates seeds and feeds them to the readers of project files and images.
//!
//! `banyan-fuzz TARGET SECONDS [SEED]` with TARGET one of `project`, `yaml`, `interpolation`, `dotenv`, `short` (project
//! files), `reference`, `manifest`, `dockerfile`, `dockerignore` (images, see `images.rs`), `tar`, `extract`, `layer`,
//! `outline` (archives, see `archives.rs`). A panic ends it and leaves the input in `fuzz-TARGET.input`; so does an input that
//! takes longer than a second. No coverage feedback: dictionaries and seeds reach the branches, and it runs everywhere.

mod archives;
mod images;

use banyan::project::fuzzing;
use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

/// Bits of grammar that mutations insert.
const WORDS: &[&str] = &[
    "$",
    "${",
    "}",
    "${A",
    "${A:-",
    "${NO:?",
    "${A:+",
    "$$",
    ":",
    ": ",
    "\n",
    "\n  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "#",
    " #",
    "&a ",
    "*a",
    "<<: *a",
    "!reset ",
    "!override ",
    "!!str ",
    "|\n",
    ">-\n",
    "---\n",
    "\t",
    "~",
    "null",
    "true",
    "0",
    "-1",
    "65535",
    "65536",
    "99999999999999999999",
    "1e999",
    ".inf",
    "0x",
    "0o7",
    "1_0",
    "/udp",
    "[::1]:",
    "0-65535",
    "127.0.0.1:",
    "services:\n",
    "  web:\n",
    "    image: x\n",
    "    ports:\n",
    "    - ",
    "    volumes: [",
    "    extends: web\n",
    "    depends_on: [web]\n",
    "    environment:\n",
    "networks:\n",
    "x-a: &a\n",
    "applications:\n",
    "type: ",
    "export ",
    "=",
    "\\",
    "\\n",
    "\\0",
    "\\\"",
    "1m30s",
    "5g",
    "é",
    "\u{feff}",
    "\u{0}",
    "\u{2028}",
    "../",
    "~/",
    "service:",
    "container:",
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64* (Vigna 2016).
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// What a target eats.
enum Target {
    /// Text, mutated with a dictionary.
    Text(fn(&str), &'static [&'static str], Vec<String>),
    /// Tar archives and compressed streams, mutated with regard to their structure.
    Archive(fn(&[u8]), archives::Seeds),
}

impl Target {
    /// One input: bytes, whatever the target eats.
    fn input(&self, random: &mut Random) -> Vec<u8> {
        match self {
            Self::Text(_, words, seeds) => mutate(random, words, seeds).into_bytes(),
            Self::Archive(_, seeds) => seeds.mutate(random),
        }
    }

    fn run(&self, input: &[u8]) {
        match self {
            Self::Text(target, ..) => target(std::str::from_utf8(input).expect("mutations of text give text")),
            Self::Archive(target, _) => target(input),
        }
    }
}

fn mutate(random: &mut Random, words: &[&str], seeds: &[String]) -> String {
    let mut text: Vec<char> = seeds[random.below(seeds.len())].chars().collect();
    for _ in 0..=random.below(8) {
        let at = random.below(text.len() + 1);
        let end = (at + random.below(40)).min(text.len());
        match random.below(7) {
            0 => text
                .splice(at..at, words[random.below(words.len())].chars())
                .for_each(drop),
            1 => text.drain(at..end).for_each(drop),
            2 => {
                let part: Vec<char> = text[at..end].to_vec();
                for _ in 0..=random.below(20) {
                    text.splice(at..at, part.iter().copied());
                }
            }
            3 => text
                .splice(at..end, words[random.below(words.len())].chars())
                .for_each(drop),
            4 => {
                let other: Vec<char> = seeds[random.below(seeds.len())].chars().collect();
                let from = random.below(other.len() + 1);
                let to = (from + random.below(200)).min(other.len());
                text.splice(at..at, other[from..to].iter().copied());
            }
            5 if at < text.len() => text[at] = char::from_u32(random.below(0x80) as u32).unwrap_or('x'),
            _ => text.truncate(at),
        }
        text.truncate(20_000);
    }
    text.into_iter().collect()
}

fn seeds(folder: &Path, list: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            seeds(&path, list);
        } else if path.extension().is_none_or(|end| end != "jsonl") {
            list.extend(fs::read_to_string(&path).ok());
        }
    }
}

fn project_seeds() -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut list: Vec<String> = WORDS.iter().map(|word| (*word).to_owned()).collect();
    seeds(&here.join("../tests/compose"), &mut list);
    let invalid = fs::read_to_string(here.join("../src/project/tests/invalid.yaml.txt")).unwrap_or_default();
    list.extend(invalid.split("--- ").map(str::to_owned));
    list
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let (Some(name), Some(seconds)) = (arguments.get(1), arguments.get(2).and_then(|s| s.parse().ok()))
    else {
        eprintln!("banyan-fuzz TARGET SECONDS [SEED]");
        std::process::exit(64);
    };
    let files = |target| Target::Text(target, WORDS, project_seeds());
    let target = match name.as_str() {
        "project" => files(fuzzing::project),
        "yaml" => files(fuzzing::yaml),
        "interpolation" => files(fuzzing::interpolation),
        "dotenv" => files(fuzzing::dotenv),
        "short" => files(fuzzing::short),
        "reference" => Target::Text(images::reference, images::REFERENCE, images::seeds(images::REFERENCE)),
        "manifest" => Target::Text(images::manifest, images::MANIFEST, images::manifests()),
        "dockerfile" => Target::Text(images::dockerfile, images::DOCKERFILE, images::dockerfiles()),
        "dockerignore" => Target::Text(images::dockerignore, images::IGNORE, images::seeds(images::IGNORE)),
        "tar" => Target::Archive(archives::entries, archives::Seeds::new()),
        "extract" => Target::Archive(archives::extract, archives::Seeds::new()),
        "layer" => Target::Archive(archives::layer, archives::Seeds::new().compressed()),
        "outline" => Target::Archive(archives::outline, archives::Seeds::outlines()),
        _ => panic!("no such target: {name}"),
    };
    let mut random = Random(
        arguments
            .get(3)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0x9E37_79B9_7F4A_7C15),
    );
    let (start, limit) = (Instant::now(), Duration::from_secs(seconds));
    let file = format!("fuzz-{name}.input");
    let (mut runs, mut slowest) = (0_u64, Duration::ZERO);
    while start.elapsed() < limit {
        let input = target.input(&mut random);
        let begun = Instant::now();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target.run(&input)));
        let mut took = begun.elapsed();
        // A machine at its limit is slow by itself: only an input that is slow every time is meant.
        for _ in 0..3 {
            if took > Duration::from_secs(1) && result.is_ok() {
                let begun = Instant::now();
                target.run(&input);
                took = took.min(begun.elapsed());
            }
        }
        runs += 1;
        slowest = slowest.max(took);
        if result.is_err() || took > Duration::from_secs(1) {
            fs::write(&file, &input).expect("the input is kept");
            eprintln!(
                "{name}: {} after {runs} runs, {took:?}; see {file}",
                if result.is_err() { "panic" } else { "slow" }
            );
            std::process::exit(1);
        }
    }
    println!(
        "{name}: {runs} runs in {:?}, slowest {slowest:?}, no panic",
        start.elapsed()
    );
}
