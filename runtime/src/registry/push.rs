//! From the store to a registry (distribution-spec, "Pushing").
//!
//! 1. every layer gets a compressed blob, made once and kept;
//! 2. what the registry has is skipped, what it has in another repository is mounted, the rest is sent;
//! 3. configuration and manifest follow, so that a name never points at something incomplete.

use super::{
    client::{Client, Content, RegistryError, text_header},
    credentials::Credentials,
};
use crate::{
    archive::{extract::Manner, pack::pack},
    image::{
        Digest, Event, Progress, Reference, Store, StoreError,
        layers::parallel,
        manifest::{DOCUMENT_MAX, Descriptor, media},
        progress::Doing,
        save::media_type_of,
        store::LayerRecord,
    },
};
use flate2::{Compression, write::GzEncoder};
use std::{io::Write, os::fd::AsFd};
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
    let layers = parallel(record.layers.len(), |index| {
        let layer = compressed(store, &record.layers[index])?;
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

fn as_oci(mut blob: Descriptor) -> Descriptor {
    if blob.media_type == media::DOCKER_LAYER_GZIP {
        blob.media_type = media::OCI_LAYER_GZIP.into();
    }
    blob
}

/// A layer with a blob that can be sent: the one it came as, or its directory packed and compressed.
fn compressed(store: &Store, layer: &LayerRecord) -> Result<LayerRecord, StoreError> {
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
    let files = fs_err::File::open(store.layer_path(layer.diff_id)).map_err(failed)?;
    let mut hashing =
        crate::image::digest::Hashing::new(GzEncoder::new(store.new_blob()?, Compression::new(6)));
    pack(files.as_fd(), &mut hashing, Manner::Layer).map_err(|cause| StoreError::Pack {
        layer: layer.diff_id.to_string(),
        cause,
    })?;
    let (found, _, encoder) = hashing.finish();
    if found != layer.diff_id {
        let reason = "its files changed since it was stored".to_owned();
        return Err(StoreError::DamagedLayer {
            diff_id: layer.diff_id,
            reason,
        });
    }
    let mut blob = encoder.finish().map_err(failed)?;
    blob.flush().map_err(failed)?;
    let (digest, size) = blob.finish(None)?;
    let blob = Some(Descriptor::new(media::OCI_LAYER_GZIP, digest, size));
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
