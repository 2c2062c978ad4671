//! A table of system calls, each made with arguments that do no harm even where it is allowed: what the kernel answers.

use crate::facts::name_of;
use std::io;

/// An address nobody has.
const BAD: i64 = 1;

/// Name, number, arguments. Where the call is allowed these answer something else than EPERM or ENOSYS, for everybody who
/// has all capabilities.
#[rustfmt::skip]
#[cfg(target_arch = "x86_64")]
const CALLS: &[(&str, i64, [i64; 5])] = &[
    // What programs live on.
    ("read", libc::SYS_read, [-1, 0, 0, 0, 0]),
    ("openat", libc::SYS_openat, [-1, BAD, 0, 0, 0]),
    ("openat2", libc::SYS_openat2, [-1, BAD, BAD, 24, 0]),
    ("statx", libc::SYS_statx, [-1, BAD, 0, 0, BAD]),
    ("futex", libc::SYS_futex, [BAD, 0, 0, 0, 0]),
    ("mmap", libc::SYS_mmap, [0, 0, 0, 0, -1]),
    ("execve", libc::SYS_execve, [BAD, 0, 0, 0, 0]),
    ("execveat", libc::SYS_execveat, [-1, BAD, 0, 0, 0]),
    ("wait4", libc::SYS_wait4, [-2, 0, 1, 0, 0]),
    ("kill", libc::SYS_kill, [1 << 30, 0, 0, 0, 0]),
    ("ptrace", libc::SYS_ptrace, [0x4206, 1 << 30, 0, 0, 0]),
    ("prctl", libc::SYS_prctl, [-1, 0, 0, 0, 0]),
    ("seccomp", libc::SYS_seccomp, [-1, 0, 0, 0, 0]),
    ("capget", libc::SYS_capget, [BAD, BAD, 0, 0, 0]),
    ("mknodat", libc::SYS_mknodat, [-1, BAD, 0, 0, 0]),
    ("fchownat", libc::SYS_fchownat, [-1, BAD, 0, 0, 0]),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, [-1, BAD, BAD, BAD, 0]),
    ("memfd_create", libc::SYS_memfd_create, [BAD, 0, 0, 0, 0]),
    ("epoll_ctl", libc::SYS_epoll_ctl, [-1, 1, -1, 0, 0]),
    ("inotify_add_watch", libc::SYS_inotify_add_watch, [-1, BAD, 0, 0, 0]),
    ("io_setup", libc::SYS_io_setup, [1, BAD, 0, 0, 0]),
    ("pidfd_open", libc::SYS_pidfd_open, [1 << 30, 0, 0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [1 << 30, BAD, 0, BAD, 0]),
    ("adjtimex", libc::SYS_adjtimex, [BAD, 0, 0, 0, 0]),
    ("mq_open", libc::SYS_mq_open, [BAD, 0, 0, 0, 0]),
    ("shmget", libc::SYS_shmget, [0, 0, 0, 0, 0]),
    ("bind", libc::SYS_bind, [-1, 0, 0, 0, 0]),
    ("chroot", libc::SYS_chroot, [BAD, 0, 0, 0, 0]),
    ("socket: inet", libc::SYS_socket, [2, 1, 0, 0, 0]),
    ("socket: unix", libc::SYS_socket, [1, 1, 0, 0, 0]),
    ("socket: netlink", libc::SYS_socket, [16, 3, 0, 0, 0]),
    ("personality: which", libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0]),
    ("clone: a bad process", libc::SYS_clone, [libc::CLONE_SIGHAND as i64, 0, 0, 0, 0]),
    // What Docker keeps from everybody, or from those without a capability that its containers lack.
    ("acct", libc::SYS_acct, [BAD, 0, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [BAD, BAD, BAD, 0, 0]),
    ("bpf", libc::SYS_bpf, [9999, BAD, 0, 0, 0]),
    ("clock_settime", libc::SYS_clock_settime, [0, BAD, 0, 0, 0]),
    ("delete_module", libc::SYS_delete_module, [BAD, 0, 0, 0, 0]),
    ("fanotify_init", libc::SYS_fanotify_init, [-1, 0, 0, 0, 0]),
    ("finit_module", libc::SYS_finit_module, [-1, BAD, 0, 0, 0]),
    ("fsconfig", libc::SYS_fsconfig, [-1, 0, 0, 0, 0]),
    ("fsmount", libc::SYS_fsmount, [-1, 0, 0, 0, 0]),
    ("fsopen", libc::SYS_fsopen, [BAD, 0, 0, 0, 0]),
    ("fspick", libc::SYS_fspick, [-1, BAD, 0, 0, 0]),
    ("init_module", libc::SYS_init_module, [BAD, 0, BAD, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0, BAD, 0, 0, 0]),
    ("ioperm", libc::SYS_ioperm, [1 << 20, 1, 1, 0, 0]),
    ("iopl", libc::SYS_iopl, [4, 0, 0, 0, 0]),
    ("kcmp", libc::SYS_kcmp, [1 << 30, 1 << 30, 0, 0, 0]),
    ("kexec_load", libc::SYS_kexec_load, [0, 1 << 20, BAD, -1, 0]),
    ("keyctl", libc::SYS_keyctl, [9999, 0, 0, 0, 0]),
    ("mbind", libc::SYS_mbind, [BAD, 0, 99, 0, 0]),
    ("mount", libc::SYS_mount, [BAD, BAD, BAD, 0, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, [-1, BAD, 0, BAD, 32]),
    ("move_mount", libc::SYS_move_mount, [-1, BAD, -1, BAD, 0]),
    ("move_pages", libc::SYS_move_pages, [1 << 30, 0, 0, 0, 0]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [-1, BAD, 0, 0, 0]),
    ("open_tree", libc::SYS_open_tree, [-1, BAD, 0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [BAD, 0, 0, -1, 0]),
    ("personality: no randomisation", libc::SYS_personality, [0x004_0000, 0, 0, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [-1, 0, 0, 0, 0]),
    ("pivot_root", libc::SYS_pivot_root, [BAD, BAD, 0, 0, 0]),
    ("process_madvise", libc::SYS_process_madvise, [-1, BAD, 1, 0, 0]),
    ("quotactl", libc::SYS_quotactl, [-1, BAD, 0, 0, 0]),
    ("reboot", libc::SYS_reboot, [0, 0, 0, 0, 0]),
    ("request_key", libc::SYS_request_key, [BAD, BAD, 0, 0, 0]),
    ("set_mempolicy", libc::SYS_set_mempolicy, [99, 0, 0, 0, 0]),
    ("setdomainname", libc::SYS_setdomainname, [BAD, 1, 0, 0, 0]),
    ("sethostname", libc::SYS_sethostname, [BAD, 1, 0, 0, 0]),
    ("setns", libc::SYS_setns, [-1, 0, 0, 0, 0]),
    ("settimeofday", libc::SYS_settimeofday, [BAD, 0, 0, 0, 0]),
    ("socket: alg", libc::SYS_socket, [38, 5, 0, 0, 0]),
    ("socket: alg, garbage above", libc::SYS_socket, [(7 << 32) | 38, 5, 0, 0, 0]),
    ("socket: vsock", libc::SYS_socket, [40, 1, 0, 0, 0]),
    ("swapoff", libc::SYS_swapoff, [BAD, 0, 0, 0, 0]),
    ("swapon", libc::SYS_swapon, [BAD, 0, 0, 0, 0]),
    ("syslog", libc::SYS_syslog, [99, 0, 0, 0, 0]),
    ("umount2", libc::SYS_umount2, [BAD, 0, 0, 0, 0]),
    ("unshare", libc::SYS_unshare, [1, 0, 0, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [1 << 20, 0, 0, 0, 0]),
    ("clone: a user namespace", libc::SYS_clone, [(libc::CLONE_NEWUSER | libc::CLONE_SIGHAND) as i64, 0, 0, 0, 0]),
    ("clone: a mount namespace", libc::SYS_clone, [(libc::CLONE_NEWNS | libc::CLONE_SIGHAND) as i64, 0, 0, 0, 0]),
    // What C libraries must find missing, to fall back.
    ("clone3", libc::SYS_clone3, [BAD, 8, 0, 0, 0]),
    ("a number of the future", 9000, [0; 5]),
    ("x32: getpid", 0x4000_0000 | libc::SYS_getpid, [0; 5]),
    ("x32: mount", 0x4000_0000 | libc::SYS_mount, [BAD, BAD, BAD, 0, 0]),
];

/// Numbers of the 32-bit interface, entered with `int 0x80`.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[(&str, u32, u32)] = &[
    ("32-bit: getpid", 20, 0),
    ("32-bit: mount", 21, 1),
    ("32-bit: a number of the future", 9000, 0),
];

/// `call NAME: RESULT` for each.
pub(crate) fn print() -> io::Result<()> {
    for (name, number, [a, b, c, d, e]) in CALLS {
        // SAFETY: addresses are 0 or 1, which the kernel finds bad and refuses; nothing of this process is touched.
        let result = unsafe { libc::syscall(*number, *a, *b, *c, *d, *e, 0_i64) };
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        println!("call {name}: {}", name_of(if result == -1 { errno } else { 0 }));
    }
    for (name, number, argument) in OLD_CALLS {
        let errno = -old_call(*number, *argument);
        println!("call {name}: {}", name_of(errno.max(0)));
    }
    Ok(())
}

/// A call of the 32-bit interface; its answer, negative errnos included.
#[cfg(target_arch = "x86_64")]
fn old_call(number: u32, argument: u32) -> i32 {
    let answer: u32;
    // SAFETY: the kernel changes eax alone; rbx belongs to the compiler and is given back; addresses are bad or unused.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov ebx, {argument:e}",
            "int 0x80",
            "pop rbx",
            argument = in(reg) argument,
            inlateout("eax") number => answer,
            in("ecx") argument,
            in("edx") argument,
            in("esi") 0,
            in("edi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    answer.cast_signed()
}
