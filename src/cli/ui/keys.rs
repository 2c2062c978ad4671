//! Bytes of a terminal as keys (ECMA-48, and what xterm adds): pure.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// A character.
    Char(char),
    /// A letter together with Ctrl.
    Ctrl(char),
    /// Return.
    Enter,
    /// Escape alone.
    Escape,
    /// Delete the character before.
    Backspace,
    /// The tabulator.
    Tab,
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Cursor left.
    Left,
    /// Cursor right.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the beginning.
    Home,
    /// To the end.
    End,
}

const ESCAPE: u8 = 0x1b;

/// Bytes that came, as far as they make no whole key yet.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pending: Vec<u8>,
}

impl Keys {
    /// Takes bytes and gives the keys they complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut rest = self.pending.as_slice();
        while let Some((key, length)) = next(rest) {
            keys.extend(key);
            rest = &rest[length..];
        }
        self.pending = rest.to_vec();
        keys
    }

    /// Whether something was begun: a lone Escape is one only when nothing follows soon.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Nothing followed: what was begun is complete, or nothing we know.
    pub(super) fn give_up(&mut self) -> Option<Key> {
        let begun = std::mem::take(&mut self.pending);
        (begun == [ESCAPE]).then_some(Key::Escape)
    }
}

/// The first key (`None`: one we do not know) and its length; `None` when there is no whole one.
fn next(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let first = *bytes.first()?;
    match first {
        ESCAPE => sequence(bytes),
        b'\r' | b'\n' => Some((Some(Key::Enter), 1)),
        b'\t' => Some((Some(Key::Tab), 1)),
        0x7f | 0x08 => Some((Some(Key::Backspace), 1)),
        1..=26 => Some((Some(Key::Ctrl(char::from(first + b'a' - 1))), 1)),
        0..=0x1f => Some((None, 1)),
        _ => character(bytes),
    }
}

fn character(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let length = match bytes[0] {
        0..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => return Some((None, 1)),
    };
    let whole = bytes.get(..length)?;
    let text = std::str::from_utf8(whole).ok();
    match text.and_then(|text| text.chars().next()) {
        Some(character) => Some((Some(Key::Char(character)), length)),
        None => Some((None, 1)),
    }
}

/// `ESC [ … letter`, `ESC [ number ~`, `ESC O letter`; `ESC` and a character is the character.
fn sequence(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let kind = *bytes.get(1)?;
    let start = match kind {
        b'[' | b'O' => 2,
        ESCAPE => return Some((Some(Key::Escape), 1)),
        _ => return Some((None, 2)),
    };
    let end = start
        + bytes
            .get(start..)?
            .iter()
            .position(|byte| (0x40..=0x7e).contains(byte))?;
    let number = std::str::from_utf8(&bytes[start..end]).unwrap_or_default();
    // Parameters after the first tell which other keys are held.
    let number = number.split(';').next().unwrap_or_default();
    let key = match (bytes[end], number) {
        (b'A', _) => Some(Key::Up),
        (b'B', _) => Some(Key::Down),
        (b'C', _) => Some(Key::Right),
        (b'D', _) => Some(Key::Left),
        (b'H', _) | (b'~', "1" | "7") => Some(Key::Home),
        (b'F', _) | (b'~', "4" | "8") => Some(Key::End),
        (b'~', "5") => Some(Key::PageUp),
        (b'~', "6") => Some(Key::PageDown),
        (b'M', _) if kind == b'O' => Some(Key::Enter),
        _ => None,
    };
    Some((key, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_keys_wherever_they_are_cut() {
        let bytes = b"q\x03\x1b[A\x1bOB\x1b[5~\x1b[1;5F\x7f\r\xc3\xa4\x1b[200~x";
        let expected = [
            Key::Char('q'),
            Key::Ctrl('c'),
            Key::Up,
            Key::Down,
            Key::PageUp,
            Key::End,
            Key::Backspace,
            Key::Enter,
            Key::Char('ä'),
            Key::Char('x'),
        ];
        assert_eq!(Keys::default().take(bytes), expected);
        for cut in 0..bytes.len() {
            let mut keys = Keys::default();
            let mut got = keys.take(&bytes[..cut]);
            got.extend(keys.take(&bytes[cut..]));
            assert_eq!(got, expected, "cut at {cut}");
            assert!(!keys.is_waiting());
        }
    }

    #[test]
    fn escape_alone_is_a_key_when_nothing_follows() {
        let mut keys = Keys::default();
        assert_eq!(keys.take(b"\x1b"), []);
        assert!(keys.is_waiting());
        assert_eq!(keys.give_up(), Some(Key::Escape));
        assert_eq!(keys.take(b"\x1b["), []);
        assert_eq!(keys.give_up(), None, "half a sequence is no key");
        assert_eq!(
            keys.take(b"\xff\xfea"),
            [Key::Char('a')],
            "bytes that are no text"
        );
    }
}
