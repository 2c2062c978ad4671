//! Ids of containers and anonymous volumes.

use sha2::{Digest, Sha256};
use std::io::Read;

/// 64 hexadecimal digits that nothing else has: random, from the kernel.
pub fn new_id() -> String {
    let mut random = [0; 32];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random));
    if read.is_err() {
        // Without /dev/urandom (a broken chroot) time and process still tell ids of one machine apart.
        let seed = format!("{:?} {}", std::time::SystemTime::now(), std::process::id());
        random = Sha256::digest(seed).into();
    }
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}
