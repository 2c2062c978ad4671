//! Manifests and indexes (image-spec/manifest.md, image-index.md; Docker's image manifest version 2, schema 2).

use super::{config::host_architecture, digest::Digest};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Media types, by what they name.
pub mod media {
    /// OCI manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, plain.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker index.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker layer, plain (in archives).
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker layer that must not be pushed elsewhere.
    pub const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
}

/// Largest manifest, index or configuration that is read, in bytes (registries refuse more than 4 MiB).
pub const DOCUMENT_MAX: u64 = 4 << 20;
/// Most layers of one image; overlayfs stacks at most 500 (overlayfs.rst).
pub const LAYERS_MAX: usize = 500;

/// Where bytes are and what they are (image-spec/descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What they are.
    #[serde(default)]
    pub media_type: String,
    /// Their digest.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// In an index: for whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Of bytes at hand.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// A processor and system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, in Go's names.
    pub architecture: String,
    /// `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        Self {
            os: "linux".into(),
            architecture: host_architecture().into(),
            variant: None,
        }
    }

    /// Whether an image for `other` serves where `self` is wanted.
    pub fn accepts(&self, other: &Self) -> bool {
        let default = |platform: &Self| match (platform.architecture.as_str(), platform.variant.as_deref()) {
            ("arm64", None | Some("v8")) | ("amd64", None | Some("v1")) => String::new(),
            ("arm", None) => "v7".to_owned(),
            (_, variant) => variant.unwrap_or("").to_owned(),
        };
        self.os == other.os && self.architecture == other.architecture && default(self) == default(other)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .as_ref()
            .map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// Not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform (expected something like `linux/amd64`)")]
pub struct PlatformError(String);

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let mut parts = text.split('/');
        let (first, second, third) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let words = [Some(first), second, third];
        if parts.next().is_some() || !words.iter().flatten().all(|word| is_word(word)) {
            return Err(PlatformError(text.to_owned()));
        }
        // One word is a processor, or `linux` for this machine's.
        let (os, architecture) = match second {
            None if first == "linux" => ("linux", host_architecture()),
            None => ("linux", first),
            Some(architecture) => (first, architecture),
        };
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            "i386" => "386",
            other => other,
        };
        Ok(Self {
            os: os.into(),
            architecture: architecture.into(),
            variant: third.map(str::to_owned),
        })
    }
}

/// An image's manifest: one configuration and its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is.
    #[serde(default)]
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An index of manifests, one for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is.
    #[serde(default)]
    pub media_type: String,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Either document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

/// Why a manifest was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of the expected shape.
    #[error("the manifest cannot be read: {0}")]
    Syntax(String),
    /// A kind of artifact we cannot run.
    #[error("the manifest's media type is `{0}`, which is not an image")]
    MediaType(String),
    /// It claims to be two things at once (CVE-2021-41190).
    #[error("the manifest is ambiguous: {0}")]
    Ambiguous(&'static str),
    /// A layer of unknown kind.
    #[error("the layer {digest} has the media type `{media_type}`, which is not a file system layer")]
    Layer {
        /// The layer.
        digest: Digest,
        /// What it is said to be.
        media_type: String,
    },
    /// More than overlayfs can stack.
    #[error("the image has {0} layers; the kernel stacks at most {LAYERS_MAX}")]
    TooManyLayers(usize),
    /// No entry for the wanted platform.
    #[error("there is no image for {wanted}; the index has {offered}")]
    Platform {
        /// Wanted.
        wanted: Platform,
        /// What there is.
        offered: String,
    },
}

impl Document {
    /// Reads a manifest or index. `declared` is the media type that the descriptor or header gave, if any.
    pub fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Self, ManifestError> {
        let syntax = |error: serde_json::Error| ManifestError::Syntax(error.to_string());
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(syntax)?;
        let inside = value.get("mediaType").and_then(|kind| kind.as_str());
        // Parameters (`; charset=utf-8`) do not matter; a generic type says nothing.
        let declared = declared.and_then(|kind| kind.split(';').next()).map(str::trim);
        let declared = declared.filter(|kind| kind.starts_with("application/vnd."));
        if let (Some(inside), Some(declared)) = (inside, declared)
            && inside != declared
        {
            return Err(ManifestError::Ambiguous(
                "its own media type is not the one it was announced with",
            ));
        }
        let (has_layers, has_manifests) = (value.get("layers").is_some(), value.get("manifests").is_some());
        if has_layers && has_manifests {
            return Err(ManifestError::Ambiguous("it has both `layers` and `manifests`"));
        }
        match inside.or(declared) {
            Some(media::OCI_MANIFEST | media::DOCKER_MANIFEST) if has_layers => {}
            Some(media::OCI_INDEX | media::DOCKER_LIST) if has_manifests => {}
            Some(
                kind @ (media::OCI_MANIFEST | media::DOCKER_MANIFEST | media::OCI_INDEX | media::DOCKER_LIST),
            ) => {
                return Err(ManifestError::Syntax(format!(
                    "it is announced as `{kind}` but has another shape"
                )));
            }
            Some(kind) => return Err(ManifestError::MediaType(kind.to_owned())),
            None if has_layers || has_manifests => {}
            None => {
                return Err(ManifestError::Syntax(
                    "it has neither `layers` nor `manifests`".into(),
                ));
            }
        }
        if has_manifests {
            return serde_json::from_value(value).map(Self::Index).map_err(syntax);
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(syntax)?;
        manifest.check()?;
        Ok(Self::Manifest(manifest))
    }
}

impl Manifest {
    fn check(&self) -> Result<(), ManifestError> {
        if self.layers.len() > LAYERS_MAX {
            return Err(ManifestError::TooManyLayers(self.layers.len()));
        }
        let config = self.config.media_type.as_str();
        if !matches!(config, media::OCI_CONFIG | media::DOCKER_CONFIG | "") {
            return Err(ManifestError::MediaType(config.to_owned()));
        }
        for layer in &self.layers {
            let known = matches!(
                layer.media_type.as_str(),
                media::OCI_LAYER
                    | media::OCI_LAYER_GZIP
                    | media::OCI_LAYER_ZSTD
                    | media::DOCKER_LAYER
                    | media::DOCKER_LAYER_GZIP
                    | media::DOCKER_FOREIGN
                    | "application/vnd.docker.image.rootfs.diff.tar.zstd"
                    | "application/vnd.oci.image.layer.nondistributable.v1.tar"
                    | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            );
            if !known {
                let media_type = layer.media_type.clone();
                return Err(ManifestError::Layer {
                    digest: layer.digest,
                    media_type,
                });
            }
        }
        Ok(())
    }
}

impl Index {
    /// The entry for a platform. Entries without a platform serve any, attestations (`unknown/unknown`) none.
    pub fn choose(&self, wanted: &Platform) -> Result<&Descriptor, ManifestError> {
        let is_image = |entry: &&Descriptor| !entry.annotations.contains_key("vnd.docker.reference.type");
        let exact = |entry: &&Descriptor| {
            entry
                .platform
                .as_ref()
                .is_some_and(|platform| wanted.accepts(platform))
        };
        let images = || self.manifests.iter().filter(is_image);
        if let Some(found) = images().find(exact) {
            return Ok(found);
        }
        // An amd64 machine runs 386 code, and so on; but that must be asked for.
        let mut nameless = images().filter(|entry| entry.platform.is_none());
        if let (Some(only), None) = (nameless.next(), nameless.next()) {
            return Ok(only);
        }
        let offered: Vec<_> = images()
            .filter_map(|entry| entry.platform.as_ref())
            .map(Platform::to_string)
            .collect();
        let offered = if offered.is_empty() {
            "none".to_owned()
        } else {
            offered.join(", ")
        };
        Err(ManifestError::Platform {
            wanted: wanted.clone(),
            offered,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> String {
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{}","size":1}}"#,
            Digest::of(b"x")
        )
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        let config = descriptor(media::OCI_CONFIG);
        let layer = descriptor(media::OCI_LAYER);
        let good = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
        assert!(Document::parse(good.as_bytes(), None).is_ok());
        assert!(Document::parse(good.as_bytes(), Some(media::OCI_MANIFEST)).is_ok());
        let both = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[]}}"#);
        let typed = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{config},"layers":[]}}"#,
            media::OCI_MANIFEST
        );
        let strange = format!(
            r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#,
            descriptor("text/plain")
        );
        for (text, declared) in [
            (both.as_str(), None),
            (typed.as_str(), Some(media::DOCKER_MANIFEST)),
            (good.as_str(), Some(media::OCI_INDEX)),
            (strange.as_str(), None),
            ("{}", None),
            ("[]", None),
            ("", None),
            (
                r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}"#,
                None,
            ),
        ] {
            assert!(Document::parse(text.as_bytes(), declared).is_err(), "{text}");
        }
    }

    #[test]
    fn chooses_by_platform() {
        let entry = |text: &str| {
            let mut entry = Descriptor::new(media::OCI_MANIFEST, Digest::of(text.as_bytes()), 1);
            entry.platform = Some(text.parse().unwrap());
            entry
        };
        let index = Index {
            schema_version: 2,
            media_type: String::new(),
            manifests: ["linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64"]
                .map(entry)
                .to_vec(),
            annotations: BTreeMap::new(),
        };
        for (wanted, found) in [
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm", "linux/arm/v7"),
            ("amd64", "linux/amd64"),
        ] {
            let chosen = index.choose(&wanted.parse().unwrap()).unwrap();
            assert_eq!(chosen.platform.as_ref().unwrap().to_string(), found);
        }
        assert!(index.choose(&"linux/s390x".parse().unwrap()).is_err());
    }
}
