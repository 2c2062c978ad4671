//! The only `unsafe` in the house: one file per mechanism of the kernel, each function the safe twin of one call.

pub mod bpf;
pub mod clone;
pub mod close_range;
pub mod exec;
pub mod heap;
pub mod host;
pub mod link_up;
pub mod message;
pub mod mount_attr;
pub mod netlink;
pub mod netns;
pub mod pidfd;
pub mod poll;
pub mod raw_terminal;
pub mod schedule;
pub mod seccomp;
pub mod signals;
pub mod socket;
pub mod splice;
