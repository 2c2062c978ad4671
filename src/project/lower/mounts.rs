//! What a service sees of files: mounts, secrets, configs, devices.

use super::{Node, Report};
use crate::model::{BindPropagation, Device, FileGrant, Mount, MountKind};
use std::path::PathBuf;

/// `volumes`, then `tmpfs`.
pub(super) fn mounts(node: &Node, report: &mut Report) -> Vec<Mount> {
    let listed = node.items("volumes").filter_map(mount);
    let mut mounts: Vec<Mount> = listed.collect();
    for item in node.items("tmpfs") {
        let Some(text) = item.as_str() else { continue };
        match tmpfs(text) {
            Ok(mount) => mounts.push(mount),
            Err(option) => {
                report
                    .error(item.span, format!("`{option}` is not an option of a tmpfs"))
                    .hint("for example `/run:size=64m,mode=1777`");
            }
        }
    }
    mounts
}

fn mount(node: &Node) -> Option<Mount> {
    let target = node.owned("target")?;
    let mut read_only = node.flag("read_only");
    let source = || node.owned("source").unwrap_or_default();
    let kind = match node.text("type")? {
        "bind" => {
            let bind = node.get("bind");
            let recursive = bind.and_then(|bind| bind.text("recursive"));
            // `recursive: readonly` asks for a mount that is read-only all the way down.
            read_only |= recursive == Some("readonly");
            MountKind::Bind {
                source: PathBuf::from(source()),
                create: bind.is_some_and(|bind| bind.flag("create_host_path")),
                propagation: propagation(bind.and_then(|bind| bind.text("propagation"))),
                recursive: recursive != Some("disabled"),
                overlay: node.get("x-banyan").is_some_and(|own| own.flag("overlay")),
            }
        }
        "volume" => {
            let options = node.get("volume");
            let nocopy = options.is_some_and(|options| options.flag("nocopy"));
            match node.owned("source") {
                Some(source) => MountKind::Volume {
                    source,
                    nocopy,
                    subpath: options.and_then(|options| options.owned("subpath")),
                },
                None => MountKind::Anonymous { nocopy },
            }
        }
        "tmpfs" => {
            let options = node.get("tmpfs");
            MountKind::Tmpfs {
                size: options
                    .and_then(|options| options.count("size"))
                    .filter(|size| *size > 0),
                mode: options
                    .and_then(|options| options.count("mode"))
                    .and_then(|mode| u32::try_from(mode).ok()),
                options: vec![],
            }
        }
        "image" => MountKind::Image {
            source: source(),
            subpath: node.get("image").and_then(|options| options.owned("subpath")),
        },
        _ => return None,
    };
    Some(Mount {
        kind,
        target,
        read_only,
    })
}

fn propagation(word: Option<&str>) -> BindPropagation {
    match word {
        Some("private") => BindPropagation::Private,
        Some("shared") => BindPropagation::Shared,
        Some("rshared") => BindPropagation::Rshared,
        Some("slave") => BindPropagation::Slave,
        Some("rslave") => BindPropagation::Rslave,
        _ => BindPropagation::Rprivate,
    }
}

/// `/path[:size=…,mode=…,noexec,…]` (tmpfs(5)).
fn tmpfs(text: &str) -> Result<Mount, String> {
    let (target, list) = text.split_once(':').unwrap_or((text, ""));
    let (mut size, mut mode, mut read_only, mut options) = (None, None, false, Vec::new());
    for option in list.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => {
                let bytes = super::super::units::bytes(value).and_then(|bytes| u64::try_from(bytes).ok());
                size = Some(bytes.ok_or(option)?);
            }
            Some(("mode", value)) => mode = Some(u32::from_str_radix(value, 8).map_err(|_| option)?),
            Some(("uid" | "gid" | "nr_inodes" | "nr_blocks", _)) => options.push(option.to_owned()),
            Some(_) => return Err(option.to_owned()),
            None if option == "ro" => read_only = true,
            None if option == "rw" => read_only = false,
            None => options.push(option.to_owned()),
        }
    }
    let target = super::super::short::clean(target);
    Ok(Mount {
        kind: MountKind::Tmpfs { size, mode, options },
        target,
        read_only,
    })
}

/// `secrets` or `configs` of a service; a relative target lies below `folder`.
pub(super) fn grants(node: &Node, key: &str, folder: &str) -> Vec<FileGrant> {
    let grant = |item: &Node| {
        let source = item.owned("source")?;
        let target = item.owned("target").unwrap_or_else(|| source.clone());
        let target = if target.starts_with('/') {
            target
        } else {
            format!("{folder}{target}")
        };
        Some(FileGrant {
            target: super::super::short::clean(&target),
            source,
            uid: item.owned("uid"),
            gid: item.owned("gid"),
            mode: item.count("mode").and_then(|mode| u32::try_from(mode).ok()),
        })
    };
    node.items(key).filter_map(grant).collect()
}

pub(super) fn devices(node: &Node, report: &mut Report) -> Vec<Device> {
    let mut devices = Vec::new();
    for item in node.items("devices") {
        let Some(source) = item.owned("source") else {
            continue;
        };
        if !source.starts_with('/') {
            report
                .warning(item.span, format!("the device `{source}` is ignored"))
                .because("devices by name (CDI) are not supported")
                .hint("give the path of a device file, like `/dev/fuse`");
            continue;
        }
        let permissions = item.owned("permissions").unwrap_or_else(|| "rwm".into());
        if permissions.contains(|c| !matches!(c, 'r' | 'w' | 'm')) {
            report
                .error(
                    item.span,
                    format!("`{permissions}` are no permissions of a device"),
                )
                .hint("some of `r`, `w`, `m`");
        }
        let target = item.owned("target").unwrap_or_else(|| source.clone());
        devices.push(Device {
            source: PathBuf::from(source),
            target,
            permissions,
        });
    }
    devices
}
