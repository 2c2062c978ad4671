//! Filters that are compiled once and handed to many containers.

use super::{Capabilities, SeccompProfile, filter};
use crate::sys::seccomp::Instruction;
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    io,
    sync::{Mutex, PoisonError},
};

/// Bytes of one instruction (`struct sock_filter`).
const SIZE: usize = 8;

/// The filter that was compiled last, as text: nearly all containers of a launcher have the same one, and compiling takes
/// a tenth of the time that a small container lives.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    last: Mutex<Option<(SeccompProfile, Capabilities, String)>>,
}

impl Compiled {
    /// The filter of a profile for a process with these capabilities, for [`decode`]; empty: everything is allowed.
    ///
    /// # Errors
    /// As [`filter`].
    pub(crate) fn get(&self, profile: &SeccompProfile, sets: &Capabilities) -> io::Result<String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, capabilities, text)) = &*last
            && known == profile
            && capabilities == sets
        {
            return Ok(text.clone());
        }
        let text = encode(&filter(profile, sets)?);
        *last = Some((profile.clone(), *sets, text.clone()));
        Ok(text)
    }
}

fn encode(program: &[Instruction]) -> String {
    let bytes: Vec<u8> = program
        .iter()
        .flat_map(|instruction| {
            let mut bytes = [0; SIZE];
            bytes[..2].copy_from_slice(&instruction.code.to_le_bytes());
            bytes[2] = instruction.jump_true;
            bytes[3] = instruction.jump_false;
            bytes[4..].copy_from_slice(&instruction.operand.to_le_bytes());
            bytes
        })
        .collect();
    BASE64_STANDARD.encode(bytes)
}

/// The program that [`Compiled::get`] wrote.
///
/// # Errors
/// `InvalidData` for anything else.
pub(crate) fn decode(text: &str) -> io::Result<Vec<Instruction>> {
    let bytes = BASE64_STANDARD
        .decode(text)
        .map_err(|_| io::ErrorKind::InvalidData)?;
    let (chunks, []) = bytes.as_chunks::<SIZE>() else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let instruction = |bytes: &[u8; SIZE]| Instruction {
        code: u16::from_le_bytes([bytes[0], bytes[1]]),
        jump_true: bytes[2],
        jump_false: bytes[3],
        operand: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    Ok(chunks.iter().map(instruction).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_what_was_compiled() {
        let compiled = Compiled::default();
        let few = Capabilities::default();
        let all = Capabilities::all();
        for (profile, sets) in [
            (SeccompProfile::Default, &few),
            (SeccompProfile::Default, &few),
            (SeccompProfile::Default, &all),
            (SeccompProfile::Unconfined, &few),
        ] {
            let text = compiled.get(&profile, sets).unwrap();
            assert_eq!(
                decode(&text).unwrap(),
                filter(&profile, sets).unwrap(),
                "{profile:?}"
            );
        }
        let broken = SeccompProfile::Custom("{".into());
        compiled.get(&broken, &few).unwrap_err();
        decode("AAAA").unwrap_err();
        decode("?").unwrap_err();
    }
}
