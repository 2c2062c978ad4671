//! The image store, archives, and layers, on real directories (as root: owners and devices are part of an image).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use banyan_runtime::{
    archive::{
        Limits,
        extract::{Manner, OPAQUE},
        layer::unpack,
        pack::pack,
    },
    image::{Digest, ImageConfig, Platform, Silent, Store, StoreError, collect::Prune},
};
use std::{
    fs,
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
    process::Command,
};

/// A tar archive from (name, type, content or link) triples, with correct headers and nothing checked.
fn tar(entries: &[(&str, u8, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_mode(if *kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        let has_content = *kind == b'0';
        header.set_size(if has_content { content.len() as u64 } else { 0 });
        if !has_content {
            header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        if has_content {
            bytes.extend_from_slice(content.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn unpack_to(dir: &Path, bytes: &[u8], manner: Manner) -> Result<(), String> {
    fs::create_dir_all(dir).unwrap();
    let root = fs::File::open(dir).unwrap();
    match unpack(bytes, root.as_fd(), manner, Limits::default(), &|_| ()) {
        Ok(_) => Ok(()),
        Err(error) => Err(
            std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source())
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(": "),
        ),
    }
}

#[test]
fn an_imported_tree_is_found_by_name_and_survives_only_while_it_is_used() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(&temp.path().join("images")).unwrap();
    let archive = tar(&[
        ("etc/", b'5', ""),
        ("etc/motd", b'0', "hello\n"),
        ("bin", b'2', "usr/bin"),
    ]);
    let config = ImageConfig {
        cmd: Some(vec!["true".into()]),
        ..ImageConfig::default()
    };
    let id = store
        .import(archive.as_slice(), config, "", &Platform::host())
        .unwrap();
    let name = "example/app:1".parse().unwrap();
    assert_eq!(store.find(&name).unwrap(), None);
    store.tag(id, &name).unwrap();
    let image = store.find(&name).unwrap().unwrap();
    assert_eq!(image.config.cmd.as_deref(), Some(["true".to_owned()].as_slice()));
    assert_eq!(
        fs::read_to_string(image.layers[0].join("etc/motd")).unwrap(),
        "hello\n"
    );
    assert_eq!(store.lookup(&id.short()).unwrap().id, id);

    store.lease("container1", id).unwrap();
    assert!(matches!(
        store.remove("example/app:1", false),
        Err(StoreError::InUse { .. })
    ));
    let removed = store.remove("example/app:1", true).unwrap();
    assert_eq!(
        (removed.names.len(), removed.images.len()),
        (1, 0),
        "a leased image keeps its bytes"
    );
    assert!(store.image(id).is_ok());
    store.release("container1").unwrap();
    let working = store.working().unwrap();
    assert!(
        store.prune(Prune::Unnamed).unwrap().postponed,
        "nothing is removed while somebody works"
    );
    drop(working);
    let removed = store.prune(Prune::Unnamed).unwrap();
    assert_eq!(
        (removed.images.as_slice(), removed.layers.len()),
        ([id].as_slice(), 1)
    );
    assert!(matches!(store.image(id), Err(StoreError::NoSuchImage { .. })));
    assert_eq!(fs::read_dir(store.dir().join("layers")).unwrap().count(), 0);
}

#[test]
fn a_missing_layer_or_changed_configuration_is_named_before_use() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let id = store
        .import(
            tar(&[("a", b'0', "x")]).as_slice(),
            ImageConfig::default(),
            "",
            &Platform::host(),
        )
        .unwrap();
    let layer = store.record(id).unwrap().layers[0].diff_id;
    let away = store.dir().join("away");
    fs::rename(store.layer_path(layer).parent().unwrap(), &away).unwrap();
    assert!(matches!(store.image(id), Err(StoreError::MissingLayer { diff_id, .. }) if diff_id == layer));
    fs::rename(&away, store.layer_path(layer).parent().unwrap()).unwrap();
    assert!(store.image(id).is_ok());
    fs::write(store.blob_path(id), "{}").unwrap();
    assert!(matches!(store.image(id), Err(StoreError::DamagedBlob { digest }) if digest == id));
}

#[test]
fn packing_an_unpacked_tree_gives_the_same_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir_all(source.join("dir/deep")).unwrap();
    fs::write(source.join("dir/deep/file"), vec![7; 100_000]).unwrap();
    fs::hard_link(source.join("dir/deep/file"), source.join("dir/again")).unwrap();
    symlink("../x".repeat(60), source.join("long-link")).unwrap();
    fs::create_dir(source.join("n".repeat(200))).unwrap();
    fs::write(source.join("n".repeat(200)).join("ü".repeat(60)), "unicode").unwrap();
    fs::write(source.join("suid"), "").unwrap();
    std::os::unix::fs::chown(source.join("suid"), Some(3_000_000), Some(12)).unwrap();
    fs::set_permissions(source.join("suid"), fs::Permissions::from_mode(0o6755)).unwrap();
    let status = Command::new("setcap")
        .args(["cap_net_raw+ep"])
        .arg(source.join("dir/deep/file"))
        .status();
    let has_capabilities = status.is_ok_and(|status| status.success());
    Command::new("mkfifo").arg(source.join("fifo")).status().unwrap();
    Command::new("mknod")
        .arg(source.join("null"))
        .args(["c", "1", "3"])
        .status()
        .unwrap();
    Command::new("mknod")
        .arg(source.join("gone"))
        .args(["c", "0", "0"])
        .status()
        .unwrap();
    let mut first = Vec::new();
    pack(
        fs::File::open(&source).unwrap().as_fd(),
        &mut first,
        Manner::Layer,
    )
    .unwrap();
    let copy = temp.path().join("copy");
    unpack_to(&copy, &first, Manner::Layer).unwrap();
    let mut second = Vec::new();
    pack(fs::File::open(&copy).unwrap().as_fd(), &mut second, Manner::Layer).unwrap();
    assert_eq!(Digest::of(&first), Digest::of(&second));
    let same = |name: &str| fs::symlink_metadata(copy.join(name)).unwrap();
    assert_eq!(same("dir/deep/file").ino(), same("dir/again").ino());
    assert_eq!(
        (
            same("suid").uid(),
            same("suid").gid(),
            same("suid").mode() & 0o7777
        ),
        (3_000_000, 12, 0o6755)
    );
    assert!(same("gone").file_type().is_char_device() && same("gone").rdev() == 0);
    assert!(same("fifo").file_type().is_fifo());
    let listing = Command::new("tar")
        .arg("-tf")
        .arg("-")
        .stdin(feed(&first))
        .output()
        .unwrap();
    assert!(listing.status.success(), "GNU tar reads what we write");
    assert!(String::from_utf8_lossy(&listing.stdout).contains(".wh.gone"));
    if !has_capabilities {
        println!("skipped: setcap is not installed, so file capabilities were not part of this round trip");
    }
}

#[test]
fn whiteouts_become_overlayfs_ones_wherever_they_stand() {
    let temp = tempfile::tempdir().unwrap();
    let archive = tar(&[
        ("d/", b'5', ""),
        ("d/new", b'0', "x"),
        ("d/.wh..wh..opq", b'0', ""),
        (".wh.file", b'0', ""),
        (".wh.replaced", b'0', ""),
        ("replaced/", b'5', ""),
        ("made/", b'5', ""),
        (".wh.made", b'0', ""),
        (".wh..wh.plnk", b'0', ""),
    ]);
    unpack_to(temp.path(), &archive, Manner::Layer).unwrap();
    let opaque = |name: &str| {
        let mut value = [0; 4];
        rustix::fs::lgetxattr(temp.path().join(name), OPAQUE, &mut value)
            .is_ok_and(|length| &value[..length] == b"y")
    };
    assert!(opaque("d") && opaque("replaced") && opaque("made"));
    assert_eq!(fs::symlink_metadata(temp.path().join("file")).unwrap().rdev(), 0);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 4);
    assert!(unpack_to(&temp.path().join("x"), &tar(&[(".wh.", b'0', "")]), Manner::Layer).is_err());
}

fn feed(bytes: &[u8]) -> std::process::Stdio {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file.into()
}

#[test]
fn two_archives_of_one_tree_load_once() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let layer = tar(&[("a", b'0', "content")]);
    let diff_id = Digest::of(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    );
    let name = Digest::of(config.as_bytes()).hex();
    let manifest =
        format!(r#"[{{"Config":"{name}.json","RepoTags":["me/app:2"],"Layers":["l/layer.tar"]}}]"#);
    let text = String::from_utf8(layer).unwrap();
    let config_name = format!("{name}.json");
    let parts = [
        ("x/layer.tar", b'0', text.as_str()),
        ("l/layer.tar", b'2', "../x/layer.tar"),
        (config_name.as_str(), b'0', config.as_str()),
        ("manifest.json", b'0', manifest.as_str()),
    ];
    let archive = tar(&parts);
    let loaded = store
        .load_stream(archive.as_slice(), &Platform::host(), &Silent)
        .unwrap();
    assert_eq!(loaded[0].names[0].familiar(), "me/app:2");
    let image = store.lookup("me/app:2").unwrap();
    assert_eq!(fs::read_to_string(image.layers[0].join("a")).unwrap(), "content");
    let before = fs::metadata(image.layers[0].join("a")).unwrap().ino();
    store
        .load_stream(archive.as_slice(), &Platform::host(), &Silent)
        .unwrap();
    assert_eq!(fs::metadata(image.layers[0].join("a")).unwrap().ino(), before);

    let tampered = text.replace("content", "tampered");
    assert!(
        store
            .load_stream(
                tar(&[("l/layer.tar", b'0', &tampered[..text.len()]), parts[2], parts[3]]).as_slice(),
                &Platform::host(),
                &Silent
            )
            .is_ok(),
        "a layer that is here already is not read again"
    );
    let empty = Store::open(&temp.path().join("other")).unwrap();
    let result = empty.load_stream(
        tar(&[("l/layer.tar", b'0', &tampered[..text.len()]), parts[2], parts[3]]).as_slice(),
        &Platform::host(),
        &Silent,
    );
    assert!(result.is_err(), "changed bytes are refused");
    for folder in ["layers", "ingest", "records"] {
        assert_eq!(
            fs::read_dir(empty.dir().join(folder)).unwrap().count(),
            0,
            "{folder} has leftovers"
        );
    }
}
