//! The project as templates see it: gaudi's containers, in the order of the file.

use super::template::Value;
use std::path::{Path, PathBuf};

/// Where templates of gaudi's kind look for the two scripts.
pub(crate) const TEMPLATE_SCRIPTS: [&str; 2] = ["/root/before-setup.sh", "/root/after-setup.sh"];

/// The name of the context that `add` copies from where the context proper is a folder of templates.
pub(crate) const ADDED: &str = "added-files";

/// A script of the project file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Script {
    /// Commands.
    Inline(String),
    /// The absolute path of a file on this machine.
    File(String),
}

/// One service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// The `type`; empty for services of other kinds.
    pub(crate) kind: String,
    pub(crate) image: String,
    /// What it names in `links` and `depends_on`, in this order.
    pub(crate) linked: Vec<String>,
    /// Published port (empty when free) and port in the container.
    pub(crate) ports: Vec<(String, u16)>,
    /// The port that it listens on; `None` when that is unknown.
    pub(crate) port: Option<u16>,
    /// Something tells whether it is ready.
    pub(crate) checked: bool,
    /// Source and target of mounts.
    pub(crate) volumes: Vec<(String, String)>,
    pub(crate) environment: Vec<(String, String)>,
    /// `apt_get`
    pub(crate) packages: Vec<String>,
    /// `add`: absolute path on this machine, and place in the image.
    pub(crate) add: Vec<(String, String)>,
    pub(crate) before: Option<Script>,
    pub(crate) after: Option<Script>,
    /// `custom`, completed with the defaults of the recipe's parameters.
    pub(crate) custom: Vec<(String, Value)>,
}

impl Container {
    /// A parameter that was given or has a default.
    pub(crate) fn parameter(&self, key: &str) -> Option<&Value> {
        let found = self.custom.iter().find(|(name, _)| name == key);
        found
            .map(|(_, value)| value)
            .filter(|value| **value != Value::Nothing)
    }

    /// What `add` names, relative to a folder that holds all of it: `folder`, or as far above it as needed.
    pub(crate) fn added_under(&self, folder: &Path) -> (PathBuf, Vec<(String, String)>) {
        let mut folder = folder.to_owned();
        for (from, _) in &self.add {
            while !Path::new(from).starts_with(&folder) && folder.pop() {}
        }
        let relative = |(from, to): &(String, String)| {
            let from = Path::new(from).strip_prefix(&folder).unwrap_or(Path::new(from));
            (from.display().to_string(), to.clone())
        };
        let added = self.add.iter().map(relative).collect();
        (folder, added)
    }

    /// What `add` names, for a build whose context is another folder: the folder for [`ADDED`], and what is in it.
    pub(crate) fn added(&self) -> Option<(PathBuf, Vec<(String, String)>)> {
        let (first, _) = self.add.first()?;
        Some(self.added_under(Path::new(first).parent().unwrap_or(Path::new("/"))))
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scene(pub(crate) Vec<Container>);

impl Scene {
    pub(crate) fn get(&self, number: usize) -> Option<&Container> {
        self.0.get(number)
    }

    /// The number of the container called `name`.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|container| container.name == name)
    }

    /// The first container of a type.
    pub(crate) fn of_type(&self, kind: &str) -> Option<usize> {
        self.0.iter().position(|container| container.kind == kind)
    }
}
