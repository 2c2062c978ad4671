//! How long project files take: a large one, a usual one, and bombs. `cargo bench --bench project_file`.
//!
//! Budgets: 1 MB with 2,000 services in 200 ms; a bomb refused in 50 ms within 64 MiB.

use banyan::project::{LoadOptions, load};
use std::{
    fmt::Write as _,
    io::Write as _,
    time::{Duration, Instant},
};

fn options(text: &str) -> LoadOptions {
    LoadOptions {
        files: vec!["-".into()],
        stdin: Some(text.to_owned()),
        working_dir: "/nowhere".into(),
        environment: [("TAG".to_owned(), "1".to_owned())].into(),
        ..LoadOptions::default()
    }
}

/// About 1 MB of services as people write them.
fn large() -> String {
    let mut text = String::from("services:\n");
    for i in 0..2_000 {
        let _ = write!(
            text,
            "  service-{i}:\n    image: registry.example.com/team/service-{i}:${{TAG:-latest}}\n    command: run --port 80{i} 'with words'\n    ports: [\"{}:80\"]\n    environment:\n      - DATABASE_URL=postgres://db/{i}\n      - LEVEL=info\n      - SECRET=${{SECRET_{i}:-none}}\n    volumes: [\"./data/{i}:/data:ro\", \"vol:/vol\"]\n    labels: {{team: a, index: \"{i}\"}}\n    restart: unless-stopped\n    healthcheck: {{test: [CMD, \"true\"], interval: 10s}}\n    deploy: {{resources: {{limits: {{memory: 64M}}}}}}\n",
            10_000 + i
        );
        if i > 0 {
            let _ = writeln!(text, "    depends_on: [service-{}]", i - 1);
        }
    }
    text + "volumes: {vol: }\n"
}

fn laughs() -> String {
    let mut text = String::from("x-a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..=9 {
        let _ = writeln!(
            text,
            "x-{level}: &a{level} [{}]",
            vec![format!("*a{}", level - 1); 10].join(", ")
        );
    }
    text + "services: {web: {image: x}}\n"
}

/// Largest resident size so far, in KiB (proc(5), VmHWM).
fn peak() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn main() {
    let small = "services: {web: {image: nginx, ports: ['8080:80'], depends_on: [db]}, db: {image: mysql}}\n"
        .to_owned();
    let cases = [
        ("billion laughs", laughs()),
        ("deep brackets", format!("services: {}\n", "[".repeat(500_000))),
        (
            "deep defaults",
            format!("services: {{a: {{image: \"{}\"}}}}\n", "${A:-".repeat(100_000)),
        ),
        ("two services", small),
        ("2,000 services", large()),
    ];
    let mut out = std::io::stdout().lock();
    for (name, text) in cases {
        let mut times: Vec<Duration> = (0..7)
            .map(|_| {
                let options = options(&text);
                let begun = Instant::now();
                let loaded = load(&options);
                let took = begun.elapsed();
                drop(loaded);
                took
            })
            .collect();
        times.sort();
        let _ = writeln!(
            out,
            "{name:16} {:>8} bytes  min {:?}  median {:?}  max {:?}  peak {} KiB so far",
            text.len(),
            times[0],
            times[3],
            times[6],
            peak()
        );
    }
}
