//! From the store to a registry (distribution-spec, "Pushing").
//!
//! 1. every layer gets a blob, made once and kept: compressed, unless the image came with a manifest of plain ones;
//! 2. what the registry has is skipped, what it has in another repository is mounted, the rest is sent;
//! 3. configuration and manifest follow, so that a name never points at something incomplete.

use super::{
    client::{Client, Content, RegistryError, text_header},
    credentials::Credentials,
};
use crate::image::{
    Digest, Event, Progress, Reference, Store, StoreError,
    digest::Hashing,
    layers::parallel,
    manifest::{DOCUMENT_MAX, Descriptor, Manifest, media},
    progress::Doing,
    save::media_type_of,
    store::{LayerRecord, Record},
};
use flate2::{Compression, write::GzEncoder};
use std::collections::HashSet;
use ureq::http::Method;

/// Pushes the image of that name to the registry the name says, and gives the manifest's digest.
pub fn push(
    store: &Store,
    reference: &Reference,
    credentials: &Credentials,
    progress: &dyn Progress,
) -> Result<Digest, RegistryError> {
    let _working = store.working()?;
    let image = store.find(reference)?.ok_or_else(|| StoreError::NoSuchImage {
        name: reference.familiar(),
    })?;
    let mut record = store.record(image.id)?;
    let client = Client::new(reference.host(), reference.path(), credentials);
    // Repositories of the same registry that may have the layers already.
    let host = format!("{}/", reference.host());
    let others: Vec<String> = record
        .repo_digests
        .iter()
        .filter_map(|text| {
            text.strip_prefix(&host)?
                .split_once('@')
                .map(|(path, _)| path.to_owned())
        })
        .filter(|path| path != reference.path())
        .collect();
    let plain = plain_layers(store, &record);
    let layers = parallel(record.layers.len(), |index| {
        let layer = &record.layers[index];
        let layer = sendable(store, layer, plain.contains(&layer.diff_id))?;
        let blob = layer.blob.clone().ok_or(StoreError::MissingBlob {
            digest: layer.diff_id,
        })?;
        send(store, &client, &blob, &others, progress)?;
        Ok::<_, RegistryError>(layer)
    })?;
    let config = store.read_blob(image.id, DOCUMENT_MAX)?;
    let config_size = config.len() as u64;
    send(
        store,
        &client,
        &Descriptor::new(media::OCI_CONFIG, image.id, config_size),
        &[],
        progress,
    )?;
    record.layers = layers;
    let descriptors: Vec<Descriptor> = record
        .layers
        .iter()
        .filter_map(|layer| layer.blob.clone())
        .map(as_oci)
        .collect();
    let manifest = store.manifest_bytes(&record, &descriptors, config_size)?;
    let digest = store.put_blob(&manifest)?;
    let tag = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
    let rest = format!("manifests/{tag}");
    let headers = [("content-type", media_type_of(&manifest))];
    client.send(
        Method::PUT,
        &client.url(&rest),
        &headers,
        &Content::Bytes(&manifest),
        &client.scope(true),
        &rest,
    )?;
    record.manifest = Some(digest);
    let known = format!("{}@{digest}", reference.repository());
    if !record.repo_digests.contains(&known) {
        record.repo_digests.push(known);
    }
    store.put_record(&record)?;
    Ok(digest)
}

/// Layers that the manifest an image came with has without compression: sent so again, the manifest stays the same.
fn plain_layers(store: &Store, record: &Record) -> HashSet<Digest> {
    let bytes = record
        .manifest
        .and_then(|digest| store.read_blob(digest, DOCUMENT_MAX).ok());
    let manifest = bytes.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    let layers = manifest.map(|manifest| manifest.layers).unwrap_or_default();
    layers.into_iter().map(|layer| layer.digest).collect()
}

fn as_oci(mut blob: Descriptor) -> Descriptor {
    if blob.media_type == media::DOCKER_LAYER_GZIP {
        blob.media_type = media::OCI_LAYER_GZIP.into();
    }
    blob
}

/// A layer with a blob that can be sent: the one it came as, or its archive, compressed unless the image's manifest
/// has it plain.
fn sendable(store: &Store, layer: &LayerRecord, is_plain: bool) -> Result<LayerRecord, StoreError> {
    if layer
        .blob
        .as_ref()
        .is_some_and(|blob| store.has_blob(blob.digest))
    {
        return Ok(layer.clone());
    }
    let failed = |cause| StoreError::Io {
        action: "compress a layer",
        cause,
    };
    let blob = Hashing::new(store.new_blob()?);
    let (media_type, blob) = if is_plain {
        let mut blob = blob;
        store.write_layer(layer.diff_id, &mut blob)?;
        (media::OCI_LAYER, blob)
    } else {
        let mut encoder = GzEncoder::new(blob, Compression::new(6));
        store.write_layer(layer.diff_id, &mut encoder)?;
        (media::OCI_LAYER_GZIP, encoder.finish().map_err(failed)?)
    };
    let (digest, size, blob) = blob.finish();
    blob.finish(digest)?;
    let blob = Some(Descriptor::new(media_type, digest, size));
    Ok(LayerRecord {
        diff_id: layer.diff_id,
        blob,
    })
}

/// Sends a blob, unless the registry has it.
fn send(
    store: &Store,
    client: &Client,
    blob: &Descriptor,
    others: &[String],
    progress: &dyn Progress,
) -> Result<(), RegistryError> {
    let scope = client.scope(true);
    let id = blob.digest.short();
    let event = |doing, done| {
        progress.event(Event::Layer {
            id: &id,
            doing,
            done,
            total: Some(blob.size),
        })
    };
    let what = format!("blobs/{}", blob.digest);
    match client.send(
        Method::HEAD,
        &client.url(&what),
        &[],
        &Content::Empty,
        &scope,
        &what,
    ) {
        Ok(_) => {
            event(Doing::Present, blob.size);
            return Ok(());
        }
        Err(RegistryError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    event(Doing::Uploading, 0);
    let start = client.url("blobs/uploads/");
    let post = |url: &str, scope: &str| {
        let length = [("content-length", "0")];
        client.send(
            Method::POST,
            url,
            &length,
            &Content::Empty,
            scope,
            "blobs/uploads/",
        )
    };
    let mounted = others.first().map(|other| {
        // Reading there must be allowed too; whoever may not gets an ordinary upload.
        let both = format!("{scope} repository:{other}:pull");
        post(&format!("{start}?mount={}&from={other}", blob.digest), &both)
    });
    let response = match mounted {
        Some(Ok(response)) => response,
        None | Some(Err(RegistryError::Denied { .. } | RegistryError::NotFound { .. })) => {
            post(&start, &scope)?
        }
        Some(Err(error)) => return Err(error),
    };
    if response.status() == 201 {
        event(Doing::Done, blob.size);
        return Ok(());
    }
    let location = client.absolute(&text_header(&response, "location"));
    let separator = if location.contains('?') { '&' } else { '?' };
    let url = format!("{location}{separator}digest={}", blob.digest);
    let headers = [("content-type", "application/octet-stream")];
    let content = Content::File(store.blob_path(blob.digest), blob.size);
    client.send(Method::PUT, &url, &headers, &content, &scope, &what)?;
    event(Doing::Done, blob.size);
    Ok(())
}
