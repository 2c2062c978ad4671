//! Wrong files, with what is said about them: every message and position, and for the commonest mistakes the whole text.
//!
//! `invalid.yaml.txt` holds the files (`--- name`, then the text), `invalid.expected.txt` what is said. After a change of
//! words, `BANYAN_BLESS=1 cargo test invalid` writes the expectations anew; read the difference before keeping it.

use super::load_files;
use std::{fmt::Write as _, path::Path};

/// The mistakes that newcomers make most, shown in full.
const COMMON: &[&str] = &[
    "tab",
    "indent",
    "colon-in-value",
    "quote-open",
    "bracket-open",
    "duplicate-key",
    "service-not-indented",
    "key-enviroment",
    "list-ports",
    "text-user-number",
    "environment-map-in-list",
    "port-70000",
    "duration-number",
    "bytes-5x",
    "missing-service",
    "missing-volume",
    "missing-network-near",
    "cycle",
    "variable-required",
    "several",
    "no-image",
    "restart-word",
];

fn said(name: &str, text: &str) -> String {
    let mut out = format!("--- {name}\n");
    let list = match load_files(&[("compose.yaml", text)], |_| {}) {
        Ok(loaded) => {
            out += "loads\n";
            loaded.warnings
        }
        Err(wrong) => wrong.0,
    };
    for diagnostic in list {
        // The folder of the test has another name each time.
        let mut diagnostic = diagnostic;
        let folder = diagnostic
            .place
            .as_ref()
            .and_then(|place| place.file.parent().map(Path::to_owned));
        if let Some(folder) = folder {
            let folder = folder.display().to_string();
            for text in [
                Some(&mut diagnostic.message),
                diagnostic.reason.as_mut(),
                diagnostic.hint.as_mut(),
            ] {
                text.into_iter()
                    .for_each(|text| *text = text.replace(&folder, "DIR"));
            }
            diagnostic
                .place
                .iter_mut()
                .for_each(|place| place.file = "compose.yaml".into());
            diagnostic
                .related
                .iter_mut()
                .for_each(|related| related.place.file = "compose.yaml".into());
        }
        if COMMON.contains(&name) {
            out += &diagnostic.to_text(Path::new("/"));
            continue;
        }
        let at = diagnostic.place.map_or_else(
            || "-".to_owned(),
            |place| format!("{}:{}", place.line, place.column),
        );
        let word = format!("{:?}", diagnostic.severity).to_lowercase();
        let _ = writeln!(out, "{at} {word}: {}", diagnostic.message);
        let _ = diagnostic.hint.map(|hint| writeln!(out, "  hint: {hint}"));
    }
    out
}

#[test]
fn every_wrong_file_is_explained_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/project/tests");
    let files = fs_err::read_to_string(folder.join("invalid.yaml.txt")).expect("the wrong files");
    let cases: Vec<(&str, &str)> = files
        .split("--- ")
        .filter(|case| !case.is_empty())
        .map(|case| case.split_once('\n').expect("a name and a text"))
        .collect();
    let said: String = cases.iter().map(|(name, text)| said(name, text)).collect();
    let path = folder.join("invalid.expected.txt");
    if std::env::var_os("BANYAN_BLESS").is_some() {
        fs_err::write(&path, &said).expect("a file written");
    }
    let expected = fs_err::read_to_string(&path).expect("the expectations");
    let differs = said
        .split("--- ")
        .zip(expected.split("--- "))
        .find(|(a, b)| a != b);
    assert!(
        said == expected,
        "not as written down:\n{}\nwas:\n{}",
        differs.map_or("", |d| d.0),
        differs.map_or("", |d| d.1)
    );
    let wrong = said.split("--- ").filter(|case| case.contains("error: ")).count();
    assert!(wrong >= 150, "only {wrong} of {} files are wrong", cases.len());
    let positioned = said
        .lines()
        .filter(|line| line.contains("error: ") && line.starts_with("- error"))
        .count();
    assert!(positioned <= 2, "{positioned} mistakes have no position");
}
