//! Archives that try to leave their root, and archives that are damaged: nothing outside changes, and what is refused
//! is refused with a reason. The cases start from what containerd, moby, and the tar crates have met (CVE-2018-15664,
//! CVE-2019-14271, CVE-2025-62518, CVE-2026-33055, RUSTSEC-2021-0080).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use banyan_runtime::archive::{Limits, extract::Manner, layer::unpack};
use std::{collections::BTreeMap, fs, os::fd::AsFd, os::unix::fs::MetadataExt, path::Path};

const DIR: u8 = b'5';
const FILE: u8 = b'0';
const SYM: u8 = b'2';
const HARD: u8 = b'1';
const CHR: u8 = b'3';

type Entry<'a> = (&'a str, u8, &'a str);

fn header(name: &[u8], kind: u8, size: u64, link: &[u8]) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    header.as_mut_bytes()[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

fn push(bytes: &mut Vec<u8>, name: &[u8], kind: u8, text: &[u8]) {
    let has_content = matches!(kind, FILE | b'x' | b'g' | b'L' | b'K' | b'7');
    let (size, link) = if has_content {
        (text.len() as u64, b"".as_slice())
    } else {
        (0, text)
    };
    bytes.extend_from_slice(header(name, kind, size, link).as_bytes());
    if has_content {
        bytes.extend_from_slice(text);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
}

fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, text) in entries {
        push(&mut bytes, name.as_bytes(), *kind, text.as_bytes());
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Everything below a directory: path, mode, size, inode, content.
fn census(dir: &Path, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let line = format!(
            "{:o} {} {} {content:?}",
            metadata.mode(),
            metadata.len(),
            metadata.ino()
        );
        into.insert(path.display().to_string(), line);
        if metadata.is_dir() && path.file_name().unwrap() != "root" {
            census(&path, into);
        }
    }
}

/// Unpacks into `<temp>/root`, beside things that must not change. Gives the error, if any.
fn attack(bytes: &[u8], manner: Manner) -> Option<String> {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::create_dir(temp.path().join("outside")).unwrap();
    fs::write(temp.path().join("outside/victim"), "precious").unwrap();
    fs::write(temp.path().join("victim"), "precious").unwrap();
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    census(temp.path(), &mut before);
    before.remove(&root.display().to_string());
    let dir = fs::File::open(&root).unwrap();
    let result = unpack(bytes, dir.as_fd(), manner, Limits::default(), &|_| ());
    census(temp.path(), &mut after);
    after.remove(&root.display().to_string());
    assert_eq!(before, after, "something outside of the root changed");
    let error = result.err()?;
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    Some(chain.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

/// Whether an archive must be refused, or may be unpacked as long as nothing outside changes.
#[derive(PartialEq)]
enum Expect {
    Refused,
    Contained,
}
use Expect::{Contained, Refused};

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn no_archive_leaves_its_root() {
    let cases: &[(Expect, &[Entry<'_>])] = &[
        (Refused, &[("../victim", FILE, "x")]),
        (Refused, &[("../outside/victim", FILE, "x")]),
        (Refused, &[("a/../../victim", FILE, "x")]),
        (Refused, &[("a/../b", FILE, "x")]),
        (Refused, &[("..", DIR, "")]),
        (Refused, &[("../", DIR, "")]),
        (Refused, &[("./..", DIR, "")]),
        (Refused, &[("/..", DIR, "")]),
        (Refused, &[("/../victim", FILE, "x")]),
        (Refused, &[("//../victim", FILE, "x")]),
        (Refused, &[("./../victim", SYM, "x")]),
        (Refused, &[("a/..", SYM, "x")]),
        (Contained, &[("/victim", FILE, "x")]),
        (Contained, &[("//victim", FILE, "x")]),
        (Contained, &[("/etc/passwd", FILE, "x")]),
        (Contained, &[("...", FILE, "x")]),
        (Contained, &[("..victim", FILE, "x")]),
        (Contained, &[("a", SYM, ".."), ("a/victim", FILE, "x")]),
        (Contained, &[("a", SYM, "../outside"), ("a/victim", FILE, "x")]),
        (Contained, &[("a", SYM, "/"), ("a/victim", FILE, "x")]),
        (
            Contained,
            &[
                ("a", SYM, "../../../../../.."),
                ("a/tmp/banyan-breakout", FILE, "x"),
            ],
        ),
        (Contained, &[("a", SYM, "."), ("a/a/a/a/b", FILE, "x")]),
        (Refused, &[("a", SYM, "a"), ("a/b", FILE, "x")]),
        (Refused, &[("a", SYM, "b"), ("b", SYM, "a"), ("a/c", FILE, "x")]),
        (Refused, &[("a", SYM, "nowhere"), ("a/c", FILE, "x")]),
        (Refused, &[("a", SYM, "/outside/victim"), ("a/c", FILE, "x")]),
        (Contained, &[("a", SYM, "../victim"), ("a", FILE, "x")]),
        (Contained, &[("a", SYM, "../outside"), ("a", DIR, "")]),
        (
            Contained,
            &[("a", SYM, "../outside"), ("a", DIR, ""), ("a/victim", FILE, "x")],
        ),
        (
            Contained,
            &[("d", DIR, ""), ("d", SYM, "../outside"), ("d/victim", FILE, "x")],
        ),
        (
            Contained,
            &[
                ("d", DIR, ""),
                ("d/e", DIR, ""),
                ("d/e", SYM, "../../outside"),
                ("d/e/victim", FILE, "x"),
            ],
        ),
        (
            Contained,
            &[
                ("d", DIR, ""),
                ("l", SYM, "d"),
                ("d", SYM, "../outside"),
                ("l/victim", FILE, "x"),
            ],
        ),
        (
            Contained,
            &[("a", SYM, "/proc/self/root"), ("a/victim", FILE, "x")],
        ),
        (
            Refused,
            &[
                ("a", SYM, "/proc/self/cwd"),
                ("b", HARD, "a/.."),
                ("b/victim", FILE, "x"),
            ],
        ),
        (Refused, &[("a", HARD, "../victim")]),
        (Refused, &[("a", HARD, "b/../../victim")]),
        (Refused, &[("a", HARD, "..")]),
        (Refused, &[("a", HARD, "/")]),
        (Refused, &[("a", HARD, ".")]),
        (Contained, &[("a", HARD, "/victim")]),
        (Contained, &[("a", HARD, "a")]),
        (
            Contained,
            &[("s", SYM, "../victim"), ("a", HARD, "s"), ("a", FILE, "x")],
        ),
        (
            Contained,
            &[
                ("s", SYM, "../outside"),
                ("a", HARD, "s/victim"),
                ("a", FILE, "x"),
            ],
        ),
        (
            Contained,
            &[
                ("s", SYM, "../outside"),
                ("a", HARD, "s"),
                ("a/victim", FILE, "x"),
            ],
        ),
        (Refused, &[("d", DIR, ""), ("a", HARD, "d")]),
        (Refused, &[("f", FILE, "x"), ("f/g", FILE, "x")]),
        (Refused, &[("f", FILE, "x"), ("f/g/h", DIR, "")]),
        (Refused, &[("", FILE, "x")]),
        (Contained, &[("/", FILE, "x")]),
        (Refused, &[(".", SYM, "../outside")]),
        (Contained, &[("./", FILE, "")]),
        (Refused, &[("./", SYM, "..")]),
        (
            Contained,
            &[
                ("a", FILE, "1"),
                ("a", FILE, "2"),
                ("a", SYM, "../victim"),
                ("a", FILE, "3"),
            ],
        ),
        (Contained, &[("A", SYM, "../victim"), ("a", FILE, "x")]),
        (
            Contained,
            &[("e\u{301}", SYM, "../victim"), ("\u{e9}", FILE, "x")],
        ),
        (Contained, &[("a\\..\\victim", FILE, "x")]),
        (Refused, &[("a\n/../victim", FILE, "x")]),
        (Contained, &[("C:\\victim", FILE, "x")]),
        (Contained, &[("%2e%2e/victim", FILE, "x")]),
        (Contained, &[("\u{2025}/victim", FILE, "x")]),
        (Refused, &[("null", CHR, "")]),
        (Refused, &[("s", SYM, "")]),
        (Refused, &[("odd", b'Z', "")]),
        (Refused, &[(".wh.", FILE, "")]),
        (Refused, &[(".wh...", FILE, "")]),
        (Refused, &[("d/.wh..", FILE, "")]),
        (Contained, &[("s", SYM, "../outside"), ("s/.wh.victim", FILE, "")]),
        (
            Contained,
            &[("s", SYM, "../outside"), ("s/.wh..wh..opq", FILE, "")],
        ),
        (
            Refused,
            &[(".wh.../victim", FILE, ""), ("../.wh.victim", FILE, "")],
        ),
        (
            Contained,
            &[
                (".wh..wh.aufs", SYM, "../outside"),
                (".wh..wh.aufs/victim", FILE, "x"),
            ],
        ),
    ];
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for (expect, entries) in cases {
        let error = attack(&archive(entries), Manner::Layer);
        if *expect == Refused {
            assert!(error.is_some(), "{entries:?} was accepted");
        }
        // As plain trees and packages the same holds, but for whiteouts, which are ordinary names there.
        attack(&archive(entries), Manner::Plain);
        attack(&archive(entries), Manner::Package);
    }
}

#[test]
fn damaged_headers_and_extensions_are_refused() {
    let good = archive(&[("a", FILE, "content"), ("b", FILE, "x")]);
    assert_eq!(attack(&good, Manner::Layer), None);
    for cut in [1, 100, 511, 513, 700, 1023, 1025, 1536 - 1] {
        assert!(attack(&good[..cut], Manner::Layer).is_some(), "cut at {cut}");
    }
    for at in [0, 100, 124, 148, 156, 257, 345] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        assert!(attack(&bytes, Manner::Layer).is_some(), "byte {at} changed");
    }
    let long = "x/".repeat(3000);
    let deep = "d/".repeat(600);
    let extension = |kind: u8, name: &[u8], data: &[u8]| {
        let mut bytes = Vec::new();
        push(&mut bytes, b"ext", kind, data);
        push(&mut bytes, name, FILE, b"x");
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    };
    let two_names = [
        &extension(b'L', b"a", b"one")[..1024],
        &extension(b'L', b"a", b"two"),
    ]
    .concat();
    let alone = {
        let mut bytes = Vec::new();
        push(&mut bytes, b"ext", b'x', b"11 path=ok\n");
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    };
    let refused: Vec<(&str, Vec<u8>)> = vec![
        ("long name with ..", extension(b'L', b"a", b"../victim\0")),
        ("pax path with ..", extension(b'x', b"a", b"18 path=../victim\n")),
        ("path too long", extension(b'L', b"a", long.as_bytes())),
        ("path too deep", extension(b'L', b"a", deep.as_bytes())),
        (
            "component too long",
            extension(b'L', b"a", "n".repeat(300).as_bytes()),
        ),
        ("pax record too short", extension(b'x', b"a", b"3 p\n")),
        ("pax length lies", extension(b'x', b"a", b"99 path=ok\n")),
        ("pax length signed", extension(b'x', b"a", b"+11 path=o\n")),
        ("pax without equals", extension(b'x', b"a", b"9 pathok\n")),
        ("pax size is no number", extension(b'x', b"a", b"13 size=1x2\n\n")),
        ("pax size lies", extension(b'x', b"a", b"16 size=999999\n\n")),
        (
            "pax uid too large",
            extension(b'x', b"a", b"19 uid=42949672960\n"),
        ),
        (
            "uid that chown ignores",
            extension(b'x', b"a", b"18 uid=4294967295\n"),
        ),
        ("NUL in a pax path", extension(b'x', b"a", b"11 path=a\0\n")),
        ("global size", extension(b'g', b"a", b"10 size=1\n")),
        ("global path", extension(b'g', b"a", b"11 path=ab\n")),
        ("two long names", two_names),
        ("extension without entry", alone),
        ("extension of 2 MiB", extension(b'x', b"a", &vec![b'0'; 2 << 20])),
        (
            "sparse map overlaps",
            extension(b'x', b"a", b"26 GNU.sparse.map=0,2,1,2\n22 GNU.sparse.size=10\n"),
        ),
        (
            "sparse without size",
            extension(b'x', b"a", b"22 GNU.sparse.map=0,1\n"),
        ),
        (
            "xattr without name",
            extension(b'x', b"a", b"17 SCHILY.xattr.=\n"),
        ),
    ];
    for (what, bytes) in &refused {
        assert!(attack(bytes, Manner::Layer).is_some(), "{what} was accepted");
    }
}

#[test]
fn bombs_stop_at_the_limits() {
    let limits = Limits {
        entries: 10,
        bytes: 1 << 20,
        ..Limits::default()
    };
    let temp = tempfile::tempdir().unwrap();
    let dir = fs::File::open(temp.path()).unwrap();
    let try_it = |bytes: &[u8]| unpack(bytes, dir.as_fd(), Manner::Layer, limits, &|_| ()).is_err();
    let many: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    let many: Vec<Entry<'_>> = many.iter().map(|name| (name.as_str(), FILE, "")).collect();
    assert!(try_it(&archive(&many)));
    let big = "0".repeat(2 << 20);
    assert!(try_it(&archive(&[("big", FILE, &big)])));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &archive(&[("big", FILE, &big)])).unwrap();
    let small = encoder.finish().unwrap();
    assert!(small.len() < 10_000 && try_it(&small));
    assert!(try_it(b"\x1f\x8b\x08\0garbage"), "damaged gzip");
    assert!(try_it(b"\x28\xb5\x2f\xfdgarbage"), "damaged zstd");
}

#[test]
fn overlay_attributes_never_come_from_an_archive() {
    let temp = tempfile::tempdir().unwrap();
    let record = "42 SCHILY.xattr.trusted.overlay.redirect=/\n";
    assert_eq!(record.len(), 43);
    let mut bytes = Vec::new();
    push(
        &mut bytes,
        b"ext",
        b'x',
        b"43 SCHILY.xattr.trusted.overlay.redirect=/\n",
    );
    push(&mut bytes, b"d", DIR, b"");
    bytes.resize(bytes.len() + 1024, 0);
    let dir = fs::File::open(temp.path()).unwrap();
    unpack(
        bytes.as_slice(),
        dir.as_fd(),
        Manner::Layer,
        Limits::default(),
        &|_| (),
    )
    .unwrap();
    let mut value = [0; 16];
    assert!(rustix::fs::lgetxattr(temp.path().join("d"), "trusted.overlay.redirect", &mut value).is_err());
}
