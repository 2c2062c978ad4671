//! Targets for archives: framing alone, extraction into a directory with a guard beside it, and whole layers with their
//! compression.

use super::Random;
use banyan_runtime::{
    archive::{
        Limits,
        entries::Entries,
        extract::{self as extraction, Manner},
        layer,
        outline::{self, Outline},
    },
    image::Digest,
};
use std::{
    cell::RefCell,
    fs,
    io::Write,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Small enough for thousands of runs a second, so that every bound is met too.
const LIMITS: Limits = Limits {
    entries: 200,
    bytes: 4 << 20,
    path: 300,
    depth: 20,
    extension: 4096,
    ratio: 200,
};

/// Archives to begin with.
pub(crate) struct Seeds {
    list: Vec<Vec<u8>>,
    compress: bool,
}

impl Seeds {
    pub(crate) fn new() -> Self {
        let list = vec![plain(), long(), pax(), links(), whiteouts(), sparse(), old()];
        Self { list, compress: false }
    }

    /// Outlines, before they are compressed.
    pub(crate) fn outlines() -> Self {
        let file = |name: &str, size: u64| {
            let length = u32::try_from(name.len()).expect("a short name").to_le_bytes();
            [b"F".as_slice(), &length, name.as_bytes(), &size.to_le_bytes()].concat()
        };
        let raw = |count: usize| {
            let length = u32::try_from(count).expect("a short run").to_le_bytes();
            [b"R".as_slice(), &length, &vec![b'r'; count]].concat()
        };
        let start = b"banyan outline 1\n".as_slice();
        let list = vec![
            [start, &raw(1024), &file("file", 7), &raw(505), b"E"].concat(),
            [start, &file("dir/up", 9), &file("out/guard", 9), &raw(600), b"E"].concat(),
            [start, &file("abs/hostname", 4), &file("dir", 1), &raw(600), b"E"].concat(),
            [start, &file("../guard", 9), &file("", 0), &file("file", u64::MAX), &raw(600)].concat(),
        ];
        Self { list, compress: false }
    }

    /// With gzip and zstd streams of them, cut and glued.
    pub(crate) fn compressed(self) -> Self {
        Self { compress: true, ..self }
    }

    /// Changes blocks, header fields, pax records, lengths; most checksums are made right again, or nothing behind them
    /// would ever be reached.
    pub(crate) fn mutate(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.list[random.below(self.list.len())].clone();
        for _ in 0..=random.below(6) {
            let blocks = bytes.len() / 512;
            let block = random.below(blocks.max(1)) * 512;
            match random.below(9) {
                0 => {
                    let field = FIELDS[random.below(FIELDS.len())];
                    write_field(&mut bytes, block, field, VALUES[random.below(VALUES.len())]);
                }
                1 => {
                    let other = &self.list[random.below(self.list.len())];
                    let from = random.below(other.len() / 512) * 512;
                    let to = (from + 512 * (1 + random.below(4))).min(other.len());
                    bytes.splice(block..block, other[from..to].iter().copied());
                }
                2 if blocks > 1 => drop(bytes.drain(block..block + 512)),
                3 => bytes.truncate(random.below(bytes.len() + 1)),
                4 => {
                    let at = random.below(bytes.len().max(1));
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = random.next() as u8;
                    }
                }
                5 => {
                    let record = RECORDS[random.below(RECORDS.len())];
                    let header = pax_header(record, random.below(8) == 0);
                    bytes.splice(block..block, header);
                }
                6 => write_field(&mut bytes, block, (156, 1), &[TYPES[random.below(TYPES.len())]]),
                7 => {
                    let name = NAMES[random.below(NAMES.len())];
                    let field = if random.below(2) == 0 { (0, 100) } else { (157, 100) };
                    write_field(&mut bytes, block, field, name);
                }
                _ => {
                    let count = random.below(3) * 512;
                    bytes.splice(block..block, std::iter::repeat_n(0, count));
                }
            }
            if random.below(10) > 0 && block + 512 <= bytes.len() {
                set_checksum(&mut bytes[block..block + 512]);
            }
        }
        bytes.truncate(256 << 10);
        if self.compress { compress(random, bytes) } else { bytes }
    }
}

/// Framing: every entry, every byte of content.
pub(crate) fn entries(bytes: &[u8]) {
    let mut entries = Entries::new(bytes, LIMITS);
    let mut buffer = vec![0; 4096];
    while let Ok(Some(entry)) = entries.next_entry() {
        assert!(!entry.path.contains(&0));
        loop {
            match entries.read_content(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
    assert!(entries.position() <= bytes.len() as u64);
}

thread_local! {
    static GROUND: RefCell<Option<Ground>> = const { RefCell::new(None) };
}

/// A directory to extract into, below one that must never change.
struct Ground {
    temporary: tempfile::TempDir,
}

impl Ground {
    fn root(&self) -> PathBuf {
        self.temporary.path().join("root")
    }

    /// Everything around the root, as it must stay.
    fn check(&self) {
        let mut names: Vec<_> = fs::read_dir(self.temporary.path())
            .expect("the ground is there")
            .map(|entry| entry.expect("it can be listed").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["guard", "root"], "something was made outside the root");
        let guard = fs::read(self.temporary.path().join("guard")).expect("the guard is there");
        assert_eq!(guard, b"untouched");
    }
}

/// In memory where that can be had.
fn ground() -> Ground {
    let shm = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("banyan-fuzz-");
    let temporary = if shm.is_dir() { builder.tempdir_in(shm) } else { builder.tempdir() };
    let ground = Ground {
        temporary: temporary.expect("a temporary directory"),
    };
    fs::write(ground.temporary.path().join("guard"), b"untouched").expect("the guard is written");
    ground
}

fn in_ground(work: impl FnOnce(&fs::File)) {
    GROUND.with_borrow_mut(|slot| {
        let ground = slot.get_or_insert_with(ground);
        fs::create_dir(ground.root()).expect("the root is made");
        let root = fs::File::open(ground.root()).expect("the root opens");
        work(&root);
        ground.check();
        fs::remove_dir_all(ground.root()).expect("the root is removed");
    });
}

/// Extraction, as a layer and as a plain tree.
pub(crate) fn extract(bytes: &[u8]) {
    for manner in [Manner::Layer, Manner::Plain] {
        in_ground(|root| {
            let mut entries = Entries::new(bytes, LIMITS);
            let _ = extraction::extract(&mut entries, root.as_fd(), manner, &mut |_| Ok(true));
        });
    }
}

/// Decoding, hashing and extraction together; a whole outline gives the archive again.
pub(crate) fn layer(bytes: &[u8]) {
    in_ground(|root| {
        let written = Written::default();
        let outline = Outline::new(Box::new(written.clone())).expect("memory takes it");
        let unpacked = layer::unpack_outlined(bytes, root.as_fd(), Manner::Layer, LIMITS, Some(outline), &|_| ());
        if let Ok(unpacked) = unpacked
            && unpacked.outlined
        {
            let outline = written.0.lock().expect("nobody panicked").clone();
            let mut again = Vec::new();
            outline::assemble(outline.as_slice(), root.as_fd(), &mut again).expect("it was just made");
            assert_eq!(Digest::of(&again), unpacked.diff_id);
        }
    });
}

/// Memory that an outline is written to.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Records of an outline over a tree that has a file, and links that lead out.
pub(crate) fn outline(bytes: &[u8]) {
    in_ground(|root| {
        let at = |name: &str| format!("/proc/self/fd/{}/{name}", std::os::fd::AsRawFd::as_raw_fd(root));
        fs::write(at("file"), b"content").expect("the file is written");
        fs::create_dir(at("dir")).expect("the folder is made");
        for (name, target) in [("dir/up", "../../guard"), ("out", ".."), ("abs", "/etc")] {
            std::os::unix::fs::symlink(target, at(name)).expect("the link is made");
        }
        let packed = zstd::encode_all(bytes, 1).expect("memory takes it");
        let mut again = Vec::new();
        let _ = outline::assemble(packed.as_slice(), root.as_fd(), &mut again);
        assert!(
            !again.windows(9).any(|part| part == b"untouched"),
            "it read what is outside"
        );
    });
}

fn compress(random: &mut Random, bytes: Vec<u8>) -> Vec<u8> {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    };
    let mut packed = match random.below(4) {
        0 => bytes,
        1 => gzip(&bytes),
        2 => zstd::encode_all(bytes.as_slice(), 1).expect("memory takes it"),
        _ => {
            let half = bytes.len() / 2;
            [gzip(&bytes[..half]), gzip(&bytes[half..])].concat()
        }
    };
    match random.below(4) {
        0 => packed.truncate(random.below(packed.len() + 1)),
        1 if !packed.is_empty() => {
            let at = random.below(packed.len());
            packed[at] ^= 1 << random.below(8);
        }
        2 => packed.extend_from_slice(&[0; 700][..random.below(700)]),
        _ => {}
    }
    packed
}

/// Offset and length of the fields of a header (tar(5)).
const FIELDS: &[(usize, usize)] = &[
    (0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (148, 8), (156, 1), (157, 100), (257, 6), (263, 2), (265, 32), (329, 8),
    (337, 8), (345, 155), (386, 12), (482, 1), (483, 12),
];

const VALUES: &[&[u8]] = &[
    b"", b"0", b"7777777", b"00000000000", b"77777777777", b"-1", b"8", b"\x80\0\0\0\0\0\0\0\xff\xff\xff\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"0000644\0", b"00000001000", b"ustar\0", b"ustar ", b"GNUtar", b"a/b", b"..", b"/", b" 12 ",
];

const TYPES: &[u8] = b"01234567xgLKSNDVMA\0 \xff";

const NAMES: &[&[u8]] = &[
    b"a", b"a/b", b"../guard", b"/guard", b"a/../../guard", b"link", b"link/x", b"link/../../guard", b".", b"./", b"", b"/", b".wh.", b".wh.a", b".wh..wh..opq",
    b"a/.wh..wh..opq", b".wh..", b".wh...", b"a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v", b"\xff\xfe", b"a\nb", b"A", b"dir/", b"dir", b"dir/file",
];

const RECORDS: &[&[u8]] = &[
    b"path=../guard", b"path=/guard", b"path=", b"path=a\0b", b"linkpath=../../guard", b"size=99999999999999999999", b"size=-1", b"size=0", b"size=3", b"mtime=-1.5",
    b"mtime=1e9", b"mtime=.", b"uid=4294967296", b"uid=-1", b"gid=x", b"SCHILY.xattr.user.a=b", b"SCHILY.xattr.trusted.overlay.opaque=y", b"SCHILY.xattr.=x",
    b"SCHILY.xattr.security.capability=\x01\0\0\x02", b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.name=../guard", b"GNU.sparse.realsize=9999999999",
    b"GNU.sparse.map=0,1,5,9", b"GNU.sparse.offset=1", b"GNU.sparse.numbytes=1", b"LIBARCHIVE.xattr.user.x=YQ==", b"comment=x", b"=", b"hdrcharset=BINARY",
];

fn write_field(bytes: &mut [u8], block: usize, (at, length): (usize, usize), value: &[u8]) {
    let Some(field) = bytes.get_mut(block + at..block + at + length) else { return };
    field.fill(0);
    let count = value.len().min(length);
    field[..count].copy_from_slice(&value[..count]);
}

fn set_checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A pax header with one record; `global` ones hold for the whole archive.
fn pax_header(record: &[u8], global: bool) -> Vec<u8> {
    let mut length = record.len() + 3;
    while length != record.len() + 2 + length.to_string().len() {
        length = record.len() + 2 + length.to_string().len();
    }
    let text = [length.to_string().as_bytes(), b" ", record, b"\n"].concat();
    let mut header = vec![0; 512];
    write_field(&mut header, 0, (0, 100), b"pax");
    write_field(&mut header, 0, (124, 12), format!("{:011o}", text.len()).as_bytes());
    write_field(&mut header, 0, (156, 1), if global { b"g" } else { b"x" });
    write_field(&mut header, 0, (257, 8), b"ustar\x0000");
    set_checksum(&mut header);
    header.extend_from_slice(&text);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

fn entry(builder: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, link: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(1000);
    header.set_gid(7);
    header.set_mtime(1_700_000_000);
    header.set_size(content.len() as u64);
    if !link.is_empty() {
        builder.append_link(&mut header, name, link).expect("memory takes it");
        return;
    }
    builder.append_data(&mut header, name, content).expect("memory takes it");
}

fn archive(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    fill(&mut builder);
    builder.into_inner().expect("memory takes it")
}

fn plain() -> Vec<u8> {
    use tar::EntryType as T;
    archive(|b| {
        entry(b, "dir/", T::Directory, "", b"");
        entry(b, "dir/file", T::Regular, "", &[b'x'; 700]);
        entry(b, "a", T::Regular, "", b"small");
        entry(b, "fifo", T::Fifo, "", b"");
        entry(b, "null", T::Char, "", b"");
        entry(b, "dir/file", T::Regular, "", b"again");
    })
}

fn long() -> Vec<u8> {
    use tar::EntryType as T;
    let name = "long/".repeat(30) + "name";
    archive(|b| {
        entry(b, &name, T::Regular, "", b"deep");
        entry(b, "link", T::Symlink, &name, b"");
    })
}

fn pax() -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in RECORDS.iter().take(6).chain(RECORDS.iter().skip(15).take(1)) {
        bytes.extend(pax_header(record, false));
        bytes.extend(&plain()[..512]);
    }
    bytes.extend([0; 1024]);
    bytes
}

fn links() -> Vec<u8> {
    use tar::EntryType as T;
    archive(|b| {
        entry(b, "a", T::Regular, "", b"one");
        entry(b, "b", T::Link, "a", b"");
        entry(b, "link", T::Symlink, "..", b"");
        entry(b, "link/guard", T::Regular, "", b"through a link");
        entry(b, "c", T::Link, "link/guard", b"");
        entry(b, "loop", T::Symlink, "loop", b"");
        entry(b, "loop/x", T::Regular, "", b"");
    })
}

fn whiteouts() -> Vec<u8> {
    use tar::EntryType as T;
    archive(|b| {
        entry(b, "dir/", T::Directory, "", b"");
        entry(b, "dir/.wh..wh..opq", T::Regular, "", b"");
        entry(b, "dir/.wh.gone", T::Regular, "", b"");
        entry(b, ".wh.a", T::Regular, "", b"");
        entry(b, "a", T::Regular, "", b"back");
    })
}

/// An old GNU sparse file: 3 bytes at 1000 of 2000.
fn sparse() -> Vec<u8> {
    let mut bytes = archive(|b| entry(b, "holes", tar::EntryType::GNUSparse, "", b"abc"));
    write_field(&mut bytes, 0, (386, 12), b"00000001750");
    write_field(&mut bytes, 0, (398, 12), b"00000000003");
    write_field(&mut bytes, 0, (483, 12), b"00000003720");
    set_checksum(&mut bytes[..512]);
    bytes
}

/// A header from before ustar.
fn old() -> Vec<u8> {
    let mut bytes = plain();
    write_field(&mut bytes, 0, (257, 8), b"");
    set_checksum(&mut bytes[..512]);
    bytes
}
