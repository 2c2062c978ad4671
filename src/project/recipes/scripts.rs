//! `before_script` and `after_script`: where they go depends on what the type runs.

use super::{
    super::{
        diagnostic::Report,
        node::{Entry, Map, Node},
    },
    service::{Cast, bind, extension, push},
};
use crate::recipe::{self, Recipe, Script};

/// Where scripts of the project file lie in a container.
const SCRIPTS: &str = "/etc/banyan";

/// The scripts of a service, in the order in which they run, by their keys.
fn scripts<'c>(cast: &Cast<'c>) -> [(Option<&'c Script>, &'static str); 2] {
    let container = &cast.scene.0[cast.own];
    [
        (container.before.as_ref(), "before_script"),
        (container.after.as_ref(), "after_script"),
    ]
}

fn mount(cast: &Cast<'_>, service: &mut Map, file: &str, name: &str) {
    bind(cast, service, file, &format!("{SCRIPTS}/{name}"));
}

/// Types that run nothing of their own: the scripts are the command. `commanded`: the user says another one.
pub(super) fn as_command(cast: &Cast<'_>, service: &mut Map, commanded: bool) {
    let mut lines = Vec::new();
    for (script, name) in scripts(cast) {
        match script {
            None => {}
            Some(Script::Inline(text)) => lines.push(text.trim_end().to_owned()),
            Some(Script::File(file)) => {
                mount(cast, service, file, name);
                lines.push(format!("bash {SCRIPTS}/{name}"));
            }
        }
        if script.is_some() && name == "before_script" {
            // Ends with the script's status when that is not 0; a block with `||` behind would take `set -e` out of force.
            lines.push("(exit $?) || exit".to_owned());
        }
    }
    if cast.container().after.is_none() && !lines.is_empty() {
        lines.push("exec sleep infinity".to_owned());
    }
    // Interpreters leave signals at their defaults, which the kernel drops for a process 1: they would not stop when asked.
    service.insert("init".into(), Entry::new(cast.at, Node::bool(true, cast.at)));
    if !lines.is_empty() && !commanded {
        let words = ["bash", "-c"]
            .map(str::to_owned)
            .into_iter()
            .chain([lines.join("\n")]);
        service.insert("command".into(), Entry::new(cast.at, cast.list(words)));
    }
}

/// Types with a program: scripts run before it, and once it is up; around a command that is called, before and after it.
pub(super) fn around(
    cast: &Cast<'_>,
    recipe: &Recipe,
    service: &mut Map,
    dockerfile: &mut String,
    report: &mut Report,
) {
    let container = cast.container();
    if container.before.is_none() && container.after.is_none() {
        return;
    }
    let declaration = &recipe.declaration;
    if declaration.command.is_empty() || container.port.is_none() && !declaration.binary {
        let keys = "`before_script` and `after_script`";
        report.error(cast.at, format!("the type `{}` has no {keys}", recipe.name));
        return;
    }
    for (script, name) in scripts(cast) {
        match script {
            None => {}
            Some(Script::Inline(text)) => {
                *dockerfile += &recipe::copy(text, &format!("{SCRIPTS}/{name}"), None);
            }
            Some(Script::File(file)) => mount(cast, service, file, name),
        }
    }
    let program = declaration.command.iter().cloned();
    // What a script leaves behind has process 1 as its parent, and a shell that is process 1 does not end at a signal.
    let init = Entry::new(cast.at, Node::bool(true, cast.at));
    if declaration.binary {
        *dockerfile += &recipe::copy(
            recipe::BETWEEN_SCRIPTS,
            "/usr/local/bin/between-scripts",
            Some("755"),
        );
        let words = ["between-scripts".to_owned()].into_iter().chain(program);
        service.insert("entrypoint".into(), Entry::new(cast.at, cast.list(words)));
        service.insert("init".into(), init);
        return;
    }
    let port = container.port.unwrap_or_default();
    *dockerfile += &recipe::copy(recipe::WITH_SCRIPTS, "/usr/local/bin/with-scripts", Some("755"));
    let words = ["with-scripts".to_owned(), port.to_string()]
        .into_iter()
        .chain(program);
    service.insert("command".into(), Entry::new(cast.at, cast.list(words)));
    if container.after.is_some() {
        service.insert("init".into(), init);
        let words = ["test", "-e", "/run/after_script.done"].map(str::to_owned);
        let ready = cast.map([("exec", cast.list(words))]);
        extension(cast, service).insert("ready".into(), Entry::new(cast.at, ready));
    }
}

/// Scripts that a template of gaudi's kind runs itself: inline ones it writes with `[[ beforeAfterScripts ]]`, files are
/// mounted where it would.
pub(super) fn for_template(cast: &Cast<'_>, service: &mut Map) {
    for ((script, _), target) in scripts(cast).into_iter().zip(recipe::TEMPLATE_SCRIPTS) {
        if let Some(Script::File(file)) = script {
            bind(cast, service, file, target);
        }
    }
}

/// Scripts of a service whose program is not known: before the container starts, and right after.
pub(super) fn as_hooks(cast: &Cast<'_>, service: &mut Map) {
    for ((script, name), key) in scripts(cast).into_iter().zip(["pre_start", "post_start"]) {
        let words = match script {
            None => continue,
            Some(Script::Inline(text)) => ["sh".to_owned(), "-c".to_owned(), text.trim().to_owned()].to_vec(),
            Some(Script::File(file)) => {
                mount(cast, service, file, name);
                ["sh".to_owned(), format!("{SCRIPTS}/{name}")].to_vec()
            }
        };
        push(service, key, cast.map([("command", cast.list(words))]));
    }
}
