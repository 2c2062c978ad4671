//! Keeping promises over time: restarts and health, decided by pure machines.
//!
//! [`machine`] answers an ending with a verdict, [`health`] folds probe results into a state. Neither knows how a
//! container is started or probed; the engine does both.

pub mod health;
pub mod machine;
#[cfg(test)]
mod model_test;
