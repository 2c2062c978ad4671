//! Networks of a project: which addresses everybody gets, and how the host's ports lead inside.
//!
//! * [`address`] plans subnets, gateways and containers' addresses. Pure.
//! * [`shared`] keeps networks that several projects use: what they are, who is there, where their halls are.
//! * [`publish`] owns the listeners on the host and relays connections and datagrams into the hall.
//!
//! What the kernel does (bridges, veth pairs, rules) is in [`banyan_runtime::network`]; names are in [`crate::dns`].
//! `docs/networking.md` walks a packet through all of it.

pub mod address;
pub mod interface;
pub mod publish;
pub mod shared;
