//! The user's own data: what a service could spoil is said before it starts, once per project and folder.
//!
//! Looked at are folders of the host that a service may write to, and the data of database servers in them or in
//! volumes. Nothing is refused: a project file may well mean it.

use super::{Engine, Voice};
use crate::{
    api::wire::Level,
    model::{MountKind, Project, Service},
    state::{read_record, write_record},
};
use banyan_runtime::image::Image;
use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Where a service's data is, and the mount's path in the container.
#[derive(Debug)]
struct Data<'a> {
    folder: PathBuf,
    target: &'a str,
    bind: bool,
}

/// Says what has not been said yet about the data of `service`.
pub fn look(engine: &Engine, project: &Project, service: &Service, image: &Image, voice: &Voice) {
    let record = engine.roots.told(&engine.name);
    // A damaged record only means that something is said again.
    let mut told: BTreeSet<String> = read_record(&record).ok().flatten().unwrap_or_default();
    let before = told.len();
    let homes = homes(&std::fs::read_to_string("/etc/passwd").unwrap_or_default());
    let user = user_of(service, image);
    for data in data_of(engine, project, service) {
        let findings = [
            data.bind.then(|| reach(&data, project, &homes)).flatten(),
            data.bind.then(|| owner(&data.folder, user)).flatten(),
            version(&data.folder, &image.config.env),
        ];
        for finding in findings.into_iter().flatten() {
            if told.insert(format!("{}: {finding}", data.folder.display())) {
                let text = format!(
                    "it may write to `{}` (as `{}`): {finding}; `:ro` after a volume makes it read-only",
                    data.folder.display(),
                    data.target
                );
                voice.note(Some(&service.name), Level::Warning, text);
            }
        }
    }
    if told.len() > before
        && let Err(error) = write_record(&record, &told)
    {
        // It is said again next time; that must not keep a service from starting.
        tracing::warn!(%error, "what was said about data was not kept");
    }
}

fn data_of<'a>(engine: &Engine, project: &Project, service: &'a Service) -> Vec<Data<'a>> {
    let writable = service.mounts.iter().filter(|mount| !mount.read_only);
    let found = writable.filter_map(|mount| {
        let (folder, bind) = match &mount.kind {
            MountKind::Bind {
                source,
                overlay: false,
                ..
            } => (std::fs::canonicalize(source).ok()?, true),
            MountKind::Volume { source, .. } => {
                let name = project.volumes.get(source).map_or(source, |volume| &volume.name);
                (engine.volumes.data(name), false)
            }
            _ => return None,
        };
        folder.is_dir().then_some(Data {
            folder,
            target: &mount.target,
            bind,
        })
    });
    found.collect()
}

/// A folder with something in it that is not the project's.
fn reach(data: &Data<'_>, project: &Project, homes: &[PathBuf]) -> Option<String> {
    let folder = &data.folder;
    if let Some(home) = homes.iter().find(|home| home.starts_with(folder)) {
        let what = if home == folder {
            "it is a home directory"
        } else {
            "home directories are in it"
        };
        return Some(what.into());
    }
    let own = std::fs::canonicalize(&project.directory).unwrap_or_else(|_| project.directory.clone());
    if folder.starts_with(&own) {
        return None;
    }
    // A thousand is as much as anybody wants to know.
    let entries = std::fs::read_dir(folder).ok()?.take(1000).count();
    match entries {
        0 => None,
        1 => Some("it is outside the project and has something in it".into()),
        entries => Some(format!(
            "it is outside the project and has {entries} things in it"
        )),
    }
}

/// A user that may not write there. Root may.
fn owner(folder: &Path, user: Option<(u32, u32)>) -> Option<String> {
    let (uid, gid) = user.filter(|(uid, _)| *uid != 0)?;
    let data = std::fs::metadata(folder).ok()?;
    let bits = match () {
        () if data.uid() == uid => 0o200,
        () if data.gid() == gid => 0o020,
        () => 0o002,
    };
    (data.mode() & bits == 0).then(|| {
        let (whose, mode) = (data.uid(), data.mode() & 0o7777);
        format!("it belongs to user {whose} (mode {mode:o}), and the service runs as user {uid}, who cannot write to it")
    })
}

/// Data of a database server of another version than the image's.
fn version(folder: &Path, environment: &[String]) -> Option<String> {
    let variable = |name: &str| {
        environment
            .iter()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    let file = |name: &str| {
        let path = folder.join(name);
        // Data of a container: a link could lead anywhere.
        let plain = std::fs::symlink_metadata(&path).is_ok_and(|data| data.is_file() && data.len() < 4096);
        plain
            .then(|| std::fs::read_to_string(path).ok())
            .flatten()
            .map(|text| text.trim().to_owned())
    };
    if let (Some(data), Some(image)) = (file("PG_VERSION"), variable("PG_MAJOR"))
        && data != image
    {
        return Some(format!(
            "PostgreSQL {data} wrote it, and the image has PostgreSQL {image}"
        ));
    }
    let written = file("mariadb_upgrade_info").or_else(|| file("mysql_upgrade_info"))?;
    let image = variable("MARIADB_VERSION").or_else(|| variable("MYSQL_VERSION"))?;
    let (data, here) = (
        numbers(&written)?,
        numbers(image.rsplit_once(':').map_or(&image, |(_, text)| text))?,
    );
    (data > here).then(|| {
        format!(
            "a newer server ({}.{}) wrote it than the image's ({}.{})",
            data.0, data.1, here.0, here.1
        )
    })
}

/// `10.11.6-MariaDB` as (10, 11).
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Home directories of people and of root.
fn homes(passwd: &str) -> Vec<PathBuf> {
    let home = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let uid: u32 = fields.get(2)?.parse().ok()?;
        let folder = PathBuf::from(fields.get(5)?);
        let person = uid == 0 || (1000..60_000).contains(&uid);
        (person && folder != Path::new("/") && folder.is_dir()).then_some(folder)
    };
    passwd.lines().filter_map(home).collect()
}

/// Who a service runs as; `None` when that cannot be told.
fn user_of(service: &Service, image: &Image) -> Option<(u32, u32)> {
    let text = service.user.as_deref().unwrap_or(&image.config.user);
    let (user, group) = text
        .split_once(':')
        .map_or((text, None), |(user, group)| (user, Some(group)));
    let known = || image.layers.iter().find_map(|layer| entry(layer, user));
    let (uid, own) = match user.parse::<u32>() {
        Ok(uid) => (uid, known().map_or(0, |(_, gid)| gid)),
        Err(_) if user.is_empty() => (0, 0),
        Err(_) => known()?,
    };
    Some((uid, group.and_then(|group| group.parse().ok()).unwrap_or(own)))
}

/// User and group numbers of a name or number in the `/etc/passwd` of a layer.
fn entry(layer: &Path, user: &str) -> Option<(u32, u32)> {
    let (etc, path) = (layer.join("etc"), layer.join("etc/passwd"));
    let is = |path: &Path, kind: fn(&std::fs::Metadata) -> bool| {
        std::fs::symlink_metadata(path).is_ok_and(|data| kind(&data))
    };
    if !is(&etc, std::fs::Metadata::is_dir) || !is(&path, std::fs::Metadata::is_file) {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, gid) = (fields.first()?, fields.get(2)?, fields.get(3)?);
        (*name == user || *uid == user).then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_another_version_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let environment = |text: &str| vec![text.to_owned()];
        assert_eq!(version(dir.path(), &environment("PG_MAJOR=16")), None);
        std::fs::write(dir.path().join("PG_VERSION"), "14\n").unwrap();
        let said = version(dir.path(), &environment("PG_MAJOR=16")).unwrap();
        assert_eq!(said, "PostgreSQL 14 wrote it, and the image has PostgreSQL 16");
        assert_eq!(version(dir.path(), &environment("PG_MAJOR=14")), None);
        std::fs::write(dir.path().join("mysql_upgrade_info"), "11.4.2-MariaDB").unwrap();
        assert_eq!(
            version(
                dir.path(),
                &environment("MARIADB_VERSION=1:10.11.6+maria~ubu2204")
            )
            .unwrap(),
            "a newer server (11.4) wrote it than the image's (10.11)"
        );
        assert_eq!(
            version(dir.path(), &environment("MARIADB_VERSION=1:11.8.2+maria~ubu2404")),
            None
        );
    }

    #[test]
    fn a_user_that_cannot_write_is_named_and_root_never() {
        let dir = tempfile::tempdir().unwrap();
        let own = std::fs::metadata(dir.path()).unwrap().uid();
        assert_eq!(owner(dir.path(), Some((0, 0))), None);
        assert_eq!(owner(dir.path(), None), None);
        let said = owner(dir.path(), Some((own + 4321, 4321))).unwrap();
        assert!(said.contains("cannot write"), "{said}");
    }

    #[test]
    fn homes_are_those_of_people_and_root() {
        let text = "root:x:0:0::/proc:/bin/sh\ndaemon:x:1:1::/usr:/bin/sh\nme:x:1000:1000::/sys:/bin/sh\nno:x:1001:1::/:/bin/sh\n";
        assert_eq!(homes(text), [PathBuf::from("/proc"), PathBuf::from("/sys")]);
    }
}
