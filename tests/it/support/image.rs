//! The image `busybox`, made of this machine's static busybox.

use super::Root;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// Programs of busybox that tests use.
const APPLETS: [&str; 36] = [
    "sh", "cat", "echo", "sleep", "ls", "id", "env", "true", "false", "mount", "ip", "nslookup", "wget",
    "httpd", "nc", "test", "touch", "rm", "kill", "ps", "hostname", "grep", "head", "date", "mkdir", "chmod",
    "stat", "dd", "seq", "printf", "tr", "yes", "ping", "wc", "sed", "getent",
];

/// Imports it into a root's store.
pub(crate) fn import_busybox(root: &Root) {
    import_busybox_into(root.path());
}

/// Imports it into the store of the root at `root`.
pub(crate) fn import_busybox_into(root: &Path) {
    let tree = tempfile::tempdir().unwrap();
    build(tree.path());
    let archive = tree.path().join("../").join(format!(
        "{}.tar",
        tree.path().file_name().unwrap().to_string_lossy()
    ));
    let mut builder = tar::Builder::new(fs::File::create(&archive).unwrap());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", tree.path()).unwrap();
    builder.into_inner().unwrap();
    let output = std::process::Command::new(super::BANYAN)
        .arg("--root")
        .arg(root)
        .args(["image", "import"])
        .arg(&archive)
        .arg("busybox")
        .output()
        .unwrap();
    let _ = fs::remove_file(&archive);
    assert!(
        output.status.success(),
        "import failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn build(tree: &Path) {
    fs::set_permissions(tree, PermissionsExt::from_mode(0o755)).unwrap();
    for folder in ["bin", "etc", "tmp", "www", "root"] {
        fs::create_dir(tree.join(folder)).unwrap();
    }
    fs::set_permissions(tree.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
    fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", tree.join("bin").join(applet)).unwrap();
    }
    fs::write(
        tree.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/tmp:/bin/sh\n",
    )
    .unwrap();
    fs::write(tree.join("etc/group"), "root:x:0:\napp:x:1000:\n").unwrap();
    fs::write(tree.join("www/index.html"), "hello from busybox\n").unwrap();
}
