//! Memory that was freed, given back to the kernel.

/// Returns free pages of the heap (malloc_trim(3)): for processes that worked once and then sleep for hours.
pub fn trim() {
    // SAFETY: malloc_trim touches only memory that the allocator owns and nobody uses.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}
