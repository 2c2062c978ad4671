//! `ls`, `inspect`, `history`, `tag`, `rm`, `prune`.

use super::{CommandError, Exit, Global, Outcome, failed, reference, render::size, store};
use banyan_runtime::image::{Digest, Reference, Store, collect, store::Record};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// `image ls`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only images of this repository or name
    name: Option<String>,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Writes to standard output; a closed pipe is the reader's choice, not an error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn age(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        ..60 => format!("{} seconds ago", seconds.max(0)),
        60..3600 => format!("{minutes} minutes ago"),
        3600..172_800 => format!("{hours} hours ago"),
        172_800..1_209_600 => format!("{days} days ago"),
        1_209_600..5_184_000 => format!("{} weeks ago", days / 7),
        5_184_000..63_072_000 => format!("{} months ago", days / 30),
        _ => format!("{} years ago", days / 365),
    }
}

fn created(store: &Store, record: &Record) -> i64 {
    let text = store
        .document(record.id)
        .ok()
        .and_then(|document| document.created);
    text.and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map_or(record.added, jiff::Timestamp::as_second)
}

impl List {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let store = store(global)?;
        let wrong = |error| failed("cannot list the images", &error);
        let names = store.names().map_err(wrong)?;
        let wanted = self.name.as_deref().map(reference).transpose()?;
        let mut rows = Vec::new();
        for record in store.records().map_err(wrong)? {
            let of_this = names
                .iter()
                .filter(|(_, id)| **id == record.id)
                .filter_map(|(name, _)| name.parse().ok());
            let mut references: Vec<Option<Reference>> = of_this.map(Some).collect();
            if references.is_empty() {
                references.push(None);
            }
            references.retain(|found| self.is_wanted(found.as_ref(), wanted.as_ref()));
            let created = created(&store, &record);
            rows.extend(references.into_iter().map(|name| (name, record.clone(), created)));
        }
        let now = jiff::Timestamp::now().as_second();
        if self.quiet {
            let mut ids: Vec<String> = rows.iter().map(|(_, record, _)| self.id(record.id)).collect();
            ids.dedup();
            ids.iter().for_each(|id| print(&format!("{id}\n")));
            return Ok(Exit::Success);
        }
        if self.format == Format::Json {
            for (name, record, created) in &rows {
                print(&format!("{}\n", self.json(name.as_ref(), record, now - created)));
            }
            return Ok(Exit::Success);
        }
        let mut table = vec![vec![
            "REPOSITORY".to_owned(),
            "TAG".into(),
            "IMAGE ID".into(),
            "CREATED".into(),
            "SIZE".into(),
        ]];
        for (name, record, created) in &rows {
            let repository = name
                .as_ref()
                .map_or("<none>".into(), Reference::familiar_repository);
            let tag = name
                .as_ref()
                .and_then(Reference::tag)
                .unwrap_or("<none>")
                .to_owned();
            table.push(vec![
                repository,
                tag,
                self.id(record.id),
                age(now - created),
                size(record.bytes),
            ]);
        }
        if self.digests {
            for (row, (_, record, _)) in table.iter_mut().skip(1).zip(&rows) {
                row.insert(2, digest_of(record));
            }
            table[0].insert(2, "DIGEST".into());
        }
        print(&columns(&table));
        Ok(Exit::Success)
    }

    fn is_wanted(&self, found: Option<&Reference>, wanted: Option<&Reference>) -> bool {
        let Some(wanted) = wanted else { return true };
        // Without a tag in the request, every tag of the repository is meant.
        let has_tag = self
            .name
            .as_ref()
            .is_some_and(|name| name.rsplit('/').next().unwrap_or("").contains(':'));
        found.is_some_and(|found| {
            found.repository() == wanted.repository() && (!has_tag || found.tag() == wanted.tag())
        })
    }

    fn id(&self, id: Digest) -> String {
        if self.no_trunc { id.to_string() } else { id.short() }
    }

    fn json(&self, name: Option<&Reference>, record: &Record, seconds: i64) -> Value {
        json!({
            "Containers": "N/A",
            "CreatedSince": age(seconds),
            "Digest": digest_of(record),
            "ID": self.id(record.id),
            "Repository": name.map_or("<none>".into(), Reference::familiar_repository),
            "Tag": name.and_then(Reference::tag).unwrap_or("<none>"),
            "Size": size(record.bytes),
        })
    }
}

fn digest_of(record: &Record) -> String {
    let digest = record.repo_digests.first().and_then(|text| text.split_once('@'));
    digest.map_or("<none>".into(), |(_, digest)| digest.to_owned())
}

/// Aligned columns, three spaces apart.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("   ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// `image inspect`.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

impl Inspect {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let store = store(global)?;
        let mut found = Vec::new();
        for name in &self.names {
            let wrong = |error| failed(format!("cannot inspect `{name}`"), &error);
            let image = store.lookup(name).map_err(wrong)?;
            let record = store.record(image.id).map_err(wrong)?;
            let tags: Vec<String> = store
                .names_of(image.id)
                .map_err(wrong)?
                .iter()
                .map(Reference::familiar)
                .collect();
            let document = &image.document;
            found.push(json!({
                "Id": image.id,
                "RepoTags": tags,
                "RepoDigests": record.repo_digests,
                "Created": document.created,
                "Author": document.author,
                "Architecture": document.architecture,
                "Variant": document.variant,
                "Os": document.os,
                "Size": record.bytes,
                "Config": document.config,
                "RootFS": {"Type": "layers", "Layers": document.rootfs.diff_ids},
            }));
        }
        let text = serde_json::to_string_pretty(&found)
            .map_err(|error| CommandError::caused(Exit::Internal, "cannot print the images", &error))?;
        print(&format!("{text}\n"));
        Ok(Exit::Success)
    }
}

/// `image history`.
#[derive(Debug, Args)]
pub(super) struct History {
    /// Name or id
    name: String,
    /// Do not shorten
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// How to print; `json` is one object a line
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// One step of a history, newest first.
struct Past {
    /// The image that the step made, where it is known: the whole image for the last one.
    id: String,
    created: Option<jiff::Timestamp>,
    by: String,
    bytes: u64,
    comment: String,
}

impl History {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let steps = self.steps(&store(global)?)?;
        if self.quiet {
            steps.iter().for_each(|step| print(&format!("{}\n", step.id)));
            return Ok(Exit::Success);
        }
        let now = jiff::Timestamp::now().as_second();
        let since = |step: &Past| {
            step.created
                .map_or("N/A".into(), |time| age(now - time.as_second()))
        };
        if self.format == Format::Json {
            for step in &steps {
                let value = json!({
                    "Comment": step.comment,
                    "CreatedAt": step.created.map_or(String::new(), |time| time.to_string()),
                    "CreatedBy": step.by,
                    "CreatedSince": since(step),
                    "ID": step.id,
                    "Size": size(step.bytes),
                });
                print(&format!("{value}\n"));
            }
            return Ok(Exit::Success);
        }
        let mut rows = vec![
            ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for step in &steps {
            let by = if self.no_trunc {
                step.by.clone()
            } else {
                shortened(&step.by, 45)
            };
            rows.push(vec![
                step.id.clone(),
                since(step),
                by,
                size(step.bytes),
                step.comment.clone(),
            ]);
        }
        print(&columns(&rows));
        Ok(Exit::Success)
    }

    fn steps(&self, store: &Store) -> Result<Vec<Past>, CommandError> {
        let wrong = |error| failed(format!("cannot show the history of `{}`", self.name), &error);
        let image = store.lookup(&self.name).map_err(wrong)?;
        let mut layers = image.document.rootfs.diff_ids.iter();
        let mut steps: Vec<Past> = Vec::new();
        for step in &image.document.history {
            let layer = if step.empty_layer { None } else { layers.next() };
            let note = layer.and_then(|layer| banyan_runtime::image::layers::note(store, *layer));
            let created = step.created.as_ref().and_then(|text| text.parse().ok());
            steps.push(Past {
                id: "<missing>".into(),
                created,
                by: step.created_by.clone().unwrap_or_default().replace('\n', " "),
                bytes: note.map_or(0, |note| note.bytes),
                comment: step.comment.clone().unwrap_or_default(),
            });
        }
        steps.reverse();
        if let Some(newest) = steps.first_mut() {
            newest.id = if self.no_trunc {
                image.id.to_string()
            } else {
                image.id.short()
            };
        }
        Ok(steps)
    }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// `image tag`.
#[derive(Debug, Args)]
pub(super) struct Tag {
    /// Name or id
    source: String,
    /// The new name
    target: String,
}

impl Tag {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let store = store(global)?;
        let wrong = |error| failed(format!("cannot tag `{}`", self.source), &error);
        let image = store.lookup(&self.source).map_err(wrong)?;
        store.tag(image.id, &reference(&self.target)?).map_err(wrong)?;
        Ok(Exit::Success)
    }
}

/// `image rm`.
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
    /// Also where containers or several names use it
    #[arg(short, long)]
    force: bool,
}

impl Remove {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let store = store(global)?;
        for name in &self.names {
            let removed = store
                .remove(name, self.force)
                .map_err(|error| failed(format!("cannot remove `{name}`"), &error))?;
            report(&removed);
        }
        Ok(Exit::Success)
    }
}

fn report(removed: &collect::Removed) {
    removed
        .names
        .iter()
        .for_each(|name| print(&format!("Untagged: {name}\n")));
    removed
        .images
        .iter()
        .for_each(|id| print(&format!("Deleted: {id}\n")));
    if removed.postponed {
        print("Another process is adding images; what is not used any more goes with the next removal.\n");
    }
}

/// `image prune`.
#[derive(Debug, Args)]
pub(super) struct Prune {
    /// Every image that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Also forget the results of build steps
    #[arg(long)]
    build_cache: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let _ = self.force;
        let store = store(global)?;
        if self.build_cache {
            banyan_runtime::build::cache::clear(&store)
                .map_err(|error| failed("cannot clear the build cache", &error))?;
        }
        let which = if self.all {
            collect::Prune::Unused
        } else {
            collect::Prune::Unnamed
        };
        let removed = store
            .prune(which)
            .map_err(|error| failed("cannot prune the images", &error))?;
        report(&removed);
        print(&format!("Total reclaimed space: {}\n", size(removed.bytes)));
        Ok(Exit::Success)
    }
}
