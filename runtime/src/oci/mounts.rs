//! Mount options of bundles (runtime-spec, config.md, "Linux mount options").

use super::{
    Refused,
    spec::{IdMapping, Mount as Written},
};
use crate::{
    namespace::IdRange,
    rootfs::{BundleMount, Mount, MountKind, Propagation},
};
use std::path::Path;

/// One mount; relative sources of binds lie in the bundle.
pub(super) fn mount(written: &Written, bundle: &Path) -> Result<Mount, Refused> {
    let place = |what: &str| Refused::new(format!("mounts: `{}`: {what}", written.destination));
    if !written.destination.starts_with('/') {
        return Err(place("the destination must be an absolute path"));
    }
    if written.destination.split('/').any(|part| part == "..") {
        return Err(place("the destination contains `..`"));
    }
    let mut made = BundleMount {
        kind: written.kind.clone().unwrap_or_default(),
        source: written.source.clone().unwrap_or_default(),
        ..BundleMount::default()
    };
    let mut id_map = None;
    for option in &written.options {
        apply(option, &mut made, &mut id_map).map_err(|what| place(&what))?;
    }
    made.bind |=
        made.kind == "bind" || made.kind == "none" && made.data.is_empty() && !made.source.is_empty();
    if made.bind {
        made.kind = String::new();
        // Options of a filesystem mean nothing to a bind; kernels ignore them too.
        made.data.clear();
        if Path::new(&made.source).is_relative() {
            made.source = bundle.join(&made.source).display().to_string();
        }
    } else if made.kind.is_empty() {
        return Err(place("it has no type and is no bind"));
    }
    made.id_map = idmapped(written, id_map).map_err(|what| place(&what))?;
    Ok(Mount {
        target: written.destination.clone(),
        read_only: false,
        kind: MountKind::Bundle(Box::new(made)),
    })
}

/// Maps of users and of groups, and whether they hold for all mounts of the tree.
type IdMap = (Vec<IdRange>, Vec<IdRange>, bool);

fn idmapped(written: &Written, option: Option<bool>) -> Result<Option<IdMap>, String> {
    match (written.uid_mappings.is_empty(), written.gid_mappings.is_empty()) {
        (true, true) if option.is_none() => Ok(None),
        (true, true) => Err(
            "`idmap` needs uidMappings and gidMappings: taking those of the container is not supported"
                .to_owned(),
        ),
        (false, false) => Ok(Some((
            ranges(&written.uid_mappings),
            ranges(&written.gid_mappings),
            option.unwrap_or(false),
        ))),
        _ => Err("an idmapped mount needs both uidMappings and gidMappings".to_owned()),
    }
}

/// Id maps in the runtime's words.
pub(super) fn ranges(list: &[IdMapping]) -> Vec<IdRange> {
    list.iter()
        .map(|one| IdRange {
            inside: one.container_id,
            outside: one.host_id,
            count: one.size,
        })
        .collect()
}

/// Attributes by name without `no`: (name that sets, name that clears, bit).
const ATTRIBUTES: [(&str, &str, u64); 7] = [
    ("ro", "rw", libc::MOUNT_ATTR_RDONLY),
    ("nosuid", "suid", libc::MOUNT_ATTR_NOSUID),
    ("nodev", "dev", libc::MOUNT_ATTR_NODEV),
    ("noexec", "exec", libc::MOUNT_ATTR_NOEXEC),
    ("nodiratime", "diratime", libc::MOUNT_ATTR_NODIRATIME),
    ("nosymfollow", "symfollow", libc::MOUNT_ATTR_NOSYMFOLLOW),
    ("norelatime", "relatime", 0),
];

fn apply(option: &str, made: &mut BundleMount, id_map: &mut Option<bool>) -> Result<(), String> {
    let (name, recursive) = match option.strip_prefix('r') {
        // `ro`, `rw`, `relatime` begin with r and are no recursive forms; `rro` and `rrelatime` are.
        Some(rest) if !matches!(option, "ro" | "rw" | "relatime" | "remount") => {
            let known = ATTRIBUTES
                .iter()
                .any(|(set, clear, _)| rest == *set || rest == *clear)
                || matches!(rest, "noatime" | "atime" | "strictatime" | "nostrictatime");
            if known { (rest, true) } else { (option, false) }
        }
        _ => (option, false),
    };
    if let Some((set, _, bit)) = ATTRIBUTES
        .iter()
        .find(|(set, clear, _)| name == *set || name == *clear)
    {
        change(made, name == *set, *bit, recursive);
        return Ok(());
    }
    match name {
        // Times are one field of several bits: it is cleared as a whole (mount_setattr(2), "MOUNT_ATTR__ATIME").
        "noatime" => atime(made, libc::MOUNT_ATTR_NOATIME, recursive),
        "strictatime" => atime(made, libc::MOUNT_ATTR_STRICTATIME, recursive),
        "atime" | "nostrictatime" => atime(made, 0, recursive),
        "bind" => made.bind = true,
        "rbind" => (made.bind, made.recursive) = (true, true),
        "private" => made.propagation.push(Propagation::Private),
        "rprivate" => made.propagation.push(Propagation::Rprivate),
        "shared" => made.propagation.push(Propagation::Shared),
        "rshared" => made.propagation.push(Propagation::Rshared),
        "slave" => made.propagation.push(Propagation::Slave),
        "rslave" => made.propagation.push(Propagation::Rslave),
        "unbindable" => made.unbindable = Some(false),
        "runbindable" => made.unbindable = Some(true),
        "tmpcopyup" => made.copy_up = true,
        "idmap" => *id_map = Some(false),
        "ridmap" => *id_map = Some(true),
        // What the kernel does anyway, and words of mount(8) that are none of the kernel's.
        "defaults" | "async" | "noauto" | "nofail" => {}
        "remount" | "sync" | "dirsync" | "mand" | "nomand" | "iversion" | "noiversion" | "silent"
        | "loud" | "lazytime" | "nolazytime" => return filesystem_flag(name, made),
        _ => made.data.push(option.to_owned()),
    }
    Ok(())
}

/// Flags of the superblock: fsconfig(2) takes them by name.
fn filesystem_flag(name: &str, made: &mut BundleMount) -> Result<(), String> {
    match name {
        "remount" => Err("`remount` is not supported: write the mount's final options".to_owned()),
        "nomand" | "noiversion" | "loud" | "silent" | "nolazytime" => Ok(()),
        "iversion" => Err("`iversion` is not supported".to_owned()),
        name => {
            made.data.push(name.to_owned());
            Ok(())
        }
    }
}

fn change(made: &mut BundleMount, set: bool, bit: u64, recursive: bool) {
    let (on, off) = if recursive {
        (&mut made.set_all, &mut made.clear_all)
    } else {
        (&mut made.set, &mut made.clear)
    };
    let (add, remove) = if set { (on, off) } else { (off, on) };
    *add |= bit;
    *remove &= !bit;
}

fn atime(made: &mut BundleMount, value: u64, recursive: bool) {
    let (on, off) = if recursive {
        (&mut made.set_all, &mut made.clear_all)
    } else {
        (&mut made.set, &mut made.clear)
    };
    *on = *on & !libc::MOUNT_ATTR__ATIME | value;
    *off |= libc::MOUNT_ATTR__ATIME;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(kind: &str, source: &str, options: &[&str]) -> Result<BundleMount, String> {
        let written = Written {
            destination: "/x".to_owned(),
            source: Some(source.to_owned()),
            kind: Some(kind.to_owned()),
            options: options.iter().map(ToString::to_string).collect(),
            ..Written::default()
        };
        match mount(&written, Path::new("/bundle"))
            .map_err(|refused| refused.to_string())?
            .kind
        {
            MountKind::Bundle(made) => Ok(*made),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn flags_and_data_are_told_apart() {
        let tmpfs = made(
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        )
        .unwrap();
        assert_eq!(tmpfs.set, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_STRICTATIME);
        assert_eq!(tmpfs.data, ["mode=755", "size=65536k"]);
        let bind = made("bind", "data", &["rbind", "rro", "ro", "rslave"]).unwrap();
        assert!(bind.bind && bind.recursive);
        assert_eq!(bind.source, "/bundle/data");
        assert_eq!(
            (bind.set, bind.set_all),
            (libc::MOUNT_ATTR_RDONLY, libc::MOUNT_ATTR_RDONLY)
        );
        assert_eq!(bind.propagation, [Propagation::Rslave]);
        let last = made("tmpfs", "", &["ro", "rw", "exec", "noexec"]).unwrap();
        assert_eq!(
            (last.set, last.clear),
            (libc::MOUNT_ATTR_NOEXEC, libc::MOUNT_ATTR_RDONLY)
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        assert!(made("tmpfs", "", &["remount"]).unwrap_err().contains("`remount`"));
        assert!(
            made("bind", "/a", &["idmap"])
                .unwrap_err()
                .contains("uidMappings")
        );
        assert!(made("", "", &[]).unwrap_err().contains("no type"));
    }
}
