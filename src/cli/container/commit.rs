//! `commit`: an image out of a container.

use super::{print_line, registry::Registry};
use crate::cli::{CommandError, Exit, Outcome};
use banyan_runtime::image::{CommitError, CommitRequest, Reference, Store};
use clap::{ArgAction, Args};

/// `commit`.
#[derive(Debug, Args)]
pub struct Commit {
    /// Who made it
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// Instruction of a Dockerfile to apply (`CMD`, `ENV`, …); may be given several times
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Remark in the image's history
    #[arg(short, long)]
    message: Option<String>,
    /// Freeze the container meanwhile; `--pause=false` does not
    #[arg(short, long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", value_name = "true|false")]
    pause: bool,
    /// The same as `--pause=false`
    #[arg(long, conflicts_with = "pause")]
    no_pause: bool,
    /// Container, by name or id
    container: String,
    /// Name for the image
    image: Option<String>,
}

impl Commit {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let name = self.image.as_deref().map(str::parse::<Reference>).transpose();
        let name =
            name.map_err(|error| CommandError::caused(Exit::Usage, "this is no image name", &error))?;
        if name.as_ref().is_some_and(|name| name.digest().is_some()) {
            return Err(
                CommandError::new(Exit::Usage, "an image cannot be given a digest")
                    .hint("leave out what follows `@`"),
            );
        }
        let entry = registry.find(&self.container)?;
        let wrong = |error: &CommitError| {
            let exit = match error {
                CommitError::Change(_) => Exit::Usage,
                _ => Exit::Failed,
            };
            let made = CommandError::caused(
                exit,
                format!("cannot commit container `{}`", self.container),
                error,
            );
            match error.hint() {
                Some(hint) => made.hint(hint),
                None => made,
            }
        };
        let store = Store::open(&registry.roots.images()).map_err(|error| wrong(&error.into()))?;
        let request = CommitRequest {
            changes: self.change.clone(),
            author: self.author.clone(),
            message: self.message.clone(),
            pause: self.pause && !self.no_pause,
        };
        let id = store
            .commit_container(&entry.dir, &request)
            .map_err(|error| wrong(&error))?;
        if let Some(name) = &name {
            store.tag(id, name).map_err(|error| wrong(&error.into()))?;
        }
        print_line(&id.to_string());
        Ok(Exit::Success)
    }
}
