//! Deciding: desired × observed → [`Plan`], without touching anything.
//!
//! 1. [`step`] is the vocabulary: what was seen ([`Observed`]), what can be done ([`Action`]), and a [`Plan`] of steps
//!    with their order and their *why*.
//! 2. [`reconcile`](reconcile::reconcile) compares a project with what was seen.
//! 3. [`takedown`] plans the way down: stop and remove in reverse order.
//!
//! Deliberately absent: I/O, clocks, async.

pub mod reconcile;
pub mod step;
pub mod takedown;

pub use reconcile::{Desired, Recreate, reconcile};
pub use step::{Action, Observed, ObservedContainer, Phase, Plan, Slot, Step, StepId};
pub use takedown::{Takedown, takedown};
