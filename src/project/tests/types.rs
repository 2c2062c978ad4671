//! What every type must carry, in both dialects: packages, files, scripts, ports, volumes, variables, links, inheritance;
//! and what each says about versions that Debian does not have.

use super::{load_files, service};
use crate::{
    model::{Condition, Exposed, MountKind, Project, Service},
    project::Severity,
    recipe::{self, After, Kind},
};
use std::path::Path;

/// The files beside the project file. `own` is the folder of `type: custom`.
const BESIDE: &[(&str, &str)] = &[
    ("extra.txt", "x"),
    ("after.sh", "echo after"),
    ("own/Dockerfile", "FROM debian:bookworm\nCOPY here /here\n"),
    ("own/here", "x"),
];

/// All of it in gaudi's words, with a service that inherits it.
fn gaudi(kind: &str, more: &str) -> String {
    format!(
        "applications:
  base:
    type: {kind}
{more}    links: [other]
    ports: {{8099: 7000}}
    volumes: {{data: /somewhere}}
    environments: {{KEY: value}}
    apt_get: [file, tree]
    add: {{extra.txt: /etc/extra.txt}}
    before_script: echo before $KEY
    after_script: ./after.sh
  it: {{extends: base, ports: {{8098: 7000}}}}
  other: {{type: redis}}
"
    )
}

/// The same in a compose file; the keys of types hidden from other tools.
fn compose(kind: &str, more: &str) -> String {
    // `image` is every service's key.
    let (own, beside) = if more.contains("image") {
        (String::new(), more)
    } else {
        (more.replace("    ", "      "), "")
    };
    format!(
        "services:
  base:
    x-banyan:
      type: {kind}
{own}      apt_get: [file, tree]
      add: {{extra.txt: /etc/extra.txt}}
      before_script: echo before $$KEY
      after_script: ./after.sh
{beside}    links: [other]
    ports: ['8099:7000']
    volumes: ['./data:/somewhere']
    environment: {{KEY: value}}
    profiles: [never]
  it: {{extends: base, ports: !override ['8098:7000'], profiles: [never]}}
  other: {{x-banyan: {{type: redis}}}}
"
    )
}

fn loaded(name: &str, text: &str) -> Project {
    let files: Vec<_> = BESIDE.iter().copied().chain([(name, text)]).collect();
    match load_files(&files, |options| options.profiles.push("*".into())) {
        Ok(loaded) => {
            assert!(loaded.warnings.is_empty(), "{:?}\n{text}", loaded.warnings);
            loaded.project
        }
        Err(wrong) => panic!("{}\n{text}", wrong.to_text(Path::new("/"))),
    }
}

/// Every type, with the keys that it cannot be without.
fn types() -> impl Iterator<Item = (&'static str, &'static str)> {
    let recipes = recipe::KINDS.iter().map(|kind| (*kind, ""));
    recipes.chain([
        ("index", "    image: debian\n"),
        ("custom", "    template: own\n"),
    ])
}

#[test]
fn every_type_carries_packages_files_scripts_ports_volumes_variables_and_links() {
    for (kind, more) in types() {
        for (name, text) in [
            (".gaudi.yml", gaudi(kind, more)),
            ("compose.yaml", compose(kind, more)),
        ] {
            let project = loaded(name, &text);
            let it = service(&project, "it");
            let what = format!("{kind} in {name}");
            carries(it, &what);
            scripts(it, kind, &what);
            assert!(it.ports.len() == 1 && it.ports[0].target == 7000, "{what}");
            assert_eq!(it.environment["KEY"].as_deref(), Some("value"), "{what}");
            let mount = it.mounts.iter().find(|mount| mount.target == "/somewhere");
            let source = mount.map(|mount| &mount.kind);
            assert!(
                matches!(source, Some(MountKind::Bind { .. })),
                "{what}: {source:?}"
            );
            assert_eq!(it.links.len(), 1, "{what}");
            let other = it.depends_on.iter().find(|(name, _)| name.as_str() == "other");
            let ready = if recipe::find(kind).is_some() {
                Condition::ServiceHealthy
            } else {
                Condition::ServiceStarted
            };
            assert_eq!(other.map(|(_, other)| other.condition), Some(ready), "{what}");
            // It listens where `ports` says, when that is not the usual port.
            let usual = recipe::find(kind).and_then(|recipe| recipe.declaration.port);
            let exposed = it.expose.iter().any(|Exposed { port, .. }| *port == 7000);
            assert_eq!(exposed, usual.is_some(), "{what}");
        }
    }
}

/// `apt_get` and `add` are in the image.
#[track_caller]
fn carries(it: &Service, what: &str) {
    let build = it.image.build.as_ref().expect("a build");
    let text = build.dockerfile_inline.as_deref().expect("a recipe");
    banyan_runtime::build::dockerfile::parse(text).unwrap_or_else(|error| panic!("{what}: {error}\n{text}"));
    assert!(
        text.contains("apt-get install -y --no-install-recommends file tree"),
        "{what}: {text}"
    );
    let added = text.contains("COPY [\"extra.txt\", \"/etc/extra.txt\"]") && build.context.ends_with("/app");
    let elsewhere = text.contains("COPY --from=added-files [\"extra.txt\", \"/etc/extra.txt\"]")
        && build.additional_contexts["added-files"].ends_with("/app");
    assert!(added != elsewhere, "{what}: {text}");
}

/// The inline script and the one in a file run, wherever that is for the type.
#[track_caller]
fn scripts(it: &Service, kind: &str, what: &str) {
    let mounted = it
        .mounts
        .iter()
        .any(|mount| mount.target == "/etc/banyan/after_script" && mount.read_only);
    assert!(mounted, "{what}");
    let image = it
        .image
        .build
        .as_ref()
        .and_then(|build| build.dockerfile_inline.as_deref())
        .unwrap_or_default();
    let inline = image.contains("/etc/banyan/before_script\necho before $KEY\n");
    let first = |words: &Option<Vec<String>>| words.as_ref().map(|words| words[0].clone());
    let Some(recipe) = recipe::find(kind) else {
        assert_eq!(
            it.pre_start[0].command,
            ["sh", "-c", "echo before $KEY"],
            "{what}"
        );
        assert_eq!(
            it.post_start[0].command,
            ["sh", "/etc/banyan/after_script"],
            "{what}"
        );
        return;
    };
    let declaration = recipe.declaration;
    if declaration.after == After::Command {
        let words = [
            "bash",
            "-c",
            "echo before $KEY\n(exit $?) || exit\nbash /etc/banyan/after_script",
        ];
        assert_eq!(
            it.command.as_deref(),
            Some(&words.map(str::to_owned)[..]),
            "{what}"
        );
    } else if declaration.binary {
        assert_eq!(
            first(&it.entrypoint).as_deref(),
            Some("between-scripts"),
            "{what}"
        );
        assert!(inline && it.here && it.init, "{what}: {image}");
    } else {
        assert_eq!(first(&it.command).as_deref(), Some("with-scripts"), "{what}");
        assert!(inline && it.ready.is_some(), "{what}: {image}");
    }
}

#[test]
fn every_version_that_debian_lacks_is_a_warning_or_a_mistake_that_says_so() {
    let mut tried = 0;
    for kind in recipe::KINDS {
        let declaration = recipe::find(kind).expect("a recipe").declaration;
        for (name, parameter) in &declaration.parameters {
            if parameter.kind != Kind::Version {
                continue;
            }
            tried += 1;
            assert!(
                declaration.brings.contains(&parameter.carries)
                    || kind == &"npm" && declaration.brings.contains("Node.js 18"),
                "{kind}: {} is not what it brings: {}",
                parameter.carries,
                declaration.brings
            );
            let said = |version: &str| {
                let text = format!("services: {{it: {{type: {kind}, custom: {{{name}: '{version}'}}}}}}");
                load_files(&[("compose.yaml", &text)], |options| {
                    options.profiles.push("*".into());
                })
            };
            let carried = said(&parameter.carries).unwrap_or_else(|_| panic!("{kind}: its own version"));
            assert!(carried.warnings.is_empty(), "{kind}: {:?}", carried.warnings);
            let other = said("999.1").unwrap_or_else(|_| panic!("{kind}: 999.1 is refused"));
            assert_eq!(other.warnings.len(), 1, "{kind}: {:?}", other.warnings);
            let warning = &other.warnings[0];
            assert_eq!(
                warning.message,
                format!(
                    "`{name}` of `it` asks for 999.1, which Debian bookworm does not have: it gets {}",
                    parameter.carries
                )
            );
            assert!(warning.hint.is_some() && warning.place.is_some(), "{kind}");
            for refused in &parameter.refuses {
                let wrong = said(&format!("{refused}.1")).expect_err("refused");
                let mistakes: Vec<_> = wrong.0.iter().filter(|d| d.severity == Severity::Error).collect();
                assert!(
                    mistakes.len() == 1
                        && mistakes[0]
                            .message
                            .contains("which Debian bookworm does not have"),
                    "{kind}: {mistakes:?}"
                );
            }
        }
    }
    assert!(tried > 12, "{tried} versions");
}
