//! Names: the server that containers ask, at their gateways and at `127.0.0.11`.
//!
//! 1. [`zone`] knows who is called what, and who may see whom. Pure; the engine updates it as containers come and go,
//!    and a change is seen by the very next query.
//! 2. [`wire`] reads a question and writes an answer, without allocating per record.
//! 3. [`answer`] decides: answered here, refused, or forwarded. Pure.
//! 4. [`server`] owns the sockets; [`forward`] asks the host's resolvers, or a service's own `dns:` servers.
//!
//! A client is recognised by its source address, so a container on two networks sees the names of both whichever
//! gateway it asks.
//!
//! Absent on purpose: zone transfers, DNSSEC validation, record types beyond A, AAAA and PTR for our own names (others
//! get an empty answer), multicast DNS.
//!
//! Specifications: RFC 1035 (messages), RFC 6891 (EDNS), RFC 2308 (negative answers), RFC 7766 (TCP).

pub mod answer;
pub mod forward;
pub mod server;
pub mod wire;
pub mod zone;

pub use forward::Forwarder;
pub use server::{Listener, bind, serve};
pub use zone::{Client, Endpoint, Network, Zones};
