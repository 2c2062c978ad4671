//! Images into archives that Docker and Podman load, or OCI layouts.
//!
//! Both forms have the OCI layout's `blobs/`, `index.json` and `oci-layout`; Docker's adds `manifest.json`, as
//! `docker save` has written it since version 25.

use super::{
    digest::Digest,
    layers,
    manifest::{DOCUMENT_MAX, Descriptor, Manifest, media},
    reference::Reference,
    store::{LayerRecord, Record, Store, StoreError},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Read, Write},
};

/// Kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `docker load` takes it.
    Docker,
    /// An OCI image layout.
    Oci,
}

impl Store {
    /// Writes images with the given names to one archive.
    pub fn save(
        &self,
        images: &[(Digest, Vec<Reference>)],
        form: Form,
        out: impl Write,
    ) -> Result<(), StoreError> {
        let _working = self.working()?;
        let mut archive = Archive {
            out: tar::Builder::new(out),
            written: HashSet::new(),
        };
        let (mut items, mut manifests) = (Vec::new(), Vec::new());
        archive.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        for (id, names) in images {
            let record = self.record(*id)?;
            let config = self.read_blob(*id, DOCUMENT_MAX)?;
            archive.blob(*id, &config)?;
            let layers: Vec<Descriptor> = record
                .layers
                .iter()
                .map(|layer| self.descriptor(layer))
                .collect::<Result<_, _>>()?;
            for (layer, descriptor) in record.layers.iter().zip(&layers) {
                archive.layer(self, layer, descriptor)?;
            }
            let bytes = self.manifest_bytes(&record, &layers, config.len() as u64)?;
            let digest = archive.blob(Digest::of(&bytes), &bytes)?;
            let entry = |name: Option<&Reference>| {
                let mut entry = Descriptor::new(media_type_of(&bytes), digest, bytes.len() as u64);
                if let Some(name) = name {
                    entry.annotations = BTreeMap::from([
                        ("io.containerd.image.name".to_owned(), name.to_string()),
                        (
                            "org.opencontainers.image.ref.name".to_owned(),
                            name.tag().unwrap_or("latest").to_owned(),
                        ),
                    ]);
                }
                entry
            };
            if names.is_empty() {
                manifests.push(entry(None));
            }
            manifests.extend(names.iter().map(|name| entry(Some(name))));
            let path = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
            let tags: Vec<String> = names
                .iter()
                .filter(|name| name.tag().is_some())
                .map(Reference::familiar)
                .collect();
            let tags = if tags.is_empty() { Value::Null } else { json!(tags) };
            let paths: Vec<String> = layers.iter().map(|layer| path(layer.digest)).collect();
            items.push(json!({"Config": path(*id), "RepoTags": tags, "Layers": paths}));
        }
        let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests});
        archive.bytes("index.json", index.to_string().as_bytes())?;
        if form == Form::Docker {
            archive.bytes("manifest.json", Value::from(items).to_string().as_bytes())?;
        }
        archive
            .out
            .into_inner()
            .and_then(|mut out| out.flush())
            .map_err(unwritable)
    }

    /// What a layer is in an archive: the blob it came as, or its own archive without compression.
    fn descriptor(&self, layer: &LayerRecord) -> Result<Descriptor, StoreError> {
        if let Some(blob) = layer.blob.as_ref().filter(|blob| self.has_blob(blob.digest)) {
            let media_type = match blob.media_type.as_str() {
                media::DOCKER_LAYER_GZIP => media::OCI_LAYER_GZIP,
                media::DOCKER_LAYER => media::OCI_LAYER,
                other => other,
            };
            return Ok(Descriptor::new(media_type, blob.digest, blob.size));
        }
        let note = layers::note(self, layer.diff_id).ok_or_else(|| StoreError::MissingLayer {
            diff_id: layer.diff_id,
            image: "to be saved".into(),
        })?;
        Ok(Descriptor::new(media::OCI_LAYER, layer.diff_id, note.archive))
    }

    /// The manifest an image came with, if it still fits, or a new one.
    pub(crate) fn manifest_bytes(
        &self,
        record: &Record,
        layers: &[Descriptor],
        config_size: u64,
    ) -> Result<Vec<u8>, StoreError> {
        if let Some(bytes) = record
            .manifest
            .and_then(|digest| self.read_blob(digest, DOCUMENT_MAX).ok())
            && let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes)
            && manifest
                .layers
                .iter()
                .map(|layer| layer.digest)
                .eq(layers.iter().map(|layer| layer.digest))
            && manifest.config.digest == record.id
        {
            return Ok(bytes);
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: media::OCI_MANIFEST.into(),
            config: Descriptor::new(media::OCI_CONFIG, record.id, config_size),
            layers: layers.to_vec(),
            annotations: BTreeMap::new(),
        };
        serde_json::to_vec(&manifest).map_err(|error| StoreError::Damaged {
            path: self.record_path(record.id),
            reason: error.to_string(),
        })
    }
}

/// The media type a manifest gives itself.
pub(crate) fn media_type_of(manifest: &[u8]) -> &'static str {
    let value: Value = serde_json::from_slice(manifest).unwrap_or(Value::Null);
    match value.get("mediaType").and_then(Value::as_str) {
        Some(media::DOCKER_MANIFEST) => media::DOCKER_MANIFEST,
        _ => media::OCI_MANIFEST,
    }
}

struct Archive<W: Write> {
    out: tar::Builder<W>,
    written: HashSet<Digest>,
}

impl<W: Write> Archive<W> {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.out
            .append_data(&mut header(bytes.len() as u64), name, bytes)
            .map_err(unwritable)
    }

    fn blob(&mut self, digest: Digest, bytes: &[u8]) -> Result<Digest, StoreError> {
        if self.written.insert(digest) {
            self.bytes(&format!("blobs/sha256/{}", digest.hex()), bytes)?;
        }
        Ok(digest)
    }

    fn layer(
        &mut self,
        store: &Store,
        layer: &LayerRecord,
        descriptor: &Descriptor,
    ) -> Result<(), StoreError> {
        if !self.written.insert(descriptor.digest) {
            return Ok(());
        }
        let name = format!("blobs/sha256/{}", descriptor.digest.hex());
        let mut header = header(descriptor.size);
        if store.has_blob(descriptor.digest) {
            let blob = Verified::new(store.open_blob(descriptor.digest)?, descriptor);
            return self
                .out
                .append_data(&mut header, name, blob)
                .map_err(|cause| damaged(descriptor, &cause));
        }
        // Streamed straight into the archive; what comes out must be what the layer is called.
        std::thread::scope(|scope| {
            let (reader, writer) = io::pipe().map_err(unwritable)?;
            let writing = scope.spawn(move || {
                store.write_layer(layer.diff_id, io::BufWriter::with_capacity(1 << 18, writer))
            });
            let stream = reader.take(descriptor.size);
            let appended = self.out.append_data(&mut header, name, stream);
            let written = writing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (appended, written) {
                // Where our side fails first, the other one only sees that nobody reads.
                (Err(cause), Err(StoreError::Pack { .. }) | Ok(())) => Err(unwritable(cause)),
                (_, written) => written,
            }
        })
    }
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn unwritable(cause: io::Error) -> StoreError {
    StoreError::Io {
        action: "write the archive",
        cause,
    }
}

fn damaged(descriptor: &Descriptor, cause: &io::Error) -> StoreError {
    match cause.kind() {
        io::ErrorKind::InvalidData => StoreError::DamagedLayer {
            diff_id: descriptor.digest,
            reason: cause.to_string(),
        },
        kind => unwritable(io::Error::new(kind, cause.to_string())),
    }
}

/// A stream that fails at its end if it was not what it was announced as.
struct Verified<R> {
    inner: Option<super::digest::Hashing<io::Take<R>>>,
    expected: Digest,
    size: u64,
}

impl<R: Read> Verified<R> {
    fn new(inner: R, descriptor: &Descriptor) -> Self {
        let inner = super::digest::Hashing::new(inner.take(descriptor.size + 1));
        Self {
            inner: Some(inner),
            expected: descriptor.digest,
            size: descriptor.size,
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(inner) = &mut self.inner else {
            return Ok(0);
        };
        let count = inner.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(inner) = self.inner.take()
        {
            let (digest, bytes, _) = inner.finish();
            if digest != self.expected || bytes != self.size {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "its bytes changed since it was stored",
                ));
            }
        }
        Ok(count)
    }
}
