//! `/dev`: its nodes, its links, and which devices may be used.

use super::{Device, standard::new_mount};
use crate::failure::{At, Failure, Step};
use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid},
    io::Errno,
    mount::MountAttrFlags,
};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// Nodes every container has (runtime-spec, config-linux.md, "Default Devices"): name, major, minor.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links every container has (same document, "Dev symbolic links").
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// What a container may do with devices unless it is privileged (moby `oci/defaults.go`, runc `AllowedDevices`): make
/// any node, but use only these.
const RULES: [&str; 12] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
    "c 10:200 rwm",
];

/// The host's own nodes, for containers that may not make any (in a user namespace), and for covering files.
#[derive(Debug, Default)]
pub(crate) struct HostNodes {
    nodes: Vec<(&'static str, OwnedFd)>,
}

impl HostNodes {
    /// Opens them while the host's tree is there; none unless `wanted`.
    pub(crate) fn open(wanted: bool) -> Self {
        if !wanted {
            return Self::default();
        }
        let open = |(name, major, minor): (&'static str, u32, u32)| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::open(Path::new("/dev").join(name), flags, Mode::empty()).ok()?;
            let status = rustix::fs::statat(&fd, c"", AtFlags::EMPTY_PATH).ok()?;
            (status.st_rdev == rustix::fs::makedev(major, minor)).then_some((name, fd))
        };
        Self {
            nodes: NODES.into_iter().filter_map(open).collect(),
        }
    }

    /// A detached mount of one of them.
    pub(super) fn copy(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        let node = self.nodes.iter().find(|(known, _)| *known == name);
        let (_, fd) = node.ok_or(Errno::NXIO)?;
        let copy = super::inside::clone_tree(fd, false)?;
        let change = crate::sys::mount_attr::Change {
            propagation: crate::sys::mount_attr::MS_PRIVATE,
            ..Default::default()
        };
        crate::sys::mount_attr::change(std::os::fd::AsFd::as_fd(&copy), &change).map_err(|_| Errno::INVAL)?;
        Ok(copy)
    }
}

/// The nodes every container has, for bundles: name, major, minor.
pub(super) fn standard_nodes() -> impl Iterator<Item = (&'static str, u32, u32)> {
    NODES.into_iter()
}

/// Links every container has, for bundles.
pub(super) fn standard_links() -> impl Iterator<Item = (&'static str, &'static str)> {
    LINKS.into_iter()
}

/// The default rules, for bundles: always allowed on top of their own.
pub(crate) fn default_rules() -> impl Iterator<Item = String> {
    RULES.iter().map(ToString::to_string)
}

/// Binds the host's node over `name` where no node could be made.
pub(super) fn bind_missing(dev: &OwnedFd, names: &[&str], host: &HostNodes) -> Result<(), Failure> {
    for name in names {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = rustix::fs::openat(dev, *name, flags, Mode::empty()).at(Step::MakeNode, name)?;
        let copy = host.copy(name).at(Step::MakeNode, name)?;
        super::inside::attach(&copy, &place).at(Step::MakeNode, name)?;
    }
    Ok(())
}

/// A tmpfs with all nodes and links in it, not yet attached; and the names of nodes that could not be made.
pub(super) fn make_dev(
    devices: &[Device],
    privileged: bool,
) -> Result<(OwnedFd, Vec<&'static str>), Failure> {
    let options = [("mode", "755"), ("size", "65536k")];
    let dev = new_mount(
        "tmpfs",
        &options,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME,
    )
    .at(Step::Mount, "/dev")?;
    let mut missing = Vec::new();
    for (name, major, minor) in NODES {
        let made = make_node(
            &dev,
            name,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            rustix::fs::makedev(major, minor),
        );
        match made {
            Err(Errno::PERM) => missing.push(name),
            made => made.at(Step::MakeNode, name)?,
        }
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name).at(Step::MakeNode, name)?;
    }
    if Path::new("/proc/kcore").exists() {
        rustix::fs::symlinkat("/proc/kcore", &dev, "core").at(Step::MakeNode, "core")?;
    }
    for name in ["pts", "mqueue", "shm"] {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755)).at(Step::MakeNode, name)?;
    }
    let all;
    let devices = if privileged {
        all = [host_devices(), devices.to_vec()].concat();
        &all
    } else {
        devices
    };
    for device in devices {
        add_device(&dev, device)?;
    }
    Ok((dev, missing))
}

pub(super) fn make_node(
    dev: &OwnedFd,
    name: &str,
    kind: FileType,
    mode: Mode,
    device: u64,
) -> rustix::io::Result<()> {
    match rustix::fs::mknodat(dev, name, kind, mode, device) {
        Err(Errno::EXIST) => Ok(()),
        // In a user namespace nodes cannot be made; the host's node is bound over an empty file later.
        Err(Errno::PERM) => {
            rustix::fs::mknodat(dev, name, FileType::RegularFile, mode, 0)?;
            Err(Errno::PERM)
        }
        result => result,
    }
}

/// Adds a node like the host's, with its owner and mode.
fn add_device(dev: &OwnedFd, device: &Device) -> Result<(), Failure> {
    let name = device.source.display();
    let source = rustix::fs::open(&device.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .at(Step::MakeNode, name)?;
    let status = rustix::fs::statat(&source, c"", AtFlags::EMPTY_PATH).at(Step::MakeNode, &device.target)?;
    let kind = FileType::from_raw_mode(status.st_mode);
    let Some(relative) = device.target.strip_prefix("/dev/") else {
        return Err(Errno::INVAL).at(Step::MakeNode, &device.target);
    };
    if kind == FileType::Directory {
        return Ok(());
    }
    if let Some((directories, _)) = relative.rsplit_once('/') {
        let mut path = PathBuf::new();
        for part in directories.split('/') {
            path.push(part);
            match rustix::fs::mkdirat(dev, &path, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).at(Step::MakeNode, &device.target),
            }
        }
    }
    let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
    make_node(dev, relative, kind, mode, status.st_rdev).at(Step::MakeNode, &device.target)?;
    let (owner, group) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    rustix::fs::chownat(dev, relative, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
        .at(Step::MakeNode, &device.target)
}

/// Every device node of the host's `/dev`, for privileged containers: not its terminals, message queues and memory.
fn host_devices() -> Vec<Device> {
    let mut found = Vec::new();
    collect(Path::new("/dev"), &mut found);
    found
}

fn collect(directory: &Path, found: &mut Vec<Device>) {
    let Ok(fd) = rustix::fs::openat(
        CWD,
        directory,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    ) else {
        return;
    };
    let Ok(entries) = Dir::read_from(&fd) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if matches!(
            name.as_str(),
            "." | ".." | "pts" | "shm" | "mqueue" | "fd" | "console" | ".udev" | "ptmx" | "tty"
        ) {
            continue;
        }
        let path = directory.join(&name);
        match entry.file_type() {
            FileType::Directory => collect(&path, found),
            FileType::CharacterDevice | FileType::BlockDevice => found.push(Device {
                target: path.display().to_string(),
                source: path,
                permissions: "rwm".to_owned(),
            }),
            _ => {}
        }
    }
}

/// Directories among `devices` become the devices in them (as `docker run --device /dev/snd`).
pub(crate) fn prepare_dev(devices: &[Device]) -> Vec<Device> {
    let mut all = Vec::new();
    for device in devices {
        if !device.source.is_dir() {
            all.push(device.clone());
            continue;
        }
        let mut inside = Vec::new();
        collect(&device.source, &mut inside);
        for mut found in inside {
            let relative = found
                .source
                .strip_prefix(&device.source)
                .unwrap_or(&found.source)
                .to_path_buf();
            found.target = format!("{}/{}", device.target.trim_end_matches('/'), relative.display());
            found.permissions.clone_from(&device.permissions);
            all.push(found);
        }
    }
    all
}

/// The device rules of a container in cgroup v1's notation: the defaults, its devices, its raw rules.
pub(crate) fn device_rules(devices: &[Device], raw: &[String]) -> Result<Vec<String>, Failure> {
    let mut rules: Vec<String> = RULES.iter().map(ToString::to_string).collect();
    for device in devices {
        let status = rustix::fs::stat(&device.source).at(Step::MakeNode, device.source.display())?;
        let kind = match FileType::from_raw_mode(status.st_mode) {
            FileType::CharacterDevice => 'c',
            FileType::BlockDevice => 'b',
            _ => return Err(Errno::NODEV).at(Step::MakeNode, device.source.display()),
        };
        let (major, minor) = (
            rustix::fs::major(status.st_rdev),
            rustix::fs::minor(status.st_rdev),
        );
        rules.push(format!("{kind} {major}:{minor} {}", device.permissions));
    }
    rules.extend(raw.iter().cloned());
    Ok(rules)
}
