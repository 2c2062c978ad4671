//! The default profile: Docker's list of calls (moby/profiles, `seccomp/default.json`) as our own data, without the
//! kernel's key rings (`keyctl` and its like: they are not namespaced) and with every comparison made on the 32 bits that
//! the kernel looks at, so that garbage in the upper half is no way around it.

use super::{Action, Condition, Operator, Profile, Rule};
use crate::confine::{Capabilities, capabilities};

/// Allowed for everybody.
#[rustfmt::skip]
const ALWAYS: &[&str] = &[
    // Files and directories.
    "access", "cachestat", "chdir", "chmod", "chown", "chown32", "close", "close_range", "copy_file_range", "creat",
    "dup", "dup2", "dup3", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate", "fanotify_mark",
    "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64", "fdatasync",
    "fgetxattr", "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs",
    "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futimesat", "getcwd", "getdents", "getdents64", "getxattr",
    "getxattrat", "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "ioctl", "lchown",
    "lchown32", "lgetxattr", "link", "linkat", "listmount", "listxattr", "listxattrat", "llistxattr", "_llseek",
    "lremovexattr", "lseek", "lsetxattr", "lstat", "lstat64", "mkdir", "mkdirat", "mknod", "mknodat",
    "name_to_handle_at", "newfstatat", "open", "openat", "openat2", "pread64", "preadv", "preadv2", "pwrite64",
    "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "removexattr", "removexattrat",
    "rename", "renameat", "renameat2", "rmdir", "sendfile", "sendfile64", "setxattr", "setxattrat", "splice", "stat",
    "stat64", "statfs", "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs",
    "tee", "truncate", "truncate64", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimensat_time64",
    "utimes", "vmsplice", "write", "writev",
    // Waiting for files.
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait",
    "epoll_wait_old", "eventfd", "eventfd2", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents",
    "io_pgetevents_time64", "io_setup", "io_submit", "_newselect", "pipe", "pipe2", "poll", "ppoll", "ppoll_time64",
    "pselect6", "pselect6_time64", "select", "signalfd", "signalfd4",
    // Memory.
    "brk", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret", "mincore", "mlock", "mlock2",
    "mlockall", "mmap", "mmap2", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "process_mrelease", "remap_file_pages",
    // Processes, threads, users, limits.
    "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork", "futex", "futex_requeue", "futex_time64",
    "futex_wait", "futex_waitv", "futex_wake", "getcpu", "getegid", "getegid32", "geteuid", "geteuid32", "getgid",
    "getgid32", "getgroups", "getgroups32", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrandom",
    "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit", "get_robust_list", "getrusage", "getsid",
    "get_thread_area", "gettid", "getuid", "getuid32", "ioprio_get", "ioprio_set", "kill", "landlock_add_rule",
    "landlock_create_ruleset", "landlock_restrict_self", "pause", "pidfd_open", "pidfd_send_signal", "prctl",
    "prlimit64", "process_vm_readv", "process_vm_writev", "ptrace", "restart_syscall", "riscv_hwprobe", "rseq",
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sched_getaffinity", "sched_getattr",
    "sched_getparam", "sched_get_priority_max", "sched_get_priority_min", "sched_getscheduler",
    "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam",
    "sched_setscheduler", "sched_yield", "seccomp", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid",
    "setgid32", "setgroups", "setgroups32", "setpgid", "setpriority", "setregid", "setregid32", "setresgid",
    "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit", "set_robust_list", "setsid",
    "set_thread_area", "set_tid_address", "setuid", "setuid32", "sigaltstack", "sigprocmask", "sigreturn", "sysinfo",
    "tgkill", "tkill", "ugetrlimit", "uname", "uretprobe", "vfork", "wait4", "waitid", "waitpid",
    // Time.
    "adjtimex", "alarm", "clock_adjtime", "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime",
    "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "getitimer", "gettimeofday", "nanosleep",
    "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64",
    "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime",
    "timerfd_settime64", "times",
    // Sockets and System V objects.
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "ipc", "listen",
    "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend",
    "mq_timedsend_time64", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "recv", "recvfrom", "recvmmsg",
    "recvmmsg_time64", "recvmsg", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "send", "sendmmsg",
    "sendmsg", "sendto", "setsockopt", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "socketcall", "socketpair",
    // Of one architecture only; the other tables do not have them.
    "arch_prctl", "arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "modify_ldt", "set_tls",
    "sync_file_range2",
];

/// Allowed with a capability.
#[rustfmt::skip]
const WITH_CAPABILITY: &[(&str, &[&str])] = &[
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("SYS_ADMIN", &[
        "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie",
        "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mount", "mount_setattr", "move_mount",
        "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns", "syslog",
        "umount", "umount2", "unshare",
    ]),
    ("SYS_BOOT", &["reboot"]),
    ("SYS_CHROOT", &["chroot"]),
    ("SYS_MODULE", &["delete_module", "init_module", "finit_module"]),
    ("SYS_PACCT", &["acct"]),
    ("SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("SYS_RAWIO", &["iopl", "ioperm"]),
    ("SYS_TIME", &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
    ("SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("SYSLOG", &["syslog"]),
    ("BPF", &["bpf"]),
    ("PERFMON", &["perf_event_open"]),
];

/// Address families that no container gets: AF_ALG (attack surface of the kernel's cryptography) and AF_VSOCK (a way
/// to the hypervisor, not namespaced).
const REFUSED_FAMILIES: [u64; 2] = [38, 40];

/// `personality(2)` values that change nothing dangerous: Linux, and 32-bit with or without `uname` of 2.6; all ones
/// only asks.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// All `CLONE_NEW*` flags.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;

const LOW: u64 = 0xffff_ffff;

/// The default profile for a process with these capabilities.
pub(in crate::confine) fn default_profile(sets: &Capabilities) -> Profile {
    const EPERM: u16 = 1;
    const ENOSYS: u16 = 38;
    let words = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let allow = |names: &[&str]| Rule {
        names: words(names),
        action: Action::Allow,
        conditions: Vec::new(),
    };
    let when = |name: &str, action: Action, mask: u64, value: u64| Rule {
        names: words(&[name]),
        action,
        conditions: vec![Condition {
            index: 0,
            operator: Operator::MaskedEqual(mask),
            value,
        }],
    };
    let mut rules = vec![allow(ALWAYS)];
    rules.extend(REFUSED_FAMILIES.map(|family| when("socket", Action::Errno(EPERM), LOW, family)));
    rules.push(allow(&["socket"]));
    rules.extend(PERSONALITIES.map(|value| when("personality", Action::Allow, LOW, value)));
    let has = |name: &str| capabilities::bit(name).is_some_and(|bit| sets.bounding & bit != 0);
    if !has("SYS_ADMIN") {
        rules.push(when("clone", Action::Allow, NAMESPACE_FLAGS, 0));
        // Its flags lie in memory where a filter cannot look; C libraries fall back to clone on ENOSYS.
        rules.push(Rule {
            action: Action::Errno(ENOSYS),
            ..allow(&["clone3"])
        });
    }
    rules.extend(
        WITH_CAPABILITY
            .iter()
            .filter(|(name, _)| has(name))
            .map(|(_, names)| allow(names)),
    );
    Profile {
        default: Action::Errno(EPERM),
        rules,
    }
}
