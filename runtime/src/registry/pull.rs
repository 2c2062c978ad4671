//! From a registry into the store.

use super::{
    client::{Client, RegistryError, text_header},
    credentials::Credentials,
};
use crate::fetch::Patience;
use crate::image::{
    ConfigFile, Digest, Event, Image, Platform, Progress, Reference, Store, StoreError,
    layers::{self, Keep, Source},
    manifest::{DOCUMENT_MAX, Descriptor, Document, Manifest, media},
    progress::Doing,
    store::LayerRecord,
};
use rustix::fs::FlockOperation;
use std::{
    io::{self, Read},
    time::Duration,
};

/// What a manifest may be.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Times a cut download is taken up again without having come further by [`PROGRESS`].
const RESUMES: u32 = 10;
/// The same where nothing came in time: each has cost a long wait.
const STALLS: u32 = 3;
/// Bytes that make up for every resumption before.
const PROGRESS: u64 = 1 << 20;

/// Pulls an image for a platform and gives it its name.
pub fn pull(
    store: &Store,
    reference: &Reference,
    platform: &Platform,
    credentials: &Credentials,
    progress: &dyn Progress,
) -> Result<Image, RegistryError> {
    pull_with(store, reference, platform, credentials, None, progress)
}

/// The same, with other bounds on waiting than usual.
///
/// # Errors
/// As [`pull`].
pub fn pull_with(
    store: &Store,
    reference: &Reference,
    platform: &Platform,
    credentials: &Credentials,
    patience: Option<Patience>,
    progress: &dyn Progress,
) -> Result<Image, RegistryError> {
    let _working = store.working()?;
    let (host, path) = (reference.host(), reference.path());
    let client = match patience {
        None => Client::new(host, path, credentials),
        Some(patience) => Client::with_patience(host, path, credentials, patience),
    };
    let wanted = reference.digest().map_or_else(
        || reference.tag().unwrap_or("latest").to_owned(),
        |d| d.to_string(),
    );
    let (top, bytes, document) = manifest(&client, &wanted, reference.digest(), None)?;
    let (bytes, manifest) = match document {
        Document::Manifest(manifest) => (bytes, manifest),
        Document::Index(index) => {
            let entry = index.choose(platform)?;
            let found = manifest(
                &client,
                &entry.digest.to_string(),
                Some(entry.digest),
                Some(entry),
            )?;
            match found {
                (_, bytes, Document::Manifest(manifest)) => (bytes, manifest),
                (_, _, Document::Index(_)) => {
                    return Err(wrong(
                        &client,
                        &entry.digest.to_string(),
                        "an index inside an index",
                    ));
                }
            }
        }
    };
    let config = config(&client, store, &manifest)?;
    let document: ConfigFile = serde_json::from_slice(&config)
        .map_err(|error| wrong(&client, "the configuration", &error.to_string()))?;
    let diff_ids = &document.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(wrong(
            &client,
            "the configuration",
            "it names another number of layers than the manifest",
        ));
    }
    let record = |index: usize| LayerRecord {
        diff_id: diff_ids[index],
        blob: Some(manifest.layers[index].clone()),
    };
    let known = |index: usize| {
        let is_here = layers::is_complete(store, diff_ids[index]);
        if is_here {
            let id = manifest.layers[index].digest.short();
            progress.event(Event::Layer {
                id: &id,
                doing: Doing::Present,
                done: 0,
                total: None,
            });
        }
        is_here.then(|| {
            // Without the blob the record says so: a push then packs the layer itself.
            let has_blob = store.has_blob(manifest.layers[index].digest);
            LayerRecord {
                blob: record(index).blob.filter(|_| has_blob),
                ..record(index)
            }
        })
    };
    let source = |index: usize| download(store, &client, &manifest.layers[index], diff_ids[index], progress);
    let records = layers::add(store, diff_ids.len(), &known, &source, progress)?;
    let manifest_digest = store.put_blob(&bytes)?;
    let repo_digest = format!("{}@{top}", reference.repository());
    let id = store.add_image(&config, records, Some(manifest_digest), Some(repo_digest))?;
    if reference.tag().is_some() {
        store.tag(
            id,
            &match reference.digest() {
                None => reference.clone(),
                // `name:tag@digest` is fetched by digest; the tag is only a remark then.
                Some(digest) => reference.with_digest(digest),
            },
        )?;
    } else {
        store.tag(id, reference)?;
    }
    let mut image = store.image(id)?;
    image.reference = Some(reference.clone());
    Ok(image)
}

/// The digest that the registry has for a name now: of the index where there is one, so that it holds on every
/// platform. Nothing is kept.
///
/// # Errors
/// When the registry does not answer, does not have it, or sends something else than it announces.
pub fn resolve(reference: &Reference, credentials: &Credentials) -> Result<Digest, RegistryError> {
    let client = Client::new(reference.host(), reference.path(), credentials);
    let wanted = reference.tag().unwrap_or("latest");
    manifest(&client, wanted, None, None).map(|(digest, ..)| digest)
}

fn manifest(
    client: &Client,
    wanted: &str,
    expected: Option<Digest>,
    entry: Option<&Descriptor>,
) -> Result<(Digest, Vec<u8>, Document), RegistryError> {
    let response = client.get(&format!("manifests/{wanted}"), &[("accept", ACCEPT)])?;
    let kind = text_header(&response, "content-type");
    let announced = text_header(&response, "docker-content-digest");
    let mut bytes = Vec::new();
    let read = client
        .body(response)
        .take(DOCUMENT_MAX + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| cut(client, wanted, &error))?;
    if bytes.len() as u64 > DOCUMENT_MAX {
        return Err(wrong(client, wanted, "the manifest is larger than 4 MiB"));
    }
    let digest = Digest::of(&bytes);
    let expected = expected.or(announced.parse().ok());
    if expected.is_some_and(|expected| expected != digest) {
        return Err(wrong(
            client,
            wanted,
            "the manifest does not have the announced digest",
        ));
    }
    if entry.is_some_and(|entry| entry.size != bytes.len() as u64) {
        return Err(wrong(
            client,
            wanted,
            "the manifest does not have the announced size",
        ));
    }
    let document = Document::parse(&bytes, Some(&kind))?;
    Ok((digest, bytes, document))
}

fn config(client: &Client, store: &Store, manifest: &Manifest) -> Result<Vec<u8>, RegistryError> {
    let descriptor = &manifest.config;
    if let Ok(bytes) = store.read_blob(descriptor.digest, DOCUMENT_MAX) {
        return Ok(bytes);
    }
    let what = format!("blobs/{}", descriptor.digest);
    if descriptor.size > DOCUMENT_MAX {
        return Err(wrong(client, &what, "the configuration is larger than 4 MiB"));
    }
    let mut bytes = Vec::new();
    let response = client.get(&what, &[])?;
    let read = client
        .body(response)
        .take(descriptor.size + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| cut(client, &what, &error))?;
    if bytes.len() as u64 != descriptor.size || Digest::of(&bytes) != descriptor.digest {
        return Err(wrong(
            client,
            &what,
            "the configuration does not have the announced digest and size",
        ));
    }
    Ok(bytes)
}

/// Opens a layer's stream, after whoever else downloads the same layer is done with it.
fn download<'a>(
    store: &'a Store,
    client: &'a Client,
    descriptor: &'a Descriptor,
    diff_id: Digest,
    progress: &dyn Progress,
) -> Result<Source<'a>, StoreError> {
    let id = descriptor.digest.short();
    progress.event(Event::Layer {
        id: &id,
        doing: Doing::Waiting,
        done: 0,
        total: Some(descriptor.size),
    });
    let guard = store.lock(
        &format!("ingest/{}.lock", descriptor.digest.hex()),
        FlockOperation::LockExclusive,
    )?;
    let is_stored = store.has_blob(descriptor.digest);
    let read: Box<dyn Read + Send + 'a> = if is_stored {
        Box::new(store.open_blob(descriptor.digest)?)
    } else {
        Box::new(Download {
            client,
            descriptor,
            body: None,
            at: 0,
            mark: 0,
            resumes: 0,
            stalls: 0,
        })
    };
    Ok(Source {
        read,
        size: Some(descriptor.size),
        blob: Some(descriptor.digest),
        diff_id: Some(diff_id),
        media_type: if descriptor.media_type == media::DOCKER_LAYER {
            media::OCI_LAYER.into()
        } else {
            descriptor.media_type.clone()
        },
        keep: if is_stored { Keep::Nothing } else { Keep::Blob },
        guard: Some(guard),
    })
}

/// A blob as a stream that takes up again where a connection was cut (RFC 9110, "Range Requests").
struct Download<'a> {
    client: &'a Client,
    descriptor: &'a Descriptor,
    body: Option<Box<dyn Read + Send>>,
    at: u64,
    /// Where it was when resumptions began to count.
    mark: u64,
    resumes: u32,
    stalls: u32,
}

impl Download<'_> {
    fn open(&mut self) -> io::Result<()> {
        let range = format!("bytes={}-", self.at);
        let headers = if self.at == 0 {
            Vec::new()
        } else {
            vec![("range", range.as_str())]
        };
        let rest = format!("blobs/{}", self.descriptor.digest);
        let response = self.client.get(&rest, &headers).map_err(|error| match error {
            RegistryError::Unreachable { cause, .. } if matches!(*cause, ureq::Error::Timeout(_)) => {
                io::Error::new(io::ErrorKind::TimedOut, cause)
            }
            other => io::Error::other(other),
        })?;
        let is_partial = response.status() == 206;
        let mut reader: Box<dyn Read + Send> = Box::new(self.client.body(response));
        if self.at > 0 && !is_partial {
            // It starts over, so what we have is read past.
            let skipped = io::copy(&mut (&mut reader).take(self.at), &mut io::sink())?;
            if skipped < self.at {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.body = Some(reader);
        Ok(())
    }
}

impl Download<'_> {
    /// Waits before the next try; an error when there is to be none.
    fn again(&mut self, cause: io::Error) -> io::Result<()> {
        if self.at >= self.mark + PROGRESS {
            (self.mark, self.resumes, self.stalls) = (self.at, 0, 0);
        }
        self.resumes += 1;
        self.stalls += u32::from(cause.kind() == io::ErrorKind::TimedOut);
        // What the registry says about the blob itself, it will say again; the client has tried more than once.
        let is_final = cause.get_ref().is_some_and(|inner| inner.is::<RegistryError>());
        if is_final || self.resumes > RESUMES || self.stalls >= STALLS {
            let (host, at, size) = (self.client.host(), self.at, self.descriptor.size);
            let tries = self.resumes;
            return Err(io::Error::new(
                cause.kind(),
                format!("the registry `{host}` gave {at} of {size} bytes in {tries} tries: {cause}"),
            ));
        }
        std::thread::sleep(Duration::from_millis(100 << (self.resumes - 1).min(6)));
        Ok(())
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.descriptor.size - self.at;
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            // More than announced is a lie; one byte tells.
            let surplus = self
                .body
                .as_mut()
                .map_or(0, |body| body.read(&mut [0]).unwrap_or(0));
            return if surplus == 0 || buffer.is_empty() {
                Ok(0)
            } else {
                Err(io::Error::other(
                    "the registry sends more bytes than it announced",
                ))
            };
        }
        loop {
            let result = match &mut self.body {
                Some(body) => body.read(&mut buffer[..want]),
                None => match self.open() {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            match result {
                Ok(count) if count > 0 => {
                    self.at += count as u64;
                    return Ok(count);
                }
                result => {
                    self.body = None;
                    let cause = result
                        .err()
                        .unwrap_or_else(|| io::Error::other("the connection was cut"));
                    self.again(cause)?;
                }
            }
        }
    }
}

/// A document that did not come whole.
fn cut(client: &Client, what: &str, error: &io::Error) -> RegistryError {
    RegistryError::Cut {
        host: client.host().to_owned(),
        what: what.to_owned(),
        reason: error.to_string(),
    }
}

fn wrong(client: &Client, what: &str, reason: &str) -> RegistryError {
    RegistryError::Wrong {
        host: client.host().to_owned(),
        what: what.to_owned(),
        reason: reason.to_owned(),
    }
}
