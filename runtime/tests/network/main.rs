//! Halls, bridges, connections and uplinks, with bare network namespaces standing for containers and hosts.
//!
//! Needs root; without it every test says so and passes (`BANYAN_TESTS_MUST_RUN=1` turns that into a failure).

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod connections;
mod support;
mod uplinks;
