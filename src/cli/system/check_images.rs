//! `banyan system check`: whether images have all their parts, and with `--full` whether those are what they were.

use super::check::{Checker, Verdict, names};
use banyan_runtime::image::{Digest, Store};
use std::collections::BTreeMap;

impl Checker<'_> {
    pub(super) fn store(&mut self, full: bool) {
        let store = match Store::open(&self.roots.images()) {
            Ok(store) => store,
            Err(error) => {
                self.say(
                    Verdict::Wrong,
                    format!("the image store cannot be opened: {error}"),
                    None,
                );
                return;
            }
        };
        match store.records() {
            Ok(records) => {
                let mut broken = 0_usize;
                for record in &records {
                    if let Err(error) = store.image(record.id) {
                        broken += 1;
                        let hint = "pull or build it again";
                        self.say(
                            Verdict::Wrong,
                            format!("image {}: {error}", record.id),
                            Some(hint),
                        );
                    }
                }
                if broken == 0 {
                    self.say(
                        Verdict::Fine,
                        format!("{} images have all their layers", records.len()),
                        None,
                    );
                }
            }
            Err(error) => self.say(Verdict::Wrong, format!("images cannot be listed: {error}"), None),
        }
        if full {
            self.blobs(&store);
            self.layers(&store);
        }
    }

    fn blobs(&mut self, store: &Store) {
        let folder = store.dir().join("blobs");
        let (mut whole, mut bad) = (0_usize, 0_usize);
        for name in names(&folder) {
            let Ok(digest) = Digest::from_hex(&name) else {
                continue;
            };
            let path = store.blob_path(digest);
            let same = fs_err::File::open(&path)
                .and_then(|mut file| sha256(&mut file))
                .is_ok_and(|found| found == name);
            if same {
                whole += 1;
                continue;
            }
            bad += 1;
            if self.repair && fs_err::remove_file(&path).is_ok() {
                let what =
                    format!("blob {digest} was damaged and is removed: it is fetched again when needed");
                self.say(Verdict::Repaired, what, None);
            } else {
                let hint = "`--repair` removes it, so that it is fetched again";
                self.say(Verdict::Wrong, format!("blob {digest} is damaged"), Some(hint));
            }
        }
        if bad == 0 {
            self.say(Verdict::Fine, format!("{whole} blobs have their digests"), None);
        }
    }

    /// Compares the files of every layer that an image has with the layer's digest.
    fn layers(&mut self, store: &Store) {
        let mut layers: BTreeMap<Digest, bool> = BTreeMap::new();
        for layer in store
            .records()
            .unwrap_or_default()
            .into_iter()
            .flat_map(|record| record.layers)
        {
            *layers.entry(layer.diff_id).or_default() |= layer.blob.is_some();
        }
        let (mut whole, mut bad) = (0_usize, 0_usize);
        for (diff_id, has_blob) in layers {
            match store.verify_layer(diff_id, has_blob) {
                Ok(Some(())) => whole += 1,
                Ok(None) => {}
                Err(error) => {
                    bad += 1;
                    let hint = error.hint();
                    self.say(Verdict::Wrong, format!("{error}"), hint.as_deref());
                }
            }
        }
        if bad == 0 {
            self.say(Verdict::Fine, format!("{whole} layers have their digests"), None);
        }
    }
}

fn sha256(file: &mut impl std::io::Read) -> std::io::Result<String> {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 18];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            length => hash.update(&chunk[..length]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
