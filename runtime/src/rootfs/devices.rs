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

/// A tmpfs with all nodes and links in it, not yet attached.
pub(super) fn make_dev(devices: &[Device], privileged: bool) -> Result<OwnedFd, Failure> {
    let options = [("mode", "755"), ("size", "65536k")];
    let dev = new_mount(
        "tmpfs",
        &options,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME,
    )
    .at(Step::Mount, "/dev")?;
    for (name, major, minor) in NODES {
        make_node(
            &dev,
            name,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            rustix::fs::makedev(major, minor),
        )
        .at(Step::MakeNode, name)?;
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
    Ok(dev)
}

fn make_node(dev: &OwnedFd, name: &str, kind: FileType, mode: Mode, device: u64) -> rustix::io::Result<()> {
    match rustix::fs::mknodat(dev, name, kind, mode, device) {
        Err(Errno::EXIST) => Ok(()),
        // In a user namespace nodes cannot be made; the host's node is bound over an empty file instead.
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
