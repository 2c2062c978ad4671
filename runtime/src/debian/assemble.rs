//! From a suite's name to an image.

use super::{
    DebianError, configure,
    index::{Index, Package},
    mirror::Mirror,
    package::{self, Unpacked},
    release::{self, Release},
    select, sources,
    sources::Source,
};
use crate::{
    archive::compression::Decoder,
    container::Launcher,
    image::{
        ConfigFile, Event, Image, ImageConfig, Progress, Store,
        config::{History, host_architecture},
        draft::Draft,
        layers::parallel,
    },
};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::{
    io::Read,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// How a Debian is assembled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Another mirror than the host's (its address, without `/dists`); keyrings stay the host's.
    pub mirror: Option<String>,
    /// Leave out manuals, translations and documentation, as Docker's `-slim` images do.
    pub slim: bool,
    /// More packages.
    pub packages: Vec<String>,
}

/// Assembles a minimal Debian and records it as an image without a name.
pub fn assemble(
    store: &Store,
    suite: &str,
    options: &Options,
    launcher: &Launcher,
    progress: &dyn Progress,
) -> Result<Image, DebianError> {
    let _working = store.working()?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if suite.is_empty() || !suite.chars().all(is_word) || suite.starts_with('.') {
        return Err(DebianError::Suite {
            suite: suite.to_owned(),
        });
    }
    let apt = sources::read(Path::new("/"));
    let (suite, mut sources) = sources::for_suite(&apt, suite);
    if let Some(mirror) = &options.mirror {
        let uri = mirror.trim_end_matches('/').to_owned();
        let (signed_by, ignore_expiry) = sources.first().map_or((Vec::new(), false), |first| {
            (first.signed_by.clone(), first.ignore_expiry)
        });
        sources = vec![Source {
            uri,
            suite: suite.clone(),
            components: vec!["main".into()],
            signed_by,
            ignore_expiry,
        }];
    }
    if sources.is_empty() {
        return Err(DebianError::NoSources);
    }
    let mirror = Mirror::new(&store.dir().join("debian"), apt.proxy.as_deref())?;

    let releases = releases(&mirror, &suite, &sources)?;
    let index = index(&mirror, &sources, &releases)?;
    let packages = select::select(&index, &options.packages)?;
    let files = fetch(&mirror, &sources, &packages, progress)?;

    let draft = Draft::new(store)?;
    let root = draft.files();
    merged_usr(&root)?;
    let unpacked = unpack(&root, &packages, &files, options.slim, progress)?;
    package::write_database(&root, &unpacked)?;
    let date = releases
        .iter()
        .flatten()
        .map(|release| release.date)
        .max()
        .unwrap_or(0);
    progress.event(Event::Work {
        what: "configuring packages",
        done: 0,
        total: 1,
    });
    configure::configure(store, launcher, &root, host_architecture(), date, progress)?;
    progress.event(Event::Work {
        what: "configuring packages",
        done: 1,
        total: 1,
    });
    settings(&root, &sources, &releases, &apt)?;
    level(&root, date)?;

    let created = jiff::Timestamp::from_second(date)
        .map(|time| time.to_string())
        .ok();
    let mut config = ImageConfig {
        cmd: Some(vec!["bash".into()]),
        ..ImageConfig::default()
    };
    config.set_variable(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    let made_by = format!("Debian {suite} from {} packages", packages.len());
    let document = ConfigFile {
        created: created.clone(),
        config,
        history: vec![History {
            created,
            created_by: Some(made_by),
            ..History::default()
        }],
        ..ConfigFile::default()
    };
    let id = store.adopt(draft, None, document)?;
    Ok(store.image(id)?)
}

/// Fetches each source's release; only the suite itself must exist (a release in the making has no security suite).
fn releases(mirror: &Mirror, suite: &str, sources: &[Source]) -> Result<Vec<Option<Release>>, DebianError> {
    parallel(sources.len(), |index| {
        let source = &sources[index];
        let path = format!("dists/{}/InRelease", source.suite);
        match mirror.text(&source.uri, &path) {
            Ok(text) => release::verify(&text, source, jiff::Timestamp::now()).map(Some),
            Err(DebianError::Status { status: 404, .. }) if source.suite == suite => {
                Err(DebianError::Suite {
                    suite: suite.to_owned(),
                })
            }
            Err(DebianError::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    })
}

fn index(mirror: &Mirror, sources: &[Source], releases: &[Option<Release>]) -> Result<Index, DebianError> {
    let texts: Vec<Option<String>> = parallel::<_, DebianError>(sources.len(), |number| {
        let (source, Some(release)) = (&sources[number], &releases[number]) else {
            return Ok(None);
        };
        let folder = format!("main/binary-{}", host_architecture());
        let choice = ["Packages.xz", "Packages.gz", "Packages"]
            .into_iter()
            .find_map(|name| {
                let path = format!("{folder}/{name}");
                release
                    .files
                    .get(&path)
                    .map(|(digest, size)| (path, *digest, *size))
            });
        let (path, digest, size) = choice.ok_or_else(|| DebianError::Malformed {
            what: format!("dists/{}/InRelease", source.suite),
            reason: format!("it has no packages for {}", host_architecture()),
        })?;
        let fetched = if release.by_hash {
            format!("dists/{}/{folder}/by-hash/SHA256/{}", source.suite, digest.hex())
        } else {
            format!("dists/{}/{path}", source.suite)
        };
        let file = mirror.file(&source.uri, &fetched, digest, size)?;
        let malformed = |cause: std::io::Error| DebianError::Malformed {
            what: path.clone(),
            reason: cause.to_string(),
        };
        let file = fs_err::File::open(file).map_err(malformed)?;
        let mut text = String::new();
        Decoder::new(file)
            .and_then(|decoder| decoder.take(1 << 30).read_to_string(&mut text))
            .map_err(malformed)?;
        Ok(Some(text))
    })?;
    let mut index = Index::default();
    for (number, text) in texts.iter().enumerate() {
        if let Some(text) = text {
            index.add(text, number)?;
        }
    }
    index.finish();
    Ok(index)
}

fn fetch(
    mirror: &Mirror,
    sources: &[Source],
    packages: &[&Package],
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>, DebianError> {
    let total = packages.iter().map(|package| package.size).sum();
    let done = AtomicU64::new(0);
    parallel(packages.len(), |number| {
        let package = packages[number];
        let file = mirror.file(
            &sources[package.source].uri,
            &package.filename,
            package.sha256,
            package.size,
        )?;
        let done = done.fetch_add(package.size, Ordering::Relaxed) + package.size;
        progress.event(Event::Work {
            what: "fetching packages",
            done,
            total,
        });
        Ok(file)
    })
}

/// Since Debian 12 these are links, which no package ships (the `usrmerge` transition).
fn merged_usr(root: &Path) -> Result<(), DebianError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |cause| DebianError::Io {
            action: "create",
            path,
            cause,
        }
    };
    for name in ["bin", "sbin", "lib", "lib64"] {
        let target = root.join("usr").join(name);
        fs_err::create_dir_all(&target).map_err(failed(&target))?;
        let link = root.join(name);
        fs_err::os::unix::fs::symlink(format!("usr/{name}"), &link).map_err(failed(&link))?;
    }
    Ok(())
}

fn unpack(
    root: &Path,
    packages: &[&Package],
    files: &[PathBuf],
    slim: bool,
    progress: &dyn Progress,
) -> Result<Vec<Unpacked>, DebianError> {
    let dir = fs_err::File::open(root).map_err(|cause| DebianError::Io {
        action: "open",
        path: root.to_path_buf(),
        cause,
    })?;
    let total = packages.len() as u64;
    let done = AtomicU64::new(0);
    let mut unpacked = parallel(packages.len(), |number| {
        let result = package::unpack(&files[number], packages[number], dir.as_fd(), root, slim)?;
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress.event(Event::Work {
            what: "unpacking packages",
            done,
            total,
        });
        Ok::<_, DebianError>(result)
    })?;
    unpacked.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(unpacked)
}

/// Settings that make apt useful in an image: where packages come from, and what is not worth a layer's bytes.
fn settings(
    root: &Path,
    sources: &[Source],
    releases: &[Option<Release>],
    apt: &sources::Apt,
) -> Result<(), DebianError> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (source, _) in sources
        .iter()
        .zip(releases)
        .filter(|(_, release)| release.is_some())
    {
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        // The package `debian-archive-keyring` is in the image; another keyring of the host is not.
        writeln!(
            text,
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: {keyring}\n",
            source.uri, source.suite
        )
        .expect("a string takes any text");
    }
    let mut conf = "// Downloaded packages and indexes of other languages are not worth a layer's bytes.\n\
        APT::Keep-Downloaded-Packages \"false\";\n\
        Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n\
        Acquire::Languages \"none\";\nAcquire::GzipIndexes \"true\";\n\
        APT::AutoRemove::SuggestsImportant \"false\";\n"
        .to_owned();
    if sources.iter().any(|source| source.ignore_expiry) {
        conf.push_str("Acquire::Check-Valid-Until \"false\";\n");
    }
    if let Some(proxy) = &apt.proxy {
        writeln!(
            conf,
            "Acquire::http::Proxy \"{proxy}\";\nAcquire::https::Proxy \"{proxy}\";"
        )
        .expect("a string takes any text");
    }
    let files: [(&str, &str, u32); 6] = [
        ("etc/apt/sources.list.d/debian.sources", &text, 0o644),
        ("etc/apt/apt.conf.d/90image", &conf, 0o644),
        // A layer is thrown away or synced as a whole, so dpkg need not sync each file.
        ("etc/dpkg/dpkg.cfg.d/90image", "force-unsafe-io\n", 0o644),
        // Installing a package must not start its service in a build.
        ("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755),
        ("etc/hostname", "debian\n", 0o644),
        ("etc/resolv.conf", "", 0o644),
    ];
    for (name, content, mode) in files {
        let path = root.join(name);
        let failed = |cause| DebianError::Io {
            action: "write",
            path: path.clone(),
            cause,
        };
        fs_err::create_dir_all(path.parent().unwrap_or(root)).map_err(failed)?;
        fs_err::write(&path, content).map_err(failed)?;
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(())
}

/// Files whose content depends on the moment or the machine, and backups of databases.
const FLEETING: [&str; 9] = [
    "var/cache/ldconfig/aux-cache",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/statoverride-old",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
];

/// Makes the tree depend on nothing but the packages: no times of this run, no caches, no logs.
fn level(root: &Path, date: i64) -> Result<(), DebianError> {
    let remove = FLEETING.iter().map(|name| root.join(name));
    let backups = [
        "passwd-",
        "group-",
        "shadow-",
        "gshadow-",
        "subuid-",
        "subgid-",
        ".pwd.lock",
    ];
    for path in remove.chain(backups.iter().map(|name| root.join("etc").join(name))) {
        if path.symlink_metadata().is_ok() {
            fs_err::remove_file(&path).map_err(|cause| DebianError::Io {
                action: "remove",
                path,
                cause,
            })?;
        }
    }
    level_tree(root, date)
}

fn level_tree(path: &Path, date: i64) -> Result<(), DebianError> {
    use std::os::unix::fs::MetadataExt;
    let failed = |cause| DebianError::Io {
        action: "level the time of",
        path: path.to_path_buf(),
        cause,
    };
    let metadata = path.symlink_metadata().map_err(failed)?;
    if metadata.is_dir() {
        for entry in fs_err::read_dir(path).map_err(failed)? {
            level_tree(&entry.map_err(failed)?.path(), date)?;
        }
    }
    // Several packages share a directory, so its time is whoever was last; files keep their package's time.
    if metadata.is_dir() || metadata.mtime() > date {
        let time = Timespec {
            tv_sec: date,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(errno.into()))?;
    }
    Ok(())
}
