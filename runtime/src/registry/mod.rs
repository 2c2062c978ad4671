//! Registries: images over HTTP (OCI distribution-spec 1.1; Docker's registry API v2).
//!
//! A pull:
//! 1. [`client`] speaks HTTP: tokens, redirects, retries; [`credentials`] knows who we are;
//! 2. [`pull`] reads the manifest or index, chooses the platform, and streams missing layers into the store;
//! 3. every document and blob is compared with its digest and size while it streams.
//!
//! [`obtain`] is what everybody asks for an image: the store, then a registry, then (for `debian:`) Debian packages.
//!
//! Deliberately absent: plain HTTP to anything but loopback, and credentials across a redirect.

pub mod client;
pub mod credentials;
pub mod obtain;
pub mod pull;
pub mod push;

pub use client::{Client, RegistryError};
pub use credentials::Credentials;
pub use obtain::{ObtainError, Policy, obtain};
