//! What the engine keeps about a container, beside what the runtime keeps: `<container>/service.json`.
//!
//! It says what the container is *meant* to be. Whether it runs is asked of the kernel, never read from here.

use crate::{
    api::wire::Published,
    model::{HealthCheck, Service},
    plan::Slot,
    state::{Roots, read_record, write_record},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Written when the container is created, rewritten when it is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// `project-service-N`, or the name given.
    pub name: String,
    /// The project.
    pub project: String,
    /// Its place.
    pub slot: Slot,
    /// Of `run`, not of a service.
    pub one_off: bool,
    /// Removed when it has ended (`run --rm`).
    #[serde(default)]
    pub auto_remove: bool,
    /// The service as it was when the container was made, environment included.
    pub service: Service,
    /// Hash of the service.
    pub config_hash: String,
    /// Digest of the image.
    pub image: String,
    /// The image's own health check.
    pub image_health: Option<HealthCheck>,
    /// What runs: entrypoint and command.
    pub command: Vec<String>,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// Endpoints by network key.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Ports as published at the last start.
    pub published: Vec<Published>,
    /// Anonymous volumes by path in the container.
    pub anonymous: BTreeMap<String, String>,
    /// Named volumes mounted, by name on this machine.
    pub volumes: Vec<String>,
    /// Labels, the `com.docker.compose.*` ones included.
    pub labels: BTreeMap<String, String>,
    /// What the runtime is told.
    pub settings: banyan_runtime::container::Settings,
    /// How often its restart policy restarted it.
    pub restarts: u32,
}

/// A container's place on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Hash of the network's definition when it was attached.
    pub network_hash: String,
    /// IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Names on this network.
    pub names: Vec<String>,
}

impl Endpoint {
    /// Its addresses of both families.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.ipv4
            .map(IpAddr::from)
            .into_iter()
            .chain(self.ipv6.map(IpAddr::from))
            .collect()
    }
}

const FILE: &str = "service.json";

impl Record {
    /// Writes it.
    ///
    /// # Errors
    /// With the path.
    pub fn write(&self, roots: &Roots) -> io::Result<()> {
        write_record(&roots.container(&self.id).join(FILE), self)
    }

    /// Makes the container's folder with the record in it: both are there or neither, whenever we are killed.
    ///
    /// # Errors
    /// With the path; nothing is left then.
    pub fn create(&self, roots: &Roots) -> io::Result<()> {
        let beside = banyan_runtime::container::unfinished(&roots.containers(), &self.id);
        // Only for its owner: environments hold passwords.
        let mut private = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(private.recursive(true), 0o700);
        let made = private
            .create(&beside)
            .and_then(|()| write_record(&beside.join(FILE), self))
            .and_then(|()| fs_err::rename(&beside, roots.container(&self.id)));
        if made.is_err() {
            // The error already names the step.
            let _ = std::fs::remove_dir_all(&beside);
        }
        made
    }

    /// Reads the record of a container; `None` when the folder is not a service's container.
    ///
    /// # Errors
    /// With the path, when it cannot be read or is damaged.
    pub fn read(roots: &Roots, id: &str) -> io::Result<Option<Self>> {
        read_record(&roots.container(id).join(FILE))
    }

    /// The records of a project's containers. A damaged one is skipped here; `banyan system check` names it.
    ///
    /// # Errors
    /// When the folder of containers cannot be read.
    pub fn of_project(roots: &Roots, project: &str) -> io::Result<Vec<Self>> {
        let entries = match std::fs::read_dir(roots.containers()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let id = entry?.file_name().to_string_lossy().into_owned();
            if id.starts_with('.') {
                // Being made or removed.
                continue;
            }
            match Self::read(roots, &id) {
                Ok(Some(record)) if record.project == project => records.push(record),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "skipped a container's record"),
            }
        }
        records.sort_by(|a, b| (&a.slot, a.created).cmp(&(&b.slot, b.created)));
        Ok(records)
    }
}
