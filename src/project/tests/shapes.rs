//! Every shape of gaudi's published examples comes up, or is refused for a reason.

use super::load_files;
use crate::project::Severity;
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    shape: String,
    file: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    says: Vec<String>,
    refused: Option<String>,
}

#[test]
fn all_42_shapes_of_gaudis_examples_come_up_or_are_refused_for_a_reason() {
    let cases: Vec<Case> = serde_yaml::from_str(include_str!("shapes.yaml")).expect("the table");
    assert_eq!(cases.len(), 42);
    for case in cases {
        let others = case
            .files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        let files: Vec<_> = others.chain([(".gaudi.yml", case.file.as_str())]).collect();
        let loaded = load_files(&files, |options| options.profiles.push("*".into()));
        match (loaded, case.refused) {
            (Ok(loaded), None) => {
                let said: Vec<_> = loaded
                    .warnings
                    .into_iter()
                    .map(|warning| warning.message)
                    .collect();
                assert_eq!(said, case.says, "{}", case.shape);
            }
            (Err(wrong), Some(reason)) => {
                let mistakes: Vec<_> = wrong.0.iter().filter(|d| d.severity == Severity::Error).collect();
                assert!(
                    mistakes.iter().any(|d| d.message == reason),
                    "{}: {mistakes:?}",
                    case.shape
                );
                let known = |message: &str| message.contains("cannot be had") || message == reason;
                // `worker` extends `sender`, and is refused for the same reason.
                let known =
                    |message: &str| known(message) || message.replace("`worker`", "`sender`") == reason;
                assert!(
                    mistakes.iter().all(|d| known(&d.message)),
                    "{}: {mistakes:?}",
                    case.shape
                );
            }
            (Err(wrong), None) => panic!("{}: {}", case.shape, wrong.to_text(Path::new("/"))),
            (Ok(_), Some(reason)) => panic!("{} comes up, and should not: {reason}", case.shape),
        }
    }
}
