//! banyan: a whole stack of services up from one YAML file, and down again without a trace.
//!
//! Read `docs/architecture.md` next; this page is the map. Floors, from the ground up; a module uses only floors
//! below its own:
//!
//! | floor | modules |
//! |---|---|
//! | 7 voice | `cli` |
//! | 6 verbs | `engine`, `api` |
//! | 5 time | `scheduler`, `supervisor` |
//! | 4 hands | `network`, `dns`, `logs`, `overlays`, `volumes` |
//! | 3 judgement | `project`, `plan`, `init` |
//! | 2 | `graph`, `recipe`, `state` |
//! | 1 words | `model` |
//! | 0 ground | the crate `banyan-runtime` |
#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod dns;
pub mod engine;
pub mod graph;
pub mod init;
pub mod logs;
pub mod model;
pub mod network;
pub mod overlays;
pub mod plan;
pub mod project;
pub mod recipe;
pub mod scheduler;
pub mod state;
pub mod supervisor;
pub mod volumes;
