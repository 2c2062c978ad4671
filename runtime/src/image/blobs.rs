//! Blobs: bytes under the name of their digest. What is in the folder is complete and was verified when it came.

use super::{
    digest::Digest,
    durable,
    store::{Store, StoreError},
};
use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

impl Store {
    /// Where a blob is, whether or not it exists.
    pub fn blob_path(&self, digest: Digest) -> PathBuf {
        self.dir().join("blobs").join(digest.hex())
    }

    /// Whether a blob is here.
    pub fn has_blob(&self, digest: Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Opens a blob for streaming. The reader is expected to hash what it reads.
    pub fn open_blob(&self, digest: Digest) -> Result<fs_err::File, StoreError> {
        match fs_err::File::open(self.blob_path(digest)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(StoreError::MissingBlob { digest }),
            other => other.map_err(|cause| StoreError::Io {
                action: "open a blob",
                cause,
            }),
        }
    }

    /// Reads a small blob whole and verifies it.
    pub fn read_blob(&self, digest: Digest, most: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let read = self.open_blob(digest)?.take(most + 1).read_to_end(&mut bytes);
        read.map_err(|cause| StoreError::Io {
            action: "read a blob",
            cause,
        })?;
        if bytes.len() as u64 > most || Digest::of(&bytes) != digest {
            return Err(StoreError::DamagedBlob { digest });
        }
        Ok(bytes)
    }

    /// Stores bytes at hand.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.has_blob(digest) {
            durable::write(&self.blob_path(digest), bytes).map_err(|cause| StoreError::Io {
                action: "store a blob",
                cause,
            })?;
        }
        Ok(digest)
    }

    /// A blob that grows while its bytes stream by. Whoever writes it hashes it.
    pub(crate) fn new_blob(&self) -> Result<NewBlob, StoreError> {
        let path = self
            .dir()
            .join("ingest")
            .join(format!("blob-{}", durable::unique()));
        let file = fs_err::File::create(&path).map_err(|cause| StoreError::Io {
            action: "create a blob",
            cause,
        })?;
        Ok(NewBlob {
            file,
            path,
            final_dir: self.dir().join("blobs"),
            done: false,
        })
    }
}

/// Bytes on their way to become a blob; removed when dropped unfinished.
#[derive(Debug)]
pub(crate) struct NewBlob {
    file: fs_err::File,
    path: PathBuf,
    final_dir: PathBuf,
    done: bool,
}

impl Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl NewBlob {
    /// Gives the bytes the name that they were found to have.
    pub(crate) fn finish(mut self, digest: Digest) -> Result<(), StoreError> {
        let failed = |cause| StoreError::Io {
            action: "store a blob",
            cause,
        };
        self.file.sync_all().map_err(failed)?;
        fs_err::rename(&self.path, self.final_dir.join(digest.hex())).map_err(failed)?;
        self.done = true;
        durable::sync_directory(&self.final_dir).map_err(failed)
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        if !self.done {
            fs_err::remove_file(&self.path).ok();
        }
    }
}
