//! Every key of fig and gaudi, and the keys of Compose that the compared docker compose does not know yet.

use super::{load_files, service};
use crate::model::{
    Dialect, Exposed, HealthTest, HttpCheck, Mount, MountKind, Namespace, NetworkMode, Project, Protocol,
    PublishVia, PullPolicy, Ready,
};
use std::{path::Path, time::Duration};

fn load(name: &str, text: &str) -> (Project, Vec<String>) {
    load_with(name, text, &[])
}

/// With files beside it.
fn load_with(name: &str, text: &str, others: &[(&str, &str)]) -> (Project, Vec<String>) {
    let change = |options: &mut crate::project::LoadOptions| {
        options.files.push(name.into());
        options.profiles.push("*".into());
        options.environment = [("CALLER", "c"), ("DATA", "/data"), ("HOME", "/home/u")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    };
    let files: Vec<_> = [(name, text)].iter().chain(others).copied().collect();
    match load_files(&files, change) {
        Ok(loaded) => (
            loaded.project,
            loaded.warnings.into_iter().map(|w| w.message).collect(),
        ),
        Err(wrong) => panic!("{}", wrong.to_text(Path::new("/"))),
    }
}

fn mistakes(name: &str, text: &str) -> Vec<(String, Option<String>)> {
    let change = |options: &mut crate::project::LoadOptions| options.files.push(name.into());
    let wrong = load_files(&[(name, text)], change).expect_err("a wrong file");
    wrong.0.into_iter().map(|d| (d.message, d.hint)).collect()
}

fn binds(mounts: &[Mount]) -> Vec<String> {
    let line = |mount: &Mount| match &mount.kind {
        MountKind::Bind { source, .. } => {
            format!("{}:{}:{}", source.display(), mount.target, mount.read_only)
        }
        other => format!("{other:?}"),
    };
    mounts.iter().map(line).collect()
}

#[test]
fn every_fig_key_reaches_the_project() {
    let (project, warnings) = load(
        "fig.yml",
        "
web:
  build: .
  command: run -p 80 'a b'
  entrypoint: [/init, x]
  links: [db, 'db:mysql']
  ports: ['80', '8080:81', '127.0.0.1:82:82', '53:53/udp']
  expose: ['3000']
  volumes: [/cache, 'src:/app', '$DATA/x:/x:ro', '~/y:/y:rw']
  volumes_from: [db]
  environment: [A=1, CALLER, MISSING, 'B=$CALLER']
  dns: 8.8.8.8
  working_dir: /app
  user: nobody
  hostname: web.example.com
  mem_limit: 1000000
  privileged: true
  stdin_open: true
  tty: true
  detach: true
db:
  image: mysql
  environment: {A: 1, CALLER: }
  net: none
  dns: [9.9.9.9, 1.1.1.1]
  domainname: inside
",
    );
    assert_eq!((project.dialect, warnings), (Dialect::Fig, vec![]));
    let (web, db) = (service(&project, "web"), service(&project, "db"));
    assert!(
        web.image
            .build
            .as_ref()
            .is_some_and(|build| build.context.ends_with("/app"))
    );
    assert_eq!(
        web.command.as_deref(),
        Some(&["run", "-p", "80", "a b"].map(str::to_owned)[..])
    );
    assert_eq!(
        web.entrypoint.as_deref(),
        Some(&["/init", "x"].map(str::to_owned)[..])
    );
    let links: Vec<_> = web
        .links
        .iter()
        .map(|link| (link.service.as_str(), link.alias.as_str()))
        .collect();
    assert_eq!(links, [("db", "db"), ("db", "mysql")]);
    assert!(web.depends_on.keys().any(|name| name.as_str() == "db"));
    let ports: Vec<_> = web
        .ports
        .iter()
        .map(|port| (port.published, port.target, port.protocol))
        .collect();
    let tcp = Protocol::Tcp;
    assert_eq!(
        ports,
        [
            (None, 80, tcp),
            (Some((8080, 8080)), 81, tcp),
            (Some((82, 82)), 82, tcp),
            (Some((53, 53)), 53, Protocol::Udp)
        ]
    );
    assert_eq!(
        web.expose,
        [Exposed {
            port: 3000,
            protocol: tcp
        }]
    );
    let mounts = binds(&web.mounts);
    assert!(
        mounts[0].starts_with("Anonymous") && mounts[1].ends_with("/app/src:/app:false"),
        "{mounts:?}"
    );
    assert_eq!(mounts[2..], ["/data/x:/x:true", "/home/u/y:/y:false"]);
    assert_eq!(web.volumes_from, [("service:db".to_owned(), false)]);
    let environment: Vec<_> = web
        .environment
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_deref()))
        .collect();
    assert_eq!(
        environment,
        [
            ("A", Some("1")),
            ("B", Some("$CALLER")),
            ("CALLER", Some("c")),
            ("MISSING", Some(""))
        ]
    );
    assert_eq!(web.dns.len(), 1);
    assert_eq!(
        (web.working_dir.as_deref(), web.user.as_deref()),
        (Some("/app"), Some("nobody"))
    );
    assert_eq!(
        (web.hostname.as_deref(), web.domainname.as_deref()),
        (Some("web"), Some("example.com"))
    );
    assert_eq!(web.memory.limit, Some(1_000_000));
    assert!(web.privileged && web.stdin_open && web.tty);
    assert_eq!(db.environment["CALLER"].as_deref(), Some("c"));
    assert_eq!(
        (&db.network_mode, db.dns.len(), db.domainname.as_deref()),
        (&NetworkMode::None, 2, Some("inside"))
    );
}

#[test]
fn fig_explains_what_fig_explained() {
    for (wrong, right) in [
        ("link", "links"),
        ("port", "ports"),
        ("privilege", "privileged"),
        ("priviliged", "privileged"),
        ("privilige", "privileged"),
        ("volume", "volumes"),
        ("workdir", "working_dir"),
    ] {
        let said = mistakes("fig.yml", &format!("web:\n  image: x\n  {wrong}: y\n"));
        assert_eq!(
            said[0].0,
            format!("service `web` has no key `{wrong}` in a fig file")
        );
        assert_eq!(
            said[0].1.as_deref(),
            Some(format!("did you mean `{right}`?").as_str())
        );
    }
    let said = |text: &str| mistakes("fig.yml", text).remove(0).0;
    assert_eq!(
        said("web: {image: x, build: .}\n"),
        "service `web` has both `image` and `build`"
    );
    assert_eq!(
        said("web: {ports: ['80']}\n"),
        "service `web` has neither `image` nor `build`"
    );
    assert_eq!(
        said("we-b: {image: x}\n"),
        "`we-b` is not a service name in a fig file"
    );
    assert_eq!(
        said("web: {image: x, links: [dv]}\ndb: {image: y}\n"),
        "service `web` refers to the service `dv`, which is not defined"
    );
    assert_eq!(
        said("web: {image: x, links: [web]}\n"),
        "service `web` depends on itself"
    );
    assert_eq!(
        said("web: {image: x, volumes_from: [web]}\n"),
        "service `web` depends on itself"
    );
    assert_eq!(
        said("a: {image: x, links: [b]}\nb: {image: y, links: [a]}\n"),
        "services wait for each other in a circle"
    );
    assert_eq!(
        said("web: {image: x, ports: ['a:b:c:d']}\n"),
        "`a:b` in `a:b:c:d` is not an IP address"
    );
    assert_eq!(
        said("web: {image: x, restart: always}\n"),
        "service `web` has no key `restart` in a fig file"
    );
}

#[test]
fn every_gaudi_key_reaches_the_project() {
    let (project, warnings) = load_with(
        ".gaudi.yml",
        "
applications:
  front:
    type: index
    image: httpd
    links: [app]
    ports: {8080: 80}
    volumes: {php: /app/php, /abs: /b}
    environments: {A: 1}
    before_script: echo before
    after_script: echo after
  app: {type: prebuild, image: php}
  child: {extends: front, image: other, type: index}
  git: {type: github, path: 'github.com/a/b', image: tag}
  own: {type: custom, template: ./templates/own/Dockerfile, custom: {x: 1}}
  box: {type: empty, apt_get: [vim, git], add: {conf: /etc/conf}, after_script: 'sleep 5', before_script: 'echo $HOME'}
  far: {type: index, image: db, ambassador: {type: aws, remote: host, port: 3306}}
binaries:
  npm: {type: index, image: node}
",
        &[("templates/own/Dockerfile", "FROM scratch\n")],
    );
    assert_eq!((project.dialect, warnings), (Dialect::Gaudi, vec![]));
    let front = service(&project, "front");
    assert_eq!(front.image.name, "httpd");
    assert_eq!(front.links[0].alias, "app");
    assert_eq!(
        (front.ports[0].published, front.ports[0].target),
        (Some((8080, 8080)), 80)
    );
    let mounts = binds(&front.mounts);
    assert!(
        mounts[0].ends_with("/app/php:/app/php:false") && mounts[1] == "/abs:/b:false",
        "{mounts:?}"
    );
    assert_eq!(front.environment["A"].as_deref(), Some("1"));
    assert_eq!(
        (
            front.pre_start[0].command[2].as_str(),
            front.post_start[0].command[2].as_str()
        ),
        ("echo before", "echo after")
    );
    assert!(front.tty && front.stdin_open && !front.privileged);
    let child = service(&project, "child");
    assert_eq!(
        (child.image.name.as_str(), child.ports.len(), child.links.len()),
        ("other", 1, 1)
    );
    let git = service(&project, "git");
    assert!(
        git.image.name == "tag"
            && git
                .image
                .build
                .as_ref()
                .is_some_and(|build| build.context == "github.com/a/b")
    );
    let own = service(&project, "own").image.build.as_ref().expect("a build");
    assert!(own.context.ends_with("/app/templates/own"), "{}", own.context);
    assert_eq!(own.dockerfile, "Dockerfile");
    let boxed = service(&project, "box");
    let dockerfile = boxed
        .image
        .build
        .as_ref()
        .and_then(|build| build.dockerfile_inline.clone())
        .expect("a recipe");
    assert!(
        dockerfile.contains("vim git") && dockerfile.contains("COPY [\"conf\", \"/etc/conf\"]"),
        "{dockerfile}"
    );
    assert_eq!(
        boxed.command.as_ref().map(|words| words[2].as_str()),
        Some("echo $HOME\n(exit $?) || exit\nsleep 5")
    );
    let ambassador = service(&project, "ambassador-far");
    assert_eq!(
        (ambassador.links[0].alias.as_str(), ambassador.ports[0].target),
        ("far", 3306)
    );
    assert_eq!(service(&project, "npm").profiles, ["binaries"]);
}

#[test]
fn gaudi_explains_its_mistakes() {
    let said = |text: &str| mistakes(".gaudi.yml", text).remove(0);
    assert_eq!(said("").0, "the project has no services");
    assert_eq!(said("applications: {}\n").0, "no application or binary to start");
    assert_eq!(
        said("application: {a: {type: index, image: x}}\n").1.as_deref(),
        Some("did you mean `applications`?")
    );
    assert_eq!(said("applications: {a: {image: x}}\n").0, "`a` has no `type`");
    assert_eq!(
        said("applications: {a: {type: index}}\n").0,
        "`a` is of type `index`, but names no `image`"
    );
    assert_eq!(
        said("applications: {a: {type: github}}\n").0,
        "`a` is of type `github`, but names no `path`"
    );
    assert_eq!(
        said("applications: {a: {type: custom}}\n").0,
        "`a` is of type `custom`, but names no `template`"
    );
    assert_eq!(
        said("applications: {a: {type: cassandra}}\n").0,
        "the type `cassandra` cannot be had"
    );
    assert_eq!(
        said("applications: {a: {type: mysqll}}\n").1.as_deref(),
        Some("did you mean `mysql`?")
    );
    assert_eq!(
        said("applications: {a: {type: index, image: x, links: [a]}}\n").0,
        "`a` links to itself"
    );
    assert_eq!(
        said("applications: {a: {type: index, image: x, links: [b]}}\n").0,
        "`a` links to `b`, which does not exist"
    );
    assert_eq!(
        said("applications: {a: {type: index, image: x, environment: {}}}\n")
            .1
            .as_deref(),
        Some("gaudi says `environments`")
    );
    assert_eq!(
        said("applications: {a: {type: index, image: x, extends: b}}\n").0,
        "`a` extends `b`, which does not exist"
    );
    assert_eq!(
        said("applications: {a: {type: index, image: x, extends: a}}\n").0,
        "`a` extends itself, through a"
    );
    assert_eq!(
        said("applications: {a: {type: empty, before_script: /abs.sh}}\n").0,
        "`before_script` of `a` is an absolute path"
    );
    assert_eq!(
        said("applications: {a: {type: index, image: x, ports: ['80:80']}}\n").0,
        "`ports` must be a mapping, not a list"
    );
}

#[test]
fn keys_newer_than_the_compared_docker_compose_are_read() {
    let (project, warnings) = load(
        "compose.yaml",
        "
services:
  a:
    image: x
    pull_policy: every_12h
    networks: {n: {gw_priority: 5, interface_name: lan0, driver_opts: {k: 1}}}
    pre_start: [{image: init, command: [migrate], per_replica: true}]
    post_start: [{command: 'warm up', user: root}]
    volumes: [{type: image, source: data, target: /data, image: {subpath: s}}, {type: bind, source: /a, target: /b, bind: {recursive: readonly}, x-banyan: {overlay: true}}]
    ports: [{target: 80, published: '80', x-banyan: {publish: nat}}]
    ipc: shareable
    env_file: [{path: raw.env, format: raw, required: false}]
    healthcheck: {start_interval: 1s}
    develop: {watch: [{path: ., action: sync+exec, target: /x, initial_sync: true, include: a, exec: {command: [c]}}]}
    x-banyan: {ready: {http: {port: 8080, path: /up}}, restart_unhealthy: true}
    models: [llm]
  b: {provider: {type: cloud, options: {size: 1}}}
  c: {image: y, depends_on: [b], secrets: [s], healthcheck: {test: 'true && true'}}
models: {llm: {model: ai/x}}
networks: {n: }
secrets: {s: {x-banyan: {command: [pass, show, x]}}}
",
    );
    assert_eq!(
        warnings,
        [
            "`services.a.networks.n.driver_opts` is ignored",
            "`services.a.models` is ignored",
            "service `b` comes from an external provider and is left out",
            "`models` is ignored",
        ]
    );
    let a = service(&project, "a");
    assert_eq!(a.pull_policy, PullPolicy::Every(Duration::from_secs(43_200)));
    let n = &a.networks["n"];
    assert_eq!(
        (n.gw_priority, n.interface.as_deref(), n.driver_opts["k"].as_str()),
        (5, Some("lan0"), "1")
    );
    assert!(a.pre_start[0].per_replica && a.pre_start[0].image.as_deref() == Some("init"));
    assert_eq!(a.post_start[0].command, ["warm", "up"]);
    assert!(
        matches!(&a.mounts[0].kind, MountKind::Image { source, subpath: Some(s) } if source == "data" && s == "s")
    );
    assert!(
        a.mounts[1].read_only
            && matches!(
                a.mounts[1].kind,
                MountKind::Bind {
                    overlay: true,
                    recursive: true,
                    ..
                }
            )
    );
    assert_eq!((a.ports[0].via, &a.ipc), (PublishVia::Nat, &Namespace::Shareable));
    let check = service(&project, "c").health_check.as_ref().expect("a check");
    assert_eq!(check.test, Some(HealthTest::Shell("true && true".into())));
    assert!(a.watch[0].initial_sync && a.watch[0].include == ["a"]);
    assert_eq!(
        a.ready,
        Some(Ready::Http(HttpCheck {
            port: 8080,
            path: "/up".into(),
            tls: false,
            from: 200,
            to: 399
        }))
    );
    assert!(
        a.restart_unhealthy && project.disabled.len() == 1 && service(&project, "c").depends_on.is_empty()
    );
    assert!(matches!(&project.secrets["s"], crate::model::FileSource::Command(words) if words.len() == 3));
}
