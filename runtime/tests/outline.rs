//! What a layer keeps of its archive: the outline, which with its files gives the very bytes back, whatever tool wrote
//! them and in whatever order.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use banyan_runtime::image::{Digest, Platform, Silent, Store, StoreError, save::Form};
use std::{
    fs,
    io::Read,
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::Path,
    process::Command,
};

/// A `docker save` archive, old layout, of one layer.
fn image(layer: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    let id = Digest::of(layer).to_string();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [id]}});
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": ["out/line:1"], "Layers": ["0/layer.tar"]}]);
    add("config.json", config.to_string().as_bytes());
    add("0/layer.tar", layer);
    add("manifest.json", manifest.to_string().as_bytes());
    builder.into_inner().unwrap()
}

/// Loads a layer into an empty store; what the store keeps of it.
fn load(store: &Store, layer: &[u8]) -> Digest {
    store
        .load_stream(image(layer).as_slice(), &Platform::host(), &Silent)
        .unwrap()[0]
        .id
}

/// The layer as `image save` writes it.
fn saved(store: &Store, id: Digest, layer: Digest) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    store.save(&[(id, Vec::new())], Form::Oci, &mut bytes)?;
    let wanted = format!("blobs/sha256/{}", layer.hex());
    let mut archive = tar::Archive::new(bytes.as_slice());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().as_os_str() == wanted.as_str() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            return Ok(content);
        }
    }
    panic!("no {wanted} in what was saved");
}

/// A tree with what tar formats differ in.
fn grow(tree: &Path) {
    fs::create_dir_all(tree.join("zz/deep")).unwrap();
    fs::create_dir(tree.join("n".repeat(180))).unwrap();
    fs::write(tree.join("n".repeat(180)).join("m".repeat(180)), "long").unwrap();
    fs::write(tree.join("zz/deep/large"), vec![3; 700_001]).unwrap();
    fs::write(tree.join("zz/empty"), "").unwrap();
    fs::write(tree.join("aa"), "first").unwrap();
    fs::hard_link(tree.join("aa"), tree.join("zz/again")).unwrap();
    symlink("zz/deep", tree.join("way")).unwrap();
    symlink("x".repeat(150), tree.join("far")).unwrap();
    fs::write(tree.join("zz/.wh.gone"), "").unwrap();
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    sparse.write_at(b"middle", 1 << 20).unwrap();
    fs::write(tree.join("zeros"), vec![0; 100_000]).unwrap();
    fs::write(tree.join("suid"), "s").unwrap();
    fs::set_permissions(tree.join("suid"), fs::Permissions::from_mode(0o4755)).unwrap();
}

fn blobs(store: &Store) -> usize {
    fs::read_dir(store.dir().join("blobs")).unwrap().count()
}

#[test]
fn archives_of_any_writer_come_back_byte_for_byte() {
    let temp = tempfile::tempdir().unwrap();
    let tree = temp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    grow(&tree);
    for (number, options) in [
        vec!["--format=gnu"],
        vec!["--format=pax"],
        vec!["--format=pax", "--sparse"],
        vec!["--format=gnu", "--sparse", "--blocking-factor=100"],
        vec!["--format=posix", "--xattrs", "--sort=none"],
    ]
    .into_iter()
    .enumerate()
    {
        let output = Command::new("tar")
            .args(&options)
            .args(["-c", "-C"])
            .arg(&tree)
            // Not sorted, and one file through a link that the archive has before it.
            .args([
                "zz",
                "way",
                "far",
                "aa",
                "sparse",
                "zeros",
                "suid",
                &"n".repeat(180),
            ])
            .output();
        let Ok(output) = output else {
            assert!(
                std::env::var_os("BANYAN_TESTS_MUST_RUN").is_none(),
                "tar is not installed"
            );
            eprintln!("skipped: tar is not installed");
            return;
        };
        let layer = output.stdout;
        let store = Store::open(&temp.path().join(format!("store{number}"))).unwrap();
        let id = load(&store, &layer);
        let digest = Digest::of(&layer);
        assert_eq!(
            blobs(&store),
            1,
            "{options:?}: the configuration, and no second copy of the layer"
        );
        assert!(saved(&store, id, digest).unwrap() == layer, "{options:?}");
        assert!(
            matches!(store.verify_layer(digest, false), Ok(Some(()))),
            "{options:?}"
        );
        let outline = store.layer_path(digest).with_file_name("outline");
        let size = fs::metadata(outline).unwrap().len();
        assert!(size < 16 << 10, "{options:?}: an outline of {size} bytes");
    }
}

#[test]
fn an_archive_that_repeats_a_name_is_kept_whole() {
    let temp = tempfile::tempdir().unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    for text in ["first", "second, and longer"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, "same", text.as_bytes()).unwrap();
    }
    let layer = builder.into_inner().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let id = load(&store, &layer);
    let digest = Digest::of(&layer);
    let kept = store.record(id).unwrap().layers[0].blob.clone().unwrap();
    assert_eq!((kept.digest, kept.size), (digest, layer.len() as u64));
    assert!(saved(&store, id, digest).unwrap() == layer);
    assert_eq!(
        fs::read_to_string(store.layer_path(digest).join("same")).unwrap(),
        "second, and longer"
    );
    assert!(!store.layer_path(digest).with_file_name("outline").exists());
}

#[test]
fn files_of_a_layer_that_changed_are_found() {
    let temp = tempfile::tempdir().unwrap();
    let tree = temp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    grow(&tree);
    let layer = Command::new("tar")
        .arg("-c")
        .arg("-C")
        .arg(&tree)
        .arg(".")
        .output()
        .unwrap()
        .stdout;
    let digest = Digest::of(&layer);
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("a changed byte", |files| {
            fs::write(files.join("aa"), "First").unwrap()
        }),
        ("a shorter file", |files| {
            fs::write(files.join("zeros"), "0").unwrap()
        }),
        ("a lost file", |files| {
            fs::remove_file(files.join("suid")).unwrap()
        }),
        ("a link in its place", |files| {
            fs::remove_file(files.join("aa")).unwrap();
            symlink("/etc/hostname", files.join("aa")).unwrap();
        }),
        ("a damaged outline", |files| {
            let outline = files.with_file_name("outline");
            let mut bytes = fs::read(&outline).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            fs::write(outline, bytes).unwrap();
        }),
    ];
    for (number, (what, harm)) in harms.into_iter().enumerate() {
        let store = Store::open(&temp.path().join(format!("store{number}"))).unwrap();
        let id = load(&store, &layer);
        harm(&store.layer_path(digest));
        for result in [
            store.verify_layer(digest, false).map(drop),
            saved(&store, id, digest).map(drop),
        ] {
            assert!(
                matches!(&result, Err(StoreError::DamagedLayer { diff_id, .. }) if *diff_id == digest),
                "{what}: {result:?}"
            );
        }
    }
}
