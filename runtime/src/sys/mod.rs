//! The only `unsafe` in the house: one file per mechanism of the kernel, each function the safe twin of one call.
pub mod netlink;
pub mod netns;
