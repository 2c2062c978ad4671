//! `recipe.yaml`: what a recipe says of itself.

use super::Parameter;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The content of a `recipe.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// What it is to other templates (`.Type`): a recipe of the user's own may stand for a type.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// What it is, in one sentence.
    pub about: String,
    /// What the Debian packages bring: `MariaDB 10.11`.
    #[serde(default)]
    pub brings: String,
    /// The port that it listens on when `ports` does not say another one.
    pub port: Option<u16>,
    /// More ports that others may connect to.
    #[serde(default)]
    pub expose: Vec<u16>,
    /// What `after_script` is.
    #[serde(default)]
    pub after: After,
    /// The program, which scripts are put around, as the image's command; of a `binary`, as its entry point.
    #[serde(default)]
    pub command: Vec<String>,
    /// A command to be called by `banyan run`, in the caller's folder and as its owner.
    #[serde(default)]
    pub binary: bool,
    /// It runs programs of the user's, besides those types that run or are nothing else.
    #[serde(default)]
    pub programs: bool,
    /// How it is wired to others, for `show`.
    #[serde(default)]
    pub wiring: String,
    /// What may stand under `custom`.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
}

/// What `after_script` is to a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum After {
    /// It runs once the service is up.
    #[default]
    Up,
    /// It is what the container runs.
    Command,
}

impl Declaration {
    /// Whether it runs a program that answers others, and so tells when it is ready.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.after == After::Up && !self.binary && !self.command.is_empty()
    }

    /// Whether programs of the user's run in it: they trust the authorities that this machine trusts.
    #[must_use]
    pub fn runs_programs(&self) -> bool {
        self.programs || self.binary || self.after == After::Command
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn read(text: &str) -> Result<Self, serde_yaml::Error> {
        serde_yaml::from_str(text)
    }
}
