//! Containers whose `service.json` a bad disk has damaged: found, removed and mended by what the runtime keeps of them.
//!
//! The runtime's settings carry the labels, and with them project, service and replica. What they cannot tell comes from
//! the project as last applied.

use super::{images, networks, record::Endpoint, record::Record};
use crate::{
    model::{Project, ProjectName, Service, ServiceName},
    plan::Slot,
    state::{Roots, read_record},
};
use banyan_runtime::{
    container::{ContainerDir, Settings},
    image::Store,
    rootfs::MountKind,
};
use std::{collections::BTreeMap, io, net::IpAddr};

/// A container that its project cannot see.
#[derive(Debug)]
pub struct Damaged {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is wrong with its record.
    pub why: String,
    settings: Settings,
}

/// The containers of a project whose records are damaged.
pub fn of_project(roots: &Roots, project: &ProjectName) -> Vec<Damaged> {
    let entries = std::fs::read_dir(roots.containers())
        .into_iter()
        .flatten()
        .flatten();
    let ids = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    ids.filter(|id| !id.starts_with('.'))
        .filter_map(|id| find(roots, &id))
        .filter(|damaged| damaged.label("project") == Some(project.as_str()))
        .collect()
}

/// What there is of a container whose record is damaged; `None` when the record is whole, or nothing else is left.
pub fn find(roots: &Roots, id: &str) -> Option<Damaged> {
    let why = Record::read(roots, id).err()?.to_string();
    let settings = directory(roots, id).settings().ok()?;
    Some(Damaged {
        id: id.to_owned(),
        name: settings.name.clone(),
        why,
        settings,
    })
}

fn directory(roots: &Roots, id: &str) -> ContainerDir {
    ContainerDir::new(roots.container(id), roots.container_run(id))
}

impl Damaged {
    fn label(&self, key: &str) -> Option<&str> {
        let label = self.settings.labels.get(&format!("com.docker.compose.{key}"));
        label.map(String::as_str)
    }

    /// Stops and removes it.
    ///
    /// # Errors
    /// When it cannot be killed, or its folder not removed.
    pub fn remove(&self, roots: &Roots) -> Result<(), banyan_runtime::container::ContainerError> {
        banyan_runtime::container::remove(&directory(roots, &self.id), true)
    }

    /// Writes its record anew. What only the record knew is lost: how often it was restarted, and its published ports
    /// until its next start.
    ///
    /// # Errors
    /// What is missing for that.
    pub fn mend(&self, roots: &Roots) -> io::Result<()> {
        let missing = |what: &str| io::Error::other(format!("its labels do not tell its {what}"));
        let name = self.label("project").ok_or_else(|| missing("project"))?;
        let project = ProjectName::new(name).map_err(io::Error::other)?;
        let project: Project = read_record(&roots.project_file(&project))?
            .ok_or_else(|| io::Error::other(format!("nothing is known of project `{name}`")))?;
        let service = self.label("service").ok_or_else(|| missing("service"))?;
        let slot = Slot {
            service: ServiceName::new(service).map_err(io::Error::other)?,
            number: self
                .label("container-number")
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| missing("number"))?,
        };
        let service = project
            .services
            .get(&slot.service)
            .or_else(|| project.disabled.get(&slot.service))
            .ok_or_else(|| io::Error::other(format!("the project has no service `{}`", slot.service)))?
            .clone();
        let image = self.label("image").unwrap_or_default().to_owned();
        let (anonymous, volumes) = self.volumes(roots);
        let made = std::fs::metadata(roots.container(&self.id))?.modified()?;
        let record = Record {
            id: self.id.clone(),
            name: self.name.clone(),
            project: name.to_owned(),
            one_off: self.label("oneoff") == Some("True"),
            auto_remove: false,
            config_hash: self.label("config-hash").unwrap_or_default().to_owned(),
            image_health: image.parse().ok().and_then(|digest| {
                let image = Store::open(&roots.images()).ok()?.image(digest).ok()?;
                images::health_check(&image.config)
            }),
            image,
            command: self.settings.process.arguments.clone(),
            created: jiff::Timestamp::try_from(made)
                .ok()
                .and_then(|time| i64::try_from(time.as_nanosecond()).ok())
                .unwrap_or_default(),
            endpoints: self.endpoints(&project, &service, &slot),
            published: Vec::new(),
            anonymous,
            volumes,
            labels: self.settings.labels.clone(),
            settings: self.settings.clone(),
            restarts: 0,
            service,
            slot,
        };
        record.write(roots)
    }

    /// Its addresses, as they stand in its `/etc/hosts`: one line an address, network by network.
    fn endpoints(&self, project: &Project, service: &Service, slot: &Slot) -> BTreeMap<String, Endpoint> {
        let host = self.settings.host_name();
        let hosts = self.settings.files.hosts.as_deref().unwrap_or_default();
        let own = hosts.lines().filter_map(|line| {
            let (address, names) = line.split_once('\t')?;
            let is_own = names.split(' ').any(|name| name == host);
            is_own.then(|| address.parse::<IpAddr>().ok())?
        });
        let mut own = own.peekable();
        let mut endpoints = BTreeMap::new();
        for key in service.networks.keys() {
            let mut ipv4 = None;
            let mut ipv6 = None;
            if let Some(IpAddr::V4(address)) = own.next_if(IpAddr::is_ipv4) {
                ipv4 = Some(address);
            }
            if let Some(IpAddr::V6(address)) = own.next_if(IpAddr::is_ipv6) {
                ipv6 = Some(address);
            }
            endpoints.insert(
                key.clone(),
                Endpoint {
                    network_hash: super::execute::network_hash(project, key),
                    ipv4,
                    ipv6,
                    names: networks::names_of(project, service, slot, key),
                },
            );
        }
        endpoints
    }

    /// Anonymous volumes by their paths, and names of the others, by where its mounts come from.
    fn volumes(&self, roots: &Roots) -> (BTreeMap<String, String>, Vec<String>) {
        let (mut anonymous, mut named) = (BTreeMap::new(), Vec::new());
        for mount in &self.settings.mounts {
            let (MountKind::Bind { source, .. } | MountKind::Volume { source, .. }) = &mount.kind else {
                continue;
            };
            let Some(name) = source
                .strip_prefix(roots.volumes())
                .ok()
                .and_then(|rest| rest.iter().next())
            else {
                continue;
            };
            let name = name.to_string_lossy().into_owned();
            if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                anonymous.insert(mount.target.clone(), name);
            } else if !named.contains(&name) {
                named.push(name);
            }
        }
        (anonymous, named)
    }
}
