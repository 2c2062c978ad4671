//! `index` and `github`: images that are no recipes, pulled or built elsewhere.

use super::{
    super::{
        diagnostic::Report,
        node::{Entry, Map, Node},
    },
    scripts,
    service::{Cast, build, context},
};
use crate::recipe;

/// `index`: the image as it is; with `apt_get` or `add`, a build on top of it.
pub(super) fn image(cast: &Cast<'_>, user: &mut Map) -> Option<Node> {
    let mut service = Map::new();
    let container = cast.container();
    if !container.packages.is_empty() || !container.add.is_empty() {
        let (folder, added) = context(cast);
        let from = user.shift_remove("image")?;
        let from = from.node.as_str().unwrap_or_default().to_owned();
        let dockerfile = format!("FROM {from}\n")
            + &recipe::install_anywhere(&container.packages)
            + &recipe::add(&added, None);
        build(cast, &mut service, &folder, dockerfile);
    }
    scripts::as_hooks(cast, &mut service);
    Some(Node::map(service, cast.at))
}

/// `github`: a build of a remote folder.
pub(super) fn remote(cast: &Cast<'_>, path: &str, report: &mut Report) -> Node {
    let mut service = Map::new();
    let container = cast.container();
    if !container.packages.is_empty() || !container.add.is_empty() {
        report
            .warning(
                cast.at,
                format!("`apt_get` and `add` of `{}` are ignored", container.name),
            )
            .because("what a remote folder builds is not known before it is fetched");
    }
    let build = cast.map([("context", cast.text(path))]);
    service.insert("build".into(), Entry::new(cast.at, build));
    scripts::as_hooks(cast, &mut service);
    Node::map(service, cast.at)
}
