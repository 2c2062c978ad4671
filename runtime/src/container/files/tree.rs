//! Opening a container's tree.

use crate::{
    container::{ContainerDir, ContainerError, Settings, open::live_process, paths},
    failure::{At, Failure, Step},
    rootfs::{self, Mount, MountKind, Propagation, inside::Tree},
    sys::{clone, mount_attr},
};
use rustix::fs::{Mode, OFlags};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// How much of a container's files is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// With its volumes and binds, as its processes see it (of a stopped container without memory filesystems).
    Mounted,
    /// Its root filesystem alone.
    Root,
}

/// A tree of files, held open by its root.
#[derive(Debug)]
pub struct FileTree {
    pub(super) tree: Tree,
    /// Who root in the tree is on disk: mapped when the container has a user namespace.
    pub(super) root_owner: (u32, u32),
    /// Keeps the mounts below the root alive.
    _namespace: Option<OwnedFd>,
}

impl FileTree {
    /// This machine's own tree.
    ///
    /// # Errors
    /// When `/` cannot be opened.
    pub fn host() -> Result<Self, ContainerError> {
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        Ok(Self {
            tree: Tree::new(open_root()?),
            root_owner: (user, group),
            _namespace: None,
        })
    }

    /// The root directory's descriptor.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.tree.root().as_fd()
    }
}

impl ContainerDir {
    /// The container's files. Nothing is mounted where anybody else could see it, and nothing is left when the tree is
    /// dropped.
    ///
    /// # Errors
    /// When a layer is gone, or we may not mount.
    pub fn file_tree(&self, scope: Scope) -> Result<FileTree, ContainerError> {
        let settings = self.settings()?;
        let live = live_process(self)?;
        // A thread of its own: mount namespaces are entered by threads, and nothing else may run in this one.
        let opened = std::thread::scope(|threads| {
            let work = threads.spawn(|| match &live {
                Some((pid, pidfd)) => enter(*pid, pidfd.as_fd(), scope),
                None => self.mount_again(&settings, scope),
            });
            work.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let (root, namespace) = opened?;
        let user = settings.namespaces.user.as_ref();
        let mapped = |map: &[crate::namespace::IdRange]| {
            let range = map.iter().find(|range| range.inside == 0);
            range.map_or(0, |range| range.outside)
        };
        Ok(FileTree {
            tree: Tree::new(root),
            root_owner: user.map_or((0, 0), |user| (mapped(&user.uid_map), mapped(&user.gid_map))),
            _namespace: Some(namespace),
        })
    }

    /// A stopped container's root (and volumes), in a new mount namespace of the calling thread.
    fn mount_again(&self, settings: &Settings, scope: Scope) -> Result<(OwnedFd, OwnedFd), Failure> {
        let place = paths::mount_point(&self.run);
        self.prepare().at(Step::Prepare, place.display())?;
        clone::unshare(libc::CLONE_FS | clone::CLONE_NEWNS).at(Step::NewNamespace, "mnt")?;
        rustix::process::umask(Mode::empty());
        rootfs::cut_off(None)?;
        let tree = rootfs::prepare_root(&settings.root, place)?;
        if scope == Scope::Mounted {
            rootfs::mount_user(&tree, &lasting(&settings.mounts), &[])?;
        }
        if settings.root.read_only {
            let change = mount_attr::Change {
                set: mount_attr::MOUNT_ATTR_RDONLY,
                ..mount_attr::Change::default()
            };
            mount_attr::change(tree.root().as_fd(), &change).at(Step::ReadOnly, "/")?;
        }
        let namespace = open_path(Path::new("/proc/thread-self/ns/mnt")).at(Step::NewNamespace, "mnt")?;
        let root = tree.root().try_clone().at(Step::MountRoot, "/")?;
        Ok((root, namespace))
    }
}

/// The tree of a running container; the calling thread stays in its mount namespace.
fn enter(pid: i32, pidfd: BorrowedFd<'_>, scope: Scope) -> Result<(OwnedFd, OwnedFd), Failure> {
    let path = format!("/proc/{pid}/ns/mnt");
    // By number, but the pidfd is what is entered, and it knows whether the number was still its own.
    let namespace = open_path(Path::new(&path)).at(Step::JoinNamespace, &path)?;
    clone::unshare(libc::CLONE_FS).at(Step::JoinNamespace, &path)?;
    clone::setns(pidfd, clone::CLONE_NEWNS).at(Step::JoinNamespace, &path)?;
    let root = open_path(Path::new("/")).at(Step::Resolve, "/")?;
    match scope {
        Scope::Mounted => Ok((root, namespace)),
        Scope::Root => {
            let alone = rootfs::inside::clone_tree(&root, false).at(Step::MountRoot, "/")?;
            Ok((alone, namespace))
        }
    }
}

/// Mounts with content that outlives the container, as they are now; those whose source is gone are left out.
fn lasting(mounts: &[Mount]) -> Vec<Mount> {
    let mut list = mounts.to_vec();
    list.retain_mut(|mount| match &mut mount.kind {
        MountKind::Bind {
            source, propagation, ..
        } => {
            *propagation = Propagation::Rprivate;
            source.exists()
        }
        MountKind::Volume { source, seed, .. } => {
            *seed = false;
            source.exists()
        }
        MountKind::OverlayBind { lower: layers, .. } | MountKind::Layers(layers) => {
            layers.iter().all(|layer| layer.exists())
        }
        MountKind::Tmpfs { .. } | MountKind::Filesystem { .. } | MountKind::Bundle(_) => false,
    });
    list
}

fn open_root() -> Result<OwnedFd, ContainerError> {
    open_path(Path::new("/")).map_err(|errno| ContainerError::Read {
        path: "/".into(),
        cause: errno.into(),
    })
}

fn open_path(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
