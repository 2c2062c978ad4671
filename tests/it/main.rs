//! Tests of the whole program against real containers. One binary; each subject has a module.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

mod build_run;
mod build_stop;
mod check;
mod commit;
mod concurrency;
mod container;
mod container_files;
mod debian;
mod documentation;
mod down;
mod enable;
mod endurance;
mod engine_crash;
mod exit_codes;
mod explain;
mod faults;
mod full_disk;
mod images_and_volumes;
mod init;
mod inside;
mod interop;
mod layers;
mod lifecycle;
mod networking;
mod oci;
mod order;
mod overlay;
mod published;
mod ready;
mod registries;
mod remote_context;
mod run;
mod secrets;
mod shared_networks;
mod single_network;
mod system;
mod systemd;
mod terminal;
mod turns;
mod up;
mod watch;
mod zygote;

/// A file that is not listed above would silently not be run.
#[test]
fn every_file_is_a_module_of_this_binary() {
    let listed = include_str!("main.rs");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(
            module == "main" || listed.contains(&format!("mod {module};")),
            "{name} is not listed in main.rs"
        );
    }
}
