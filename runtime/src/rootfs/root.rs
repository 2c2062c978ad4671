//! `/`: mounted inside the container's mount namespace, then entered.

use super::{
    inside::{self, Tree},
    settings::{Propagation, RootFs, RootKind},
};
use crate::{
    failure::{At, Failure, Step},
    sys::mount_attr,
};
use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags},
};
use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Mounts `/` on `place` (an empty directory of ours) in this mount namespace. Nothing of it is seen outside.
pub(crate) fn prepare_root(settings: &RootFs, place: &Path) -> Result<Tree, Failure> {
    let mount = match &settings.kind {
        RootKind::Overlay { lower, upper, work } => {
            let lower: Vec<PathBuf> = lower.iter().chain(&settings.init_layer).cloned().collect();
            let writes = Writes {
                upper,
                work,
                volatile: settings.volatile,
            };
            overlay(&lower, Some(writes))?
        }
        RootKind::Directory(path) => {
            let directory = open_directory(path).at(Step::MountRoot, path.display())?;
            let clone = inside::clone_tree(directory, true).at(Step::MountRoot, path.display())?;
            // With `slave` what is mounted below it on the host later shows up in the container.
            if !matches!(settings.propagation, Propagation::Slave | Propagation::Rslave) {
                make_private(&clone).at(Step::Propagation, path.display())?;
            }
            clone
        }
    };
    let target = open_directory(place).at(Step::MountRoot, place.display())?;
    inside::attach(&mount, target).at(Step::MountRoot, place.display())?;
    Ok(Tree::new(mount))
}

/// Options of a mount have one page before Linux 6.5; upper and work directory need their part of it.
const LONG: usize = 2000;

/// Where writes to an overlay go.
pub(super) struct Writes<'a> {
    pub(super) upper: &'a Path,
    pub(super) work: &'a Path,
    /// See [`RootFs::volatile`].
    pub(super) volatile: bool,
}

/// A detached overlay mount (kernel documentation, filesystems/overlayfs).
///
/// Layers are handed over one by one (`lowerdir+`, Linux 6.5), which lifts the bound of one page for all options;
/// older kernels get them in one string, in which about 200 fit.
pub(super) fn overlay(lower: &[PathBuf], write: Option<Writes<'_>>) -> Result<OwnedFd, Failure> {
    let top = name(lower);
    // One directory and nothing to write: overlayfs wants two layers, a read-only bind is the same.
    if let ([only], None) = (lower, &write) {
        let directory = open_directory(only).at(Step::MountRoot, &top)?;
        let clone = inside::clone_tree(directory, false).at(Step::MountRoot, &top)?;
        let change = mount_attr::Change {
            set: mount_attr::MOUNT_ATTR_RDONLY,
            propagation: mount_attr::MS_PRIVATE,
            ..mount_attr::Change::default()
        };
        mount_attr::change(clone.as_fd(), &change).at(Step::MountRoot, &top)?;
        return Ok(clone);
    }
    if let Some(Writes {
        upper,
        work,
        volatile,
    }) = &write
    {
        if *volatile {
            // The mark of an earlier mount, which could not vouch for what it wrote; its container goes on all the same.
            let _ = rustix::fs::rmdir(work.join("work/incompat/volatile"));
        }
        for directory in [upper, work] {
            match rustix::fs::mkdir(*directory, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).at(Step::MountRoot, directory.display()),
            }
        }
    }
    match mounted_by_steps(lower, write.as_ref()) {
        // Before Linux 6.5 any option is taken, and an unknown one is an error only at the end (legacy_parse_param). And
        // texts have 255 bytes at most here (fsconfig(2)): fewer than a long path.
        Err(failure) if failure.errno == Errno::INVAL.raw_os_error() => {
            mounted_at_once(lower, write.as_ref()).map_err(|_| failure)
        }
        other => other,
    }
}

/// With the calls of Linux 5.2, layer by layer.
fn mounted_by_steps(lower: &[PathBuf], write: Option<&Writes<'_>>) -> Result<OwnedFd, Failure> {
    let top = name(lower);
    let filesystem =
        rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).at(Step::MountRoot, "overlay")?;
    let set = |key: &str, value: &Path| rustix::mount::fsconfig_set_string(&filesystem, key, value);
    for layer in lower {
        set("lowerdir+", layer).at(Step::MountRoot, layer.display())?;
    }
    if let Some(Writes {
        upper,
        work,
        volatile,
    }) = write
    {
        set("upperdir", upper).at(Step::MountRoot, upper.display())?;
        set("workdir", work).at(Step::MountRoot, work.display())?;
        if *volatile {
            // Not known before Linux 5.10: then it is only slower.
            let _ = rustix::mount::fsconfig_set_flag(&filesystem, "volatile");
        }
    }
    rustix::mount::fsconfig_create(&filesystem).at(Step::MountRoot, &top)?;
    rustix::mount::fsmount(
        &filesystem,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .at(Step::MountRoot, &top)
}

/// With mount(2): all options in one page, so that many layers are named by descriptors. Mounted over the lowest layer
/// for a moment, which nobody sees: this mount namespace is cut off already.
fn mounted_at_once(lower: &[PathBuf], write: Option<&Writes<'_>>) -> Result<OwnedFd, Failure> {
    let top = name(lower);
    let mut names = lower.to_vec();
    let mut open = Vec::new();
    if lower
        .iter()
        .map(|layer| layer.as_os_str().len() + 1)
        .sum::<usize>()
        > LONG
    {
        names.clear();
        for layer in lower {
            let directory = open_directory(layer).at(Step::MountRoot, layer.display())?;
            names.push(format!("/proc/self/fd/{}", directory.as_raw_fd()).into());
            open.push(directory);
        }
    }
    let names: Vec<String> = names
        .iter()
        .map(|path| escaped(path).replace(':', "\\:"))
        .collect();
    let mut options = format!("lowerdir={}", names.join(":"));
    if let Some(writes) = write {
        options += &format!(
            ",upperdir={},workdir={}",
            escaped(writes.upper),
            escaped(writes.work)
        );
        if writes.volatile {
            options += ",volatile";
        }
    }
    let options = CString::new(options)
        .map_err(|_| Errno::INVAL)
        .at(Step::MountRoot, &top)?;
    let place = lower.last().ok_or(Errno::INVAL).at(Step::MountRoot, &top)?;
    rustix::mount::mount(
        "overlay",
        place,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .at(Step::MountRoot, &top)?;
    let copy = open_directory(place).and_then(|directory| inside::clone_tree(directory, false));
    rustix::mount::unmount(place, UnmountFlags::DETACH).at(Step::MountRoot, place.display())?;
    copy.at(Step::MountRoot, &top)
}

/// What messages call an overlay.
fn name(lower: &[PathBuf]) -> String {
    lower
        .first()
        .map(|path| path.display().to_string())
        .unwrap_or_default()
}

/// A path as an option: backslashes and commas are escaped (overlayfs, "lowerdir").
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(',', "\\,")
}

/// Cuts this mount namespace off from the host's: nothing mounted here travels out, and nothing mounted there comes in
/// unless the container's root is to be a slave or shared.
pub(crate) fn cut_off(propagation: Option<Propagation>) -> Result<(), Failure> {
    let flags = match propagation {
        None | Some(Propagation::Private | Propagation::Rprivate) => MountPropagationFlags::PRIVATE,
        Some(_) => MountPropagationFlags::DOWNSTREAM,
    };
    rustix::mount::mount_change("/", flags | MountPropagationFlags::REC).at(Step::Propagation, "/")
}

/// Sets the propagation of `/` of this mount namespace.
pub(crate) fn propagate(propagation: Propagation) -> Result<(), Failure> {
    let (flags, all) = match propagation {
        Propagation::Private => (MountPropagationFlags::PRIVATE, false),
        Propagation::Rprivate => (MountPropagationFlags::PRIVATE, true),
        Propagation::Shared => (MountPropagationFlags::SHARED, false),
        Propagation::Rshared => (MountPropagationFlags::SHARED, true),
        Propagation::Slave => (MountPropagationFlags::DOWNSTREAM, false),
        Propagation::Rslave => (MountPropagationFlags::DOWNSTREAM, true),
    };
    let recursive = if all {
        MountPropagationFlags::REC
    } else {
        MountPropagationFlags::empty()
    };
    rustix::mount::mount_change("/", flags | recursive).at(Step::Propagation, "/")
}

/// Makes the tree `/` and drops the host's (pivot_root(2), "pivot_root(".", ".")"), then makes `/` read-only if asked.
pub(crate) fn enter(tree: &Tree, read_only: bool) -> Result<(), Failure> {
    rustix::process::fchdir(tree.root()).at(Step::Pivot, "/")?;
    rustix::process::pivot_root(".", ".").at(Step::Pivot, "/")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).at(Step::Pivot, "/")?;
    rustix::process::chdir("/").at(Step::Pivot, "/")?;
    if read_only {
        let change = mount_attr::Change {
            set: mount_attr::MOUNT_ATTR_RDONLY,
            ..mount_attr::Change::default()
        };
        mount_attr::change(tree.root().as_fd(), &change).at(Step::ReadOnly, "/")?;
    }
    Ok(())
}

pub(super) fn make_private(mount: &OwnedFd) -> std::io::Result<()> {
    let change = mount_attr::Change {
        propagation: mount_attr::MS_PRIVATE,
        recursive: true,
        ..mount_attr::Change::default()
    };
    mount_attr::change(mount.as_fd(), &change)
}

pub(super) fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
