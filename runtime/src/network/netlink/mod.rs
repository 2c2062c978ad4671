//! A small typed netlink codec: netlink(7).
//!
//! 1. [`Message`] builds one request: header, fixed part, attributes, nested attributes.
//! 2. [`Socket::request`] sends many requests in one datagram and collects one answer each.
//! 3. [`Reply`] and [`Attributes`] read what dumps return.
//!
//! Absent on purpose: multicast groups, listening for events, anything asynchronous.

mod message;
mod reply;
mod socket;

pub use message::Message;
pub use reply::{Attributes, Reply};
pub use socket::{NetlinkError, Socket};

/// `NLM_F_REQUEST`.
pub(super) const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`.
pub(super) const ACK: u16 = 0x4;
/// `NLM_F_ROOT | NLM_F_MATCH`.
pub(super) const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`.
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_EXCL`.
pub(super) const EXCL: u16 = 0x200;
/// `NLM_F_REPLACE`.
pub(super) const REPLACE: u16 = 0x100;
/// `NLM_F_APPEND`.
pub(super) const APPEND: u16 = 0x800;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Rounds up to the four bytes to which messages and attributes are aligned.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}
