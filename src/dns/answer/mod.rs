//! What a query gets: decided from the bytes, the source address and the zones, without any I/O.

use super::{
    wire::{self, Answer, Code, LARGEST_UDP, PLAIN_UDP, Parsed, Question, kind},
    zone::{Found, Index, View},
};
use std::{net::IpAddr, sync::Arc};

/// How the query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One datagram; its size is limited.
    Udp,
    /// A stream.
    Tcp,
}

/// What to do.
#[derive(Debug)]
pub enum Decision {
    /// Send what was written.
    Reply,
    /// Ask others, and answer the question with what they say.
    Forward(Box<Query>),
    /// Send nothing.
    Silence,
}

/// A question for others.
#[derive(Debug, Clone)]
pub struct Query {
    /// The question.
    pub question: Question,
    /// Whom to ask; empty: the host's resolvers.
    pub servers: Arc<[IpAddr]>,
    /// Largest answer the client takes.
    pub limit: usize,
}

/// Decides, writing an answer into `out` where there is one. `turn` says which of several addresses comes first.
pub fn decide(
    index: &Index,
    source: IpAddr,
    transport: Transport,
    message: &[u8],
    turn: impl FnOnce() -> usize,
    out: &mut Vec<u8>,
) -> Decision {
    let question = match wire::parse(message) {
        Parsed::Question(question) => question,
        Parsed::Error(code) => {
            wire::error(out, message, code);
            return Decision::Reply;
        }
        Parsed::Silence => return Decision::Silence,
    };
    let limit = limit(&question, transport);
    let mut answer = Answer::begin(out, message, &question, limit);
    let Some(view) = index.view(source) else {
        // Nobody we know: perhaps a stranger, perhaps a container that has just left.
        answer.finish(Code::Refused);
        return Decision::Reply;
    };
    let code = match index.find(view, question.name()) {
        Found::Here(addresses) => {
            let turn = turn();
            let wants = |kind| question.kind == kind || question.kind == kind::ANY;
            if wants(kind::A) {
                rotated(&addresses.v4, turn).all(|a| answer.address((*a).into()));
            }
            if wants(kind::AAAA) {
                rotated(&addresses.v6, turn).all(|a| answer.address((*a).into()));
            }
            // Any other type: the name exists, and has nothing of the kind. Never forwarded, or the world outside
            // would deny the name and resolvers that ask for AAAA first would give up.
            Code::NoError
        }
        Found::Elsewhere => Code::NxDomain,
        Found::Unknown => match foreign(index, view, &question, &mut answer) {
            Some(code) => code,
            None => {
                return Decision::Forward(Box::new(Query {
                    question: *question,
                    servers: Arc::clone(&view.servers),
                    limit,
                }));
            }
        },
    };
    answer.finish(code);
    Decision::Reply
}

/// A name that is not one of ours: a reverse question about our addresses, or the world outside. `None`: forward.
fn foreign(index: &Index, view: &View, question: &Question, answer: &mut Answer<'_>) -> Option<Code> {
    if let Some(address) = question.reverse_address().filter(|address| index.owns(*address)) {
        return Some(match index.reverse(view, address) {
            Some(name) => {
                if matches!(question.kind, kind::PTR | kind::ANY) {
                    answer.pointer(name);
                }
                Code::NoError
            }
            None => Code::NxDomain,
        });
    }
    (!view.may_forward).then_some(Code::NxDomain)
}

/// The largest answer that may be sent.
fn limit(question: &Question, transport: Transport) -> usize {
    match (transport, question.edns) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, None) => PLAIN_UDP,
        // RFC 6891 section 6.2.3: values below 512 mean 512.
        (Transport::Udp, Some(size)) => usize::from(size).clamp(PLAIN_UDP, LARGEST_UDP),
    }
}

/// All items, beginning with the one whose turn it is.
fn rotated<T>(items: &[T], turn: usize) -> impl Iterator<Item = &T> {
    let start = turn.checked_rem(items.len()).unwrap_or(0);
    let (late, early) = items.split_at(start);
    early.iter().chain(late)
}

#[cfg(test)]
mod tests;
