//! `banyan images`: the images that the project's containers were made from.

use super::{CommandError, Exit, Global, Outcome, context, image::render::size, print, table};
use crate::engine::record::Record;
use banyan_runtime::image::{Digest, Image, Reference, Store};
use clap::Args;
use serde_json::json;
use std::collections::BTreeSet;

/// Flags of `images`.
#[derive(Debug, Clone, Args)]
pub struct Images {
    /// Only these services
    services: Vec<String>,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// `table` or `json`
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// What is shown of one container's image.
struct Row {
    container: String,
    repository: String,
    tag: String,
    platform: String,
    id: String,
    bytes: u64,
    created: Option<jiff::Timestamp>,
}

/// Runs it.
///
/// # Errors
/// When containers or images cannot be read.
pub(super) fn run(global: &Global, args: &Images) -> Outcome {
    let name = context::project_name(global)?;
    let roots = context::roots(global);
    let fail = |error: &(dyn std::error::Error + 'static)| {
        CommandError::caused(Exit::Host, "cannot list the project's images", error)
    };
    let records = Record::of_project(&roots, name.as_str()).map_err(|error| fail(&error))?;
    let store = Store::open(&roots.images()).map_err(|error| fail(&error))?;
    let rows: Vec<Row> = records
        .into_iter()
        .filter(|r| args.services.is_empty() || args.services.iter().any(|s| s == r.slot.service.as_str()))
        .map(|record| row(&store, record))
        .collect();
    let text = if args.quiet {
        let ids: BTreeSet<_> = rows.iter().map(|row| &row.id).collect();
        ids.into_iter().map(|id| format!("{id}\n")).collect()
    } else if args.format == "json" {
        let list: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "ID": format!("sha256:{}", row.id),
                    "ContainerName": row.container,
                    "Repository": row.repository,
                    "Tag": row.tag,
                    "Platform": row.platform,
                    "Size": row.bytes,
                    "Created": row.created.map(|time| time.to_string()),
                })
            })
            .collect();
        format!("{}\n", serde_json::Value::from(list))
    } else {
        as_table(rows)
    };
    print(&text);
    Ok(Exit::Success)
}

fn as_table(rows: Vec<Row>) -> String {
    let now = jiff::Timestamp::now().as_second();
    let cells = |row: Row| {
        let age = row
            .created
            .map(|time| format!("{} ago", table::ago(now - time.as_second())));
        vec![
            row.container,
            row.repository,
            row.tag,
            row.platform,
            row.id.get(..12).unwrap_or(&row.id).to_owned(),
            size(row.bytes),
            age.unwrap_or_else(|| "N/A".into()),
        ]
    };
    let rows: Vec<_> = rows.into_iter().map(cells).collect();
    table::table(
        &[
            "CONTAINER",
            "REPOSITORY",
            "TAG",
            "PLATFORM",
            "IMAGE ID",
            "SIZE",
            "CREATED",
        ],
        &rows,
    )
}

/// An image that was removed since is shown as far as the container remembers it.
fn row(store: &Store, record: Record) -> Row {
    let reference = record.service.image.name.parse::<Reference>().ok();
    let digest = record.image.parse::<Digest>().ok();
    let kept = digest.and_then(|digest| store.record(digest).ok());
    let image: Option<Image> = digest.and_then(|digest| store.image(digest).ok());
    let platform = image.as_ref().map(|image| image.platform().to_string());
    let created = image.and_then(|image| image.document.created?.parse().ok());
    Row {
        repository: reference.as_ref().map_or_else(
            || record.service.image.name.clone(),
            Reference::familiar_repository,
        ),
        tag: reference
            .as_ref()
            .and_then(|r| r.tag().map(str::to_owned))
            .unwrap_or_else(|| "latest".into()),
        platform: platform.unwrap_or_default(),
        id: record
            .image
            .strip_prefix("sha256:")
            .unwrap_or(&record.image)
            .to_owned(),
        bytes: kept.map_or(0, |kept| kept.bytes),
        created,
        container: record.name,
    }
}
