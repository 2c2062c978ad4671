//! Where errors go: standard error for people, `--log` for the engine above.

use super::Oci;
use std::io::Write;

/// Reports why a command failed.
pub(super) fn error(oci: &Oci, text: &str) {
    // Either may be closed or gone; there is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "banyan oci: {text}");
    let Some(path) = &oci.log else { return };
    let time = jiff::Timestamp::now().to_string();
    let line = if oci.log_format == "json" {
        serde_json::json!({ "level": "error", "msg": text, "time": time }).to_string()
    } else {
        format!("time=\"{time}\" level=error msg={text:?}")
    };
    let file = fs_err::OpenOptions::new().append(true).create(true).open(path);
    let _ = file.and_then(|mut file| writeln!(file, "{line}"));
}
