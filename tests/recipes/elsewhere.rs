//! Types that are no recipes: `index`, `github` and `custom`, and a recipe of one's own.

use super::{build, page, project, says, shared_root};
use crate::support::skip;
use std::{fs, path::Path, process::Command};

/// A bare repository with these files, to be fetched from; `None` with a reason where there is no git.
pub(super) fn repository(folder: &Path, name: &str, files: &[(&str, &str)]) -> Option<String> {
    if Command::new("git").arg("--version").output().is_err() {
        skip("git is not installed");
        return None;
    }
    let (work, bare) = (
        folder.join(format!("{name}.work")),
        folder.join(format!("{name}.git")),
    );
    fs::create_dir_all(&work).unwrap();
    for (path, text) in files {
        fs::write(work.join(path), text).unwrap();
    }
    let bare = bare.display().to_string();
    for words in [
        &["init", "-q", "-b", "main"][..],
        &["add", "-A"],
        &["commit", "-q", "-m", "first"],
        &["clone", "-q", "--bare", ".", &bare],
        &["--git-dir", &bare, "update-server-info"],
    ] {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=x", "-c", "user.email=x@example.com"]);
        let output = git.args(words).current_dir(&work).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    Some(format!("file://{bare}"))
}

/// Packages, files and scripts on images that others made: one pulled (or, as here, made of Debian's packages), one built out of
/// a repository, one out of a folder of templates.
#[test]
fn images_of_others_carry_packages_files_and_scripts_and_answer() {
    let Some(root) = shared_root() else { return };
    let server = "FROM busybox\nRUN mkdir /site && echo 'a page of the repository' >/site/index.html\n\
                  CMD [\"busybox\", \"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/site\"]\n";
    let Some(url) = repository(root.path(), "server", &[("Dockerfile", server)]) else {
        return;
    };
    let file = format!(
        "
services:
  image:
    type: index
    image: debian:bookworm
    command: [sleep, infinity]
    apt_get: [file]
    add: {{note.txt: /etc/note.txt}}
    volumes: ['./shared:/shared']
    before_script: echo \"before $$KEY\" >/shared/before
    after_script: ./after.sh
    environment: {{KEY: value}}
  remote: {{type: github, path: '{url}', image: me/server, ports: ['8080']}}
  own:
    type: custom
    template: own
    links: [remote]
    ports: ['7000']
    apt_get: [busybox-static]
    add: {{note.txt: /site/note.txt}}
    custom: {{greeting: hello}}
"
    );
    let files = [
        ("note.txt", "a note\n"),
        ("shared/.keep", ""),
        ("after.sh", "cat /shared/before >/tmp/after\n"),
        (
            "own/Dockerfile",
            "FROM debian:bookworm\n[[ updateApt -]]\nCOPY index.html /site/\n[[ addUserFiles -]]\n\
             CMD [\"busybox\", \"httpd\", \"-f\", \"-p\", \"[[ .Container.GetFirstLocalPort ]]\", \"-h\", \"/site\"]\n",
        ),
        (
            "own/index.html",
            "[[ .Container.GetCustomValue \"greeting\" ]] from [[ .Container.Name ]] beside [[ .Container.FirstLinked.Name ]]\n",
        ),
    ];
    let project = project(&root, "elsewhere", &file, &files);
    build(&project);
    project.ok(&["up", "-d", "--wait"]);
    says(&project, "image", &["file", "/bin/ls"], "ELF 64-bit");
    says(&project, "image", &["cat", "/etc/note.txt"], "a note");
    says(&project, "image", &["cat", "/tmp/after"], "before value");
    page(project.port("remote"), "/", "a page of the repository");
    page(project.port("own"), "/", "hello from own beside remote");
    page(project.port("own"), "/note.txt", "a note");
    project.ok(&["down", "-t", "0", "-v"]);
}

/// `recipe eject` writes a recipe that works, and what is changed in it shows.
#[test]
fn an_ejected_recipe_can_be_changed() {
    let Some(root) = shared_root() else { return };
    let file =
        "services:\n  store: {type: custom, template: ./store, custom: {maxMemory: 3M, colour: red}}\n";
    let project = project(&root, "ejected", file, &[]);
    project.ok(&["recipe", "eject", "redis", "store"]);
    let declaration = project.folder.join("store/recipe.yaml");
    let text = fs::read_to_string(&declaration).unwrap() + "  colour: {kind: name, help: Any}\n";
    fs::write(&declaration, text).unwrap();
    let settings = project.folder.join("store/redis.conf");
    let text = fs::read_to_string(&settings).unwrap()
        + "dbfilename [[ .Container.GetCustomValue \"colour\" ]].rdb\n";
    fs::write(&settings, text).unwrap();
    build(&project);
    project.ok(&["up", "-d", "--wait"]);
    let asked = ["redis-cli", "config", "get", "*"];
    says(&project, "store", &asked, "red.rdb");
    says(&project, "store", &asked, "3145728");
    project.ok(&["down", "-v"]);
}
