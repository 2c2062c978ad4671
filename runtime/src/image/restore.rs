//! A layer's archive, again: from its outline where it was unpacked from one, otherwise by packing its directory.
//!
//! Either way the bytes are compared with the digest that is the layer's name, so whoever wants the archive learns that
//! the layer's files changed.

use super::{
    digest::{Digest, Hashing},
    draft::OUTLINE,
    store::{Store, StoreError},
};
use crate::archive::{
    extract::Manner,
    outline,
    pack::{PackError, pack},
};
use std::{
    io::{self, Write},
    os::fd::AsFd,
    path::PathBuf,
};

impl Store {
    fn outline_path(&self, diff_id: Digest) -> PathBuf {
        self.layer_path(diff_id).with_file_name(OUTLINE)
    }

    /// Whether a layer can give the archive it was unpacked from.
    pub(crate) fn has_outline(&self, diff_id: Digest) -> bool {
        self.outline_path(diff_id).exists()
    }

    /// Writes a layer's uncompressed archive.
    ///
    /// # Errors
    /// [`StoreError::DamagedLayer`], after some of it was written, where it is not what its digest says.
    pub(crate) fn write_layer(&self, diff_id: Digest, out: impl Write) -> Result<(), StoreError> {
        let failed = |cause| StoreError::Io {
            action: "read a layer",
            cause,
        };
        let files = fs_err::File::open(self.layer_path(diff_id)).map_err(failed)?;
        let mut hashing = Hashing::new(out);
        let outline = self.outline_path(diff_id);
        let written = if outline.exists() {
            let outline = fs_err::File::open(outline).map_err(failed)?;
            outline::assemble(outline, files.as_fd(), &mut hashing)
        } else {
            pack(files.as_fd(), &mut hashing, Manner::Layer).map(drop)
        };
        let damaged = |reason: String| StoreError::DamagedLayer { diff_id, reason };
        written.map_err(|cause| match cause {
            PackError::Read { path, cause } => damaged(format!("`{path}`: {cause}")),
            cause @ PackError::Write(_) => StoreError::Pack {
                layer: diff_id.to_string(),
                cause,
            },
        })?;
        let (found, ..) = hashing.finish();
        if found == diff_id {
            Ok(())
        } else {
            Err(damaged("its files changed since it was stored".into()))
        }
    }

    /// Compares a layer's files with its digest. `None`: it cannot be told, because it has neither outline nor is it made
    /// here; its blob has to be unpacked again.
    ///
    /// # Errors
    /// As [`Self::write_layer`] has them.
    pub fn verify_layer(&self, diff_id: Digest, has_blob: bool) -> Result<Option<()>, StoreError> {
        if has_blob && !self.has_outline(diff_id) {
            return Ok(None);
        }
        self.write_layer(diff_id, io::sink()).map(Some)
    }
}
