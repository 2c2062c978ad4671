//! Building one request.

use super::{HEADER, NESTED, aligned};

/// One netlink request in the making. Integers of rtnetlink are in the machine's byte order, those of nf_tables in
/// the network's; hence the two families of methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request of type `kind` with flags `NLM_F_*`, and the fixed part that follows the header.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend([0; 4]);
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        // Sequence number and sender: the socket fills in the first, the kernel the second.
        bytes.extend([0; 8]);
        debug_assert_eq!(bytes.len(), HEADER);
        bytes.extend(fixed);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    /// Adds an attribute of raw bytes.
    #[must_use]
    pub fn bytes(mut self, kind: u16, data: &[u8]) -> Self {
        self.push(kind, data);
        self
    }

    /// Adds a text attribute, with the zero byte that the kernel expects.
    #[must_use]
    pub fn text(self, kind: u16, text: &str) -> Self {
        let mut data = Vec::with_capacity(text.len() + 1);
        data.extend(text.as_bytes());
        data.push(0);
        self.bytes(kind, &data)
    }

    /// Adds one byte.
    #[must_use]
    pub fn u8(self, kind: u16, value: u8) -> Self {
        self.bytes(kind, &[value])
    }

    /// Adds an integer in the machine's byte order (rtnetlink).
    #[must_use]
    pub fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds an integer in network byte order (nf_tables).
    #[must_use]
    pub fn be32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds an integer in network byte order (nf_tables).
    #[must_use]
    pub fn be64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds an attribute whose value is what `fill` adds.
    #[must_use]
    pub fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.push(kind | NESTED, &[]);
        let mut filled = fill(self);
        let length = u16::try_from(filled.bytes.len() - start).expect("attributes stay far below 64 KiB");
        filled.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        filled
    }

    /// Adds raw bytes without an attribute header: the fixed part of a nested message.
    #[must_use]
    pub fn raw(mut self, data: &[u8]) -> Self {
        self.bytes.extend(data);
        self.pad();
        self
    }

    /// What follows the header: attributes to be put into another message.
    pub(in crate::network) fn body(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }

    /// The finished message with its length and sequence number.
    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).expect("messages stay far below 4 GiB");
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    /// Sets further header flags.
    pub(super) fn add_flags(&mut self, flags: u16) {
        let now = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | flags;
        self.bytes[6..8].copy_from_slice(&now.to_ne_bytes());
    }

    fn push(&mut self, kind: u16, data: &[u8]) {
        let length = u16::try_from(data.len() + 4).expect("attributes stay far below 64 KiB");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nests_carry_their_length() {
        let message = Message::new(16, 1, &[0; 4])
            .nest(18, |m| m.text(1, "veth"))
            .finish(7);
        let length = u32::from_ne_bytes(message[0..4].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), message.len());
        assert_eq!(message.len() % 4, 0);
        assert_eq!(u32::from_ne_bytes(message[8..12].try_into().unwrap()), 7);
        // Nest header: its own four bytes, the inner header's four, "veth\0" padded to eight.
        assert_eq!(u16::from_ne_bytes(message[20..22].try_into().unwrap()), 16);
        assert_eq!(
            u16::from_ne_bytes(message[22..24].try_into().unwrap()),
            18 | 0x8000
        );
        assert_eq!(u16::from_ne_bytes(message[24..26].try_into().unwrap()), 9);
    }
}
