//! Roots of many layers.

use crate::support::{BANYAN, can_run_containers};
use banyan_runtime::{
    container::{ContainerDir, Extras, Launcher, Settings, remove},
    rootfs::RootFs,
};
use std::{fs, os::unix::fs::symlink, path::Path};

/// More than the options of a mount hold by their paths before Linux 6.5 (one page).
const LAYERS: usize = 150;

#[test]
fn a_root_may_have_more_than_a_hundred_layers() {
    if can_run_containers() {
        check(tempfile::tempdir().unwrap().path());
    }
}

/// The texts of fsconfig(2) have 255 bytes: then mount(2) has to do it, as on older kernels.
#[test]
fn a_root_may_have_layers_far_down() {
    if can_run_containers() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("d,:\\d".repeat(40));
        fs::create_dir(&deep).unwrap();
        check(&deep);
    }
}

fn check(place: &Path) {
    let layers: Vec<_> = (0..LAYERS)
        .map(|number| {
            let layer = place.join(format!("layer-with-a-name-as-long-as-others-{number}"));
            fs::create_dir_all(layer.join("layers")).unwrap();
            fs::write(layer.join(format!("layers/{number}")), "").unwrap();
            layer
        })
        .collect();
    for folder in ["bin", "proc", "sys", "dev", "etc"] {
        fs::create_dir(layers[LAYERS - 1].join(folder)).unwrap();
    }
    let bin = layers[LAYERS - 1].join("bin");
    fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    for applet in ["sh", "ls", "wc", "test"] {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    let state = place.join("state");
    let root = RootFs::overlay(layers, state.join("upper"), state.join("work"));
    let script = format!("test $(ls /layers | wc -l) = {LAYERS}");
    let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let settings = Settings::new("many", root, words);
    let dir = ContainerDir::new(state, place.join("run"));
    let launcher = Launcher::new(Path::new(BANYAN)).unwrap();
    let created = launcher.create(&settings, &dir, Extras::default()).unwrap();
    let mut running = created.start().unwrap();
    assert_eq!(running.wait(None).unwrap().unwrap().code(), 0);
    remove(&dir, false).unwrap();
    running.settle();
}
