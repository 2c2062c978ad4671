//! Loading an eBPF program and attaching it to a cgroup.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// One instruction of eBPF (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half, source in the high half.
    pub registers: u8,
    /// Jump distance, or offset of a load.
    pub offset: i16,
    /// Constant.
    pub constant: i32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
/// `BPF_PROG_TYPE_CGROUP_DEVICE`.
const CGROUP_DEVICE_PROGRAM: u32 = 15;
/// `BPF_CGROUP_DEVICE`.
const CGROUP_DEVICE_HOOK: u32 = 6;
/// Programs of parent cgroups go on to count.
const ALLOW_MULTI: u32 = 2;

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// The head of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    hook: u32,
    flags: u32,
}

/// Loads a program that decides on device accesses (bpf(2); `BPF_PROG_TYPE_CGROUP_DEVICE` since Linux 4.15).
///
/// # Errors
/// `EPERM` without CAP_BPF or CAP_SYS_ADMIN, `EINVAL` or `EACCES` when the kernel's verifier refuses it.
pub fn load_device_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    let load = Load {
        program_type: CGROUP_DEVICE_PROGRAM,
        count: u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: program.as_ptr().addr() as u64,
        license: c"MIT".as_ptr().addr() as u64,
        ..Load::default()
    };
    // SAFETY: `Instruction` has the layout of `bpf_insn`; program and licence outlive the call, which copies them; the
    // size given is that of `load`, and the kernel takes what is missing of the union as zero.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    match i32::try_from(fd) {
        // SAFETY: a new descriptor that nobody else owns; bpf sets close-on-exec.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Attaches a device program to a cgroup v2 directory; it goes with the cgroup.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN and CAP_BPF or CAP_SYS_ADMIN, or when a parent's program forbids it.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attach = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        hook: CGROUP_DEVICE_HOOK,
        flags: ALLOW_MULTI,
    };
    // SAFETY: `attach` lives until the call returns, and its size is given; both descriptors are open.
    match unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
