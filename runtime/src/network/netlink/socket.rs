//! Talking to the kernel: batches of requests, and dumps.

use super::{ACK, Attributes, DUMP, Message, REQUEST, Reply, reply::messages};
use crate::sys::netlink::{self, Family};
use std::{io, os::fd::OwnedFd};

/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`: the list changed while it was read.
const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_CAPPED`: the acknowledgement does not repeat the request. `NLM_F_ACK_TLVS`: attributes follow.
const CAPPED: u16 = 0x100;
const ACK_ATTRIBUTES: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`.
const ATTRIBUTE_TEXT: u16 = 1;
/// Dumps come in datagrams of at most 32 KiB (`netlink_dump` in the kernel's `af_netlink.c`).
const DATAGRAM: usize = 64 * 1024;
/// How often an interrupted dump is read again.
const DUMP_TRIES: usize = 16;

/// Why the kernel refused.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be opened.
    #[error("cannot open a {family:?} netlink socket")]
    Open {
        /// Which subsystem.
        family: Family,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// Sending or receiving failed.
    #[error("cannot talk to the kernel over netlink")]
    Transport(#[source] io::Error),
    /// A request was refused.
    #[error("{cause}{}", text.as_ref().map(|t| format!(" ({t})")).unwrap_or_default())]
    Refused {
        /// Which request of the batch, counted from zero.
        index: usize,
        /// The error number.
        cause: io::Error,
        /// The kernel's own words, when it gave any.
        text: Option<String>,
    },
}

impl NetlinkError {
    /// Whether the kernel refused with error number `errno`.
    pub fn is(&self, errno: i32) -> bool {
        matches!(self, Self::Refused { cause, .. } if cause.raw_os_error() == Some(errno))
    }
}

/// A netlink socket, bound for life to the network namespace in which it was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel lacks the subsystem or descriptors have run out.
    pub fn open(family: Family) -> Result<Self, NetlinkError> {
        let fd = netlink::open(family).map_err(|cause| NetlinkError::Open { family, cause })?;
        Ok(Self { fd, sequence: 0 })
    }

    /// The descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Sends `batch` in one system call. The kernel works through it in order and goes on after a failure, so the
    /// answer has one entry per request.
    ///
    /// # Errors
    /// When talking to the kernel failed; refusals of single requests are in the answer.
    pub fn batch(&mut self, batch: Vec<Message>) -> Result<Vec<Result<(), NetlinkError>>, NetlinkError> {
        let first = self.sequence.wrapping_add(1);
        let count = batch.len();
        let mut datagram = Vec::with_capacity(count * 128);
        for mut message in batch {
            self.sequence = self.sequence.wrapping_add(1);
            message.add_flags(REQUEST | ACK);
            datagram.extend(message.finish(self.sequence));
        }
        netlink::send(&self.fd, &datagram).map_err(NetlinkError::Transport)?;
        let mut answers: Vec<Option<Result<(), NetlinkError>>> = (0..count).map(|_| None).collect();
        let mut buffer = vec![0; DATAGRAM];
        while answers.iter().any(Option::is_none) {
            let length = self.receive(&mut buffer)?;
            for (kind, flags, sequence, payload) in messages(&buffer[..length]) {
                let index = usize::try_from(sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                if kind == ERROR
                    && let Some(answer) = answers.get_mut(index)
                {
                    *answer = Some(outcome(index, flags, payload));
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Sends `batch` and reports the first refusal.
    ///
    /// # Errors
    /// The first refused request; later ones were carried out or refused on their own.
    pub fn request(&mut self, batch: Vec<Message>) -> Result<(), NetlinkError> {
        self.batch(batch)?.into_iter().collect()
    }

    /// Sends one nf_tables transaction: all of `batch` (which includes its begin and end messages) or nothing.
    /// The kernel acknowledges begin and end messages only in newer versions, so only those between are awaited.
    ///
    /// # Errors
    /// The first refused message, its index counted from the begin message.
    pub(in crate::network) fn transaction(&mut self, batch: Vec<Message>) -> Result<(), NetlinkError> {
        let first = self.sequence.wrapping_add(1);
        let count = batch.len();
        let mut datagram = Vec::with_capacity(count * 160);
        for (index, mut message) in batch.into_iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let inner = index != 0 && index + 1 != count;
            message.add_flags(if inner { REQUEST | ACK } else { REQUEST });
            datagram.extend(message.finish(self.sequence));
        }
        netlink::send(&self.fd, &datagram).map_err(NetlinkError::Transport)?;
        let mut failure = None;
        let mut seen = 0;
        let mut buffer = vec![0; DATAGRAM];
        while seen < count.saturating_sub(2) {
            let length = self.receive(&mut buffer)?;
            for (kind, flags, sequence, payload) in messages(&buffer[..length]) {
                let index = usize::try_from(sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                if kind != ERROR || index >= count {
                    continue;
                }
                if let Err(error) = outcome(index, flags, payload) {
                    failure.get_or_insert(error);
                }
                if index == 0 || index + 1 == count {
                    // The transaction as a whole was refused; no further answers come.
                    seen = count;
                } else {
                    seen += 1;
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Asks for one object.
    ///
    /// # Errors
    /// When the kernel refuses; `ENODEV` or `ENOENT` when there is none.
    pub fn get(&mut self, message: Message) -> Result<Reply, NetlinkError> {
        let (mut replies, _) = self.dump_once_with(message, REQUEST | ACK)?;
        replies
            .pop()
            .ok_or_else(|| NetlinkError::Transport(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Asks for a list and returns all its entries; a list that changed while it was read is read again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn dump(
        &mut self,
        kind: u16,
        fixed: &[u8],
        fill: impl Fn(Message) -> Message,
    ) -> Result<Vec<Reply>, NetlinkError> {
        let mut replies = Vec::new();
        for _ in 0..DUMP_TRIES {
            let (found, interrupted) =
                self.dump_once_with(fill(Message::new(kind, 0, fixed)), REQUEST | DUMP)?;
            replies = found;
            if !interrupted {
                break;
            }
        }
        Ok(replies)
    }

    /// Sends one request and collects replies until the kernel says that they are complete.
    fn dump_once_with(
        &mut self,
        mut message: Message,
        flags: u16,
    ) -> Result<(Vec<Reply>, bool), NetlinkError> {
        message.add_flags(flags);
        self.sequence = self.sequence.wrapping_add(1);
        let mine = self.sequence;
        netlink::send(&self.fd, &message.finish(mine)).map_err(NetlinkError::Transport)?;
        let (mut replies, mut interrupted) = (Vec::new(), false);
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = self.receive(&mut buffer)?;
            for (kind, flags, sequence, payload) in messages(&buffer[..length]) {
                if sequence != mine {
                    continue;
                }
                interrupted |= flags & DUMP_INTERRUPTED != 0;
                match kind {
                    DONE => return Ok((replies, interrupted)),
                    ERROR => {
                        outcome(0, flags, payload)?;
                        return Ok((replies, interrupted));
                    }
                    _ => replies.push(Reply {
                        kind,
                        payload: payload.to_vec(),
                    }),
                }
            }
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize, NetlinkError> {
        loop {
            match netlink::receive(&self.fd, buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(NetlinkError::Transport),
            }
        }
    }
}

/// Reads `struct nlmsgerr`: zero is an acknowledgement.
fn outcome(index: usize, flags: u16, payload: &[u8]) -> Result<(), NetlinkError> {
    let number = payload
        .get(0..4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, i32::from_ne_bytes);
    if number == 0 {
        return Ok(());
    }
    let text = (flags & ACK_ATTRIBUTES != 0).then(|| {
        let request = payload
            .get(4..8)
            .and_then(|b| b.try_into().ok())
            .map_or(16, u32::from_ne_bytes);
        let skip = if flags & CAPPED != 0 {
            16
        } else {
            usize::try_from(request).unwrap_or(16)
        };
        Attributes::new(payload.get(4 + skip.next_multiple_of(4)..).unwrap_or_default())
            .text(ATTRIBUTE_TEXT)
            .map(str::to_owned)
    });
    Err(NetlinkError::Refused {
        index,
        cause: io::Error::from_raw_os_error(-number),
        text: text.flatten(),
    })
}
