//! The floors of `docs/architecture.md` hold: a module of `src/` uses only floors below its own, and the crates keep
//! their promises of absence.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Uses across or up that the page explains.
const EXPLAINED: [(&str, &str); 2] = [("engine", "api"), ("api", "engine")];

fn floors() -> BTreeMap<String, u32> {
    let page = include_str!("../docs/architecture.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        Some((cells.next()?.parse().ok()?, cells.next()?.to_owned()))
    });
    rows.map(|(floor, module): (u32, String)| (module, floor))
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code of a file without its comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

#[test]
fn every_module_uses_only_floors_below_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floors = floors();
    assert!(floors.len() > 10, "the table was not found");
    let mut wrong = Vec::new();
    for path in sources(&root).into_iter().filter(|path| !is_test(path)) {
        let inside = path.strip_prefix(&root).unwrap();
        let module = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy()
            .trim_end_matches(".rs")
            .to_owned();
        let Some(own) = floors.get(&module) else {
            assert!(
                ["lib", "main"].contains(&module.as_str()),
                "`{module}` is not in docs/architecture.md"
            );
            continue;
        };
        let code = code(&path);
        for (other, floor) in &floors {
            let used = code.contains(&format!("crate::{other}::"))
                || code.contains(&format!("crate::{other},"))
                || code.contains(&format!("\n    {other}::")) && code.contains("use crate::{");
            let explained = EXPLAINED.contains(&(module.as_str(), other.as_str()));
            if used && *other != module && floor >= own && !explained {
                wrong.push(format!(
                    "{} (floor {own}) uses `{other}` (floor {floor})",
                    inside.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_should_be_absent_is_absent() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let own = manifest
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    for absent in ["libc", "nix", "rustix"] {
        assert!(
            !own.lines().any(|line| line.starts_with(absent)),
            "the root package depends on {absent}"
        );
    }
    let runtime = fs::read_to_string(root.join("runtime/Cargo.toml")).unwrap();
    assert!(!runtime.contains("tokio"), "the runtime depends on tokio");
    for path in sources(&root.join("runtime/src")) {
        let code = code(&path);
        let inside = path.strip_prefix(root).unwrap().display().to_string();
        assert!(
            inside.contains("/sys/") || !code.contains("unsafe {"),
            "{inside} has unsafe code outside sys"
        );
        assert!(!code.contains("async fn"), "{inside} has async code");
    }
}
