//! Services by type: every recipe as a project, what is merged, what is said.

use super::{load_files, service};
use crate::{
    model::{Condition, Mount, MountKind, Project, Ready},
    recipe,
};
use std::path::Path;

fn loaded(files: &[(&str, &str)]) -> (Project, Vec<String>) {
    match load_files(files, |options| options.profiles.push("*".into())) {
        Ok(loaded) => (
            loaded.project,
            loaded
                .warnings
                .into_iter()
                .map(|warning| warning.message)
                .collect(),
        ),
        Err(wrong) => panic!("{}", wrong.to_text(Path::new("/"))),
    }
}

fn compose(text: &str) -> Project {
    loaded(&[("compose.yaml", text)]).0
}

/// Message, line, column and hint of the first mistake.
fn mistake(files: &[(&str, &str)]) -> (String, Option<(u32, u32)>, Option<String>) {
    let wrong = load_files(files, |_| {}).expect_err("a mistake");
    let first = wrong
        .0
        .into_iter()
        .find(|d| d.severity == crate::project::Severity::Error);
    let first = first.expect("a mistake");
    (
        first.message,
        first.place.map(|place| (place.line, place.column)),
        first.hint,
    )
}

fn dockerfile(project: &Project, name: &str) -> String {
    let build = service(project, name).image.build.as_ref().expect("a build");
    build.dockerfile_inline.clone().expect("a recipe")
}

fn targets(mounts: &[Mount]) -> Vec<&str> {
    mounts.iter().map(|mount| mount.target.as_str()).collect()
}

#[test]
fn every_recipe_makes_a_service_on_debian_with_its_defaults() {
    for kind in recipe::KINDS {
        let text = format!(
            "services:\n  it: {{type: {kind}, links: [other]}}\n  other: {{type: mysql, custom: {{repl: master}}}}\n"
        );
        let (project, warnings) = loaded(&[("compose.yaml", &text)]);
        assert_eq!(warnings, Vec::<String>::new(), "{kind}");
        let dockerfile = dockerfile(&project, "it");
        assert!(
            dockerfile.starts_with("FROM debian:bookworm\n"),
            "{kind}: {dockerfile}"
        );
        assert!(!dockerfile.contains("[["), "{kind}: {dockerfile}");
        banyan_runtime::build::dockerfile::parse(&dockerfile)
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
        let (made, found) = (service(&project, "it"), recipe::find(kind).expect("a recipe"));
        let declaration = found.declaration;
        assert_eq!(declaration.kind, *kind);
        assert!(
            declaration.about.len() > 10 && !declaration.brings.is_empty(),
            "{kind}"
        );
        assert!(
            declaration
                .parameters
                .values()
                .all(|parameter| parameter.help.len() > 5),
            "{kind}"
        );
        let program = declaration.is_server();
        assert_eq!(
            made.ready.is_some(),
            program,
            "{kind}: a service tells when it is ready"
        );
        assert_eq!(program, declaration.port.is_some(), "{kind}");
        assert_eq!(made.here, declaration.binary, "{kind}");
    }
}

#[test]
fn two_services_of_a_type_share_everything_but_what_their_parameters_change() {
    let project = compose(
        "
services:
  a: {type: php-fpm}
  b: {type: php-fpm, apt_get: [git], custom: {memoryLimit: 1G}, before_script: echo}
  c: {type: mysql, custom: {rootPassword: x, databases: [y]}}
  d: {type: mysql}
",
    );
    let (a, b) = (dockerfile(&project, "a"), dockerfile(&project, "b"));
    let install = |text: &str| {
        text.lines()
            .take_while(|line| !line.is_empty())
            .take(4)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(install(&a), install(&b));
    assert!(install(&a).iter().any(|line| line.contains("php-fpm")), "{a}");
    assert_eq!(
        dockerfile(&project, "c"),
        dockerfile(&project, "d"),
        "passwords and names are in no image"
    );
    let variables = &service(&project, "c").environment;
    assert_eq!(variables["MYSQL_ROOT_PASSWORD"].as_deref(), Some("x"));
}

#[test]
fn a_type_is_inherited_with_its_companions() {
    let (project, warnings) = loaded(&[(
        "compose.yaml",
        "
services:
  base: {type: python, apt_get: [git], custom: {pip_modules: [flask]}, profiles: [never]}
  one: {extends: base, after_script: echo one, apt_get: [vim], profiles: [never]}
  old: {type: php-fpm, apt_get: [php5-gd]}
",
    )]);
    let text = dockerfile(&project, "one");
    assert!(text.contains("git vim") && text.contains("flask"), "{text}");
    assert!(dockerfile(&project, "old").contains("recommends php-gd"));
    assert_eq!(
        warnings,
        ["`apt_get` of `old`: `php5-gd` is `php-gd` in Debian bookworm"]
    );
}

#[test]
fn what_the_project_file_says_wins_over_the_recipe() {
    let (project, _) = loaded(&[
        (
            "compose.yaml",
            "
services:
  db:
    x-banyan: {type: mysql, restart_unhealthy: true}
    volumes: ['./data:/var/lib/mysql']
    environment: {MYSQL_ROOT_PASSWORD: mine}
    stop_grace_period: 5s
    ports: ['3307:3307']
  app: {type: php-fpm, links: [db, 'cache:c'], depends_on: {cache: {condition: service_started}}, healthcheck: {test: [CMD, 'true']}}
  cache: {type: redis}
  plain: {image: x, links: [db]}
",
        ),
        ("compose.override.yaml", "services: {db: {custom: {databases: [one]}}, app: {custom: {memoryLimit: 1G}}}"),
    ]);
    let db = service(&project, "db");
    assert_eq!(targets(&db.mounts), ["/var/lib/mysql"]);
    assert!(matches!(db.mounts[0].kind, MountKind::Bind { .. }));
    assert!(!project.volumes.contains_key("db-data") && project.volumes.contains_key("cache-data"));
    assert_eq!(db.environment["MYSQL_ROOT_PASSWORD"].as_deref(), Some("mine"));
    assert_eq!(db.environment["MYSQL_DATABASE"].as_deref(), Some("one"));
    assert_eq!(db.stop_grace_period, Some(std::time::Duration::from_secs(5)));
    assert_eq!(db.ready, Some(Ready::Tcp(3307)), "it listens where `ports` says");
    assert!(db.restart_unhealthy && db.expose.iter().any(|exposed| exposed.port == 3307));
    let app = service(&project, "app");
    assert!(app.ready.is_none() && app.health_check.is_some());
    let waits: Vec<_> = app
        .depends_on
        .iter()
        .map(|(name, dependency)| (name.as_str(), dependency.condition))
        .collect();
    assert_eq!(
        waits,
        [
            ("cache", Condition::ServiceStarted),
            ("db", Condition::ServiceHealthy)
        ]
    );
    assert!(dockerfile(&project, "app").contains("memory_limit = 1G"));
    let plain = service(&project, "plain");
    assert!(
        plain
            .depends_on
            .values()
            .all(|dependency| dependency.condition == Condition::ServiceStarted)
    );
}

#[test]
fn scripts_are_put_around_the_program_or_are_what_runs() {
    let (project, _) = loaded(&[
        (
            "compose.yaml",
            "
services:
  db: {type: mysql, before_script: ./before.sh, after_script: 'echo $$x'}
  job: {type: python, before_script: echo one, after_script: ./run.sh, add: {run.sh: /x, conf: /conf}}
  own: {type: python, after_script: echo, command: [mine]}
  image: {type: index, image: httpd, apt_get: [vim], after_script: echo $$y}
",
        ),
        ("before.sh", "echo"),
        ("run.sh", "echo"),
        ("conf", ""),
    ]);
    let db = service(&project, "db");
    let words = |name: &str| service(&project, name).command.clone().unwrap_or_default();
    assert_eq!(words("db"), ["with-scripts", "3306", "start"]);
    assert!(db.init && matches!(&db.ready, Some(Ready::Exec(words)) if words[2] == "/run/after_script.done"));
    assert!(dockerfile(&project, "db").contains("COPY <<\"END\" /etc/banyan/after_script\necho $x\nEND\n"));
    assert!(targets(&db.mounts).contains(&"/etc/banyan/before_script"));
    assert_eq!(
        words("job"),
        [
            "bash",
            "-c",
            "echo one\n(exit $?) || exit\nbash /etc/banyan/after_script"
        ]
    );
    let text = dockerfile(&project, "job");
    assert!(
        text.contains("COPY [\"run.sh\", \"/x\"]") && text.contains("COPY [\"conf\", \"/conf\"]"),
        "{text}"
    );
    assert_eq!(words("own"), ["mine"]);
    let image = service(&project, "image");
    assert!(dockerfile(&project, "image").starts_with("FROM httpd\nRUN apt-get"));
    assert_eq!(image.post_start[0].command, ["sh", "-c", "echo $y"]);
}

#[test]
fn mistakes_have_their_place_and_what_to_type_instead() {
    let said = |text: &str| mistake(&[("compose.yaml", text)]);
    let (message, place, hint) = said("services:\n  a:\n    type: mysq\n");
    assert_eq!(
        (message.as_str(), place),
        ("there is no type `mysq`", Some((3, 11)))
    );
    assert_eq!(hint.as_deref(), Some("did you mean `mysql`?"));
    let (message, place, _) = said("services:\n  a: {type: php-fpm, custom: {maxExecutionTime: soon}}\n");
    assert_eq!(
        (message.as_str(), place),
        (
            "`maxExecutionTime` of `a` must be a number, not text",
            Some((2, 49))
        )
    );
    let (message, place, hint) =
        said("services:\n  a: {type: nginx, custom: {backends: [b, c]}}\n  b: {image: x}\n");
    assert_eq!(
        (message.as_str(), place),
        (
            "`backends` of `a` names `c`, which is no service of this project",
            Some((2, 43))
        )
    );
    assert_eq!(hint.as_deref(), Some("services of this project: `b`"));
    assert_eq!(
        said("services:\n  a: {type: hhvm}\n").2.as_deref(),
        Some("instead: `type: php-fpm`, which takes the same parameters")
    );
    assert_eq!(
        said("services:\n  a: {image: x, apt_get: [vim]}\n").0,
        "service `a` has `apt_get`, but no `type`"
    );
    assert!(
        said("services:\n  a: {type: redis, volumes: ['dta:/data']}\n")
            .0
            .contains("volume `dta`")
    );
    assert_eq!(
        said("services:\n  a: {image: x, type: php}\n").0,
        "service `a` has both `type` and `image`"
    );
    assert_eq!(
        said("services:\n  a: {type: empty, apt_get: ['vim; rm']}\n").0,
        "`apt_get` of `a`: `vim; rm` is no name of a Debian package"
    );
    assert!(
        said("services:\n  a: {type: python, custom: {version: 2.7}}\n")
            .0
            .contains("asks for 2.7, which Debian")
    );
    let warned = loaded(&[(
        "compose.yaml",
        "services: {a: {type: nodejs, custom: {version: 0.10, modul: [x]}}}",
    )])
    .1;
    assert_eq!(
        warned,
        [
            "`version` of `a` asks for 0.10, which Debian bookworm does not have: it gets 18",
            "the type `nodejs` has no parameter `modul`; it is ignored"
        ]
    );
}

#[test]
fn a_folder_of_ones_own_is_rendered_and_its_mistakes_have_their_place() {
    let file = "services:\n  own:\n    type: custom\n    template: own\n    ports: ['8080:8081']\n    custom: {x: 3.10}\n    apt_get: [vim]\n";
    let dockerfile_text = "FROM a\n[[ updateApt ]]\nCOPY setup.sh /root/\nCOPY data.bin /\nCMD x [[ .Container.GetCustomValue \"x\" ]]\n";
    let (project, _) = loaded(&[
        ("compose.yaml", file),
        ("own/Dockerfile", dockerfile_text),
        ("own/setup.sh", "listen [[ .Container.GetFirstLocalPort ]]\n"),
        ("own/data.bin", "no template"),
    ]);
    let text = dockerfile(&project, "own");
    let expected =
        "FROM scratch AS rendered-context\nCOPY . /\nCOPY <<\"END\" /setup.sh\nlisten 8081\nEND\nFROM a\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(
        text.contains("COPY --from=rendered-context setup.sh /root/\n") && text.ends_with("CMD x 3.10\n"),
        "{text}"
    );
    assert!(text.contains("--no-install-recommends vim"), "{text}");
    let context = &service(&project, "own")
        .image
        .build
        .as_ref()
        .expect("a build")
        .context;
    assert!(context.ends_with("/app/own"), "{context}");

    let wrong = load_files(
        &[
            ("compose.yaml", file),
            ("own/Dockerfile", "FROM a\nRUN [[ .Container.name ]]\n"),
        ],
        |_| {},
    );
    let wrong = wrong.expect_err("a mistake").0.remove(0);
    assert_eq!(wrong.message, "a container has no `.name`; did you mean `.Name`?");
    let place = wrong.place.expect("a place");
    assert!(place.file.ends_with("own/Dockerfile"), "{place:?}");
    assert_eq!((place.line, place.column), (2, 18));
}

#[test]
fn an_ejected_recipe_is_the_same_as_the_type() {
    let recipe = recipe::find("redis").expect("a recipe");
    let own: Vec<(String, String)> = recipe
        .files
        .iter()
        .map(|(name, text)| (format!("own/{name}"), text.clone()))
        .collect();
    let file = "services: {a: {type: redis}, b: {type: custom, template: own, custom: {maxMemory: 1M}}}";
    let files: Vec<(&str, &str)> = own
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let files: Vec<_> = files.into_iter().chain([("compose.yaml", file)]).collect();
    let (project, _) = loaded(&files);
    let (a, b) = (dockerfile(&project, "a"), dockerfile(&project, "b"));
    assert!(b.contains("maxmemory 1M") && b.contains("apt-get") && !a.contains("maxmemory"));
    assert_eq!(service(&project, "b").ready, Some(Ready::Tcp(6379)));
}

#[test]
fn types_stay_as_they_are_where_variables_do() {
    let options = crate::project::LoadOptions {
        stdin: Some("services: {a: {type: redis, custom: {password: $SECRET}}}".to_owned()),
        files: vec!["-".into()],
        working_dir: "/".into(),
        project_name: Some("p".into()),
        ..Default::default()
    };
    let skip = crate::project::Skip {
        interpolation: true,
        ..Default::default()
    };
    let (resolved, _) = crate::project::resolve(&options, skip).expect("a project");
    let own = &resolved.to_compose()["services"]["a"]["x-banyan"];
    assert_eq!(own["type"], "redis");
    assert_eq!(own["custom"]["password"], "$SECRET");
}

#[test]
fn config_prints_a_compose_file_that_means_the_same() {
    let text = "services:\n  db: {type: mysql, custom: {rootPassword: 'a$$b'}}\n  app: {type: python, links: [db], custom: {pip_modules: [flask]}}\n";
    let options = |text: &str| crate::project::LoadOptions {
        stdin: Some(text.to_owned()),
        files: vec!["-".into()],
        working_dir: "/".into(),
        project_name: Some("p".into()),
        ..Default::default()
    };
    let (resolved, _) =
        crate::project::resolve(&options(text), crate::project::Skip::default()).expect("a project");
    let printed = serde_yaml::to_string(&resolved.to_compose()).expect("YAML");
    // As `config` does, so that it can be read again.
    let printed = printed.replace('$', "$$");
    let once = crate::project::load(&options(text)).expect("a project").project;
    let twice = crate::project::load(&options(&printed))
        .unwrap_or_else(|wrong| panic!("{}\n{printed}", wrong.to_text(Path::new("/"))))
        .project;
    for name in ["db", "app"] {
        let (once, twice) = (service(&once, name), service(&twice, name));
        assert_eq!(
            once.image.build.as_ref().map(|b| &b.dockerfile_inline),
            twice.image.build.as_ref().map(|b| &b.dockerfile_inline)
        );
        assert_eq!(once.environment, twice.environment);
        assert_eq!(
            (&once.command, &once.ready, &once.mounts.len()),
            (&twice.command, &twice.ready, &twice.mounts.len())
        );
    }
}
