//! A full disk: said so, nothing is half done, what runs goes on, and freeing space is all it takes.

use crate::support::{BANYAN, Ran, can_run_containers, image, wait_until};
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A small file system of its own, unmounted at the end.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn new(size: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("banyan-disk-").tempdir().unwrap();
        let options = format!("size={size},mode=700");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "banyan-disk"])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(status.success());
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    /// Takes what is left, but for `spare` bytes.
    fn fill(&self, spare: u64) {
        let path = self.dir.path().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        let block = vec![0_u8; 4096];
        while file.write_all(&block).is_ok() {}
        let size = file.metadata().unwrap().len();
        file.set_len(size.saturating_sub(spare)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.dir.path().join("ballast")).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(BANYAN)
            .arg("--root")
            .arg(self.root())
            .args(arguments)
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran::new(arguments, output)
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "banyan {arguments:?}\n{}", ran.all());
        ran.stdout
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.dir.path().join("ballast"));
        let _ = self.run(&["down", "-t", "0", "-v"]);
        let unmount = || {
            let output = Command::new("umount").arg(self.dir.path()).output().ok()?;
            output.status.success().then_some(())
        };
        if std::thread::panicking() {
            let _ = unmount();
        } else {
            wait_until(10, "nobody uses the small disk any more", unmount);
        }
    }
}

const ONE: &str = r#"
services:
  a:
    image: busybox
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    volumes: ["data:/data"]
volumes: {data: {}}
"#;

fn disk() -> SmallDisk {
    let disk = SmallDisk::new("24m");
    fs::create_dir(disk.folder()).unwrap();
    fs::write(disk.folder().join("compose.yaml"), ONE).unwrap();
    image::import_busybox_into(&disk.root());
    disk
}

#[test]
fn up_on_a_full_disk_says_so_and_leaves_nothing_half_done() {
    if !can_run_containers() {
        return;
    }
    let disk = disk();
    for spare in [0, 16 << 10, 48 << 10] {
        disk.fill(spare);
        let ran = disk.run(&["up", "-d"]);
        if ran.code != 0 {
            let said = ran.all().to_lowercase();
            assert!(said.contains("no space left on device"), "{said}");
            assert_eq!(disk.ok(&["ps", "--all", "--quiet"]), "", "{said}");
        }
        disk.free();
        disk.ok(&["up", "-d"]);
        disk.ok(&["exec", "a", "touch", "/data/kept"]);
        disk.ok(&["down", "-t", "0"]);
    }
}

#[test]
fn what_runs_goes_on_when_the_disk_is_full_and_down_works() {
    if !can_run_containers() {
        return;
    }
    let disk = disk();
    disk.ok(&["up", "-d"]);
    disk.ok(&["exec", "a", "sh", "-c", "echo precious > /data/kept"]);
    disk.fill(0);
    assert_eq!(disk.ok(&["exec", "a", "cat", "/data/kept"]), "precious\n");
    assert!(disk.ok(&["ps"]).contains("project-a-1"));
    // An `up` with nothing to do must not need space, and a failing one must not take down what runs.
    let again = disk.run(&["up", "-d"]);
    assert!(disk.ok(&["ps"]).contains("Up "), "{}", again.all());
    disk.ok(&["down", "-t", "0"]);
    assert_eq!(disk.ok(&["ps", "--all", "--quiet"]), "");
    disk.free();
    disk.ok(&["up", "-d"]);
    assert_eq!(disk.ok(&["exec", "a", "cat", "/data/kept"]), "precious\n");
}

#[test]
fn an_image_that_does_not_fit_is_refused_whole() {
    if !can_run_containers() {
        return;
    }
    let disk = disk();
    let big = disk.dir.path().join("tree");
    fs::create_dir(&big).unwrap();
    let archive = tempfile::NamedTempFile::new().unwrap();
    let mut tar = tar::Builder::new(archive.reopen().unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_size(30 << 20);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, Path::new("big"), std::io::repeat(7).take(30 << 20))
        .unwrap();
    tar.finish().unwrap();
    let path = archive.path().display().to_string();
    let ran = disk.run(&["image", "import", &path, "big"]);
    assert_ne!(ran.code, 0, "{}", ran.all());
    assert!(
        ran.stderr.to_lowercase().contains("no space left on device"),
        "{}",
        ran.all()
    );
    let names = disk.ok(&["image", "ls"]);
    assert!(!names.contains("big") && names.contains("busybox"), "{names}");
    // What came in is gone again: the other image still has room to work.
    disk.ok(&["system", "prune", "--force"]);
    disk.ok(&["up", "-d"]);
}
