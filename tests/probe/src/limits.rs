//! Running into limits, and waiting.

use std::{
    fs, io,
    time::{Duration, Instant},
};

/// Touches memory, saying after each mebibyte how many there are.
pub(crate) fn eat(mebibytes: u32) -> io::Result<()> {
    let mut held = Vec::new();
    for count in 1..=mebibytes {
        // Of values, not zeroes, so that every page is written.
        held.push(vec![1_u8; 1 << 20]);
        println!("eaten {count}");
    }
    println!("all of {} MiB", held.len());
    Ok(())
}

/// Makes children that wait, at most `most`; says how many there were and what the next one met.
pub(crate) fn fork(most: u32) -> io::Result<()> {
    let mut children = Vec::new();
    let mut met = 0;
    for _ in 0..most {
        // SAFETY: this process has one thread; the child only waits to be killed.
        match unsafe { libc::fork() } {
            0 => loop {
                // SAFETY: pause takes nothing.
                unsafe { libc::pause() };
            },
            -1 => {
                met = io::Error::last_os_error().raw_os_error().unwrap_or(0);
                break;
            }
            child => children.push(child),
        }
    }
    println!("children {} {}", children.len(), crate::facts::name_of(met));
    for child in children {
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(child, libc::SIGKILL) };
        // SAFETY: as above; no status is wanted.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    Ok(())
}

/// Works until the kernel says that it stopped us for the sake of a quota: `throttled yes`; `no` after 20 s of work.
pub(crate) fn throttled() -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut sum = 0_u64;
    while Instant::now() < deadline {
        for number in 0..1_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        if throttles()? > 0 {
            println!("throttled yes");
            return Ok(());
        }
    }
    println!("throttled no");
    Ok(())
}

/// Waits to be killed.
pub(crate) fn wait() -> io::Result<()> {
    loop {
        std::thread::park();
    }
}

fn throttles() -> io::Result<u64> {
    let text = [
        "/sys/fs/cgroup/cpu/cpu.stat",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.stat",
        "/sys/fs/cgroup/cpu.stat",
    ]
    .iter()
    .find_map(|path| fs::read_to_string(path).ok())
    .ok_or_else(|| io::Error::other("no cpu.stat"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("nr_throttled "));
    value
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| io::Error::other("no nr_throttled"))
}
