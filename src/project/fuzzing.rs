//! Doors for the fuzz targets of `fuzz/`: text in, nothing out, no panic and no hang. Built only with `--cfg fuzzing`.

use super::{Files, LoadOptions, Report, Skip, dotenv, interpolate, resolve_into, short, units, words, yaml};
use std::collections::BTreeMap;

fn environment() -> BTreeMap<String, String> {
    [("A", "a"), ("EMPTY", ""), ("LONG", "xxxxxxxxxxxxxxxx$A${A}")]
        .map(|(k, v)| (k.into(), v.into()))
        .into()
}

/// A whole project file, from standard input.
pub fn project(text: &str) {
    let options = LoadOptions {
        files: vec!["-".into()],
        stdin: Some(text.to_owned()),
        working_dir: "/nonexistent".into(),
        environment: environment(),
        profiles: vec!["*".into()],
        ..LoadOptions::default()
    };
    for interpolation in [false, true] {
        let mut report = Report::default();
        report.raw = interpolation;
        let skip = Skip {
            interpolation,
            ..Skip::default()
        };
        if let Some(resolved) = resolve_into(&options, skip, &mut report) {
            let _ = resolved.to_json();
            let _ = resolved.to_compose();
            if !interpolation {
                let _ = resolved.lower(&mut report);
            }
        }
        for diagnostic in report.finish() {
            let _ = diagnostic.to_text(std::path::Path::new("/"));
        }
    }
    let _ = Files::default();
}

/// YAML alone.
pub fn yaml(text: &str) {
    let mut report = Report::default();
    let file = report.sources.add(std::path::Path::new("-"), text.to_owned());
    let _ = yaml::parse(file, &mut report);
}

/// A template.
pub fn interpolation(text: &str) {
    let _ = interpolate::substitute(text, &environment(), &mut Vec::new());
    interpolate::variables(text, &mut Vec::new());
}

/// An env file.
pub fn dotenv(text: &str) {
    let _ = dotenv::parse(text, &environment());
    let _ = dotenv::parse_raw(text);
}

/// A port, a mount, and the other little grammars.
pub fn short(text: &str) {
    let _ = short::ports(text);
    let _ = short::mount(text);
    let _ = short::clean(text);
    let _ = words::split(text);
    let _ = units::bytes(text);
    let _ = units::duration(text).map(units::go_duration);
    let _ = units::pull_interval(text);
}
