//! `banyan push`: the images of services go to the registries that their names say.

use super::{CommandError, Exit, Global, Outcome, config, image};
use crate::project::{self, Skip};
use banyan_runtime::registry::push::push;
use clap::Args;
use std::{collections::BTreeMap, io::Write as _};

/// Flags of `push`.
#[derive(Debug, Clone, Args)]
pub struct Push {
    /// Only these services (default: every service with a `build` or an `image`)
    services: Vec<String>,
    /// Also push images of the services that those depend on
    #[arg(long)]
    include_deps: bool,
    /// Push what can be pushed, and succeed whatever fails
    #[arg(long)]
    ignore_push_failures: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Push {
    /// For services that were just built.
    pub(super) fn of(services: Vec<String>, include_deps: bool, quiet: bool) -> Self {
        Self {
            services,
            include_deps,
            ignore_push_failures: false,
            quiet,
        }
    }
}

/// Pushes every image once, in the order of names.
///
/// # Errors
/// A service that does not exist or, unless they are to be ignored, the images that could not be pushed.
pub(super) fn run(global: &Global, args: &Push) -> Outcome {
    let options = config::load_options(global)?;
    let (mut resolved, warnings) = project::resolve(&options, Skip::default())
        .map_err(|wrong| config::wrong_project(&wrong, &options))?;
    config::print_warnings(&warnings, &options);
    let known = resolved.services();
    if let Some(wrong) = args.services.iter().find(|name| !known.contains(name)) {
        return Err(config::no_such_service(wrong, &known));
    }
    if args.include_deps && !args.services.is_empty() {
        resolved
            .select(&args.services)
            .map_err(|name| config::no_such_service(&name, &known))?;
    }
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (service, name) in resolved.images() {
        if args.services.is_empty() || args.include_deps || args.services.contains(&service) {
            wanted.entry(name).or_default().push(service);
        }
    }
    let (store, credentials) = (image::store(global)?, image::credentials()?);
    let mut global = global.clone();
    if args.quiet {
        global.progress = super::args::Progress::Quiet;
    }
    let printer = image::render::Printer::new(&global);
    let (mut failed, mut hint) = (Vec::new(), None);
    for (name, services) in wanted {
        match push(&store, &image::reference(&name)?, &credentials, &printer) {
            Ok(digest) => {
                let _ = writeln!(std::io::stdout(), "{name}@{digest}");
            }
            Err(error) => {
                let services = services.join(", ");
                let mut out = std::io::stderr().lock();
                let _ = writeln!(out, "image `{name}` of {services} is not pushed: {error}");
                hint = hint.or(error.hint());
                failed.push(name);
            }
        }
    }
    if failed.is_empty() || args.ignore_push_failures {
        return Ok(Exit::Success);
    }
    let error = CommandError::new(Exit::Failed, format!("not pushed: {}", failed.join(", ")));
    Err(match hint {
        Some(hint) => error.hint(hint),
        None => error.hint("`--ignore-push-failures` goes on regardless"),
    })
}
