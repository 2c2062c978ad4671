//! Hidden roles: the same binary, re-executed as something small and single-threaded.

/// Runs the hidden role this process was started for and gives its exit status, or `None` in an ordinary process.
pub fn run() -> Option<u8> {
    None
}
