//! `system df`: docker's table of disk space, and what stands behind it.

use super::survey::Survey;
use crate::cli::{
    Exit, Global, Outcome,
    image::size,
    print,
    table::{ago, table},
};
use clap::Args;
use serde_json::json;

/// `system df`.
#[derive(Debug, Args)]
pub(super) struct Df {
    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,
    /// `table`, or `json`: one object a line
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// One line of the summary.
struct Row {
    kind: &'static str,
    total: usize,
    active: usize,
    bytes: u64,
    reclaimable: u64,
}

impl Row {
    /// Bytes, and which part of the whole they are where there is a whole.
    fn reclaimable(&self) -> String {
        let bytes = size(self.reclaimable);
        match (self.reclaimable * 100).checked_div(self.bytes) {
            Some(percent) => format!("{bytes} ({percent}%)"),
            None => bytes,
        }
    }
}

fn rows(survey: &Survey) -> Vec<Row> {
    let idle = survey.containers.iter().filter(|container| !container.is_active);
    let loose = survey.volumes.iter().filter(|(.., is_used)| !is_used);
    let mut rows = vec![
        Row {
            kind: "Images",
            total: survey.images.len(),
            active: survey.images.iter().filter(|image| image.containers > 0).count(),
            bytes: survey.image_bytes,
            reclaimable: survey.image_bytes.saturating_sub(survey.image_bytes_used),
        },
        Row {
            kind: "Containers",
            total: survey.containers.len(),
            active: survey
                .containers
                .iter()
                .filter(|container| container.is_active)
                .count(),
            bytes: survey.containers.iter().map(|container| container.bytes).sum(),
            reclaimable: idle.map(|container| container.bytes).sum(),
        },
        Row {
            kind: "Local Volumes",
            total: survey.volumes.len(),
            active: survey.volumes.iter().filter(|(.., is_used)| *is_used).count(),
            bytes: survey.volumes.iter().map(|(_, bytes, _)| bytes).sum(),
            reclaimable: loose.map(|(_, bytes, _)| bytes).sum(),
        },
        Row {
            kind: "Build Cache",
            total: survey.steps,
            active: 0,
            bytes: survey.build_bytes,
            reclaimable: survey.build_bytes,
        },
    ];
    if survey.packages > 0 {
        rows.push(Row {
            kind: "Debian Packages",
            total: survey.packages,
            active: 0,
            bytes: survey.package_bytes,
            reclaimable: survey.package_bytes,
        });
    }
    rows
}

impl Df {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let survey = Survey::take(global)?;
        let rows = rows(&survey);
        if self.format == "json" {
            for row in &rows {
                let value = json!({
                    "Active": row.active.to_string(),
                    "Reclaimable": row.reclaimable(),
                    "Size": size(row.bytes),
                    "TotalCount": row.total.to_string(),
                    "Type": row.kind,
                });
                print(&format!("{value}\n"));
            }
            return Ok(Exit::Success);
        }
        if self.verbose {
            print(&verbose(&survey));
            return Ok(Exit::Success);
        }
        let cells: Vec<_> = rows
            .iter()
            .map(|row| {
                vec![
                    row.kind.to_owned(),
                    row.total.to_string(),
                    row.active.to_string(),
                    size(row.bytes),
                    row.reclaimable(),
                ]
            })
            .collect();
        print(&table(
            &["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"],
            &cells,
        ));
        Ok(Exit::Success)
    }
}

fn verbose(survey: &Survey) -> String {
    let now = jiff::Timestamp::now().as_second();
    let mut images = Vec::new();
    for image in &survey.images {
        let (repository, tag) = match image.names.first().map(|name| name.rsplit_once(':')) {
            Some(Some((repository, tag))) => (repository.to_owned(), tag.to_owned()),
            _ => ("<none>".to_owned(), "<none>".to_owned()),
        };
        images.push(vec![
            repository,
            tag,
            image.record.id.short(),
            format!("{} ago", ago(now - image.record.added)),
            size(image.unique + image.shared),
            size(image.shared),
            size(image.unique),
            image.containers.to_string(),
        ]);
    }
    let containers: Vec<_> = survey
        .containers
        .iter()
        .map(|container| {
            let settings = &container.settings;
            let image = settings.annotations.get("banyan.image").cloned();
            vec![
                settings.id.get(..12).unwrap_or(&settings.id).to_owned(),
                image.or_else(|| container.project.clone()).unwrap_or_default(),
                size(container.bytes),
                container.state.to_owned(),
                settings.name.clone(),
            ]
        })
        .collect();
    let volumes: Vec<_> = survey
        .volumes
        .iter()
        .map(|(volume, bytes, is_used)| {
            vec![
                volume.name.clone(),
                if *is_used { "yes" } else { "no" }.into(),
                size(*bytes),
            ]
        })
        .collect();
    let image_head = [
        "REPOSITORY",
        "TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "CONTAINERS",
    ];
    [
        "Images space usage:\n\n",
        &table(&image_head, &images),
        "\nContainers space usage:\n\n",
        &table(
            &["CONTAINER ID", "IMAGE OR PROJECT", "SIZE", "STATUS", "NAMES"],
            &containers,
        ),
        "\nLocal Volumes space usage:\n\n",
        &table(&["VOLUME NAME", "USED", "SIZE"], &volumes),
        &format!(
            "\nBuild cache usage: {} in {} steps\n",
            size(survey.build_bytes),
            survey.steps
        ),
    ]
    .concat()
}
