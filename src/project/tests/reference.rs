//! `docs/project-file.md` beside the program: every key is in both, and every example is read.

use super::*;
use crate::project::{
    extension,
    schema::{self, Record, Shape, Support},
};

const PAGE: &str = include_str!("../../../docs/project-file.md");

/// The tables of the page by their headings, and what each describes.
const TABLES: &[(&str, &Record)] = &[
    ("The top level", &schema::PROJECT),
    ("A service", &schema::SERVICE),
    ("blkio_config", &schema::BLKIO),
    ("A device limit", &schema::BLKIO_RATE),
    ("A device weight", &schema::BLKIO_WEIGHT),
    ("build", &schema::BUILD),
    ("credential_spec", &schema::CREDENTIALS),
    ("depends_on", &schema::DEPENDENCY),
    ("deploy", &schema::DEPLOY),
    ("deploy.placement", &schema::PLACEMENT),
    ("A placement preference", &schema::PREFERENCE),
    ("deploy.resources", &schema::RESOURCES),
    ("deploy.resources.limits", &schema::LIMITS),
    ("deploy.resources.reservations", &schema::RESERVATIONS),
    ("A device request", &schema::DEVICE_REQUEST),
    ("A generic resource", &schema::GENERIC),
    ("discrete_resource_spec", &schema::DISCRETE),
    ("deploy.restart_policy", &schema::RESTART_POLICY),
    ("deploy.update_config and rollback_config", &schema::UPDATE),
    ("develop", &schema::DEVELOP),
    ("develop.watch", &schema::WATCH),
    ("env_file", &schema::ENV_FILE),
    ("extends", &schema::EXTENDS),
    ("healthcheck", &schema::HEALTHCHECK),
    ("A hook", &schema::HOOK),
    ("A hook before the start", &schema::INIT_HOOK),
    ("logging", &schema::LOGGING),
    ("A model", &schema::MODEL),
    ("A service's model", &schema::MODEL_USE),
    ("provider", &schema::PROVIDER),
    ("A service's network", &schema::ATTACHMENT),
    ("A port", &schema::PORT),
    ("A mount", &schema::MOUNT),
    ("bind", &schema::BIND),
    ("volume", &schema::VOLUME_MOUNT),
    ("tmpfs", &schema::TMPFS),
    ("image", &schema::IMAGE_MOUNT),
    ("A grant", &schema::GRANT),
    ("A device", &schema::DEVICE),
    ("ulimits", &schema::ULIMIT),
    ("A network", &schema::NETWORK),
    ("ipam", &schema::IPAM),
    ("An address pool", &schema::POOL),
    ("A volume", &schema::VOLUME),
    ("A secret", &schema::SECRET),
    ("A config", &schema::CONFIG),
    ("An include", &schema::INCLUDE),
];

/// What the examples lean on.
const FILES: &[(&str, &str)] = &[
    (
        "context.yaml",
        "services:\n  a: {image: busybox}\n  db: {image: busybox}\nvolumes: {data: {}}\nnetworks: {back: {}}\n\
         secrets: {token: {file: ./token}}\nconfigs: {site: {file: ./site.conf}}\n",
    ),
    ("base.yaml", "services: {web: {image: busybox}}\n"),
    ("other.yaml", "services: {other: {image: busybox}}\n"),
    ("app.env", "A=b\n"),
    ("app.labels", "a=b\n"),
    ("conf/app.conf", "x\n"),
    ("token", "x\n"),
    ("site.conf", "x\n"),
    ("Dockerfile", "FROM busybox\n"),
    ("tpl/Dockerfile", "FROM busybox\n"),
];

struct Row {
    key: String,
    holds: String,
    example: String,
    remark: String,
}

/// The part of the page below a heading.
fn section(heading: &str) -> &'static str {
    let title = format!("\n### {heading}\n");
    let start = PAGE
        .find(&title)
        .unwrap_or_else(|| panic!("no section `{heading}`"))
        + title.len();
    let rest = &PAGE[start..];
    &rest[..rest.find("\n##").unwrap_or(rest.len())]
}

/// The cells of a table's rows, without its heading.
fn cells(section: &str) -> Vec<Vec<String>> {
    let rows = section.lines().filter(|line| line.starts_with("| "));
    rows.skip(1)
        .map(|line| {
            let line = line
                .trim_start_matches('|')
                .trim_end_matches('|')
                .replace("\\|", "\u{1}");
            let cells = line.split('|').map(|cell| cell.trim().replace('\u{1}', "|"));
            cells.collect()
        })
        .collect()
}

fn plain(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

fn rows(heading: &str) -> (String, Vec<Row>) {
    let section = section(heading);
    let place = section
        .split_once("In `")
        .and_then(|(_, rest)| rest.split_once("`:"))
        .unwrap_or_else(|| panic!("`{heading}` does not say where it stands"))
        .0;
    let rows = cells(section).into_iter().map(|cells| {
        assert_eq!(cells.len(), 4, "{heading}: {cells:?}");
        Row {
            key: plain(&cells[0]),
            holds: cells[1].clone(),
            example: plain(&cells[2]),
            remark: cells[3].clone(),
        }
    });
    (place.to_owned(), rows.collect())
}

/// Every record that the schema leads to.
fn reachable() -> Vec<&'static Record> {
    fn add(record: &'static Record, seen: &mut Vec<&'static Record>) {
        if !seen.iter().any(|known| std::ptr::eq(*known, record)) {
            seen.push(record);
            for field in record.fields {
                walk(&field.shape, seen);
            }
        }
    }
    fn walk(shape: &'static Shape, seen: &mut Vec<&'static Record>) {
        match shape {
            Shape::Record(record)
            | Shape::RecordOrNull(record)
            | Shape::Short(_, record)
            | Shape::Named(record) => add(record, seen),
            Shape::List(inner) | Shape::Map(inner) => walk(inner, seen),
            Shape::Ports => add(&schema::PORT, seen),
            Shape::Mounts => add(&schema::MOUNT, seen),
            Shape::EnvFiles => add(&schema::ENV_FILE, seen),
            Shape::DependsOn => add(&schema::DEPENDENCY, seen),
            Shape::Ulimit => add(&schema::ULIMIT, seen),
            Shape::Gpus => add(&schema::DEVICE_REQUEST, seen),
            Shape::Include => add(&schema::INCLUDE, seen),
            Shape::Devices => add(&schema::DEVICE, seen),
            _ => {}
        }
    }
    let mut seen = Vec::new();
    add(&schema::PROJECT, &mut seen);
    seen
}

/// Whether the page's word for what a key holds is that of its shape.
fn fits(shape: &Shape, holds: &str) -> bool {
    match shape {
        Shape::Int => holds.starts_with("whole number"),
        Shape::Float => holds.starts_with("number"),
        Shape::Bool | Shape::External => holds.starts_with("boolean"),
        Shape::Bytes => holds.starts_with("size") || holds.starts_with("whole number"),
        Shape::Duration => holds.starts_with("duration"),
        Shape::Word(words) => words.iter().all(|word| holds.contains(&format!("`{word}`"))),
        Shape::TextOrNumber => holds.starts_with("text or number"),
        Shape::TextOrBool => holds.starts_with("text or boolean"),
        Shape::Pairs | Shape::Labels => holds.starts_with("pairs"),
        Shape::Options | Shape::Map(_) | Shape::DependsOn | Shape::Named(_) => holds.contains("mapping"),
        Shape::Hosts | Shape::Ssh => holds.contains("list") && holds.contains("mapping"),
        Shape::Record(_) | Shape::RecordOrNull(_) | Shape::Short(..) => holds.contains("record"),
        Shape::Command => holds.starts_with("command"),
        Shape::List(_)
        | Shape::Texts
        | Shape::TextsOrNumbers
        | Shape::Test
        | Shape::Ports
        | Shape::Mounts
        | Shape::EnvFiles
        | Shape::Include
        | Shape::Devices
        | Shape::Gpus => holds.contains("list"),
        Shape::Text | Shape::Any | Shape::Count | Shape::Ulimit => !holds.is_empty(),
    }
}

#[test]
fn every_key_is_on_the_page_and_every_key_of_the_page_exists() {
    for record in reachable() {
        assert!(
            TABLES.iter().any(|(_, known)| std::ptr::eq(*known, record)),
            "`{}` has no table on the page",
            record.what
        );
    }
    let mut wrong = Vec::new();
    for (heading, record) in TABLES {
        let (_, rows) = rows(heading);
        for field in record.fields {
            let Some(row) = rows.iter().find(|row| row.key == field.key) else {
                wrong.push(format!("{heading}: `{}` is missing on the page", field.key));
                continue;
            };
            if !fits(&field.shape, &row.holds) {
                wrong.push(format!("{heading}: `{}` is not: {}", field.key, row.holds));
            }
            if matches!(field.support, Support::Ignored(_)) != row.remark.starts_with("Ignored")
                && matches!(field.support, Support::Ignored(_))
            {
                wrong.push(format!(
                    "{heading}: the page does not say that `{}` is ignored",
                    field.key
                ));
            }
        }
        for row in &rows {
            if record.field(&row.key).is_none() {
                wrong.push(format!("{heading}: `{}` does not exist", row.key));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Puts an example where the page says it stands.
fn placed(place: &str, example: &str) -> String {
    if example.starts_with('{') && place.contains("{…}") {
        place.replace("{…}", example)
    } else {
        place.replace('…', example)
    }
}

/// Why an example is not read as the page says, if so.
fn mistake(text: &str, warns: bool) -> Option<String> {
    let mut files = FILES.to_vec();
    files.push(("example.yaml", text));
    // A type brings an image of its own.
    let typed = ["{a: {type:", "{a: {x-banyan: {type:"];
    let context = FILES[0].1.replace("  a: {image: busybox}\n", "");
    if typed.iter().any(|typed| text.contains(typed)) && !text.contains("type: github") {
        files[0].1 = &context;
    }
    let loaded = load_files(&files, |options| {
        options.files = vec!["context.yaml".into(), "example.yaml".into()];
        if text.starts_with("version") {
            // Looked for in the first file only.
            options.files.reverse();
        }
        let variables = [("TOKEN", "x"), ("SITE", "x")];
        options.environment = variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    });
    match loaded {
        Err(wrong) => Some(wrong.to_text(Path::new("/"))),
        Ok(loaded) if loaded.warnings.is_empty() == warns => Some(format!("warnings: {:?}", loaded.warnings)),
        Ok(_) => None,
    }
}

#[test]
fn every_example_of_the_page_is_read_and_only_what_is_ignored_gives_a_warning() {
    let mut wrong = Vec::new();
    for (heading, _) in TABLES {
        let (place, rows) = rows(heading);
        for row in rows {
            let text = placed(&place, &row.example);
            let warns = row.remark.starts_with("Ignored") || row.key == "version";
            if let Some(why) = mistake(&text, warns) {
                wrong.push(format!("{heading}, `{}`: {text}\n{why}", row.key));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_beyond_compose_is_on_the_page_and_its_examples_are_read() {
    let rows = cells(section("`x-banyan`"));
    let mut known = Vec::new();
    for (what, place) in [
        ("service", "services: {a: {x-banyan: …}}"),
        ("port", "services: {a: {ports: [{target: 80, x-banyan: …}]}}"),
        (
            "mount",
            "services: {a: {volumes: [{type: bind, source: ., target: /x, x-banyan: …}]}}",
        ),
        ("secret", "secrets: {key: {x-banyan: …}}"),
        ("config", "configs: {key: {x-banyan: …}}"),
    ] {
        for key in extension::keys(what) {
            let row = rows
                .iter()
                .find(|row| row[0] == what && plain(&row[1]) == *key)
                .unwrap_or_else(|| panic!("`{key}` of a {what} is missing on the page"));
            let text = place.replace('…', &plain(&row[3]));
            assert_eq!(mistake(&text, false), None, "{text}");
            known.push((what, *key));
        }
    }
    assert_eq!(rows.len(), known.len(), "the page has keys that do not exist");
}

#[test]
fn examples_in_blocks_are_read_too() {
    let blocks = PAGE.split("```yaml\n").skip(1);
    for block in blocks.filter_map(|block| block.split_once("```")) {
        assert_eq!(mistake(block.0, false), None, "{}", block.0);
    }
}

#[test]
fn values_that_are_not_honoured_are_told() {
    for (text, expected) in [
        ("services: {a: {userns_mode: private}}", "`userns_mode`"),
        ("services: {a: {logging: {driver: syslog}}}", "`syslog`"),
        ("services: {a: {security_opt: ['apparmor=x']}}", "`apparmor=x`"),
        ("networks: {back: {driver_opts: {a: b}}}", "option `a`"),
    ] {
        let told = mistake(text, false).unwrap_or_default();
        assert!(
            told.contains(expected) && told.contains("ignored"),
            "{text}: {told}"
        );
        assert_eq!(mistake(text, true), None, "{text}");
    }
}
