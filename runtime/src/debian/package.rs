//! A `.deb` becomes files and entries of dpkg's database (deb(5), dpkg's "unpacked" state).

use super::{DebianError, index::Package};
use crate::archive::{
    Limits,
    compression::Decoder,
    entries::{Entries, Kind, TarError},
    extract::{ExtractError, Manner, extract, normalize},
};
use md5::{Digest as _, Md5};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::{fd::BorrowedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

/// Paths left out of `-slim` images, as Docker's Debian images leave them out; copyright files stay.
const SLIM: [&str; 6] = [
    "usr/share/doc/",
    "usr/share/info/",
    "usr/share/linda/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
];

/// What dpkg's database will say about a package.
#[derive(Debug, Clone)]
pub(crate) struct Unpacked {
    pub(crate) name: String,
    /// Stanza for `status`.
    stanza: String,
    /// Files for `info/`: (name, content, mode).
    info: Vec<(String, Vec<u8>, u32)>,
    /// `interest` lines: (trigger, package with `/noawait`).
    interests: Vec<(String, String)>,
}

/// Unpacks a package below `root`.
pub(crate) fn unpack(
    file: &Path,
    package: &Package,
    root: BorrowedFd<'_>,
    root_path: &Path,
    slim: bool,
) -> Result<Unpacked, DebianError> {
    let malformed = |reason: String| DebianError::Malformed {
        what: format!("{}.deb", package.name),
        reason,
    };
    let read = |cause: io::Error| malformed(cause.to_string());
    let mut deb = fs_err::File::open(file).map_err(read)?;
    let members = members(&mut deb).map_err(|reason| malformed(reason.to_owned()))?;
    let member = |prefix: &str| -> Result<_, DebianError> {
        let found = members.iter().find(|(name, _, _)| name.starts_with(prefix));
        let (_, offset, size) = found.ok_or_else(|| malformed(format!("it has no `{prefix}`")))?;
        let mut file = deb.try_clone().map_err(read)?;
        file.seek(SeekFrom::Start(*offset)).map_err(read)?;
        Decoder::new(file.take(*size)).map_err(read)
    };
    let control = control_files(member("control.tar")?).map_err(|error| malformed(error.to_string()))?;
    let mut list = Vec::new();
    let mut entries = Entries::new(
        BufReader::with_capacity(256 << 10, member("data.tar")?),
        Limits::default(),
    );
    extract(&mut entries, root, Manner::Package, &mut |entry| {
        let path = normalize(&entry.path).unwrap_or_default();
        list.push(b'/');
        list.extend_from_slice(if path.is_empty() { b"." } else { &path });
        list.push(b'\n');
        Ok(!(slim && is_left_out(&path, &entry.kind)))
    })
    .map_err(|cause: ExtractError| DebianError::Unpack {
        package: package.name.clone(),
        cause,
    })?;
    database(package, control, list, root_path).map_err(malformed)
}

fn is_left_out(path: &[u8], kind: &Kind) -> bool {
    *kind != Kind::Directory
        && SLIM.iter().any(|prefix| path.starts_with(prefix.as_bytes()))
        && !path.ends_with(b"/copyright")
}

/// Members of an `ar` archive: name, offset, size.
fn members(deb: &mut fs_err::File) -> Result<Vec<(String, u64, u64)>, &'static str> {
    let mut magic = [0; 8];
    deb.read_exact(&mut magic).map_err(|_| "it is too short")?;
    if &magic != b"!<arch>\n" {
        return Err("it is no ar archive");
    }
    let length = deb.metadata().map_err(|_| "it cannot be measured")?.len();
    let mut members = Vec::new();
    let mut at = 8;
    while at + 60 <= length && members.len() < 16 {
        let mut header = [0; 60];
        deb.seek(SeekFrom::Start(at)).map_err(|_| "it cannot be read")?;
        deb.read_exact(&mut header)
            .map_err(|_| "it ends inside a header")?;
        let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&header[range]).trim().to_owned();
        let name = text(0..16).trim_end_matches('/').to_owned();
        let size: u64 = text(48..58).parse().map_err(|_| "a member's size is no number")?;
        if &header[58..60] != b"`\n" || at + 60 + size > length {
            return Err("a member's header is damaged");
        }
        members.push((name, at + 60, size));
        at = (at + 60 + size).next_multiple_of(2);
    }
    Ok(members)
}

type Control = BTreeMap<String, (Vec<u8>, u32)>;

fn control_files(reader: impl Read) -> Result<Control, TarError> {
    let mut files = Control::new();
    let mut entries = Entries::new(
        reader,
        Limits {
            entries: 1000,
            ..Limits::default()
        },
    );
    while let Some(entry) = entries.next_entry()? {
        let name = String::from_utf8_lossy(&entry.path)
            .trim_start_matches("./")
            .to_owned();
        // Their names become file names in dpkg's database.
        let is_plain = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if entry.kind == Kind::File && is_plain {
            files.insert(name, (entries.content(16 << 20)?, entry.mode));
        }
    }
    Ok(files)
}

fn database(package: &Package, mut control: Control, list: Vec<u8>, root: &Path) -> Result<Unpacked, String> {
    let (stanza, _) = control.remove("control").ok_or("it has no control file")?;
    let stanza = String::from_utf8(stanza).map_err(|_| "its control file is no text")?;
    let is_same = stanza.lines().any(|line| line == "Multi-Arch: same");
    let qualified = if is_same {
        format!("{}:{}", package.name, package.architecture)
    } else {
        package.name.clone()
    };
    let mut lines: Vec<String> = stanza.trim_end().lines().map(str::to_owned).collect();
    let first = lines
        .iter()
        .position(|line| line.starts_with("Package:"))
        .ok_or("its control file names no package")?;
    lines.insert(first + 1, "Status: install ok unpacked".into());
    if let Some((conffiles, _)) = control.get("conffiles") {
        let mut block = Vec::new();
        for path in String::from_utf8_lossy(conffiles)
            .lines()
            .filter(|line| line.starts_with('/'))
        {
            // dpkg remembers the hash it shipped, to see later whether the file was changed.
            let content = read_inside(root, path).unwrap_or_default();
            let hash: String = Md5::digest(&content)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            block.push(format!(" {path} {hash}"));
        }
        if !block.is_empty() {
            lines.push("Conffiles:".into());
            lines.extend(block);
        }
    }
    let mut interests = Vec::new();
    if let Some((triggers, _)) = control.get("triggers") {
        for line in String::from_utf8_lossy(triggers).lines() {
            let mut words = line.split_whitespace();
            let (Some(directive), Some(trigger)) = (words.next(), words.next()) else {
                continue;
            };
            match directive {
                "interest" | "interest-await" => interests.push((trigger.to_owned(), qualified.clone())),
                "interest-noawait" => interests.push((trigger.to_owned(), format!("{qualified}/noawait"))),
                _ => {}
            }
        }
    }
    let mut info = vec![(format!("{qualified}.list"), list, 0o644)];
    info.extend(
        control
            .into_iter()
            .map(|(name, (content, mode))| (format!("{qualified}.{name}"), content, mode)),
    );
    Ok(Unpacked {
        name: package.name.clone(),
        stanza: lines.join("\n") + "\n",
        info,
        interests,
    })
}

fn read_inside(root: &Path, path: &str) -> Option<Vec<u8>> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let dir = fs_err::File::open(root).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(&dir, path, flags, Mode::empty(), resolve).ok()?;
    let mut content = Vec::new();
    fs::File::from(file)
        .take(64 << 20)
        .read_to_end(&mut content)
        .ok()?;
    Some(content)
}

/// Writes dpkg's database for packages sorted by name.
pub(crate) fn write_database(root: &Path, packages: &[Unpacked]) -> Result<(), DebianError> {
    let dpkg = root.join("var/lib/dpkg");
    let write = |path: PathBuf, content: &[u8], mode: u32| {
        fs_err::write(&path, content)
            .and_then(|()| fs_err::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .map_err(|cause| DebianError::Io {
                action: "write",
                path,
                cause,
            })
    };
    for folder in ["info", "triggers", "updates", "alternatives", "parts"] {
        let path = dpkg.join(folder);
        fs_err::create_dir_all(&path).map_err(|cause| DebianError::Io {
            action: "create",
            path,
            cause,
        })?;
    }
    let status: Vec<&str> = packages.iter().map(|package| package.stanza.as_str()).collect();
    write(dpkg.join("status"), status.join("\n").as_bytes(), 0o644)?;
    write(dpkg.join("available"), b"", 0o644)?;
    write(dpkg.join("info/format"), b"1\n", 0o644)?;
    let mut by_trigger: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        for (name, content, mode) in &package.info {
            write(dpkg.join("info").join(name), content, *mode & 0o755)?;
        }
        for (trigger, who) in &package.interests {
            by_trigger.entry(trigger).or_default().push(who);
        }
    }
    let mut files = String::new();
    for (trigger, who) in by_trigger {
        if trigger.starts_with('/') {
            files.extend(who.iter().map(|who| format!("{trigger} {who}\n")));
        } else if trigger
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'+'))
        {
            write(
                dpkg.join("triggers").join(trigger),
                (who.join("\n") + "\n").as_bytes(),
                0o644,
            )?;
        }
    }
    write(dpkg.join("triggers/File"), files.as_bytes(), 0o644)
}
