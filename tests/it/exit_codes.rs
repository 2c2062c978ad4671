//! Exit statuses tell whose fault it was; `docs/cli.md` has the table.

use crate::support::BANYAN;
use std::process::Command;

fn status(arguments: &[&str], folder: &std::path::Path) -> (i32, String) {
    let output = Command::new(BANYAN)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn mistakes_of_usage_and_of_the_project_file_have_their_own_statuses() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root").display().to_string();
    assert_eq!(status(&["--no-such-flag"], dir.path()).0, 64);
    let (code, text) = status(&["--root", &root, "up", "-d"], dir.path());
    assert_eq!(code, 65, "{text}");
    std::fs::write(
        dir.path().join("compose.yaml"),
        "services:\n  web:\n    imag: x\n",
    )
    .unwrap();
    let (code, text) = status(&["--root", &root, "up", "-d"], dir.path());
    assert_eq!(code, 65, "{text}");
    assert!(
        text.contains("compose.yaml:3:5") && text.contains("image"),
        "{text}"
    );
}

#[test]
fn the_table_of_statuses_is_documented() {
    let text = include_str!("../../docs/cli.md");
    for code in [0, 1, 64, 65, 69, 70, 125, 126, 127, 130] {
        assert!(
            text.contains(&format!("| {code} |")),
            "status {code} is missing in docs/cli.md"
        );
    }
}
