//! D-Bus marshalling, as much of it as talking to systemd needs (D-Bus specification, "Marshaling").
//!
//! What we write is little-endian. What we read may be either, is never longer than [`LONGEST`], and every length in it is
//! checked against what is there.

use serde::{Deserialize, Serialize};

/// The longest message that is read, bytes. What systemd answers us has some hundred; the specification allows 128 MiB.
pub(super) const LONGEST: usize = 1 << 20;

/// A value of a property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `s`
    Text(String),
    /// `as`
    Texts(Vec<String>),
    /// `au`
    Numbers(Vec<u32>),
    /// `ay`
    Bytes(Vec<u8>),
}

/// A property of a unit: its name on D-Bus, and its value.
pub type Property = (String, Value);

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Bool(_) => "b",
            Self::Int32(_) => "i",
            Self::Uint32(_) => "u",
            Self::Int64(_) => "x",
            Self::Uint64(_) => "t",
            Self::Text(_) => "s",
            Self::Texts(_) => "as",
            Self::Numbers(_) => "au",
            Self::Bytes(_) => "ay",
        }
    }
}

/// Bytes of a message, aligned from its beginning.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn align(&mut self, to: usize) {
        let length = self.bytes.len().next_multiple_of(to);
        self.bytes.resize(length, 0);
    }

    pub(super) fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn uint32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn uint64(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.uint32(value.into());
    }

    /// A length as the format has it. Our messages are made of a few names and limits.
    fn length(&mut self, length: usize) {
        self.uint32(u32::try_from(length).unwrap_or(u32::MAX));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend(text.as_bytes());
        self.byte(0);
    }

    pub(super) fn signature(&mut self, text: &str) {
        self.byte(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend(text.as_bytes());
        self.byte(0);
    }

    /// An array of elements that are aligned to `to`: its length does not count the padding before the first one.
    pub(super) fn array(&mut self, to: usize, elements: impl FnOnce(&mut Self)) {
        self.uint32(0);
        let place = self.bytes.len() - 4;
        self.align(to);
        let start = self.bytes.len();
        elements(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[place..place + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Bool(value) => self.bool(*value),
            Value::Int32(value) => self.uint32(value.cast_unsigned()),
            Value::Uint32(value) => self.uint32(*value),
            Value::Int64(value) => self.uint64(value.cast_unsigned()),
            Value::Uint64(value) => self.uint64(*value),
            Value::Text(text) => self.text(text),
            Value::Texts(list) => self.array(4, |to| list.iter().for_each(|text| to.text(text))),
            Value::Numbers(list) => self.array(4, |to| list.iter().for_each(|number| to.uint32(*number))),
            Value::Bytes(bytes) => self.array(1, |to| to.bytes.extend(bytes)),
        }
    }

    /// `a(sv)`
    pub(super) fn properties(&mut self, list: &[Property]) {
        self.array(8, |to| {
            for (name, value) in list {
                to.align(8);
                to.text(name);
                to.variant(value);
            }
        });
    }
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbled;

/// Reads what a peer wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    /// Of bytes that begin at a multiple of eight of their message.
    pub(super) fn new(bytes: &'a [u8], big: bool) -> Self {
        Self { bytes, at: 0, big }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Garbled> {
        let end = self.at.checked_add(length).ok_or(Garbled)?;
        let taken = self.bytes.get(self.at..end).ok_or(Garbled)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn align(&mut self, to: usize) -> Result<(), Garbled> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn byte(&mut self) -> Result<u8, Garbled> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn uint32(&mut self) -> Result<u32, Garbled> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().map_err(|_| Garbled)?;
        Ok(if self.big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    pub(super) fn length(&mut self) -> Result<usize, Garbled> {
        let length = usize::try_from(self.uint32()?).map_err(|_| Garbled)?;
        (length <= LONGEST).then_some(length).ok_or(Garbled)
    }

    fn ended_text(&mut self, length: usize) -> Result<&'a str, Garbled> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Garbled)?;
        (self.byte()? == 0).then_some(text).ok_or(Garbled)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Garbled> {
        let length = self.length()?;
        self.ended_text(length)
    }

    pub(super) fn signature(&mut self) -> Result<&'a str, Garbled> {
        let length = self.byte()?.into();
        self.ended_text(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        write(&mut writer);
        writer.into_bytes()
    }

    #[test]
    fn values_are_aligned_and_counted_as_the_specification_says() {
        let variant = |value: Value| written(|to| to.variant(&value));
        for (value, bytes) in [
            (Value::Bool(true), &b"\x01b\0\0\x01\0\0\0"[..]),
            (Value::Int32(-2), b"\x01i\0\0\xfe\xff\xff\xff"),
            (Value::Uint32(7), b"\x01u\0\0\x07\0\0\0"),
            (
                Value::Int64(-1),
                b"\x01x\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            ),
            (Value::Uint64(513), b"\x01t\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0"),
            (Value::Text("ab".to_owned()), b"\x01s\0\0\x02\0\0\0ab\0"),
            (
                Value::Numbers(vec![1, 2]),
                b"\x02au\0\x08\0\0\0\x01\0\0\0\x02\0\0\0",
            ),
            (Value::Bytes(vec![3]), b"\x02ay\0\x01\0\0\0\x03"),
            (
                Value::Texts(vec!["a".to_owned(), "b".to_owned()]),
                b"\x02as\0\x0e\0\0\0\x01\0\0\0a\0\0\0\x01\0\0\0b\0",
            ),
        ] {
            assert_eq!(variant(value.clone()), bytes, "{value:?}");
        }
    }

    #[test]
    fn the_length_of_an_array_of_structures_does_not_count_the_padding_before_them() {
        let list = [("D".to_owned(), Value::Bool(true))];
        assert_eq!(
            written(|to| to.properties(&list)),
            b"\x10\0\0\0\0\0\0\0\x01\0\0\0D\0\x01b\0\0\0\0\x01\0\0\0"
        );
        assert_eq!(written(|to| to.properties(&[])), b"\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn what_is_read_is_what_was_written_in_either_order_of_bytes() {
        let bytes = written(|to| {
            to.uint32(5);
            to.text("job");
            to.signature("uoss");
        });
        let mut reader = Reader::new(&bytes, false);
        assert_eq!(
            (reader.uint32(), reader.text(), reader.signature()),
            (Ok(5), Ok("job"), Ok("uoss"))
        );
        assert_eq!(Reader::new(b"\0\0\0\x05", true).uint32(), Ok(5));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for bytes in [
            &b"\x05\0\0\0abc\0"[..],
            b"\x03\0\0\0abcd",
            b"\xff\xff\xff\xffabc\0",
            b"\x03\0\0\0\xff\xff\xff\0",
            b"\x03\0",
            b"",
        ] {
            assert_eq!(Reader::new(bytes, false).text(), Err(Garbled), "{bytes:?}");
        }
    }
}
