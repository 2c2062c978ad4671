//! What a process of a container is: ids, rights, limits, namespaces, mounts, devices, descriptors.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

const LIMITS: [(&str, libc::__rlimit_resource_t); 16] = [
    ("as", libc::RLIMIT_AS),
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];

/// Paths whose look tells whether they are covered.
const HIDDEN: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/version",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel",
];

/// Paths whose mount tells whether they can be written.
const WRITABLE: [&str; 8] = [
    "/",
    "/proc/self/comm",
    "/proc/sys/kernel/hostname",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/dev/shm",
];

/// Prints them, one `name value` a line.
pub(crate) fn print() -> io::Result<()> {
    descriptors()?;
    println!("pid {}", std::process::id());
    println!("parent {}", std::os::unix::process::parent_id());
    // SAFETY: getsid and getpgid of the caller take and give integers.
    println!("session {} {}", unsafe { libc::getsid(0) }, unsafe {
        libc::getpgid(0)
    });
    // SAFETY: umask takes and gives an integer.
    println!("umask {:04o}", unsafe { libc::umask(0) });
    println!("cwd {}", std::env::current_dir()?.display());
    println!(
        "oom-score {}",
        fs::read_to_string("/proc/self/oom_score_adj")?.trim()
    );
    for (name, value) in std::env::vars() {
        println!("variable {name}={value}");
    }
    for word in ["hostname", "domainname"] {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{word}"))?;
        println!("{word} {}", text.trim());
    }
    status()?;
    for (name, resource) in LIMITS {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` outlives the call.
        if unsafe { libc::getrlimit(resource, &raw mut limit) } == 0 {
            println!("limit {name} {} {}", shown(limit.rlim_cur), shown(limit.rlim_max));
        }
    }
    for entry in fs::read_dir("/proc/self/ns")? {
        let entry = entry?;
        let target = fs::read_link(entry.path())?;
        println!(
            "namespace {} {}",
            entry.file_name().to_string_lossy(),
            target.display()
        );
    }
    for line in fs::read_to_string("/proc/self/cgroup")?.lines() {
        println!("cgroup {line}");
    }
    mounts()?;
    devices(Path::new("/dev"))?;
    for path in HIDDEN {
        println!("hidden {path} {}", look(Path::new(path)));
    }
    for path in WRITABLE {
        println!("writable {path} {}", may_write(path));
    }
    for entry in fs::read_dir("/sys/class/net")? {
        println!("interface {}", entry?.file_name().to_string_lossy());
    }
    for (file, name) in [
        ("/proc/sys/net/ipv4/ping_group_range", "ping"),
        ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "ports"),
    ] {
        println!(
            "{name} {}",
            fs::read_to_string(file)?
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        );
    }
    processes()
}

fn shown(value: libc::rlim_t) -> String {
    if value == libc::RLIM_INFINITY {
        "unlimited".to_owned()
    } else {
        value.to_string()
    }
}

/// Open descriptors, but the one that lists them. Asked before anything else is opened.
fn descriptors() -> io::Result<()> {
    let listed: Vec<_> = fs::read_dir("/proc/self/fd")?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    for path in listed {
        // The listing's own is closed by now.
        if let Ok(target) = fs::read_link(&path) {
            let number = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            println!("descriptor {number} {}", target.display());
        }
    }
    Ok(())
}

/// The lines of `/proc/self/status` that speak of rights.
fn status() -> io::Result<()> {
    const WANTED: [&str; 16] = [
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
        "Speculation_Store_Bypass",
        "SigBlk",
        "SigIgn",
        "TracerPid",
        "Threads",
    ];
    for line in fs::read_to_string("/proc/self/status")?.lines() {
        if let Some((name, value)) = line.split_once(':')
            && WANTED.contains(&name)
        {
            println!(
                "{name} {}",
                value.split_whitespace().collect::<Vec<_>>().join(" ")
            );
        }
    }
    Ok(())
}

/// `mount TARGET TYPE OPTIONS PROPAGATION`, options of the mount and of its file system together.
fn mounts() -> io::Result<()> {
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let propagation = left[6..].join(",");
        println!(
            "mount {} {} {},{} [{propagation}]",
            left[4], right[0], left[5], right[2]
        );
    }
    Ok(())
}

/// `device PATH c|b MAJOR:MINOR MODE` and `link PATH TARGET`.
fn devices(folder: &Path) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let data = fs::symlink_metadata(&path)?;
        let kind = data.file_type();
        if kind.is_symlink() {
            println!("link {} {}", path.display(), fs::read_link(&path)?.display());
        } else if kind.is_char_device() || kind.is_block_device() {
            let letter = if kind.is_char_device() { 'c' } else { 'b' };
            println!(
                "device {} {letter} {}:{} {:04o}",
                path.display(),
                libc::major(data.rdev()),
                libc::minor(data.rdev()),
                data.mode() & 0o7777
            );
        } else if kind.is_dir() && path.file_name().is_some_and(|name| name != "pts") {
            devices(&path)?;
        }
    }
    Ok(())
}

/// `absent`, `empty`, `null` (the null device), or `content`.
fn look(path: &Path) -> &'static str {
    let Ok(data) = fs::metadata(path) else {
        return "absent";
    };
    if data.file_type().is_char_device() && data.rdev() == libc::makedev(1, 3) {
        return "null";
    }
    let empty = if data.is_dir() {
        fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
    } else {
        false
    };
    if empty { "empty" } else { "content" }
}

/// What access(2) says: `yes`, or the errno.
fn may_write(path: &str) -> String {
    let Ok(text) = std::ffi::CString::new(path) else {
        return "?".to_owned();
    };
    // SAFETY: `text` is NUL-terminated and outlives the call.
    match unsafe { libc::access(text.as_ptr(), libc::W_OK) } {
        0 => "yes".to_owned(),
        _ => name_of(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}

/// Everybody this process can see.
fn processes() -> io::Result<()> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            println!("process {name}");
        }
    }
    Ok(())
}

/// The errnos tests ask for by name; others by number.
pub(crate) fn name_of(errno: i32) -> String {
    match errno {
        0 => "ok".to_owned(),
        libc::EPERM => "EPERM".to_owned(),
        libc::EACCES => "EACCES".to_owned(),
        libc::ENOSYS => "ENOSYS".to_owned(),
        libc::EROFS => "EROFS".to_owned(),
        libc::ENOENT => "ENOENT".to_owned(),
        libc::ENXIO => "ENXIO".to_owned(),
        libc::EAGAIN => "EAGAIN".to_owned(),
        other => format!("errno-{other}"),
    }
}
