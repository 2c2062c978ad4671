//! Memory that is not needed any more, given back to the kernel.

use rustix::mm::Advice;

/// Returns free pages of the heap (malloc_trim(3)): for processes that worked once and then sleep for hours.
pub fn trim() {
    // SAFETY: malloc_trim touches only memory that the allocator owns and nobody uses.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// At most `count` heaps for all threads of this process (mallopt(3), M_ARENA_MAX): glibc's usual one for each thread
/// keeps what each of them once used. To be called before there are threads.
pub fn share_heaps(count: i32) {
    // SAFETY: mallopt changes a number that the allocator reads when a thread asks it for the first time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, count)
    };
}

/// Unmaps the pages of our own program that were only needed for work that is done (madvise(2), MADV_DONTNEED). They
/// stay in the page cache and come back when they are touched; until then the kernel may use the memory for others.
pub fn forget_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    for (start, length) in code(&maps, &program.to_string_lossy()) {
        // SAFETY: the range is one whole executable mapping of the program's file ([`code`]). Nothing ever writes to it,
        // before it was made read-only neither, so that its content is the file's and comes back from there.
        let dropped = unsafe { rustix::mm::madvise(start as *mut _, length, Advice::LinuxDontNeed) };
        if let Err(errno) = dropped {
            tracing::debug!(%errno, "pages of the program stay mapped");
        }
    }
}

/// Address and length of the executable mappings of `program` (proc_pid_maps(5)). Not of the read-only ones: one of them
/// has what the start relocated in it (ELF, PT_GNU_RELRO), which is not in the file.
fn code(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let mapping = |line: &str| {
        let mut words = line.split_whitespace();
        let (range, mode) = (words.next()?, words.next()?);
        let path = words.nth(3)?;
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        (path == program && mode == "r-xp").then_some((start, end.checked_sub(start)?))
    };
    maps.lines().filter_map(mapping).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_file_can_give_back_is_dropped() {
        let maps = "\
00200000-005de000 r--p 00000000 fe:00 7 /opt/banyan
005de000-018c4000 r-xp 003dd000 fe:00 7 /opt/banyan
018c4000-018d0000 rw-p 016c2000 fe:00 7 /opt/banyan
018d0000-018d2000 r--s 00000000 fe:00 7 /opt/banyan
37fc7000-3809e000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000001000 r-xp 00000000 fe:00 8 /lib/other.so
7f0000002000-7f0000003000 r--p 00000000 00:00 0
";
        assert_eq!(code(maps, "/opt/banyan"), [(0x005d_e000, 0x012e_6000)]);
    }

    #[test]
    fn a_program_that_forgot_its_code_goes_on() {
        let before = jiff::Timestamp::now();
        forget_code();
        trim();
        // Through the C library and tables of its own.
        assert!(jiff::Timestamp::now() >= before);
        assert!(std::fs::read_to_string("/proc/self/maps").is_ok_and(|maps| !maps.is_empty()));
    }
}
