//! From files to `Project`.

mod bounds;
mod corpus;
mod dialects;
mod invalid;
mod merging;
mod recipes;
mod reference;
mod shapes;
mod types;

use super::*;
use crate::model::{Condition, MountKind, NetworkMode, Protocol, RestartCondition, Service, ServiceName};
use std::{fs, path::Path};

/// Writes `files` (name, text) to a fresh folder `app` and loads it.
pub(crate) fn load_files(
    files: &[(&str, &str)],
    change: impl FnOnce(&mut LoadOptions),
) -> Result<Loaded, Diagnostics> {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let dir = temp.path().join("app");
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    fs::create_dir_all(&dir).expect("a folder");
    let mut options = LoadOptions {
        working_dir: dir.clone(),
        ..LoadOptions::default()
    };
    change(&mut options);
    load(&options)
}

fn compose(text: &str) -> Project {
    match load_files(&[("compose.yaml", text)], |_| {}) {
        Ok(loaded) => loaded.project,
        Err(wrong) => panic!("{}", wrong.to_text(Path::new("/"))),
    }
}

fn service<'a>(project: &'a Project, name: &str) -> &'a Service {
    &project.services[&ServiceName::new(name).expect("a name")]
}

const LAMP: &str = "
services:
  web:
    build: ./php
    ports: ['8080:80', '127.0.0.1:8443:443']
    volumes: ['./site:/var/www/html:ro', 'uploads:/var/uploads', '/cache']
    environment:
      DB_HOST: db
      DB_PASSWORD: ${DB_PASSWORD:-secret}
    depends_on:
      db: {condition: service_healthy}
    restart: unless-stopped
  db:
    image: mariadb:11
    environment: [MARIADB_ROOT_PASSWORD=root]
    volumes: ['data:/var/lib/mysql']
    healthcheck:
      test: [CMD, healthcheck.sh, --connect]
      interval: 2s
    networks: [back, default]
volumes: {data: {}, uploads: {}, unused: {}}
networks: {back: {internal: true}}
";

#[test]
fn a_usual_stack_becomes_a_project() {
    let project = compose(LAMP);
    assert_eq!(project.name.as_str(), "app");
    let (web, db) = (service(&project, "web"), service(&project, "db"));
    assert_eq!(web.image.name, "app-web");
    let build = web.image.build.as_ref().expect("a build");
    assert!(build.context.ends_with("/app/php") && build.dockerfile == "Dockerfile");
    assert_eq!(web.ports.len(), 2);
    assert_eq!(
        (web.ports[0].published, web.ports[0].target, web.ports[0].protocol),
        (Some((8080, 8080)), 80, Protocol::Tcp)
    );
    assert_eq!(
        web.ports[1].host_ip.map(|ip| ip.to_string()).as_deref(),
        Some("127.0.0.1")
    );
    assert!(
        matches!(&web.mounts[0].kind, MountKind::Bind { source, create: true, .. } if source.ends_with("app/site"))
    );
    assert!(web.mounts[0].read_only && !web.mounts[1].read_only);
    assert!(matches!(&web.mounts[1].kind, MountKind::Volume { source, .. } if source == "uploads"));
    assert!(matches!(&web.mounts[2].kind, MountKind::Anonymous { .. }));
    assert_eq!(web.environment["DB_PASSWORD"].as_deref(), Some("secret"));
    assert_eq!(
        web.depends_on.values().next().map(|d| d.condition),
        Some(Condition::ServiceHealthy)
    );
    assert_eq!(web.restart.condition, RestartCondition::UnlessStopped);
    assert_eq!(web.network_mode, NetworkMode::Networks);
    assert_eq!(web.networks.keys().collect::<Vec<_>>(), ["default"]);
    assert_eq!(db.networks.keys().collect::<Vec<_>>(), ["back", "default"]);
    assert!(project.networks["back"].internal && project.networks["default"].name == "app_default");
    assert_eq!(project.volumes.keys().collect::<Vec<_>>(), ["data", "uploads"]);
    let place = web.places["ports[1]"].clone();
    assert_eq!((place.line, place.column), (5, 24));
}

#[test]
fn all_independent_mistakes_are_told_in_one_run() {
    let text = "services:\n  web:\n    imagee: x\n    ports: [a:80]\n  db:\n    image: y\n    networks: [nope]\n    stop_grace_period: 10\n";
    let wrong = load_files(&[("compose.yaml", text)], |_| {}).expect_err("it is wrong");
    let messages: Vec<&str> = wrong.0.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "service `web` has neither `image` nor `build`",
            "service `web` has no key `imagee`",
            "`a` in `a:80` is not a port",
            "service `db` refers to the network `nope`, which is not defined",
            "`services.db.stop_grace_period` is not a duration: `10`",
        ]
    );
}
