//! Runs the packages' scripts, in a container of ours and without network.

use super::DebianError;
use crate::{
    build::sandbox::{Sandbox, run},
    container::Launcher,
    image::{Event, Progress, Store},
    rootfs::RootFs,
};
use std::path::Path;

/// `preinst` scripts run first, as at a first installation; base-passwd's creates the users that others name.
/// Then dpkg configures everything in the order of its dependencies.
const SCRIPT: &str = r#"set -e
cd /var/lib/dpkg/info
for script in base-passwd.preinst *.preinst; do
    [ -e "$script" ] || continue
    package=${script%.preinst}
    DPKG_MAINTSCRIPT_PACKAGE=${package%:*} DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_MAINTSCRIPT_NAME=preinst \
        "./$script" install
done
cd /
exec dpkg --force-unsafe-io --configure --pending
"#;

/// Bytes of output kept for an error message.
const TAIL: usize = 2000;

/// Configures every unpacked package of the tree.
pub(crate) fn configure(
    store: &Store,
    launcher: &Launcher,
    root: &Path,
    architecture: &str,
    date: i64,
    progress: &dyn Progress,
) -> Result<(), DebianError> {
    let date = date.to_string();
    let environment = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("HOME", "/root"),
        ("LC_ALL", "C"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("DPKG_ROOT", ""),
        ("DPKG_ADMINDIR", "/var/lib/dpkg"),
        ("DPKG_MAINTSCRIPT_ARCH", architecture),
        // shadow writes today's date into /etc/shadow otherwise.
        ("SOURCE_DATE_EPOCH", &date),
    ];
    let command = ["/bin/sh", "-c", SCRIPT].map(str::to_owned).to_vec();
    let mut sandbox = Sandbox::new(RootFs::directory(root.to_path_buf()), command);
    sandbox.environment = environment
        .map(|(name, value)| format!("{name}={value}"))
        .to_vec();
    let mut tail: Vec<u8> = Vec::new();
    let status = run(store, launcher, sandbox, &mut |bytes| {
        progress.event(Event::Output { step: 0, bytes });
        tail.extend_from_slice(bytes);
        let surplus = tail.len().saturating_sub(TAIL);
        tail.drain(..surplus);
    })?;
    if status == 0 {
        return Ok(());
    }
    Err(DebianError::Configure {
        status,
        output: String::from_utf8_lossy(&tail).trim().to_owned(),
    })
}
