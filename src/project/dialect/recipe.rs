//! Recipes: what a `type` stands for.
//!
//! A recipe makes the text of a Dockerfile from a type and its parameters. This module holds the table of known types and
//! the lookup; a type that gaudi knew and that has no recipe here is named as such, so that nobody takes it for a typing
//! error.

use super::super::suggest::did_you_mean;

/// Types of gaudi 0.2.1 (`templates/`), and the two old names.
pub(crate) const GAUDI_TYPES: &[&str] = &[
    "ambassador",
    "apache",
    "bower",
    "cassandra",
    "composer",
    "custom",
    "django",
    "empty",
    "github",
    "golang",
    "graphite",
    "hhvm",
    "index",
    "jackrabbit",
    "jekyll",
    "mysql",
    "nginx",
    "nodejs",
    "npm",
    "php",
    "php-fpm",
    "phpmyadmin",
    "prebuild",
    "python",
    "rabbitmq",
    "remote",
    "ror",
    "ruby",
    "statsd",
    "varnish",
];

/// What a recipe is made from.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    /// The `type`.
    pub(crate) kind: &'a str,
    /// `apt_get`: more Debian packages.
    pub(crate) packages: Vec<String>,
}

/// How a type becomes a Dockerfile.
#[derive(Debug)]
pub(crate) struct Recipe {
    kind: &'static str,
    /// Names allowed under `custom`.
    pub(crate) parameters: &'static [&'static str],
    /// Makes the Dockerfile.
    pub(crate) dockerfile: fn(&Order<'_>) -> String,
}

/// The recipes of this version. `empty` is gaudi's: a Debian with the packages asked for and nothing running.
static RECIPES: &[Recipe] = &[Recipe {
    kind: "empty",
    parameters: &[],
    dockerfile: empty,
}];

/// The recipe for `kind`.
///
/// # Errors
/// What to tell the user when there is none: message and hint.
pub(crate) fn find(kind: &str) -> Result<&'static Recipe, (String, String)> {
    if let Some(recipe) = RECIPES.iter().find(|recipe| recipe.kind == kind) {
        return Ok(recipe);
    }
    if GAUDI_TYPES.contains(&kind) {
        return Err((
            format!("the type `{kind}` has no recipe in this version of banyan"),
            format!(
                "write `image: {}` or a `build` with a Dockerfile instead of `type`",
                image_for(kind)
            ),
        ));
    }
    let known = GAUDI_TYPES.iter().copied();
    Err((
        format!("there is no type `{kind}`"),
        did_you_mean(kind, known)
            .unwrap_or_else(|| "types are names like `php-fpm`, `mysql`, `nginx`".to_owned()),
    ))
}

/// An image that does about the same, for the hint.
fn image_for(kind: &str) -> &str {
    match kind {
        "php-fpm" => "php:fpm",
        "nodejs" | "npm" | "bower" => "node",
        "apache" => "httpd",
        "mysql" => "mariadb",
        "ror" | "jekyll" => "ruby",
        "django" => "python",
        other => other,
    }
}

fn empty(order: &Order<'_>) -> String {
    let mut text = format!("# recipe: {}\nFROM debian:bookworm-slim\n", order.kind);
    if !order.packages.is_empty() {
        let names = order.packages.join(" ");
        text += &format!(
            "RUN apt-get update && apt-get install -y --no-install-recommends {names} && rm -rf /var/lib/apt/lists/*\n"
        );
    }
    text + "CMD [\"sleep\", \"infinity\"]\n"
}
