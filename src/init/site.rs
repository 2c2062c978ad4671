//! Folders that are served or built as they are: a Dockerfile, a Jekyll site, files.

use super::{App, Base, Draft, Folder};

pub(super) fn dockerfile(folder: &Folder, draft: &mut Draft) -> bool {
    let Some(name) = folder.first(&["Dockerfile", "Containerfile"]) else {
        return false;
    };
    let exposed = folder.text(name).lines().filter_map(|line| {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace)?;
        word.eq_ignore_ascii_case("EXPOSE").then_some(rest)
    });
    let port = exposed
        .flat_map(str::split_whitespace)
        .find_map(|port| port.split('/').next()?.parse().ok());
    draft.why.push(format!("{name}: the image is built from it"));
    match port {
        Some(port) => draft.why.push(format!("{name}: it exposes {port}")),
        None => draft.notes.push(format!(
            "{name} has no EXPOSE: publish what it listens on with `ports`"
        )),
    }
    draft.app = App {
        base: Base::Dockerfile(name.to_owned()),
        port,
        ..App::default()
    };
    true
}

pub(super) fn jekyll(folder: &Folder, draft: &mut Draft) -> bool {
    let Some(config) = folder.first(&["_config.yml", "_config.yaml", "_config.toml"]) else {
        return false;
    };
    draft
        .why
        .push(format!("{config}: a Jekyll site, built anew when a file changes"));
    let mut app = App {
        base: Base::Type("ruby"),
        port: Some(4000),
        sure: true,
        ..App::default()
    };
    let serve = "jekyll serve --host 0.0.0.0 --port 4000 --destination /tmp/site --disable-disk-cache";
    if folder.has("Gemfile") {
        draft
            .why
            .push("Gemfile: its gems are installed at the start".into());
        app.packages = vec!["build-essential", "ruby-dev"];
        app.cache = Some(("gems", "/var/lib/gems"));
        app.before = vec!["bundle install --quiet".into()];
        app.start = Some(format!("bundle exec {serve}"));
    } else {
        app.packages = vec!["jekyll"];
        app.start = Some(serve.into());
    }
    draft.app = app;
    true
}

/// Where pages lie, the usual first.
const ROOTS: &[&str] = &["", "public/", "site/", "htdocs/", "html/", "www/", "docs/"];

pub(super) fn files(folder: &Folder, draft: &mut Draft) -> bool {
    let Some(root) = ROOTS.iter().find(|root| folder.has(&format!("{root}index.html"))) else {
        return false;
    };
    draft
        .why
        .push(format!("{root}index.html: files, served by nginx"));
    draft.app = App {
        base: Base::Files {
            root: root.trim_end_matches('/').to_owned(),
        },
        port: Some(80),
        sure: true,
        ..App::default()
    };
    true
}
