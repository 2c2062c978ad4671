//! What must not grow without bound, and what must stay quick enough to be used at every command.

use super::load_files;
use std::fmt::Write as _;

#[test]
fn alias_bombs_are_refused_and_real_files_with_thousands_of_aliases_pass() {
    let mut bomb = String::from("x-a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..=9 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(bomb, "x-{level}: &a{level} [{refs}]");
    }
    bomb += "services: {web: {image: x}}\n";
    let wrong = load_files(&[("compose.yaml", &bomb)], |_| {}).expect_err("a bomb");
    assert_eq!(
        wrong.0[0].message,
        "the aliases of this file expand to too many values"
    );
    let mut real = String::from(
        "x-env: &env {A: 1, B: 2, C: 3}\nx-common: &common {image: x, restart: always}\nservices:\n",
    );
    for i in 0..3_000 {
        let _ = writeln!(real, "  s{i}: {{<<: *common, environment: *env}}");
    }
    let loaded = load_files(&[("compose.yaml", &real)], |_| {}).expect("a real file");
    assert_eq!(loaded.project.services.len(), 3_000);
}

#[test]
fn deep_nesting_and_cycles_of_files_are_refused() {
    let deep = format!("services: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let wrong = load_files(&[("compose.yaml", &deep)], |_| {}).expect_err("too deep");
    assert!(wrong.0[0].message.contains("nested"), "{}", wrong.0[0].message);
    let circle = [
        ("compose.yaml", "include: [b.yaml]\nservices: {a: {image: x}}\n"),
        ("b.yaml", "include: [compose.yaml]\n"),
    ];
    let wrong = load_files(&circle, |_| {}).expect_err("a circle");
    assert!(
        wrong.0[0]
            .message
            .starts_with("files include each other in a circle: "),
        "{}",
        wrong.0[0].message
    );
    let circle = [
        (
            "compose.yaml",
            "services: {a: {extends: {file: b.yaml, service: b}}}\n",
        ),
        (
            "b.yaml",
            "services: {b: {extends: {file: compose.yaml, service: a}}}\n",
        ),
    ];
    let wrong = load_files(&circle, |_| {}).expect_err("a circle");
    assert!(
        wrong.0[0]
            .message
            .starts_with("services extend each other in a circle"),
        "{}",
        wrong.0[0].message
    );
}

#[test]
fn long_texts_of_one_kind_take_linear_time() {
    // Each of these was quadratic in some reader of such files; a minute of hanging would fail the run.
    for unit in ["${A:-", "$$", "'\"", "a: ", "- ", "{a: ", "[", "&a ", "# x\n"] {
        let text = format!(
            "services:\n  web:\n    image: x\n    command: |\n      {}\n",
            unit.repeat(50_000).replace('\n', "\n      ")
        );
        let _ = load_files(&[("compose.yaml", &text)], |_| {});
    }
}

#[test]
fn ranges_and_extends_cannot_fill_the_memory() {
    let ranges: String = (1..5).map(|first| format!("\"{first}-65535\", ")).collect();
    let text = format!(
        "services: {{web: {{image: x, ports: [{ranges}], expose: [{}]}}}}\n",
        ranges
    );
    let wrong = load_files(&[("compose.yaml", &text)], |_| {}).expect_err("too many");
    assert!(
        wrong
            .0
            .iter()
            .any(|d| d.message.ends_with("brings the project above 100000 ports")),
        "{wrong}"
    );
    let mut text = format!(
        "services:\n  base: {{image: x, command: [{}]}}\n",
        "a, ".repeat(100_000)
    );
    for i in 0..500 {
        let _ = writeln!(text, "  s{i}: {{extends: base}}");
    }
    let wrong = load_files(&[("compose.yaml", &text)], |_| {}).expect_err("too many");
    assert_eq!(
        wrong.0[0].message,
        "the `extends` of this project copy too many values"
    );
}

#[test]
fn exposed_ranges_are_joined_before_ports_are_made() {
    // Each range alone makes 65,000 ports; made one by one, 5,000 of them would take minutes.
    let ranges: String = (0..5_000)
        .map(|i| {
            format!(
                "\"{}-65535/{}\", ",
                1 + i % 9,
                if i % 2 == 0 { "tcp" } else { "udp" }
            )
        })
        .collect();
    let project = super::compose(&format!(
        "services: {{all: {{image: x, expose: [{ranges}]}}, few: {{image: x, expose: ['85', '80-82', '81-83/tcp', '82/udp']}}}}\n"
    ));
    assert_eq!(super::service(&project, "all").expose.len(), 2 * 65_535);
    let few: Vec<String> = super::service(&project, "few")
        .expose
        .iter()
        .map(|exposed| format!("{}/{}", exposed.port, exposed.protocol))
        .collect();
    assert_eq!(few, ["80/tcp", "81/tcp", "82/tcp", "82/udp", "83/tcp", "85/tcp"]);
}
