//! Images out of archives: `docker save` in its old and new layout, OCI layouts (folder or archive), plain root trees.
//!
//! 1. the archive is indexed, not unpacked: name → offset and length;
//! 2. its table of contents (`manifest.json`, or `index.json`) names configurations and layers;
//! 3. each layer is streamed from its place in the file ([`super::layers`]);
//! 4. the image gets its names.

use super::{
    config::{ConfigFile, History, ImageConfig, RootFs, host_architecture},
    digest::Digest,
    draft::{Draft, publish},
    layers::{self, Keep, Source},
    manifest::{DOCUMENT_MAX, Descriptor, Document, Index, LAYERS_MAX, Manifest, ManifestError, Platform},
    progress::Progress,
    reference::Reference,
    store::{LayerRecord, Store, StoreError},
};
use crate::archive::{
    Limits,
    compression::{Compression, Decoder},
    entries::{Entries, Kind, TarError},
    extract::Manner,
    layer::{LayerError, unpack},
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fs,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::{fd::AsFd, unix::fs::FileExt},
    path::Path,
};

/// Why an archive could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file or stream.
    #[error("cannot read the image archive")]
    Read(#[source] io::Error),
    /// Its outer tar.
    #[error("the image archive is damaged")]
    Tar(#[from] TarError),
    /// No table of contents.
    #[error("this is no image archive: it has neither `manifest.json` nor `index.json`")]
    NotAnImage,
    /// A part that the table of contents names.
    #[error("the image archive lacks `{name}`")]
    Missing {
        /// The part.
        name: String,
    },
    /// A document in it.
    #[error("`{name}` in the image archive is refused: {reason}")]
    Document {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// A manifest in it.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A root file system that could not be unpacked.
    #[error("cannot unpack the root file system")]
    Root(#[source] LayerError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: Digest,
    /// Names it got.
    pub names: Vec<Reference>,
}

/// One image of an archive, before its layers are read.
struct Contents {
    config: Vec<u8>,
    names: Vec<Reference>,
    layers: Vec<Part>,
    manifest: Option<Vec<u8>>,
}

/// A layer's place in the archive.
struct Part {
    name: String,
    descriptor: Option<Descriptor>,
}

impl Store {
    /// Loads every image of an archive file, or of an OCI layout folder.
    pub fn load_path(
        &self,
        path: &Path,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>, LoadError> {
        if path.is_dir() {
            return self.load_parts(&Parts::Folder(path), platform, progress);
        }
        let file = fs_err::File::open(path).map_err(LoadError::Read)?.into_file();
        self.load_file(file, platform, progress)
    }

    /// Loads every image of an archive that arrives as a stream.
    pub fn load_stream(
        &self,
        stream: impl Read + Send,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>, LoadError> {
        let _working = self.working()?;
        let decoder = Decoder::new(stream).map_err(LoadError::Read)?;
        let file = self.spool(decoder)?;
        self.load_file(file, platform, progress)
    }

    fn load_file(
        &self,
        mut file: fs::File,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>, LoadError> {
        let _working = self.working()?;
        let mut start = [0; 8];
        let count = file.read(&mut start).map_err(LoadError::Read)?;
        file.seek(SeekFrom::Start(0)).map_err(LoadError::Read)?;
        // Parts are read from several places at once, so a compressed archive is decoded into a file first.
        let file = if Compression::of(&start[..count]) == Compression::None {
            file
        } else {
            self.spool(Decoder::new(file).map_err(LoadError::Read)?)?
        };
        let index = index(&file)?;
        self.load_parts(&Parts::Archive { file, index }, platform, progress)
    }

    /// Copies a stream to a file without a name.
    fn spool(&self, mut stream: impl Read) -> Result<fs::File, LoadError> {
        let path = self
            .dir()
            .join("ingest")
            .join(format!("spool-{}", super::durable::unique()));
        let mut options = fs_err::OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(LoadError::Read)?;
        fs_err::remove_file(&path).map_err(LoadError::Read)?;
        let limit = Limits::default().bytes;
        let copied = io::copy(&mut (&mut stream).take(limit + 1), &mut file).map_err(LoadError::Read)?;
        if copied > limit {
            return Err(TarError::Limit {
                reason: format!("more than {limit} bytes"),
            }
            .into());
        }
        file.rewind().map_err(LoadError::Read)?;
        Ok(file.into_file())
    }

    fn load_parts(
        &self,
        parts: &Parts<'_>,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>, LoadError> {
        let _working = self.working()?;
        let contents = contents(parts, platform)?;
        let mut loaded = Vec::new();
        for image in contents {
            loaded.push(self.load_image(parts, image, progress)?);
        }
        Ok(loaded)
    }

    fn load_image(
        &self,
        parts: &Parts<'_>,
        image: Contents,
        progress: &dyn Progress,
    ) -> Result<Loaded, LoadError> {
        let refused = |reason: String| LoadError::Document {
            name: "the image configuration".into(),
            reason,
        };
        let document: ConfigFile =
            serde_json::from_slice(&image.config).map_err(|error| refused(error.to_string()))?;
        let diff_ids = document.rootfs.diff_ids;
        if diff_ids.len() != image.layers.len() {
            let (named, given) = (diff_ids.len(), image.layers.len());
            return Err(refused(format!(
                "it names {named} layers where the manifest has {given}"
            )));
        }
        // A layer that is here is not read again. Its blob may still be new, so only equal descriptors count, but a layer
        // with an outline is its own uncompressed blob.
        let known = |index: usize| {
            let diff_id = diff_ids[index];
            let blob = image.layers[index].descriptor.clone();
            let blob = blob.filter(|blob| blob.digest != diff_id || !self.has_outline(diff_id));
            let is_stored = blob.as_ref().is_none_or(|blob| self.has_blob(blob.digest));
            is_stored.then_some(LayerRecord { diff_id, blob })
        };
        let source = |index: usize| {
            let part = &image.layers[index];
            let failed = |error| StoreError::Io {
                action: "read a layer of the archive",
                cause: io::Error::other(error),
            };
            let (read, size) = parts.open(&part.name).map_err(failed)?;
            let mut start = Vec::new();
            let read_start = parts
                .open(&part.name)
                .map_err(failed)?
                .0
                .take(8)
                .read_to_end(&mut start);
            read_start.map_err(|cause| failed(LoadError::Read(cause)))?;
            let descriptor = part.descriptor.as_ref();
            Ok(Source {
                read,
                size: Some(size),
                blob: descriptor.map(|descriptor| descriptor.digest),
                diff_id: Some(diff_ids[index]),
                media_type: descriptor.map(|d| d.media_type.clone()).unwrap_or_default(),
                keep: match Compression::of(&start) {
                    Compression::None => Keep::Outline,
                    _ => Keep::Blob,
                },
                guard: None,
            })
        };
        let records = layers::add(self, diff_ids.len(), &known, &source, progress)?;
        let manifest = image.manifest.map(|bytes| self.put_blob(&bytes)).transpose()?;
        let id = self.add_image(&image.config, records, manifest, None)?;
        for name in &image.names {
            self.tag(id, name)?;
        }
        Ok(Loaded {
            id,
            names: image.names,
        })
    }

    /// Makes an image of one layer from a plain root file system archive.
    pub fn import(
        &self,
        stream: impl Read + Send,
        config: ImageConfig,
        remark: &str,
        platform: &Platform,
    ) -> Result<Digest, LoadError> {
        let _working = self.working()?;
        let draft = Draft::new(self)?;
        let root = fs_err::File::open(draft.files()).map_err(LoadError::Read)?;
        unpack(stream, root.as_fd(), Manner::Plain, Limits::default(), &|_| ()).map_err(LoadError::Root)?;
        let created = jiff::Timestamp::now().to_string();
        let history = History {
            created: Some(created.clone()),
            comment: (!remark.is_empty()).then(|| remark.to_owned()),
            ..History::default()
        };
        let document = ConfigFile {
            created: Some(created),
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            config,
            history: vec![history],
            ..ConfigFile::default()
        };
        Ok(self.adopt(draft, None, document)?)
    }

    /// Publishes a finished tree as the topmost layer over `parent`'s layers, and records the image.
    ///
    /// The document's `rootfs` is filled in here.
    pub(crate) fn adopt(
        &self,
        draft: Draft,
        parent: Option<Digest>,
        mut document: ConfigFile,
    ) -> Result<Digest, StoreError> {
        let mut records = match parent {
            Some(parent) => self.record(parent)?.layers,
            None => Vec::new(),
        };
        let note = draft.measure()?;
        let diff_id = note.diff_id;
        publish(self, vec![(draft, note)])?;
        records.push(LayerRecord { diff_id, blob: None });
        document.rootfs = RootFs {
            diff_ids: records.iter().map(|r| r.diff_id).collect(),
            ..RootFs::default()
        };
        if document.architecture.is_empty() {
            document.architecture = host_architecture().into();
            document.os = "linux".into();
        }
        let config = serde_json::to_vec(&document).map_err(|error| StoreError::Damaged {
            path: self.dir().to_path_buf(),
            reason: error.to_string(),
        })?;
        self.add_image(&config, records, None, None)
    }
}

/// Where an archive's parts are.
enum Parts<'a> {
    Archive {
        file: fs::File,
        index: HashMap<String, (u64, u64)>,
    },
    Folder(&'a Path),
}

impl Parts<'_> {
    fn open(&self, name: &str) -> Result<(Box<dyn Read + Send + '_>, u64), LoadError> {
        let missing = || LoadError::Missing {
            name: name.to_owned(),
        };
        match self {
            Self::Archive { file, index } => {
                let (offset, size) = *index.get(name).ok_or_else(missing)?;
                Ok((
                    Box::new(Section {
                        file,
                        at: offset,
                        left: size,
                    }),
                    size,
                ))
            }
            Self::Folder(dir) => {
                // Names come from the layout's own documents, and must not lead elsewhere.
                if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
                    return Err(missing());
                }
                let path = dir.join(name);
                let metadata = path.symlink_metadata().map_err(|_| missing())?;
                if !metadata.is_file() {
                    return Err(missing());
                }
                let file = fs_err::File::open(path).map_err(LoadError::Read)?;
                Ok((Box::new(file), metadata.len()))
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.open(name).is_ok()
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        let (read, size) = self.open(name)?;
        if size > DOCUMENT_MAX {
            let reason = format!("it has {size} bytes");
            return Err(LoadError::Document {
                name: name.to_owned(),
                reason,
            });
        }
        let mut bytes = Vec::new();
        read.take(size).read_to_end(&mut bytes).map_err(LoadError::Read)?;
        Ok(bytes)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LoadError> {
        let name = blob_name(descriptor.digest);
        let bytes = self.document(&name)?;
        if bytes.len() as u64 != descriptor.size || Digest::of(&bytes) != descriptor.digest {
            let reason = "its bytes are not those its digest and size announce".to_owned();
            return Err(LoadError::Document { name, reason });
        }
        Ok(bytes)
    }
}

/// A piece of a file, read without moving a shared position.
struct Section<'a> {
    file: &'a fs::File,
    at: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..want], self.at)?;
        if count == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Finds every file of an archive. Contents are stepped over, not read.
fn index(file: &fs::File) -> Result<HashMap<String, (u64, u64)>, LoadError> {
    let length = file.metadata().map_err(LoadError::Read)?.len();
    let mut found = HashMap::new();
    let mut links = Vec::new();
    let mut at = 0;
    // An archive of images has a handful of entries for each layer.
    let limits = Limits {
        entries: 100_000,
        ..Limits::default()
    };
    for _ in 0..limits.entries {
        let section = Section {
            file,
            at,
            left: length - at,
        };
        let mut entries = Entries::new(BufReader::with_capacity(4096, section), limits);
        let Some(entry) = entries.next_entry()? else { break };
        let name = resolve("", &String::from_utf8_lossy(&entry.path));
        let content = at + entries.position();
        let stored = match &entry.kind {
            Kind::File => entry.size,
            _ => 0,
        };
        if content.checked_add(stored).is_none_or(|end| end > length) {
            return Err(TarError::Truncated { at: length }.into());
        }
        match entry.kind {
            Kind::File => {
                found.insert(name, (content, stored));
            }
            // Docker's old layout shares a layer between images with a symbolic link.
            Kind::Symlink(target) => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                links.push((resolve(folder, &String::from_utf8_lossy(&target)), name));
            }
            Kind::HardLink(target) => links.push((resolve("", &String::from_utf8_lossy(&target)), name)),
            _ => {}
        }
        at = (content + stored).next_multiple_of(512).min(length);
    }
    for (target, name) in links {
        if let Some(place) = found.get(&target).copied() {
            found.insert(name, place);
        }
    }
    Ok(found)
}

/// A name relative to a folder of the archive, `.` and `..` worked out.
fn resolve(folder: &str, name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// One image in `manifest.json` (moby, image/spec/v1.2.md).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn contents(parts: &Parts<'_>, platform: &Platform) -> Result<Vec<Contents>, LoadError> {
    if parts.has("manifest.json") {
        return docker_contents(parts);
    }
    if parts.has("index.json") {
        let name = || "index.json".to_owned();
        let index: Index =
            serde_json::from_slice(&parts.document("index.json")?).map_err(|error| LoadError::Document {
                name: name(),
                reason: error.to_string(),
            })?;
        return oci_contents(parts, &index, platform);
    }
    Err(LoadError::NotAnImage)
}

fn docker_contents(parts: &Parts<'_>) -> Result<Vec<Contents>, LoadError> {
    let refused = |reason: String| LoadError::Document {
        name: "manifest.json".into(),
        reason,
    };
    let items: Vec<Item> = serde_json::from_slice(&parts.document("manifest.json")?)
        .map_err(|error| refused(error.to_string()))?;
    let mut contents = Vec::new();
    for item in items {
        if item.layers.len() > LAYERS_MAX {
            return Err(ManifestError::TooManyLayers(item.layers.len()).into());
        }
        let config = parts.document(&item.config)?;
        // Both layouts name the configuration by its digest; a file that was changed does not match its name.
        let stem = item
            .config
            .rsplit('/')
            .next()
            .unwrap_or("")
            .trim_end_matches(".json");
        if let Ok(named) = Digest::from_hex(stem)
            && named != Digest::of(&config)
        {
            return Err(LoadError::Document {
                name: item.config,
                reason: "its bytes do not have the digest in its name".into(),
            });
        }
        let mut names = Vec::new();
        for tag in item.repo_tags.unwrap_or_default() {
            names.push(tag.parse().map_err(|error| refused(format!("{error}")))?);
        }
        let layers = item
            .layers
            .into_iter()
            .map(|name| Part {
                name,
                descriptor: None,
            })
            .collect();
        contents.push(Contents {
            config,
            names,
            layers,
            manifest: None,
        });
    }
    Ok(contents)
}

fn oci_contents(parts: &Parts<'_>, index: &Index, platform: &Platform) -> Result<Vec<Contents>, LoadError> {
    let mut contents = Vec::new();
    for entry in &index.manifests {
        if entry.annotations.contains_key("vnd.docker.reference.type") {
            continue;
        }
        let names = entry.annotations.get("io.containerd.image.name").or_else(|| {
            entry
                .annotations
                .get("org.opencontainers.image.ref.name")
                .filter(|name| name.contains([':', '/']))
        });
        let names: Vec<Reference> = names.and_then(|name| name.parse().ok()).into_iter().collect();
        let (bytes, manifest) = oci_manifest(parts, entry, platform, 0)?;
        let config = parts.blob(&manifest.config)?;
        let layers = manifest
            .layers
            .into_iter()
            .map(|descriptor| Part {
                name: blob_name(descriptor.digest),
                descriptor: Some(descriptor),
            })
            .collect();
        contents.push(Contents {
            config,
            names,
            layers,
            manifest: Some(bytes),
        });
    }
    Ok(contents)
}

fn oci_manifest(
    parts: &Parts<'_>,
    descriptor: &Descriptor,
    platform: &Platform,
    depth: usize,
) -> Result<(Vec<u8>, Manifest), LoadError> {
    let bytes = parts.blob(descriptor)?;
    match Document::parse(&bytes, Some(&descriptor.media_type))? {
        Document::Manifest(manifest) => Ok((bytes, manifest)),
        Document::Index(_) if depth > 3 => Err(LoadError::Document {
            name: blob_name(descriptor.digest),
            reason: "indexes are nested more than three deep".into(),
        }),
        Document::Index(index) => oci_manifest(parts, index.choose(platform)?, platform, depth + 1),
    }
}

fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
