//! What a `type` is: an image, a remote build, a folder of the user's, or a recipe.

use super::{
    super::{
        diagnostic::Report,
        files::Files,
        node::{Entry, Node},
        suggest::did_you_mean,
    },
    folder, known_kinds,
};
use crate::recipe::{self, Recipe};

/// Where a service's image comes from.
#[derive(Debug)]
pub(super) enum Sort {
    /// `index`: `image` is pulled.
    Image,
    /// `github`: a build of a remote folder.
    Remote(String),
    /// `custom`: a folder with a Dockerfile.
    Folder(folder::Folder),
    Recipe(Box<Recipe>),
    /// A mistake, which was reported.
    Wrong,
}

pub(super) fn sort(name: &str, entry: &Entry, disk: &Files, report: &mut Report) -> Sort {
    let Some(map) = entry.node.as_map() else {
        return Sort::Wrong;
    };
    let Some(kind) = map.get("type") else {
        let at = super::KEYS.iter().find_map(|key| Some((key, map.get(*key)?)));
        if let Some((key, field)) = at {
            report
                .error(field.key, format!("service `{name}` has `{key}`, but no `type`"))
                .hint("`type: index` adds to an `image`; `banyan recipe ls` lists all types");
        }
        return Sort::Wrong;
    };
    let (at, Some(kind)) = (kind.node.span, kind.node.as_str()) else {
        return Sort::Wrong;
    };
    let text = |key: &str| map.get(key).and_then(|field| field.node.as_str());
    let remote = ["github", "remote"].contains(&kind);
    let from_image = ["index", "prebuild"].contains(&kind);
    let clash = ["image", "build"].into_iter().find(|key| {
        let given = map.get(*key).is_some_and(|entry| !entry.node.is_null());
        given && (*key == "build" || !remote && !from_image)
    });
    if let Some(other) = clash {
        report
            .error(at, format!("service `{name}` has both `type` and `{other}`"))
            .hint("remove one of the two: a `type` brings its own build");
        return Sort::Wrong;
    }
    let mut lacks = |key: &str, example: &str| {
        report
            .error(at, format!("`{name}` is of type `{kind}`, but names no `{key}`"))
            .hint(format!("add `{key}: {example}`"));
        Sort::Wrong
    };
    if from_image {
        return if text("image").is_some() || map.get("image").is_some_and(|image| image.node.is_bad()) {
            Sort::Image
        } else {
            lacks("image", "NAME")
        };
    }
    if remote {
        return text("path").map_or_else(|| lacks("path", "URL"), |path| Sort::Remote(path.to_owned()));
    }
    if kind == "custom" {
        let Some(template) = map.get("template").filter(|field| field.node.as_str().is_some()) else {
            return lacks("template", "FOLDER");
        };
        return folder::read(name, &template.node, disk, report);
    }
    if let Some(refused) = recipe::refused(kind) {
        report
            .error(at, format!("the type `{kind}` cannot be had"))
            .because(refused.reason)
            .hint(format!("instead: {}", refused.instead));
        return Sort::Wrong;
    }
    match recipe::find(kind) {
        Some(recipe) => Sort::Recipe(Box::new(recipe)),
        None => {
            let near = did_you_mean(kind, known_kinds());
            report
                .error(at, format!("there is no type `{kind}`"))
                .hint(near.unwrap_or_else(|| "`banyan recipe ls` lists all types".to_owned()));
            Sort::Wrong
        }
    }
}

/// The text of a scalar as it was written: `3.10` is a number to YAML, and a version to people.
pub(super) fn written(node: &Node, report: &Report) -> Option<String> {
    let text = node.scalar_text()?;
    if let super::super::node::Value::Float(number) = node.value {
        let slice = report.sources.slice(node.span).trim();
        if slice.parse() == Ok(number) {
            return Some(slice.to_owned());
        }
    }
    Some(text)
}
