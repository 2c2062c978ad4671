//! Debian images out of packages, with no registry: from nothing, twice the same, and built upon.
//!
//! Run with `BANYAN_TESTS_DEBIAN=1 cargo test --test it debian::`. Packages come from the mirror that this machine's apt
//! uses, so the network is needed.

use crate::support::{Ran, Root, can_run_containers};
use serde_json::Value;
use std::fs;

fn is_asked_for() -> bool {
    if std::env::var_os("BANYAN_TESTS_DEBIAN").is_none() {
        eprintln!("skipped: set BANYAN_TESTS_DEBIAN=1 to assemble Debian images from the network");
        return false;
    }
    can_run_containers()
}

fn run(root: &Root, words: &[&str]) -> Ran {
    Ran::new(words, root.banyan().args(words).output().unwrap())
}

#[track_caller]
fn ok(root: &Root, words: &[&str]) -> Ran {
    let ran = run(root, words);
    assert_eq!(ran.code, 0, "banyan {words:?}\n{}", ran.all());
    ran
}

fn layers(root: &Root, image: &str) -> Value {
    let text = ok(root, &["image", "inspect", image]).stdout;
    serde_json::from_str::<Value>(&text).unwrap()[0]["RootFS"]["Layers"].take()
}

#[test]
fn the_same_packages_give_the_same_layer_and_a_build_upon_them_works() {
    if !is_asked_for() {
        return;
    }
    let (one, two) = (Root::new(), Root::new());
    ok(&one, &["image", "debian", "bookworm"]);
    ok(&two, &["image", "debian", "bookworm", "--tag", "mine:1"]);
    assert_eq!(
        layers(&one, "debian:bookworm"),
        layers(&two, "mine:1"),
        "nothing of this run is in the layer"
    );
    assert_eq!(layers(&one, "debian:bookworm").as_array().unwrap().len(), 1);
    drop(two);

    let folder = one.path().join("context");
    fs::create_dir(&folder).unwrap();
    let dockerfile = "FROM debian:bookworm\n\
        RUN apt-get update && apt-get install -y php-cli php-mysql\n\
        CMD [\"php\", \"-r\", \"echo PHP_MAJOR_VERSION, extension_loaded('mysqli') ? ' mysqli' : '';\"]\n";
    fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    ok(&one, &["image", "build", "-t", "php", folder.to_str().unwrap()]);
    assert_eq!(ok(&one, &["container", "run", "--rm", "php"]).stdout, "8 mysqli");
    let audit = ok(
        &one,
        &[
            "container",
            "run",
            "--rm",
            "php",
            "sh",
            "-c",
            "dpkg --audit; dpkg -l | grep -c ^ii; id; cat /etc/debian_version",
        ],
    );
    assert!(
        audit.stdout.contains("uid=0(root)") && audit.stdout.contains("12."),
        "{}",
        audit.all()
    );
}
