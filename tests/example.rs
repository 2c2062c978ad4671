//! The main job, as the README tells it: the PHP + MySQL example answers over HTTP with rows from MariaDB, built from
//! Debian packages, with no registry. A binary of its own because it takes a while.

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
}
