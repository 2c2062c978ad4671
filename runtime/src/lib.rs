//! The container runtime of banyan: images, layers, builds, namespaces, cgroups, networks of the kernel, containers.
//!
//! It is synchronous (no async runtime), knows nothing of services or project files, and keeps every `unsafe` block
//! in [`sys`].
//!
//! ```no_run
//! # use banyan_runtime::{container::*, rootfs::RootFs};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // First of all in `main`: this process may be a shim.
//! if let Some(status) = banyan_runtime::role::run() {
//!     std::process::exit(status.into());
//! }
//! let launcher = Launcher::new("/proc/self/exe".as_ref())?;
//! let root = RootFs::directory("/srv/root".into());
//! let settings = Settings::new("hello", root, vec!["echo".into(), "hello".into()]);
//! let dir = ContainerDir::new("/var/lib/x/hello".into(), "/run/x/hello".into());
//! let created = launcher.create(&settings, &dir, Extras::default())?;
//! // … attach links to `created.network_namespace()` here …
//! let mut running = created.start()?;
//! let exit = running.wait(None)?.expect("waits for ever");
//! println!("ended with {}", exit.code());
//! remove(&dir, false)?;
//! # Ok(())
//! # }
//! ```

pub mod archive;
pub mod build;
pub mod cgroup;
pub mod confine;
pub mod container;
pub mod debian;
pub mod failure;
pub mod fetch;
pub mod image;
pub mod log;
pub mod namespace;
pub mod network;
pub mod oci;
pub(crate) mod process;
pub mod registry;
pub mod role;
pub mod rootfs;
pub mod sys;
pub mod terminal;
pub mod watch;
