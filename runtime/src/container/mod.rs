//! One container, from settings to nothing left.
//!
//! 1. [`Settings`]: everything it needs, resolved. [`ContainerDir`]: where its files are.
//! 2. [`Launcher::create`]: `Container<Created>`, standing at the barrier; attach its network now.
//! 3. [`Container::start`](Container::<Created>::start): `Container<Running>`; signals, exec, streams, limits, waiting.
//! 4. [`remove`]: everything of it is gone.
//!
//! What is read back from disk is an enum, [`Found`], because the world may have moved meanwhile: [`open`] verifies
//! the recorded process by its start time before anything trusts its number.
//!
//! Everything here blocks, holds no lock, keeps no global state, and may be called from several threads at once.
//!
//! Deliberately absent: names, networks, images, restarting. The callers know those.

mod activity;
mod bundle;
mod check;
mod dir;
mod direct;
mod error;
mod exec;
mod exit;
pub mod files;
mod handle;
mod launcher;
mod open;
pub(crate) mod record;
mod settings;
mod written;

pub use crate::{
    failure::{Failure, Step},
    sys::pidfd::Ended,
};
pub use activity::Activity;
pub use bundle::{Bundle, Exact, Hook, Listener, Node, Scheduler, TimeNamespace};
pub use dir::ContainerDir;
pub(crate) use dir::paths;
pub use direct::{Direct, Handed};
pub use error::{ContainerError, LaunchError};
pub use exec::{ExecSettings, ExecStreams, Execution};
pub use exit::Exit;
pub use handle::{Attachment, Container, Created, Running};
pub use launcher::{Extras, Grant, Launcher};
pub use open::{Found, give_up, open, remove, sweep, unfinished};
pub use record::Identified;
pub use settings::{
    Confinement, DEFAULT_PATH, DEFAULT_SHM_SIZE, Files, MASKED_PATHS, Process, READONLY_PATHS, Revive,
    Settings, TerminalSize,
};
