//! `system prune`: what nobody uses goes, after it was listed and the user agreed.

use super::survey::{Container, Survey};
use crate::{
    cli::{CommandError, Exit, Global, Outcome, Progress, image::size, lifecycle, print},
    volumes::{Volume, Volumes},
};
use banyan_runtime::{
    build::cache,
    container::remove,
    image::collect::{self, Removed, disk_usage},
};
use clap::Args;
use std::{
    collections::BTreeSet,
    io::{IsTerminal, Write},
};

/// `system prune`.
#[derive(Debug, Args)]
pub(super) struct Prune {
    /// All images that no container uses, not only those without a name; the Debian packages kept too
    #[arg(short, long)]
    all: bool,
    /// Anonymous volumes that no container uses, too: their data is lost
    #[arg(long)]
    volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// What would go.
struct Going<'a> {
    containers: Vec<&'a Container>,
    images: Vec<String>,
    volumes: Vec<&'a Volume>,
    bytes: u64,
}

impl Prune {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let survey = Survey::take(global)?;
        let going = self.going(&survey);
        let list = self.list(&survey, &going);
        if list.is_empty() {
            print("Total reclaimed space: 0B\n");
            return Ok(Exit::Success);
        }
        if global.dry_run {
            print(&list);
            return Ok(Exit::Success);
        }
        if !self.force && !agreed(&list)? {
            return Ok(Exit::Success);
        }
        let mut bytes = 0;
        remove_containers(&survey, global, &going)?;
        bytes += going
            .containers
            .iter()
            .map(|container| container.bytes)
            .sum::<u64>();
        if self.volumes {
            bytes += remove_volumes(&survey, &going)?;
        }
        bytes += self.remove_images(&survey)?;
        print(&format!("Total reclaimed space: {}\n", size(bytes)));
        Ok(Exit::Success)
    }

    fn going<'a>(&self, survey: &'a Survey) -> Going<'a> {
        let containers: Vec<_> = survey.containers.iter().filter(|c| !c.is_active).collect();
        let stays: BTreeSet<_> = survey
            .containers
            .iter()
            .filter(|container| container.is_active)
            .map(|container| container.settings.id.as_str())
            .collect();
        // An image whose last container goes now is not used any more.
        let leases = survey.store.leases().unwrap_or_default();
        let used: BTreeSet<_> = leases
            .iter()
            .filter(|(owner, _)| stays.contains(owner.as_str()))
            .map(|(_, lease)| lease.image)
            .collect();
        let images = survey
            .images
            .iter()
            .filter(|image| !used.contains(&image.record.id) && (self.all || image.names.is_empty()));
        let mut bytes: u64 = containers.iter().map(|container| container.bytes).sum();
        let images = images
            .map(|image| {
                bytes += image.unique;
                let name = image.names.first().cloned();
                name.unwrap_or_else(|| image.record.id.short())
            })
            .collect();
        let volumes = survey
            .volumes
            .iter()
            .filter(|(volume, _, is_used)| self.volumes && !is_used && volume.anonymous);
        let volumes = volumes
            .map(|(volume, size, _)| {
                bytes += size;
                volume
            })
            .collect();
        bytes += survey.build_bytes + if self.all { survey.package_bytes } else { 0 };
        Going {
            containers,
            images,
            volumes,
            bytes,
        }
    }

    /// Everything that goes, by name; empty when there is nothing.
    fn list(&self, survey: &Survey, going: &Going<'_>) -> String {
        let mut text = String::new();
        let mut section = |what: &str, names: Vec<String>| {
            if !names.is_empty() {
                text += &format!("  - {what}:\n      {}\n", names.join("\n      "));
            }
        };
        let names = |c: &&Container| match &c.project {
            Some(project) => format!("{} (of project {project})", c.settings.name),
            None => c.settings.name.clone(),
        };
        section(
            "all stopped containers",
            going.containers.iter().map(names).collect(),
        );
        let images = if self.all {
            "all images without at least one container associated to them"
        } else {
            "all dangling images"
        };
        section(images, going.images.clone());
        section(
            "all anonymous volumes not used by at least one container",
            going.volumes.iter().map(|volume| volume.name.clone()).collect(),
        );
        if survey.steps > 0 || survey.build_bytes > 0 {
            text += &format!("  - unused build cache: {} steps\n", survey.steps);
        }
        if self.all && survey.packages > 0 {
            text += &format!(
                "  - Debian packages kept for the next image: {}\n",
                survey.packages
            );
        }
        if text.is_empty() {
            return text;
        }
        format!("This will remove, {} in all:\n{text}", size(going.bytes))
    }

    fn remove_images(&self, survey: &Survey) -> Result<u64, CommandError> {
        let before = disk_usage(&survey.roots.images());
        cache::clear(&survey.store)
            .map_err(|error| CommandError::caused(Exit::Failed, "cannot clear the build cache", &error))?;
        if self.all {
            survey.store.clear_packages().map_err(|error| {
                CommandError::caused(Exit::Failed, "cannot remove the Debian packages", &error)
            })?;
        }
        let which = if self.all {
            collect::Prune::Unused
        } else {
            collect::Prune::Unnamed
        };
        let removed = survey
            .store
            .prune(which)
            .map_err(|error| CommandError::caused(Exit::Failed, "cannot prune the images", &error))?;
        report(&removed);
        Ok(before.saturating_sub(disk_usage(&survey.roots.images())))
    }
}

fn report(removed: &Removed) {
    if !removed.names.is_empty() || !removed.images.is_empty() {
        print("Deleted Images:\n");
        for name in &removed.names {
            print(&format!("untagged: {name}\n"));
        }
        for id in &removed.images {
            print(&format!("deleted: {id}\n"));
        }
        print("\n");
    }
    if removed.postponed {
        print("Another process is adding images; what is not used any more goes with the next removal.\n");
    }
}

fn agreed(list: &str) -> Result<bool, CommandError> {
    if !std::io::stdin().is_terminal() {
        return Err(
            CommandError::new(Exit::Usage, "nothing is removed without being asked")
                .details(list.to_owned())
                .hint("standard input is no terminal: say `--force`"),
        );
    }
    let mut stderr = std::io::stderr();
    // A closed standard error leaves a question that nobody sees; the answer is then awaited all the same.
    let _ = write!(
        stderr,
        "WARNING! {list}\nAre you sure you want to continue? [y/N] "
    );
    let _ = stderr.flush();
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| CommandError::caused(Exit::Host, "cannot read the answer", &error))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Single containers here, services' by their project's engine, which is the only writer of its state.
fn remove_containers(survey: &Survey, global: &Global, going: &Going<'_>) -> Result<(), CommandError> {
    if going.containers.is_empty() {
        return Ok(());
    }
    let projects: BTreeSet<&str> = going
        .containers
        .iter()
        .filter_map(|c| c.project.as_deref())
        .collect();
    for project in projects {
        let of_project = Global {
            file: Vec::new(),
            project_name: Some(project.to_owned()),
            progress: Progress::Quiet,
            ..global.clone()
        };
        lifecycle::remove_stopped(&of_project)?;
    }
    for container in going
        .containers
        .iter()
        .filter(|container| container.project.is_none())
    {
        let name = &container.settings.name;
        remove(&container.dir, false).map_err(|error| {
            CommandError::caused(Exit::Failed, format!("cannot remove container `{name}`"), &error)
        })?;
        survey.store.release(&container.settings.id).map_err(|error| {
            CommandError::caused(
                Exit::Failed,
                format!("cannot give up the image of `{name}`"),
                &error,
            )
        })?;
    }
    print("Deleted Containers:\n");
    for container in &going.containers {
        print(&format!("{}\n", container.settings.id));
    }
    print("\n");
    Ok(())
}

fn remove_volumes(survey: &Survey, going: &Going<'_>) -> Result<u64, CommandError> {
    if going.volumes.is_empty() {
        return Ok(0);
    }
    let volumes = Volumes::new(&survey.roots);
    let mut bytes = 0;
    print("Deleted Volumes:\n");
    for volume in &going.volumes {
        bytes += volumes.size(&volume.name);
        volumes.remove(&volume.name).map_err(|error| {
            CommandError::caused(
                Exit::Host,
                format!("cannot remove volume `{}`", volume.name),
                &error,
            )
        })?;
        print(&format!("{}\n", volume.name));
    }
    print("\n");
    Ok(bytes)
}
