//! Fetching from mirrors: verified, in parallel, kept under the digest for the next time.

use super::DebianError;
use crate::{
    fetch::{Paced, Patience, agent},
    image::digest::{Digest, Hashing},
};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};
use ureq::Agent;

/// Tries of one file, with a growing pause in between.
const TRIES: u32 = 4;
/// Redirects followed for one file.
const REDIRECTS: u32 = 5;

/// A client for mirrors with its cache.
#[derive(Debug, Clone)]
pub struct Mirror {
    agent: Agent,
    cache: PathBuf,
}

impl Mirror {
    /// Keeps files in `cache`, which is made when missing.
    pub fn new(cache: &Path, proxy: Option<&str>) -> Result<Self, DebianError> {
        fs_err::create_dir_all(cache).map_err(|cause| DebianError::Io {
            action: "create",
            path: cache.to_path_buf(),
            cause,
        })?;
        Ok(Self {
            agent: agent(Patience::default(), &[], proxy),
            cache: cache.to_path_buf(),
        })
    }

    /// A small file that is not announced by a hash.
    pub fn text(&self, base: &str, path: &str) -> Result<String, DebianError> {
        let mut text = String::new();
        self.with_retries(path, || {
            text.clear();
            self.open(base, path)?
                .take(4 << 20)
                .read_to_string(&mut text)
                .map_err(|cause| DebianError::Fetch {
                    what: path.to_owned(),
                    cause: cause.into(),
                })
        })?;
        Ok(text)
    }

    /// A file with a known digest: from the cache, or fetched into it.
    pub fn file(&self, base: &str, path: &str, digest: Digest, size: u64) -> Result<PathBuf, DebianError> {
        let kept = self.cache.join(digest.hex());
        if kept.metadata().is_ok_and(|metadata| metadata.len() == size) && is_intact(&kept, digest) {
            return Ok(kept);
        }
        self.with_retries(path, || self.fetch(base, path, digest, size, &kept))?;
        Ok(kept)
    }

    fn fetch(
        &self,
        base: &str,
        path: &str,
        digest: Digest,
        size: u64,
        kept: &Path,
    ) -> Result<(), DebianError> {
        let temporary = kept.with_extension(crate::image::durable::unique());
        let failed = |cause| DebianError::Io {
            action: "write",
            path: temporary.clone(),
            cause,
        };
        let result = (|| {
            // Never more than announced, so that a lying mirror cannot fill the disk.
            let mut body = self.open(base, path)?.take(size + 1);
            let mut file = Hashing::new(fs_err::File::create(&temporary).map_err(failed)?);
            io::copy(&mut body, &mut file).map_err(|cause| DebianError::Fetch {
                what: path.to_owned(),
                cause: cause.into(),
            })?;
            let (found, bytes, _) = file.finish();
            if found != digest || bytes != size {
                return Err(DebianError::WrongBytes {
                    what: path.to_owned(),
                });
            }
            fs_err::rename(&temporary, kept).map_err(failed)
        })();
        if result.is_err() {
            fs_err::remove_file(&temporary).ok();
        }
        result
    }

    fn open(&self, base: &str, path: &str) -> Result<impl Read + use<>, DebianError> {
        let mut url = format!("{base}/{path}");
        for _ in 0..REDIRECTS {
            let response = self.agent.get(&url).call().map_err(|error| DebianError::Fetch {
                what: path.to_owned(),
                cause: Box::new(error),
            })?;
            let status = response.status().as_u16();
            let location = response
                .headers()
                .get("location")
                .and_then(|value| value.to_str().ok());
            match (status, location) {
                (200, _) => {
                    return Ok(Paced::new(
                        response.into_body().into_reader(),
                        Patience::default(),
                    ));
                }
                (301 | 302 | 303 | 307 | 308, Some(location)) => {
                    url = if location.starts_with("http") {
                        location.to_owned()
                    } else {
                        let origin_end = url.find("://").map_or(0, |at| at + 3);
                        let path_at = url[origin_end..]
                            .find('/')
                            .map_or(url.len(), |at| origin_end + at);
                        format!("{}{location}", &url[..path_at])
                    };
                }
                _ => {
                    return Err(DebianError::Status {
                        what: path.to_owned(),
                        status,
                    });
                }
            }
        }
        Err(DebianError::Status {
            what: path.to_owned(),
            status: 310,
        })
    }

    fn with_retries<T>(
        &self,
        _what: &str,
        mut work: impl FnMut() -> Result<T, DebianError>,
    ) -> Result<T, DebianError> {
        let mut pause = Duration::from_millis(200);
        for _ in 1..TRIES {
            match work() {
                Err(DebianError::Fetch { .. } | DebianError::WrongBytes { .. }) => {}
                Err(DebianError::Status {
                    status: 429 | 500..=599,
                    ..
                }) => {}
                other => return other,
            }
            std::thread::sleep(pause);
            pause *= 3;
        }
        work()
    }
}

fn is_intact(path: &Path, digest: Digest) -> bool {
    let Ok(file) = fs_err::File::open(path) else {
        return false;
    };
    let mut hashing = Hashing::new(file);
    io::copy(&mut hashing, &mut io::sink()).is_ok() && hashing.finish().0 == digest
}
