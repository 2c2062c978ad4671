//! Recipes: what a `type` of a service means. Data in this program, versioned with it, on Debian packages.
//!
//! A recipe is a folder of [`types`](catalogue) with
//!
//! * `recipe.yaml`, the [`Declaration`]: what it is, its port, its parameters;
//! * `Dockerfile`, a [`template`] on `debian:bookworm`, and other files that it copies with `[[ copy "file" "/path" ]]`;
//! * `service.yaml`, a template of a compose service: what the service needs besides its image (readiness, volumes,
//!   environment). What the user writes is merged on top of it.
//!
//! `project::recipes` puts the service together from these; `banyan config` shows it. A folder with the same files anywhere
//! on the machine is a recipe too, for `type: custom` (`banyan recipe eject` writes one).
//!
//! # To add a type
//!
//! 1. Make the folder `types/NAME/` with the three files; `types/redis` is a short one to start from. Order the Dockerfile
//!    from what all services of the type share (`[[ install "package" ]]`) to what depends on parameters (`[[ packages ]]`
//!    is where `apt_get` goes, `copy` of configuration comes after it), so that services share layers.
//! 2. Add one line to [`catalogue`]. A test renders every recipe with its defaults and checks the result as a project file.
//! 3. Add a project that uses it to `tests/recipes/`, with a real client that gets a real answer.
//! 4. Describe it in `docs/recipes.md`; `banyan recipe show NAME` prints the declaration.
//!
//! A type that cannot be had goes to [`refused`], with the reason and what to do instead.

mod catalogue;
mod declaration;
mod dockerfile;
mod parameter;
mod refused;
mod scene;
mod template;
mod version;

pub use catalogue::{KINDS, OTHERS, Recipe, find};
pub use declaration::{After, Declaration};
pub(crate) use dockerfile::{add, copy, install_anywhere};
pub use parameter::{Kind, Parameter};
pub use refused::{REFUSED, Refused, refused};
pub(crate) use scene::{ADDED, Container, Scene, Script, TEMPLATE_SCRIPTS};

/// Runs scripts of a project file around a program; every image of a recipe with a program may have it.
pub(crate) const WITH_SCRIPTS: &str = include_str!("types/with-scripts");

/// Runs scripts of a project file before and after a command that is called.
pub(crate) const BETWEEN_SCRIPTS: &str = include_str!("types/between-scripts");

pub(crate) use template::{TemplateError, Value, View, is_template, render};
