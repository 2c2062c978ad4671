//! What a container mounts: binds, volumes, tmpfs, other containers' mounts, all as folders of the host.

use super::{Anonymous, Execution};
use crate::{
    api::wire::{Failure, Fault},
    engine::{Outcome, events::now, images, keeper::Keeper, names, settings},
    model::{MountKind, Project, Service},
    overlays::{Over, Overlay},
    plan::Slot,
    volumes::Volume,
};
use banyan_runtime::{image::Image, rootfs};
use std::collections::BTreeMap;

impl Execution {
    /// Resolves mounts to folders of the host; makes missing bind sources and anonymous volumes.
    #[expect(clippy::type_complexity, reason = "three results of one pass over the mounts")]
    pub(super) fn mounts(
        &self,
        project: &Project,
        service: &Service,
        slot: &Slot,
        image: &Image,
        before: Option<&Keeper>,
    ) -> Outcome<(Vec<rootfs::Mount>, BTreeMap<String, String>, Vec<String>)> {
        let mut made = Vec::new();
        let mut anonymous = match (self.anonymous, before) {
            (Anonymous::TakeOver, Some(before)) => before.record().anonymous,
            _ => BTreeMap::new(),
        };
        let mut volumes = Vec::new();
        for path in settings::uncovered_volumes(service, &image.config) {
            anonymous.entry(path).or_insert_with(names::new_id);
        }
        for (index, mount) in service.mounts.iter().enumerate() {
            let place = service
                .places
                .get(&format!("volumes[{index}]"))
                .or(service.place.as_ref());
            let kind = match &mount.kind {
                MountKind::Bind {
                    source,
                    create,
                    overlay: true,
                    ..
                } => {
                    if !source.exists() {
                        missing_bind(source, *create).map_err(|failure| failure.at(place))?;
                    }
                    self.overlay(slot, source, &mount.target)
                        .map_err(|failure| failure.at(place))?
                }
                MountKind::Bind {
                    source,
                    create,
                    propagation,
                    recursive,
                    ..
                } => {
                    if !source.exists() {
                        missing_bind(source, *create).map_err(|failure| failure.at(place))?;
                    }
                    rootfs::MountKind::Bind {
                        source: source.clone(),
                        recursive: *recursive,
                        propagation: settings::propagation(*propagation),
                    }
                }
                MountKind::Volume {
                    source,
                    nocopy,
                    subpath,
                } => {
                    let name = project
                        .volumes
                        .get(source)
                        .map_or(source.as_str(), |volume| volume.name.as_str());
                    volumes.push(name.to_owned());
                    rootfs::MountKind::Volume {
                        source: self.engine.volumes.data(name),
                        seed: !nocopy,
                        subpath: subpath.clone(),
                    }
                }
                MountKind::Anonymous { .. } => continue,
                MountKind::Tmpfs { size, mode, options } => rootfs::MountKind::Tmpfs {
                    size: *size,
                    mode: mode.unwrap_or(0o1777),
                    options: options.clone(),
                },
                MountKind::Image { source, subpath } => {
                    if subpath.is_some() {
                        let what = format!("`subpath` of image mount `{source}` is not supported");
                        return Err(Failure::new(Fault::ProjectFile, what).at(place));
                    }
                    let layers =
                        images::layers_of(&self.engine, source).map_err(|failure| failure.at(place))?;
                    rootfs::MountKind::Layers(layers)
                }
            };
            made.push(rootfs::Mount {
                kind,
                target: mount.target.clone(),
                read_only: mount.read_only,
            });
        }
        for (path, name) in &anonymous {
            let volume = Volume {
                name: name.clone(),
                labels: [(
                    "com.docker.compose.project".to_owned(),
                    self.engine.name.to_string(),
                )]
                .into(),
                options: BTreeMap::new(),
                created: now(),
                anonymous: true,
            };
            self.engine
                .volumes
                .ensure(&volume)
                .map_err(|error| Failure::caused(Fault::Host, "cannot make an anonymous volume", &error))?;
            let kind = rootfs::MountKind::Volume {
                source: self.engine.volumes.data(name),
                seed: true,
                subpath: None,
            };
            made.push(rootfs::Mount {
                kind,
                target: path.clone(),
                read_only: false,
            });
        }
        self.mounts_from(service, &mut made)?;
        Ok((made, anonymous, volumes))
    }

    /// A bind whose changes go to a layer of the place's own. The container that this one replaces may still use the
    /// layer while this one waits at its barrier: nothing of the new mount is read or written before the old one ended.
    fn overlay(&self, slot: &Slot, source: &std::path::Path, target: &str) -> Outcome<rootfs::MountKind> {
        let folder = self
            .engine
            .roots
            .overlays(&self.engine.name, Some(&slot.to_string()));
        let over = Over {
            source: source.to_owned(),
            target: target.to_owned(),
        };
        let layer = Overlay::ensure(&folder, &over).map_err(|error| {
            let what = format!("cannot lay a discardable layer over `{}`", source.display());
            Failure::caused(Fault::Asked, what, &error)
        })?;
        Ok(rootfs::MountKind::OverlayBind {
            lower: vec![over.source],
            upper: layer.upper(),
            work: layer.work(),
        })
    }

    /// `volumes_from`: what other containers mount, unless this one mounts something there itself.
    fn mounts_from(&self, service: &Service, made: &mut Vec<rootfs::Mount>) -> Outcome {
        for (whose, read_only) in &service.volumes_from {
            let keeper = self
                .engine
                .keepers()
                .into_iter()
                .find(|keeper| match whose.split_once(':') {
                    Some(("container", name)) => keeper.name() == name,
                    Some(("service", name)) => keeper.slot().service.as_str() == name,
                    _ => keeper.slot().service.as_str() == whose,
                });
            let Some(keeper) = keeper else {
                let what = format!("`{whose}`, whose volumes `{}` uses, does not exist", service.name);
                return Err(Failure::new(Fault::Asked, what).at(service.places.get("volumes_from")));
            };
            for mount in keeper.record().settings.mounts {
                let shared = matches!(
                    mount.kind,
                    rootfs::MountKind::Bind { .. } | rootfs::MountKind::Volume { .. }
                );
                if shared && !made.iter().any(|mine| mine.target == mount.target) {
                    made.push(rootfs::Mount {
                        read_only: mount.read_only || *read_only,
                        ..mount
                    });
                }
            }
        }
        Ok(())
    }
}

fn missing_bind(source: &std::path::Path, create: bool) -> Outcome {
    if !create {
        let what = format!("`{}` is to be mounted and does not exist", source.display());
        return Err(Failure::new(Fault::Asked, what).hint("create it, or correct the path"));
    }
    fs_err::create_dir_all(source).map_err(|error| {
        Failure::caused(
            Fault::Host,
            format!(
                "cannot make the folder `{}` that is to be mounted",
                source.display()
            ),
            &error,
        )
    })
}
