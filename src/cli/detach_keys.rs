//! Keys that leave a container's terminal: `ctrl-p,ctrl-q`.

/// The bytes of a sequence as docker writes it: `ctrl-x` or single characters, parted by commas.
///
/// # Errors
/// The part that is neither.
pub(super) fn parse(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let byte = |part: &str| match part.as_bytes() {
        [key] => Ok(*key),
        [b'c', b't', b'r', b'l', b'-', key] if key.is_ascii_alphabetic() => {
            Ok(key.to_ascii_lowercase() - b'a' + 1)
        }
        b"ctrl-@" => Ok(0),
        b"ctrl-[" => Ok(27),
        b"ctrl-\\" => Ok(28),
        b"ctrl-]" => Ok(29),
        b"ctrl-^" => Ok(30),
        b"ctrl-_" => Ok(31),
        _ => Err(part.to_owned()),
    };
    text.split(',').map(byte).collect()
}

/// Finds the sequence in what is typed; its beginning is held back until it is clear that it is something else.
#[derive(Debug)]
pub(super) struct Matcher {
    keys: Vec<u8>,
    held: usize,
}

impl Matcher {
    /// For this sequence; empty: never.
    pub(super) fn new(keys: Vec<u8>) -> Self {
        Self { keys, held: 0 }
    }

    /// What of `typed` goes on to the container, and whether the sequence was completed.
    pub(super) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (typed.to_vec(), false);
        }
        let mut on = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys[self.held] != *byte {
                on.extend_from_slice(&self.keys[..self.held]);
                self.held = 0;
            }
            if self.keys[self.held] == *byte {
                self.held += 1;
                if self.held == self.keys.len() {
                    return (on, true);
                }
            } else {
                on.push(*byte);
            }
        }
        (on, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_found_and_everything_else_goes_on() {
        let keys = parse("ctrl-p,ctrl-q").unwrap();
        assert_eq!(keys, [16, 17]);
        let mut matcher = Matcher::new(keys);
        assert_eq!(matcher.pass(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(matcher.pass(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(matcher.pass(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(matcher.pass(b"\x11x"), (Vec::new(), true));
        assert_eq!(parse("ctrl-1").unwrap_err(), "ctrl-1");
        assert_eq!(
            Matcher::new(Vec::new()).pass(b"\x10\x11"),
            (b"\x10\x11".to_vec(), false)
        );
    }
}
