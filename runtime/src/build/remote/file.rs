//! Archives and Dockerfiles at a URL.

use super::{Fetched, RemoteError, keep, key};
use crate::{
    archive::{Limits, extract::Manner, layer},
    fetch::{Paced, Patience, agent},
    image::{Digest, Event, Progress},
};
use std::{io::Read, os::fd::AsFd as _, path::Path};

/// Bytes of the largest archive that is fetched.
const LARGEST: u64 = 4 << 30;
/// Bytes of the largest Dockerfile at a URL.
const DOCKERFILE: usize = 1 << 20;
/// Redirects followed.
const REDIRECTS: usize = 10;

/// What a server gave.
struct Answer {
    bytes: Vec<u8>,
    /// Its entity tag.
    tag: Option<String>,
}

/// An archive or a Dockerfile at a URL; fetched again only when the server says that it changed.
pub(super) fn fetch(url: &str, cache: &Path, progress: &dyn Progress) -> Result<Fetched, RemoteError> {
    let note = cache.join(format!("{}.tag", key(&[url])));
    // Two lines: the entity tag, and the digest of what it stood for.
    let known = fs_err::read_to_string(&note).ok().and_then(|text| {
        let (tag, version) = text.split_once('\n')?;
        Some((tag.to_owned(), version.to_owned()))
    });
    let known = known.filter(|(_, version)| cache.join(version).is_dir());
    let Some(Answer { bytes, tag }) = get(url, known.as_ref().map(|(tag, _)| tag.as_str()))? else {
        let version = known.map(|(_, version)| version).unwrap_or_default();
        return Ok(Fetched {
            folder: cache.join(&version),
            version,
        });
    };
    progress.event(Event::Notice(&format!("fetched {url}, {} bytes", bytes.len())));
    let version = Digest::of(&bytes).hex();
    let place = cache.join(&version);
    if !place.is_dir() {
        keep(url, cache, &place, |draft| unpack(url, &bytes, draft))?;
    }
    if let Some(tag) = tag {
        let text = format!("{tag}\n{version}");
        fs_err::write(&note, text).map_err(|cause| RemoteError::Keep {
            url: url.to_owned(),
            cause,
        })?;
    }
    Ok(Fetched {
        folder: place,
        version,
    })
}

/// What a URL has, with its entity tag; `None` when it is still what had that tag.
fn get(url: &str, known: Option<&str>) -> Result<Option<Answer>, RemoteError> {
    let failed = |reason: String| RemoteError::Fetch {
        url: url.to_owned(),
        reason,
    };
    let agent = agent(Patience::default(), &[], None);
    let mut address = url.to_owned();
    for _ in 0..REDIRECTS {
        let mut request = agent.get(&address);
        if let Some(tag) = known {
            request = request.header("If-None-Match", tag);
        }
        let mut response = request.call().map_err(|error| failed(error.to_string()))?;
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (location, tag) = (header("location"), header("etag"));
        match (response.status().as_u16(), location) {
            (200, _) => {
                let mut bytes = Vec::new();
                let reader = response.body_mut().with_config().limit(LARGEST).reader();
                Paced::new(reader, Patience::default())
                    .read_to_end(&mut bytes)
                    .map_err(|error| failed(error.to_string()))?;
                return Ok(Some(Answer { bytes, tag }));
            }
            (304, _) if known.is_some() => return Ok(None),
            (301 | 302 | 303 | 307 | 308, Some(location)) if location.starts_with("http") => {
                address = location
            }
            (status, _) => return Err(failed(format!("HTTP {status}"))),
        }
    }
    Err(failed("too many redirects".into()))
}

/// An archive becomes its files, a text the Dockerfile of an empty folder.
fn unpack(url: &str, bytes: &[u8], folder: &Path) -> Result<(), RemoteError> {
    let keep = |cause| RemoteError::Keep {
        url: url.to_owned(),
        cause,
    };
    let root = fs_err::File::open(folder).map_err(keep)?;
    let unpacked = layer::unpack(bytes, root.as_fd(), Manner::Plain, Limits::default(), &|_| ());
    let cause = match unpacked {
        Ok(_) => return Ok(()),
        Err(cause) => cause,
    };
    let is_text = bytes.len() <= DOCKERFILE && !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    if !is_text {
        return Err(RemoteError::Unpack {
            url: url.to_owned(),
            cause,
        });
    }
    fs_err::write(folder.join("Dockerfile"), bytes).map_err(keep)
}
