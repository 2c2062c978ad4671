//! A container's files from outside, whether it runs or not: looking, copying in and out, exporting, what changed.
//!
//! 1. [`FileTree`]: the tree, held by a descriptor. Of a running container it is the one its processes see; of a stopped
//!    one its layers (and volumes) are mounted again, in a mount namespace of our own that nobody else sees.
//! 2. [`copy`]: files between two trees, or as a tar stream, by the rules of `docker cp`.
//! 3. [`changes`]: what the container changed over its image.
//!
//! Every path inside a tree is resolved by the kernel with the tree as its root, so nothing in it leads to the host.

pub mod changes;
pub mod copy;
mod tree;

pub use changes::changes;
pub use copy::{CopyError, CopyOptions, Owner, PathStatus, copy};
pub use tree::{FileTree, Scope};
