//! The recipes that are in this program.

use super::Declaration;

/// A recipe: its declaration and its files.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The `type`, or the folder that it was read from.
    pub name: String,
    /// `recipe.yaml`.
    pub declaration: Declaration,
    /// Name and content of all its files, `recipe.yaml` among them.
    pub files: Vec<(String, String)>,
}

impl Recipe {
    /// The content of a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&str> {
        let found = self.files.iter().find(|(file, _)| file == name);
        found.map(|(_, content)| content.as_str())
    }

    /// Puts one together from its files.
    ///
    /// # Errors
    /// When `recipe.yaml` is missing or wrong.
    pub fn from_files(name: &str, files: Vec<(String, String)>) -> Result<Self, String> {
        let text = files.iter().find(|(file, _)| file == "recipe.yaml");
        let (_, text) = text.ok_or("there is no recipe.yaml")?;
        let declaration = Declaration::read(text).map_err(|error| format!("recipe.yaml: {error}"))?;
        Ok(Self {
            name: name.to_owned(),
            declaration,
            files,
        })
    }
}

/// Types without a recipe, and what they are.
pub const OTHERS: &[(&str, &str)] = &[
    (
        "custom",
        "The folder `template`: a Dockerfile and other files, as templates; or a recipe of your own",
    ),
    (
        "github",
        "A build of the remote folder `path`; `image` is the name it gets",
    ),
    ("index", "The image `image`, with `apt_get` and `add` on top"),
];

/// Name and content of the files of a type.
type Files = &'static [(&'static str, &'static str)];

macro_rules! types {
    ($($kind:literal: [$($file:literal),* $(,)?]),* $(,)?) => {
        /// The types that have a recipe, in alphabetical order.
        pub const KINDS: &[&str] = &[$($kind),*];

        const FILES: &[(&str, Files)] = &[
            $(($kind, &[$(($file, include_str!(concat!("types/", $kind, "/", $file)))),*])),*
        ];
    };
}

types! {
    "ambassador": ["recipe.yaml", "service.yaml", "Dockerfile", "start"],
    "apache": ["recipe.yaml", "service.yaml", "Dockerfile", "site.conf", "start"],
    "composer": ["recipe.yaml", "service.yaml", "Dockerfile"],
    "django": ["recipe.yaml", "service.yaml", "Dockerfile", "settings.py", "start"],
    "empty": ["recipe.yaml", "service.yaml", "Dockerfile"],
    "golang": ["recipe.yaml", "service.yaml", "Dockerfile"],
    "graphite": ["recipe.yaml", "service.yaml", "Dockerfile", "carbon.conf", "schemas.conf", "settings.py", "site.conf", "start"],
    "jekyll": ["recipe.yaml", "service.yaml", "Dockerfile", "start"],
    "memcached": ["recipe.yaml", "service.yaml", "Dockerfile", "start"],
    "mysql": ["recipe.yaml", "service.yaml", "Dockerfile", "server.cnf", "start"],
    "nginx": ["recipe.yaml", "service.yaml", "Dockerfile", "site.conf"],
    "nodejs": ["recipe.yaml", "service.yaml", "Dockerfile"],
    "npm": ["recipe.yaml", "service.yaml", "Dockerfile"],
    "php": ["recipe.yaml", "service.yaml", "Dockerfile", "php.ini"],
    "php-fpm": ["recipe.yaml", "service.yaml", "Dockerfile", "php.ini", "pool.conf", "start"],
    "phpmyadmin": ["recipe.yaml", "service.yaml", "Dockerfile", "servers.php", "site.conf", "start"],
    "postgresql": ["recipe.yaml", "service.yaml", "Dockerfile", "is-up", "start"],
    "python": ["recipe.yaml", "service.yaml", "Dockerfile"],
    "rabbitmq": ["recipe.yaml", "service.yaml", "Dockerfile", "rabbitmq.conf", "start"],
    "redis": ["recipe.yaml", "service.yaml", "Dockerfile", "redis.conf", "start"],
    "ror": ["recipe.yaml", "service.yaml", "Dockerfile", "Gemfile", "database.yml", "site.conf", "start"],
    "ruby": ["recipe.yaml", "service.yaml", "Dockerfile"],
    "statsd": ["recipe.yaml", "service.yaml", "Dockerfile", "config.js", "start"],
    "varnish": ["recipe.yaml", "service.yaml", "Dockerfile", "default.vcl", "start"],
}

/// The recipe of a type.
///
/// # Panics
/// When a recipe of this program is wrong; a test reads all of them.
#[must_use]
pub fn find(kind: &str) -> Option<Recipe> {
    let (_, files) = FILES.iter().find(|(name, _)| *name == kind)?;
    let files = files
        .iter()
        .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
        .collect();
    match Recipe::from_files(kind, files) {
        Ok(recipe) => Some(recipe),
        Err(error) => unreachable!("recipe `{kind}` is wrong: {error}"),
    }
}
