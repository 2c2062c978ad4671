//! The projects under `examples/`, each brought up and asked by a real client.

use super::{is_asked_for, page, shared_root};
use crate::support::{Ran, Root, free_port, http_post, wait_until};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A copy of an example, so that what services write does not land in the repository. It is taken down when dropped.
#[derive(Debug)]
struct Example<'r> {
    root: &'r Root,
    folder: PathBuf,
    port: u16,
}

impl<'r> Example<'r> {
    fn up(root: &'r Root, name: &str) -> Self {
        let folder = root.path().join("examples").join(name);
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .arg(examples().join(name))
            .arg(&folder)
            .status();
        assert!(copied.unwrap().success());
        let example = Self {
            root,
            folder,
            port: free_port(),
        };
        super::in_turn(|| example.ok(&["build"]));
        let said = example.ok(&["up", "-d", "--wait"]);
        let address = format!("http://localhost:{}", example.port);
        let published = fs::read_to_string(example.folder.join("banyan.yaml"))
            .unwrap()
            .contains("${PORT");
        assert_eq!(
            said.contains(&address) || said.contains(&address.replace("localhost", "127.0.0.1")),
            published,
            "{said}"
        );
        example
    }

    fn run(&self, words: &[&str]) -> Ran {
        let mut command = self.root.banyan();
        command
            .args(words)
            .current_dir(&self.folder)
            .env("PORT", self.port.to_string());
        Ran::new(words, command.output().unwrap())
    }

    /// Everything it said.
    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, 0, "banyan {words:?}\n{}", ran.all());
        ran.stdout + &ran.stderr
    }
}

impl Drop for Example<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["down", "-v", "-t", "5"]);
    }
}

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
}

#[test]
fn every_example_is_listed_explained_and_a_project() {
    let root = Root::empty();
    let list = fs::read_to_string(examples().join("README.md")).unwrap();
    let folders: Vec<PathBuf> = fs::read_dir(examples())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    assert!(folders.len() > 10, "{folders:?}");
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy();
        assert!(
            list.contains(&format!("| `{name}` |")),
            "{name} is not in the list"
        );
        assert!(folder.join("README.md").exists(), "{name} has no README.md");
        let output = root
            .banyan()
            .args(["config", "--quiet"])
            .current_dir(&folder)
            .output()
            .unwrap();
        let ran = Ran::new(&[], output);
        assert!(ran.code == 0 && ran.stderr.is_empty(), "{name}: {}", ran.all());
    }
}

#[test]
fn apache_php_mysql_keeps_what_is_posted() {
    let Some(root) = shared_root() else { return };
    let example = Example::up(&root, "apache-php-mysql");
    page(example.port, "/", "<li>fig</li>");
    http_post(example.port, "/", "name=pear").unwrap();
    example.ok(&["down"]);
    example.ok(&["up", "-d", "--wait"]);
    page(example.port, "/", "<li>pear</li>");
}

#[test]
fn load_balancing_reaches_every_replica() {
    let Some(root) = shared_root() else { return };
    let example = Example::up(&root, "load-balancing");
    let answers: BTreeSet<String> = (0..9).map(|_| page(example.port, "/", "answered by ")).collect();
    assert_eq!(answers.len(), 3, "{answers:?}");
}

#[test]
fn php_composer_installs_and_is_called() {
    let Some(root) = shared_root() else { return };
    let example = Example::up(&root, "php-composer");
    page(example.port, "/any/path", "hello from /any/path");
    if is_asked_for() {
        example.ok(&["run", "--rm", "-T", "composer", "dump-autoload"]);
    }
}

#[test]
fn varnish_answers_from_its_cache() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let example = Example::up(&root, "varnish");
    for cached in ["X-Cache: MISS", "X-Cache: HIT"] {
        let answer = super::more::answer(example.port, "/");
        assert!(
            answer.contains(cached) && answer.contains("Served once"),
            "{answer}"
        );
    }
}

#[test]
fn phpmyadmin_shows_the_tables() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let example = Example::up(&root, "phpmyadmin");
    page(example.port, "/", "shop");
}

#[test]
fn django_counts_in_postgresql() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let example = Example::up(&root, "django-postgresql");
    page(example.port, "/", "visits: 1");
    example.ok(&["down"]);
    example.ok(&["up", "-d", "--wait"]);
    page(example.port, "/", "visits: 2");
}

#[test]
fn rails_makes_its_project() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let example = Example::up(&root, "rails");
    page(example.port, "/", "Rails");
    assert!(example.folder.join("app/shop/Gemfile").exists());
}

#[test]
fn node_counts_in_redis() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let example = Example::up(&root, "node");
    page(example.port, "/", "visits: 1");
    example.ok(&["down"]);
    example.ok(&["up", "-d", "--wait"]);
    page(example.port, "/", "visits: 2");
}

#[test]
fn mysql_replication_brings_a_row_to_the_slave() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let example = Example::up(&root, "mysql-replication");
    example.ok(&[
        "exec",
        "-T",
        "master",
        "mysql",
        "shop",
        "-e",
        "INSERT INTO fruit VALUES ('fig')",
    ]);
    wait_until(20, "the row is there", || {
        let ran = example.run(&[
            "exec",
            "-T",
            "slave",
            "mysql",
            "shop",
            "-N",
            "-e",
            "SELECT name FROM fruit",
        ]);
        ran.stdout.contains("fig").then_some(())
    });
}
