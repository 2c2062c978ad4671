//! Any tree → packed, loaded, saved in both forms, loaded again: every layer is what it was, byte for byte and attribute for
//! attribute. GNU tar, which knows nothing of us, reads what we packed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use banyan_runtime::{
    archive::{
        extract::{Manner, OPAQUE},
        pack::pack,
    },
    image::{Digest, Platform, Reference, Silent, Store, save::Form},
};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, makedev, mknodat,
};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt::Write as _,
    fs,
    os::{
        fd::AsFd,
        unix::{
            ffi::OsStrExt,
            fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink},
        },
    },
    path::{Path, PathBuf},
    process::Command,
};

/// xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % limit
    }

    fn number(&mut self, limit: usize) -> u32 {
        u32::try_from(self.below(limit)).unwrap()
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Names that archives have trouble with.
const NAMES: &[&[u8]] = &[
    b"plain",
    b"with space",
    b"new\nline",
    b"\xff\xfe not UTF-8",
    "ünï-🌳".as_bytes(),
    b"-dash",
    b"back\\slash",
    b".hidden",
    b"A",
    b"a",
    b"..x",
    b"~",
    b"a.wh.b",
    b"trailing.",
    b"*",
];

fn name(random: &mut Random, number: usize) -> Vec<u8> {
    let mut name = random.pick(NAMES).to_vec();
    name.extend(format!("{number}").as_bytes());
    if random.below(12) == 0 {
        name.resize(random.below(150) + 100, b'l');
        name.extend(format!("{number}").as_bytes());
    }
    name
}

/// Owner, mode, attributes and times of something that exists.
fn dress(random: &mut Random, path: &Path) {
    let kind = path.symlink_metadata().unwrap().file_type();
    let ids = [0, 1, 1000, 65534, 2_097_151, 2_097_152, 4_294_967_294];
    let (uid, gid) = (*random.pick(&ids), *random.pick(&ids));
    rustix::fs::chownat(
        CWD,
        path,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    if !kind.is_symlink() {
        let modes = [0o755, 0o644, 0o600, 0o4755, 0o2755, 0o1777, 0o6711, 0o000, 0o444];
        fs::set_permissions(path, PermissionsExt::from_mode(*random.pick(&modes))).unwrap();
    }
    let set = |key: &str, value: &[u8]| rustix::fs::lsetxattr(path, key, value, XattrFlags::empty()).unwrap();
    if (kind.is_file() || kind.is_dir()) && random.below(3) == 0 {
        set("user.note", b"a\0b\n=");
        set("user.empty", b"");
        set("trusted.mine", &vec![7; random.below(900)]);
    }
    if kind.is_file() && random.below(3) == 0 {
        // cap_net_bind_service+ep (capabilities(7), version 2).
        set(
            "security.capability",
            b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        );
    }
    let moments = [
        (0, 0),
        (1_700_000_000, 123_456_789),
        (-1, 500_000_000),
        (-86_400 * 400, 0),
        (8_589_934_592, 1),
        (1, 999_999_999),
    ];
    let (tv_sec, tv_nsec) = *random.pick(&moments);
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Fills a directory with entries of every kind; gives the directories made.
fn grow(random: &mut Random, root: &Path, count: usize) {
    let (mut folders, mut files) = (vec![root.to_path_buf()], Vec::<PathBuf>::new());
    let mut all = Vec::new();
    for number in 0..count {
        let path = random
            .pick(&folders)
            .join(OsStr::from_bytes(&name(random, number)));
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match random.below(12) {
            0..=2 => {
                fs::create_dir(&path).unwrap();
                folders.push(path.clone());
            }
            3..=5 => {
                let content: Vec<u8> = (0..random.below(20_000))
                    .map(|_| random.below(256).to_le_bytes()[0])
                    .collect();
                fs::write(&path, content).unwrap();
                files.push(path.clone());
            }
            6 => {
                // Two pieces in two megabytes of nothing.
                let file = fs::File::create(&path).unwrap();
                file.write_all_at(b"begin", random.below(5000) as u64).unwrap();
                file.write_all_at(b"end", 1_500_000).unwrap();
                file.set_len(2 << 20).unwrap();
            }
            7 if !files.is_empty() => {
                fs::hard_link(random.pick(&files), &path).unwrap();
                continue;
            }
            8 => symlink(OsStr::from_bytes(&name(random, number)), &path).unwrap(),
            9 => symlink(
                "/etc/".to_owned() + &"long/".repeat(random.below(40)) + "target",
                &path,
            )
            .unwrap(),
            10 => mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap(),
            _ => {
                let kind = *random.pick(&[FileType::CharacterDevice, FileType::BlockDevice]);
                mknodat(
                    CWD,
                    &path,
                    kind,
                    Mode::from_raw_mode(0o600),
                    makedev(1 + random.number(300), random.number(70_000)),
                )
                .unwrap();
            }
        }
        all.push(path);
    }
    // Deepest first: times of folders are set after what is in them.
    for path in all.iter().rev() {
        dress(random, path);
    }
}

/// A layer over another: things hidden, folders made opaque, things of other kinds in their place, and new ones.
fn change(random: &mut Random, below: &Path, root: &Path) {
    let mut entries: Vec<PathBuf> = fs::read_dir(below)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let here = root.join(path.file_name().unwrap());
        let is_dir = path.symlink_metadata().unwrap().is_dir();
        match random.below(5) {
            0 => mknodat(
                CWD,
                &here,
                FileType::CharacterDevice,
                Mode::empty(),
                makedev(0, 0),
            )
            .unwrap(),
            1 if is_dir => {
                fs::create_dir(&here).unwrap();
                rustix::fs::lsetxattr(&here, OPAQUE, b"y", XattrFlags::empty()).unwrap();
                fs::write(here.join("alone"), "here").unwrap();
                dress(random, &here);
            }
            2 if is_dir => {
                fs::create_dir(&here).unwrap();
                change(random, &path, &here);
                dress(random, &here);
            }
            2 => {
                fs::create_dir(&here).unwrap();
                fs::write(here.join("was no folder"), "").unwrap();
                dress(random, &here);
            }
            3 => {
                fs::write(&here, "other").unwrap();
                dress(random, &here);
            }
            _ => {}
        }
    }
    let folder = root.join("new in this layer");
    if random.below(2) == 0 && folder.symlink_metadata().is_err() {
        fs::create_dir(&folder).unwrap();
        grow(random, &folder, 10);
    }
}

/// Everything that can be told of a tree, by path. `extra`: attributes of the file system's own to leave out.
fn portrait(root: &Path) -> BTreeMap<Vec<u8>, String> {
    fn walk(
        dir: &Path,
        path: &[u8],
        inodes: &mut BTreeMap<u64, Vec<u8>>,
        found: &mut BTreeMap<Vec<u8>, String>,
    ) {
        let mut entries: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort_by(|a, b| {
            a.file_name()
                .unwrap()
                .as_bytes()
                .cmp(b.file_name().unwrap().as_bytes())
        });
        for entry in entries {
            let path = [path, b"/", entry.file_name().unwrap().as_bytes()].concat();
            let data = entry.symlink_metadata().unwrap();
            let kind = data.file_type();
            if kind.is_char_device() && data.rdev() == 0 {
                found.insert(path, "whiteout".into());
                continue;
            }
            let mut text = format!(
                "{:o} {}:{} {}.{:09} {:x}",
                data.mode(),
                data.uid(),
                data.gid(),
                data.mtime(),
                data.mtime_nsec(),
                data.rdev()
            );
            for (key, value) in xattrs(&entry) {
                write!(text, " {key}={value:?}").unwrap();
            }
            if kind.is_symlink() {
                write!(text, " -> {}", fs::read_link(&entry).unwrap().display()).unwrap();
            }
            if kind.is_file() {
                let first = inodes.entry(data.ino()).or_insert_with(|| path.clone());
                let content = Digest::of(&fs::read(&entry).unwrap());
                write!(
                    text,
                    " {} {content} same as {:?}",
                    data.len(),
                    String::from_utf8_lossy(first)
                )
                .unwrap();
            }
            if data.is_dir() {
                walk(&entry, &path, inodes, found);
            }
            found.insert(path, text);
        }
    }
    let mut found = BTreeMap::new();
    walk(root, b"", &mut BTreeMap::new(), &mut found);
    found
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap();
    let names = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), value.as_mut_slice()).unwrap();
        value.truncate(length);
        value
    };
    let read = names.filter(|name| *name != b"security.selinux");
    read.map(|name| (String::from_utf8(name.to_vec()).unwrap(), value(name)))
        .collect()
}

#[track_caller]
fn assert_same(
    seed: u64,
    what: &str,
    expected: &BTreeMap<Vec<u8>, String>,
    found: &BTreeMap<Vec<u8>, String>,
) {
    for (path, text) in expected {
        assert_eq!(
            found.get(path),
            Some(text),
            "seed {seed}, {what}: {:?}",
            String::from_utf8_lossy(path)
        );
    }
    assert_eq!(
        expected.len(),
        found.len(),
        "seed {seed}, {what}: something is there that was not"
    );
}

fn packed(root: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let root = fs::File::open(root).unwrap();
    pack(root.as_fd(), &mut bytes, Manner::Layer).unwrap();
    bytes
}

/// A `docker save` archive, old layout, of packed layers.
fn archive(layers: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    let ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids}});
    let names: Vec<String> = (0..layers.len())
        .map(|number| format!("{number}/layer.tar"))
        .collect();
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": ["round/trip:1"], "Layers": names}]);
    add("config.json", config.to_string().as_bytes());
    for (name, layer) in names.iter().zip(layers) {
        add(name, layer);
    }
    add("manifest.json", manifest.to_string().as_bytes());
    builder.into_inner().unwrap()
}

/// Layer portraits of the only image, bottom first, and its layers' digests.
fn layers_of(store: &Store) -> (Vec<Digest>, Vec<BTreeMap<Vec<u8>, String>>) {
    let record = store.records().unwrap().pop().unwrap();
    let ids: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id).collect();
    (
        ids.clone(),
        ids.iter().map(|id| portrait(&store.layer_path(*id))).collect(),
    )
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

#[test]
fn any_tree_survives_saving_and_loading() {
    if !is_root() {
        assert!(
            std::env::var_os("BANYAN_TESTS_MUST_RUN").is_none(),
            "owners and devices need root"
        );
        eprintln!("skipped: owners and devices need root");
        return;
    }
    for seed in 1..=4 {
        let temp = tempfile::tempdir().unwrap();
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let trees: Vec<PathBuf> = (0..3)
            .map(|number| temp.path().join(format!("tree{number}")))
            .collect();
        trees.iter().for_each(|tree| fs::create_dir(tree).unwrap());
        grow(&mut random, &trees[0], 120);
        change(&mut random, &trees[0], &trees[1]);
        change(&mut random, &trees[1], &trees[2]);
        let expected: Vec<_> = trees.iter().map(|tree| portrait(tree)).collect();
        let layers: Vec<_> = trees.iter().map(|tree| packed(tree)).collect();
        assert_eq!(packed(&trees[0]), layers[0], "the same tree gives the same bytes");

        let names: Vec<Reference> = vec!["round/trip:1".parse().unwrap()];
        let first = Store::open(&temp.path().join("store0")).unwrap();
        first
            .load_stream(archive(&layers).as_slice(), &Platform::host(), &Silent)
            .unwrap();
        let (ids, _) = layers_of(&first);
        for (number, form) in [Form::Docker, Form::Oci].into_iter().enumerate() {
            let id = first.records().unwrap()[0].id;
            let file = temp.path().join(format!("saved{number}.tar"));
            first
                .save(&[(id, names.clone())], form, fs::File::create(&file).unwrap())
                .unwrap();
            let store = Store::open(&temp.path().join(format!("store{}", number + 1))).unwrap();
            store.load_path(&file, &Platform::host(), &Silent).unwrap();
            assert_eq!(store.names().unwrap().len(), 1, "{form:?} keeps the name");
            for store in [&first, &store] {
                let (again, found) = layers_of(store);
                assert_eq!(again, ids, "seed {seed}, {form:?}");
                for (number, (expected, found)) in expected.iter().zip(&found).enumerate() {
                    assert_same(seed, &format!("{form:?}, layer {number}"), expected, found);
                }
            }
        }
        // Nothing of two megabytes of holes is stored.
        let store_size = banyan_runtime::image::collect::disk_usage(&first.layer_path(ids[0]));
        let tree_size = banyan_runtime::image::collect::disk_usage(&trees[0]);
        assert!(store_size < tree_size + (4 << 20), "{store_size} for {tree_size}");
        foreign_tar(seed, temp.path(), &layers[0], &expected[0]);
    }
}

/// GNU tar makes the same tree of a packed layer without whiteouts.
fn foreign_tar(seed: u64, temp: &Path, layer: &[u8], expected: &BTreeMap<Vec<u8>, String>) {
    let (file, tree) = (temp.join("layer.tar"), temp.join("foreign"));
    fs::write(&file, layer).unwrap();
    fs::create_dir(&tree).unwrap();
    let output = Command::new("tar")
        .args([
            "--numeric-owner",
            "--same-permissions",
            "--xattrs",
            "--xattrs-include=*",
            "-xf",
        ])
        .arg(&file)
        .arg("-C")
        .arg(&tree)
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: tar is not installed");
        return;
    };
    assert!(
        output.status.success(),
        "seed {seed}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_same(seed, "GNU tar", expected, &portrait(&tree));
}
