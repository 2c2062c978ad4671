//! Questions and answers as bytes: RFC 1035 section 4, RFC 6891 section 6.
//!
//! Only what the hot path needs; forwarded answers are put together by hickory-proto.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Record types we know.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// A name, for reverse questions.
    pub const PTR: u16 = 12;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// EDNS.
    pub const OPT: u16 = 41;
    /// Everything there is.
    pub const ANY: u16 = 255;
}

/// Response codes we use (RFC 1035 section 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Answered, perhaps with nothing.
    NoError = 0,
    /// The question cannot be read.
    FormErr = 1,
    /// We tried and failed.
    ServFail = 2,
    /// There is no such name.
    NxDomain = 3,
    /// A kind of request we do not serve.
    NotImp = 4,
    /// We will not answer this client.
    Refused = 5,
    /// EDNS of a version we do not know (RFC 6891 section 6.1.3); extends past four bits.
    BadVers = 16,
}

/// Seconds that an answer of ours may be kept. One: changes are seen at once, and a resolver that is asked a thousand
/// times a second still asks only once.
pub const TTL: u32 = 1;
/// Largest UDP answer without EDNS (RFC 1035 section 4.2.1).
pub const PLAIN_UDP: usize = 512;
/// Largest UDP answer we send whatever the client offers; bridges fragment in memory, so this only bounds buffers.
pub const LARGEST_UDP: usize = 4096;
const HEADER: usize = 12;
/// An OPT record without options.
const OPT_LENGTH: usize = 11;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

/// A question that can be answered.
#[derive(Debug, Clone)]
pub struct Question {
    name: [u8; 255],
    name_length: u8,
    /// What is asked for.
    pub kind: u16,
    /// Where the question section ends in the message.
    pub end: usize,
    /// The client's offer of an answer size, if it speaks EDNS.
    pub edns: Option<u16>,
}

impl Question {
    /// The name in lower-case wire form.
    pub fn name(&self) -> &[u8] {
        &self.name[..usize::from(self.name_length)]
    }

    /// The address that a reverse question is about.
    pub fn reverse_address(&self) -> Option<IpAddr> {
        let labels: Vec<&[u8]> = labels(self.name()).collect();
        match labels.as_slice() {
            [a, b, c, d, b"in-addr", b"arpa"] => {
                let mut octets = [0; 4];
                for (octet, label) in octets.iter_mut().zip([d, c, b, a]) {
                    *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
                }
                Some(Ipv4Addr::from(octets).into())
            }
            [nibbles @ .., b"ip6", b"arpa"] if nibbles.len() == 32 => {
                let mut bits = 0_u128;
                for nibble in nibbles.iter().rev() {
                    let [digit] = nibble else { return None };
                    bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
                }
                Some(Ipv6Addr::from_bits(bits).into())
            }
            _ => None,
        }
    }

    /// The name as text, for forwarding: `None` if it is not plain enough for that.
    pub fn text(&self) -> Option<String> {
        let mut text = String::new();
        for label in labels(self.name()) {
            let plain = label
                .iter()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'.' | b'\\'));
            text.push_str(std::str::from_utf8(label).ok().filter(|_| plain)?);
            text.push('.');
        }
        Some(if text.is_empty() { ".".into() } else { text })
    }
}

fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let (&length, tail) = rest.split_first()?;
        let label = tail
            .get(..usize::from(length))
            .filter(|label| !label.is_empty())?;
        rest = &tail[label.len()..];
        Some(label)
    })
}

/// What is to be done with bytes that arrived.
#[derive(Debug)]
pub enum Parsed {
    /// A question.
    Question(Box<Question>),
    /// Something to be answered with an error code only.
    Error(Code),
    /// An answer, or nothing at all; replying could start a loop.
    Silence,
}

/// Reads a message.
pub fn parse(message: &[u8]) -> Parsed {
    let Some(header) = message.get(..HEADER) else {
        return Parsed::Silence;
    };
    let is_response = header[2] & 0x80 != 0;
    if is_response {
        return Parsed::Silence;
    }
    let opcode = header[2] >> 3 & 0xf;
    if opcode != 0 {
        return Parsed::Error(Code::NotImp);
    }
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if count(4) != 1 || count(6) != 0 || count(8) != 0 {
        return Parsed::Error(Code::FormErr);
    }
    let Some(mut question) = read_question(message) else {
        return Parsed::Error(Code::FormErr);
    };
    match read_edns(message, question.end, count(10)) {
        Some(Edns::Absent) => {}
        Some(Edns::Size(size)) => question.edns = Some(size),
        Some(Edns::BadVersion) => return Parsed::Error(Code::BadVers),
        None => return Parsed::Error(Code::FormErr),
    }
    Parsed::Question(question)
}

fn read_question(message: &[u8]) -> Option<Box<Question>> {
    let mut name = [0; 255];
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        // Compression makes no sense in the first name of a message, and would be a way to loop.
        if length > 63 {
            return None;
        }
        let label = message.get(at..=at + length)?;
        let place = name.get_mut(at - HEADER..=at - HEADER + length)?;
        for (to, from) in place.iter_mut().zip(label) {
            *to = from.to_ascii_lowercase();
        }
        at += length + 1;
        if length == 0 {
            break;
        }
    }
    let fixed = message.get(at..at + 4)?;
    let class = u16::from_be_bytes([fixed[2], fixed[3]]);
    if class != CLASS_IN && class != CLASS_ANY {
        return None;
    }
    Some(Box::new(Question {
        name,
        name_length: u8::try_from(at - HEADER).ok()?,
        kind: u16::from_be_bytes([fixed[0], fixed[1]]),
        end: at + 4,
        edns: None,
    }))
}

enum Edns {
    Absent,
    Size(u16),
    BadVersion,
}

/// Walks the additional records for the one that is EDNS. `None`: malformed.
fn read_edns(message: &[u8], mut at: usize, records: u16) -> Option<Edns> {
    let mut found = Edns::Absent;
    for _ in 0..records {
        loop {
            let length = usize::from(*message.get(at)?);
            match length {
                0 => break at += 1,
                1..=63 => at += length + 1,
                192.. => break at += 2,
                _ => return None,
            }
        }
        let fixed = message.get(at..at + 10)?;
        let half = |from: usize| u16::from_be_bytes([fixed[from], fixed[from + 1]]);
        if half(0) == kind::OPT {
            let version = fixed[5];
            found = if version == 0 {
                Edns::Size(half(2))
            } else {
                Edns::BadVersion
            };
        }
        at = at.checked_add(10 + usize::from(half(8)))?;
        message.get(..at)?;
    }
    Some(found)
}

/// An answer in the making, written into a buffer that is used again and again.
#[derive(Debug)]
pub struct Answer<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
    answers: u16,
    edns: bool,
}

impl<'a> Answer<'a> {
    /// Starts the answer to `question`, which was read from `message`, of at most `limit` bytes.
    pub fn begin(out: &'a mut Vec<u8>, message: &[u8], question: &Question, limit: usize) -> Self {
        out.clear();
        out.extend_from_slice(&message[..question.end]);
        // Response; authoritative; recursion desired as asked; recursion available. CD as asked.
        out[2] = 0x84 | message[2] & 0x01;
        out[3] = 0x80 | message[3] & 0x10;
        out[6..HEADER].fill(0);
        Self {
            out,
            limit,
            answers: 0,
            edns: question.edns.is_some(),
        }
    }

    /// Adds an address; `false`: it did not fit, and the answer says that it is truncated.
    pub fn address(&mut self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(a) => self.record(kind::A, &a.octets()),
            IpAddr::V6(a) => self.record(kind::AAAA, &a.octets()),
        }
    }

    /// Adds a name in wire form, to a reverse question.
    pub fn pointer(&mut self, name: &[u8]) -> bool {
        self.record(kind::PTR, name)
    }

    fn record(&mut self, kind: u16, data: &[u8]) -> bool {
        let reserve = if self.edns { OPT_LENGTH } else { 0 };
        if self.out.len() + 12 + data.len() + reserve > self.limit || self.answers == u16::MAX {
            self.out[2] |= 0x02;
            return false;
        }
        // The owner's name is the question's, which begins right after the header.
        self.out.extend_from_slice(&[0xc0, 0x0c]);
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.out.extend_from_slice(&TTL.to_be_bytes());
        // Addresses and names are at most 255 bytes.
        self.out
            .extend_from_slice(&[0, u8::try_from(data.len()).unwrap_or(u8::MAX)]);
        self.out.extend_from_slice(data);
        self.answers += 1;
        true
    }

    /// Completes the answer.
    pub fn finish(self, code: Code) {
        self.out[3] = self.out[3] & 0xf0 | code as u8 & 0xf;
        self.out[6..8].copy_from_slice(&self.answers.to_be_bytes());
        if self.edns {
            self.out[11] = 1;
            push_opt(self.out, code);
        }
    }
}

fn push_opt(out: &mut Vec<u8>, code: Code) {
    let [size_high, size_low] = 1232_u16.to_be_bytes();
    out.extend_from_slice(&[0, 0, 41, size_high, size_low, code as u8 >> 4, 0, 0, 0, 0, 0]);
}

/// Answers a message that has no readable question with a code.
pub fn error(out: &mut Vec<u8>, message: &[u8], code: Code) {
    out.clear();
    out.extend_from_slice(&message[..HEADER]);
    out[2] = 0x80 | message[2] & 0x79;
    out[3] = 0x80 | code as u8 & 0xf;
    out[4..HEADER].fill(0);
    if code == Code::BadVers {
        out[11] = 1;
        push_opt(out, code);
    }
}
