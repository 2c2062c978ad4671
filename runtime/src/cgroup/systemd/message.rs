//! Messages of D-Bus: their header, and which of them answers which (D-Bus specification, "Message Format").

use super::wire::{Garbled, LONGEST, Reader, Writer};

/// Bytes before the header's fields: order of bytes, type, flags, version, length of the body, serial, length of the fields.
pub(super) const PREFIX: usize = 16;

const CALL: u8 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Who is called for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    pub(super) destination: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
    pub(super) name: &'static str,
    /// Of the arguments.
    pub(super) signature: &'static str,
}

/// A call as bytes.
pub(super) fn call(serial: u32, method: &Method, body: &[u8]) -> Vec<u8> {
    let mut to = Writer::default();
    for byte in [b'l', CALL, 0, 1] {
        to.byte(byte);
    }
    to.uint32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    to.uint32(serial);
    to.array(8, |to| {
        for (code, kind, text) in [
            (PATH, "o", method.path),
            (INTERFACE, "s", method.interface),
            (MEMBER, "s", method.name),
            (DESTINATION, "s", method.destination),
        ] {
            to.align(8);
            to.byte(code);
            to.signature(kind);
            to.text(text);
        }
        if !method.signature.is_empty() {
            to.align(8);
            to.byte(SIGNATURE);
            to.signature("g");
            to.signature(method.signature);
        }
    });
    to.align(8);
    let mut bytes = to.into_bytes();
    bytes.extend(body);
    bytes
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Received {
    /// The answer to the call with this serial.
    Reply { to: u32, body: Body },
    /// The call with this serial failed; the body may begin with a text.
    Error { to: u32, name: String, body: Body },
    /// Something happened.
    Signal { member: String, body: Body },
    /// A call to us, which nobody should make.
    Other,
}

/// The arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) signature: String,
    bytes: Vec<u8>,
    big: bool,
}

impl Body {
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader::new(&self.bytes, self.big)
    }

    /// The first argument, when it is a text.
    pub(super) fn text(&self) -> Option<&str> {
        let texts = self.signature.starts_with(['s', 'o']);
        self.reader().text().ok().filter(|_| texts)
    }
}

/// Whether the bytes are of the other order; `None`: no message begins like this.
fn order(prefix: &[u8]) -> Option<bool> {
    match (prefix.first()?, prefix.get(3)?) {
        (b'l', 1) => Some(false),
        (b'B', 1) => Some(true),
        _ => None,
    }
}

/// How long the message is that begins with these [`PREFIX`] bytes.
pub(super) fn length(prefix: &[u8]) -> Result<usize, Garbled> {
    let mut reader = Reader::new(prefix, order(prefix).ok_or(Garbled)?);
    reader.uint32()?;
    let body = reader.length()?;
    reader.uint32()?;
    let fields = reader.length()?;
    let all = (PREFIX + fields).next_multiple_of(8) + body;
    (all <= LONGEST).then_some(all).ok_or(Garbled)
}

/// Takes one whole message apart.
pub(super) fn parse(bytes: &[u8]) -> Result<Received, Garbled> {
    let big = order(bytes).ok_or(Garbled)?;
    let kind = bytes[1];
    let mut reader = Reader::new(bytes, big);
    for _ in 0..3 {
        reader.uint32()?;
    }
    let end = reader.length()? + PREFIX;
    let (mut to, mut member, mut name, mut signature) = (None, String::new(), String::new(), String::new());
    while reader.at() < end {
        reader.align(8)?;
        let code = reader.byte()?;
        match (code, reader.signature()?) {
            (REPLY_SERIAL, "u") => to = Some(reader.uint32()?),
            (MEMBER, "s") => reader.text()?.clone_into(&mut member),
            (ERROR_NAME, "s") => reader.text()?.clone_into(&mut name),
            (SIGNATURE, "g") => reader.signature()?.clone_into(&mut signature),
            (_, "s" | "o") => drop(reader.text()?),
            (_, "u") => drop(reader.uint32()?),
            (_, "g") => drop(reader.signature()?),
            // Fields that do not exist yet would have types of these too; anything else cannot be skipped.
            _ => return Err(Garbled),
        }
    }
    let start = end.next_multiple_of(8);
    let body = Body {
        signature,
        bytes: bytes.get(start..).ok_or(Garbled)?.to_vec(),
        big,
    };
    Ok(match (kind, to) {
        (REPLY, Some(to)) => Received::Reply { to, body },
        (ERROR, Some(to)) => Received::Error { to, name, body },
        (SIGNAL, _) => Received::Signal { member, body },
        (REPLY | ERROR, None) => return Err(Garbled),
        _ => Received::Other,
    })
}

/// What a peer says, for tests.
#[cfg(test)]
pub(super) mod sample {
    use super::*;

    /// A message of this type with these fields (code, type, text), that answers `serial`.
    pub(in super::super) fn message(
        kind: u8,
        fields: &[(u8, &str, &str)],
        serial: Option<u32>,
        body: &[u8],
    ) -> Vec<u8> {
        let mut to = Writer::default();
        for byte in [b'l', kind, 1, 1] {
            to.byte(byte);
        }
        to.uint32(u32::try_from(body.len()).unwrap());
        to.uint32(9);
        to.array(8, |to| {
            if let Some(serial) = serial {
                to.byte(REPLY_SERIAL);
                to.signature("u");
                to.uint32(serial);
            }
            for (code, kind, text) in fields {
                to.align(8);
                to.byte(*code);
                to.signature(kind);
                if *kind == "g" {
                    to.signature(text);
                } else {
                    to.text(text);
                }
            }
        });
        to.align(8);
        let mut bytes = to.into_bytes();
        bytes.extend(body);
        bytes
    }

    fn text(text: &str) -> Vec<u8> {
        let mut to = Writer::default();
        to.text(text);
        to.into_bytes()
    }

    /// The answer with the path of a job.
    pub(in super::super) fn job(serial: u32, path: &str) -> Vec<u8> {
        message(REPLY, &[(SIGNATURE, "g", "o")], Some(serial), &text(path))
    }

    /// The refusal of a call.
    pub(in super::super) fn refusal(serial: u32, name: &str, why: &str) -> Vec<u8> {
        let fields = [(ERROR_NAME, "s", name), (SIGNATURE, "g", "s")];
        message(ERROR, &fields, Some(serial), &text(why))
    }

    /// The signal that a job is over.
    pub(in super::super) fn removed(path: &str, result: &str) -> Vec<u8> {
        let mut to = Writer::default();
        to.uint32(4);
        for word in [path, "some.scope", result] {
            to.text(word);
        }
        let fields = [
            (PATH, "o", "/x"),
            (MEMBER, "s", "JobRemoved"),
            (SIGNATURE, "g", "uoss"),
        ];
        message(SIGNAL, &fields, None, &to.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{sample::message as reply, *};

    const METHOD: Method = Method {
        destination: "a.b",
        path: "/a",
        interface: "a.b.C",
        name: "Do",
        signature: "s",
    };

    #[test]
    fn a_call_says_how_long_it_is() {
        let bytes = call(3, &METHOD, b"\x01\0\0\0x\0");
        assert_eq!(length(&bytes[..PREFIX]), Ok(bytes.len()));
        assert_eq!(bytes.len() % 8, 6);
        assert_eq!(&bytes[..12], b"l\x01\0\x01\x06\0\0\0\x03\0\0\0");
        // It is nothing that we would answer.
        assert_eq!(parse(&bytes), Ok(Received::Other));
    }

    #[test]
    fn answers_errors_and_signals_are_told_apart() {
        let text = b"\x02\0\0\0no\0";
        let told = parse(&reply(REPLY, &[(SIGNATURE, "g", "s")], Some(7), text)).unwrap();
        assert!(matches!(told, Received::Reply { to: 7, body } if body.text() == Some("no")));
        let told = parse(&reply(
            ERROR,
            &[(ERROR_NAME, "s", "x.Y"), (SIGNATURE, "g", "s")],
            Some(7),
            text,
        ));
        assert!(
            matches!(told.unwrap(), Received::Error { to: 7, name, body } if name == "x.Y" && body.text() == Some("no"))
        );
        let fields = [(PATH, "o", "/x"), (MEMBER, "s", "JobRemoved"), (7, "s", ":1.4")];
        let told = parse(&reply(SIGNAL, &fields, None, b"")).unwrap();
        assert!(matches!(told, Received::Signal { member, .. } if member == "JobRemoved"));
    }

    #[test]
    fn messages_that_are_none_are_refused() {
        let good = reply(REPLY, &[(SIGNATURE, "g", "s")], Some(7), b"\x02\0\0\0no\0");
        for cut in 0..good.len() - 7 {
            assert!(parse(&good[..cut]).is_err(), "{cut} bytes");
        }
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        assert_eq!(length(&changed(0, b'x')[..PREFIX]), Err(Garbled));
        assert_eq!(length(&changed(3, 2)[..PREFIX]), Err(Garbled));
        assert_eq!(length(&changed(7, 0x7f)[..PREFIX]), Err(Garbled));
        assert_eq!(parse(&changed(15, 0x7f)), Err(Garbled));
        assert_eq!(parse(&reply(REPLY, &[], None, b"")), Err(Garbled));
        assert_eq!(parse(&reply(REPLY, &[(9, "x", "")], Some(1), b"")), Err(Garbled));
    }

    #[test]
    fn no_change_of_a_message_makes_us_fall() {
        let good = sample::removed("/job/1", "done");
        for at in 0..good.len() {
            for to in [0, 1, 0x7f, 0x80, 0xff, good[at].wrapping_add(1)] {
                let mut bytes = good.clone();
                bytes[at] = to;
                // Whatever it is now: it is read, or it is refused.
                let _ = length(&bytes[..PREFIX]);
                if let Ok(Received::Signal { body, .. }) = parse(&bytes) {
                    let mut reader = body.reader();
                    let _ = (reader.uint32(), reader.text(), reader.text(), reader.text());
                }
            }
        }
    }
}
