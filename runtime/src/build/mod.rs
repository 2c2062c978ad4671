//! Building images.
pub mod sandbox;
