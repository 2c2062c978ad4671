//! The main job, as the README tells it: the PHP + MySQL example answers over HTTP with rows from MariaDB, built from
//! Debian packages, with no registry; then the tutorial, as its reader types it. A binary of its own because it takes a while.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "it/support/mod.rs"]
mod support;

use std::process::Command;
use support::{Root, can_run_containers, http_get, http_post, skip, wait_until};

/// A mirror that apt knows must answer; without one no machine can build from packages.
fn packages_can_be_had() -> bool {
    let checked = Command::new("apt-get").args(["update", "-qq"]).output();
    checked.is_ok_and(|output| output.status.success())
}

#[test]
fn the_php_and_mysql_example_answers_and_keeps_its_rows() {
    if !can_run_containers() {
        return;
    }
    if !packages_can_be_had() {
        skip("no Debian mirror answers");
        return;
    }
    let root = Root::new();
    let port = support::free_port();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/php-mysql/compose.yaml");
    let banyan = |arguments: &[&str]| {
        let output = root
            .banyan()
            .args(["-f", file])
            .args(arguments)
            .env("PORT", port.to_string())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "banyan {arguments:?}\n{errors}");
        errors
    };
    let rows = |expected: &str| {
        wait_until(10, expected, || {
            http_get(port, "/").ok().filter(|page| page.contains(expected))
        });
    };
    let said = banyan(&["up", "-d", "--wait"]);
    assert!(
        said.contains(&format!("http://localhost:{port}")),
        "no address to open in:\n{said}"
    );
    rows("rows: 0");
    http_post(port, "/", "name=Ada").unwrap();
    rows("rows: 1");
    banyan(&["down"]);
    assert!(http_get(port, "/").is_err(), "the page still answers after down");
    banyan(&["up", "-d", "--wait"]);
    rows("rows: 1");
    banyan(&["down", "-v"]);
    let said = banyan(&["up", "-d", "--wait"]);
    assert!(
        !said.contains("[1/"),
        "nothing changed, and it was built again:\n{said}"
    );
    rows("rows: 0");
    banyan(&["down", "-v"]);
    follow_the_tutorial(&root);
}

/// What a reader of `docs/php-mysql.md` types, in order.
fn typed(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("```"));
    blocks
        .flat_map(|(block, _)| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The tutorial, command by command, on the real example; its images are those that were built before.
fn follow_the_tutorial(root: &Root) {
    const PAGE: &str = include_str!("../docs/php-mysql.md");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/php-mysql");
    let (_, shown) = PAGE.split_once("```yaml\n").unwrap();
    let shown = shown.split_once("```").unwrap().0;
    let file = std::fs::read_to_string(format!("{source}/compose.yaml")).unwrap();
    assert!(
        file.ends_with(shown),
        "the page shows another project than the example"
    );
    let folder = root.path().join("src/guestbook");
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let port = support::free_port();
    let mut pages = Vec::new();
    let typed = typed(PAGE);
    assert!(typed.len() > 15, "{typed:?}");
    for line in typed {
        match line.split_once(' ').unwrap() {
            ("cp", "-r examples/php-mysql guestbook") => {
                let copied = Command::new("cp")
                    .arg("-r")
                    .arg(source)
                    .arg(&folder)
                    .status()
                    .unwrap();
                assert!(copied.success());
            }
            ("cd", "guestbook") => {}
            ("curl", "-d name=Ada http://localhost:8080/") => http_post(port, "/", "name=Ada").unwrap(),
            ("curl", "http://localhost:8080/") => {
                pages.push(support::wait_until(10, &line, || http_get(port, "/").ok()));
            }
            ("banyan" | "sed", _) => {
                let script = format!("banyan() {{ \"$BANYAN\" --root \"$ROOT\" \"$@\"; }}\n{line}");
                let output = Command::new("sh")
                    .args(["-ec", &script])
                    .current_dir(&folder)
                    .env("BANYAN", support::BANYAN)
                    .env("ROOT", root.path())
                    .env("PORT", port.to_string())
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{line}\n{said}{errors}");
                assert_eq!(line.contains("SELECT"), said.contains("Ada"), "{line}\n{said}");
            }
            _ => panic!("nobody knows how to type `{line}`"),
        }
    }
    // After the first row, after the change, after down and up.
    assert_eq!(pages.len(), 3);
    assert!(
        pages
            .iter()
            .all(|page| page.contains("rows: 1") && page.contains("Ada")),
        "{pages:?}"
    );
    assert!(
        pages[0].contains("Guest book") && pages[1].contains("Our guests"),
        "{pages:?}"
    );
    assert!(http_get(port, "/").is_err(), "the page still answers after down");
}
