use super::{program::compile, *};
use crate::{confine::Capabilities, sys::seccomp::Instruction};

const X86_64: u32 = 0xC000_003E;

/// Runs a program as the kernel would, on one call.
fn run(program: &[Instruction], interface: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let word = |offset: u32| match offset {
        0 => number,
        4 => interface,
        offset => {
            let argument = arguments[(offset as usize - 16) / 8];
            u32::try_from(if offset % 8 == 4 {
                argument >> 32
            } else {
                argument & 0xffff_ffff
            })
            .unwrap()
        }
    };
    let (mut at, mut accumulator) = (0_usize, 0_u32);
    loop {
        let instruction = program[at];
        at += 1;
        let mut jump = |condition: bool| {
            at += usize::from(if condition {
                instruction.jump_true
            } else {
                instruction.jump_false
            });
        };
        match instruction.code {
            0x20 => accumulator = word(instruction.operand),
            0x54 => accumulator &= instruction.operand,
            0x05 => at += instruction.operand as usize,
            0x15 => jump(accumulator == instruction.operand),
            0x25 => jump(accumulator > instruction.operand),
            0x35 => jump(accumulator >= instruction.operand),
            0x06 => return instruction.operand,
            other => panic!("unknown operation {other:#x}"),
        }
    }
}

fn number(name: &str) -> u32 {
    names::X86_64
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap()
        .1
        .into()
}

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

#[test]
fn the_default_profile_decides_as_docker_does() {
    let program = compile(&default_profile(&Capabilities::default()));
    assert!(program.len() < 4096, "{} instructions", program.len());
    let call = |name: &str, first: u64| run(&program, X86_64, number(name), [first, 0, 0, 0, 0, 0]);
    for name in [
        "read", "openat", "execve", "futex", "statx", "mseal", "chroot", "fork",
    ] {
        assert_eq!(call(name, 0), ALLOW, "{name}");
    }
    for name in [
        "mount",
        "bpf",
        "unshare",
        "setns",
        "reboot",
        "io_uring_setup",
        "keyctl",
        "userfaultfd",
        "init_module",
        "open_by_handle_at",
        "perf_event_open",
        "settimeofday",
        "kexec_load",
        "swapon",
        "iopl",
        "syslog",
    ] {
        assert_eq!(call(name, 0), EPERM, "{name}");
    }
    assert_eq!(call("socket", 2), ALLOW);
    assert_eq!(call("socket", 38), EPERM);
    assert_eq!(call("socket", 40), EPERM);
    assert_eq!(
        call("socket", (1 << 32) | 40),
        EPERM,
        "garbage in the upper half is no way around"
    );
    assert_eq!(call("clone", 17), ALLOW);
    assert_eq!(call("clone", 0x1000_0000 | 17), EPERM, "CLONE_NEWUSER");
    assert_eq!(call("clone3", 0), ENOSYS);
    assert_eq!(call("personality", 8), ALLOW);
    assert_eq!(call("personality", 4), EPERM);
}

#[test]
fn new_calls_and_foreign_interfaces_do_not_exist() {
    let program = compile(&default_profile(&Capabilities::default()));
    assert_eq!(run(&program, X86_64, 9999, [0; 6]), ENOSYS);
    assert_eq!(run(&program, X86_64, 0x4000_0000, [0; 6]), ENOSYS, "x32");
    assert_eq!(run(&program, 0x1234, 0, [0; 6]), ENOSYS);
    let write = names::X86.iter().find(|(name, _)| *name == "write").unwrap().1;
    assert_eq!(
        run(&program, 0x4000_0003, write.into(), [0; 6]),
        ALLOW,
        "32-bit programs run"
    );
}

#[test]
fn capabilities_open_their_calls() {
    let mut sets = Capabilities::default();
    sets.bounding |= crate::confine::capabilities::bit("SYS_ADMIN").unwrap();
    let program = compile(&default_profile(&sets));
    for name in ["mount", "clone3", "unshare"] {
        assert_eq!(
            run(&program, X86_64, number(name), [u64::MAX; 6]),
            ALLOW,
            "{name}"
        );
    }
    assert_eq!(run(&program, X86_64, number("reboot"), [0; 6]), EPERM);
}

#[test]
fn every_operator_compares_all_64_bits() {
    let big = 5 << 32 | 7;
    let near = [0, 6, 7, 8, big - 1, big, big + 1, 6 << 32, 4 << 32 | 9, u64::MAX];
    for (op, holds) in [
        ("EQ", (|a, b| a == b) as fn(u64, u64) -> bool),
        ("NE", |a, b| a != b),
        ("LT", |a, b| a < b),
        ("LE", |a, b| a <= b),
        ("GT", |a, b| a > b),
        ("GE", |a, b| a >= b),
    ] {
        let text = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["kill"],"action":"SCMP_ACT_ALLOW",
               "args":[{{"index":1,"value":{big},"op":"SCMP_CMP_{op}"}}]}}]}}"#
        );
        let program = compile(&parse(&text, &Capabilities::default()).unwrap());
        for value in near {
            let expected = if holds(value, big) { ALLOW } else { EPERM };
            let found = run(&program, X86_64, number("kill"), [0, value, 0, 0, 0, 0]);
            assert_eq!(found, expected, "{value} {op} {big}");
        }
    }
}

#[test]
fn a_bad_profile_is_explained() {
    let error = |text: &str| parse(text, &Capabilities::default()).unwrap_err().to_string();
    assert!(error("{}").contains("expected form"));
    assert!(error(r#"{"defaultAction":"SCMP_ACT_MAYBE"}"#).contains("SCMP_ACT_MAYBE"));
}
