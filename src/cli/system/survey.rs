//! What there is on disk, and who uses it.

use crate::{
    cli::{CommandError, Exit, Global, context::roots},
    engine::record::Record,
    state::Roots,
    volumes::{Volume, Volumes},
};
use banyan_runtime::{
    container::{ContainerDir, Found, Settings, open},
    image::{Digest, Store, StoreError, collect::disk_usage, layers, store::Record as ImageRecord},
    rootfs::MountKind,
};
use std::collections::{BTreeMap, BTreeSet};

/// One container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) settings: Settings,
    pub(super) dir: ContainerDir,
    /// Its project, for a service's.
    pub(super) project: Option<String>,
    /// It has processes.
    pub(super) is_active: bool,
    /// What it is doing, in one word.
    pub(super) state: &'static str,
    /// Bytes that it wrote.
    pub(super) bytes: u64,
}

/// One image.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) record: ImageRecord,
    /// As people write them.
    pub(super) names: Vec<String>,
    /// Containers made from it.
    pub(super) containers: usize,
    /// Bytes that only this image has.
    pub(super) unique: u64,
    /// Bytes that other images have too.
    pub(super) shared: u64,
}

/// Everything.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) roots: Roots,
    pub(super) store: Store,
    pub(super) images: Vec<Image>,
    /// Bytes of all images, parts counted once.
    pub(super) image_bytes: u64,
    /// Those of images that a container uses.
    pub(super) image_bytes_used: u64,
    pub(super) containers: Vec<Container>,
    /// Volumes with their bytes, and whether a container mounts them.
    pub(super) volumes: Vec<(Volume, u64, bool)>,
    /// Remembered build steps.
    pub(super) steps: usize,
    /// Bytes of layers that only build steps need, and of cache mounts.
    pub(super) build_bytes: u64,
    /// Debian packages and indexes kept for the next image.
    pub(super) packages: usize,
    pub(super) package_bytes: u64,
}

fn failed(error: &StoreError) -> CommandError {
    CommandError::caused(Exit::Failed, "cannot look at the image store", error)
}

impl Survey {
    /// Looks at everything once; damaged records of containers are left out.
    pub(super) fn take(global: &Global) -> Result<Self, CommandError> {
        let roots = roots(global);
        let store = Store::open(&roots.images()).map_err(|error| failed(&error))?;
        let containers = containers(&roots);
        let mut survey = Self {
            volumes: volumes(&roots, &containers)?,
            steps: count(&roots.images().join("build/steps")),
            build_bytes: 0,
            packages: 0,
            package_bytes: disk_usage(&roots.images().join("debian")),
            images: Vec::new(),
            image_bytes: 0,
            image_bytes_used: 0,
            containers,
            roots,
            store,
        };
        survey.packages = count(&survey.roots.images().join("debian"));
        survey.look_at_images().map_err(|error| failed(&error))?;
        Ok(survey)
    }

    fn look_at_images(&mut self) -> Result<(), StoreError> {
        let (records, names) = (self.store.records()?, self.store.names()?);
        let mut leases: BTreeMap<Digest, usize> = BTreeMap::new();
        for lease in self.store.leases()?.values() {
            *leases.entry(lease.image).or_default() += 1;
        }
        let parts: Vec<BTreeMap<Digest, u64>> = records.iter().map(|record| self.parts(record)).collect();
        let mut owners: BTreeMap<Digest, usize> = BTreeMap::new();
        let mut all: BTreeMap<Digest, u64> = BTreeMap::new();
        let mut used: BTreeMap<Digest, u64> = BTreeMap::new();
        for (record, parts) in records.iter().zip(&parts) {
            for part in parts.keys() {
                *owners.entry(*part).or_default() += 1;
            }
            all.extend(parts);
            if leases.contains_key(&record.id) {
                used.extend(parts);
            }
        }
        self.image_bytes = all.values().sum();
        self.image_bytes_used = used.values().sum();
        for (record, parts) in records.into_iter().zip(parts) {
            let (alone, together): (Vec<_>, Vec<_>) =
                parts.into_iter().partition(|(part, _)| owners[part] == 1);
            let sum = |list: Vec<(Digest, u64)>| list.into_iter().map(|(_, bytes)| bytes).sum();
            let of_this = names.iter().filter(|(_, id)| **id == record.id);
            self.images.push(Image {
                names: of_this
                    .map(|(name, _)| {
                        name.parse()
                            .map_or(name.clone(), |r: banyan_runtime::image::Reference| r.familiar())
                    })
                    .collect(),
                containers: leases.get(&record.id).copied().unwrap_or_default(),
                unique: sum(alone),
                shared: sum(together),
                record,
            });
        }
        let layers = self.store.usage().get("layers").copied().unwrap_or_default();
        let of_images: u64 = all
            .keys()
            .filter_map(|part| layers::note(&self.store, *part))
            .map(|note| note.bytes)
            .sum();
        let caches = disk_usage(&self.roots.images().join("build"));
        self.build_bytes = caches
            + if self.steps == 0 {
                0
            } else {
                layers.saturating_sub(of_images)
            };
        Ok(())
    }

    /// Layers and blobs of an image with their bytes.
    fn parts(&self, record: &ImageRecord) -> BTreeMap<Digest, u64> {
        let mut parts = BTreeMap::new();
        for layer in &record.layers {
            let note = layers::note(&self.store, layer.diff_id);
            parts.insert(layer.diff_id, note.map_or(0, |note| note.bytes));
            if let Some(blob) = &layer.blob
                && blob.digest != layer.diff_id
            {
                parts.insert(blob.digest, disk_usage(&self.store.blob_path(blob.digest)));
            }
        }
        for document in [Some(record.id), record.manifest].into_iter().flatten() {
            parts.insert(document, disk_usage(&self.store.blob_path(document)));
        }
        parts
    }
}

fn count(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

fn containers(roots: &Roots) -> Vec<Container> {
    let entries = std::fs::read_dir(roots.containers());
    let mut list = Vec::new();
    for entry in entries.into_iter().flatten().flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if id.starts_with('.') {
            // Being made or removed.
            continue;
        }
        let dir = ContainerDir::new(roots.container(&id), roots.container_run(&id));
        let record = Record::read(roots, &id).ok().flatten();
        let settings = dir
            .settings()
            .ok()
            .or_else(|| Some(record.as_ref()?.settings.clone()));
        let Some(settings) = settings else { continue };
        let (is_active, state) = match open(&dir) {
            Ok(Found::Running(container)) if container.is_paused() => (true, "paused"),
            Ok(Found::Running(_) | Found::Orphaned { .. }) => (true, "running"),
            // At the barrier: it has a process, and somebody is about to start it.
            Ok(Found::Created(_)) => (true, "created"),
            Ok(Found::Never | Found::Abandoned { .. }) => (false, "created"),
            Ok(Found::Stopped(_)) => (false, "exited"),
            Ok(Found::Lost) | Err(_) => (false, "dead"),
        };
        list.push(Container {
            bytes: disk_usage(&dir.state.join("upper")),
            project: record.map(|record| record.project),
            settings,
            dir,
            is_active,
            state,
        });
    }
    list.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
    list
}

fn volumes(roots: &Roots, containers: &[Container]) -> Result<Vec<(Volume, u64, bool)>, CommandError> {
    let used = in_use(roots, containers.iter().map(|container| &container.settings));
    let volumes = Volumes::new(roots);
    let list = volumes
        .list()
        .map_err(|error| CommandError::caused(Exit::Host, "cannot list volumes", &error))?;
    let with_size = |volume: Volume| {
        let is_used = used.contains(&volume.name);
        (volumes.size(&volume.name), is_used, volume)
    };
    Ok(list
        .into_iter()
        .map(with_size)
        .map(|(bytes, is_used, volume)| (volume, bytes, is_used))
        .collect())
}

/// Names of the volumes that containers mount, by where their mounts come from.
pub(in crate::cli) fn in_use<'a>(
    roots: &Roots,
    containers: impl Iterator<Item = &'a Settings>,
) -> BTreeSet<String> {
    let folder = roots.volumes();
    let mut used = BTreeSet::new();
    for mount in containers.flat_map(|settings| &settings.mounts) {
        let sources = match &mount.kind {
            MountKind::Bind { source, .. } | MountKind::Volume { source, .. } => std::slice::from_ref(source),
            MountKind::OverlayBind { lower, .. } => lower.as_slice(),
            _ => &[],
        };
        for source in sources {
            let name = source
                .strip_prefix(&folder)
                .ok()
                .and_then(|rest| rest.iter().next());
            used.extend(name.map(|name| name.to_string_lossy().into_owned()));
        }
    }
    used
}
