//! Reading what the kernel answers.

use super::{HEADER, NESTED, aligned};

/// One message of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Message type.
    pub kind: u16,
    /// Everything after the header: fixed part, then attributes.
    pub payload: Vec<u8>,
}

impl Reply {
    /// The attributes that follow a fixed part of `fixed` bytes.
    pub fn attributes(&self, fixed: usize) -> Attributes<'_> {
        Attributes::new(self.payload.get(aligned(fixed)..).unwrap_or_default())
    }
}

/// A run of attributes. Malformed input ends the iteration; nothing here panics.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Reads attributes from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The value of the first attribute of type `kind`.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.into_iter().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    /// A text attribute without its zero byte.
    pub fn text(self, kind: u16) -> Option<&'a str> {
        let bytes = self.get(kind)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        std::str::from_utf8(&bytes[..end]).ok()
    }

    /// An integer in the machine's byte order.
    pub fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// An integer in network byte order.
    pub fn be32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// An integer in network byte order.
    pub fn be64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// The attributes inside an attribute.
    pub fn nested(self, kind: u16) -> Option<Attributes<'a>> {
        self.get(kind).map(Attributes::new)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(self.rest.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.rest.get(2..4)?.try_into().ok()?) & !NESTED;
        let value = self.rest.get(4..length)?;
        self.rest = self.rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Splits a datagram into `(type, flags, sequence, payload)`.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (u16, u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let word = |at: usize| datagram.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let half = |at: usize| datagram.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
        let (length, kind, flags, sequence) = (usize::try_from(word(0)?).ok()?, half(4)?, half(6)?, word(8)?);
        let payload = datagram.get(HEADER..length)?;
        datagram = datagram.get(aligned(length)..).unwrap_or_default();
        Some((kind, flags, sequence, payload))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_attributes_end_the_walk_instead_of_panicking() {
        let whole = [8_u8, 0, 1, 0, 9, 9, 9, 9, 6, 0, 2, 0, 5, 5];
        for end in 0..whole.len() {
            let seen = Attributes::new(&whole[..end]).count();
            assert!(seen <= 1, "{end} bytes gave {seen} attributes");
        }
        assert_eq!(Attributes::new(&whole).get(2), Some([5, 5].as_slice()));
    }

    #[test]
    fn a_length_of_zero_does_not_loop() {
        assert_eq!(Attributes::new(&[0; 16]).count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0);
    }
}
