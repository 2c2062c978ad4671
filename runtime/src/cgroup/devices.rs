//! Device rules: v1 writes them as text; v2 runs them as a small program (cgroup-v2.rst, "Device controller").

use super::{
    CgroupError,
    v1::{Write, write},
};
use crate::sys::bpf::{self, Instruction};
use rustix::fs::{Mode, OFlags};
use std::{io, os::fd::AsFd, path::Path};

/// What to write into a v1 `devices` directory so that exactly `rules` are allowed.
pub(super) fn v1_writes(rules: &[String]) -> Vec<Write> {
    let mut list = vec![write("devices.deny", "a")];
    list.extend(rules.iter().map(|rule| match rule.strip_prefix('!') {
        Some(denied) => write("devices.deny", denied),
        None => write("devices.allow", rule),
    }));
    list
}

/// Puts `rules` in force for a v2 cgroup.
pub(super) fn attach(directory: &Path, rules: &[String]) -> Result<(), CgroupError> {
    let attempt = || -> io::Result<()> {
        let rules = rules
            .iter()
            .map(|rule| Rule::parse(rule))
            .collect::<Option<Vec<_>>>();
        let program = compile(&rules.ok_or(io::ErrorKind::InvalidInput)?);
        let program = bpf::load_device_program(&program)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let cgroup = rustix::fs::open(directory, flags, Mode::empty())?;
        bpf::attach_device_program(cgroup.as_fd(), program.as_fd())
    };
    attempt().map_err(|cause| CgroupError::Write {
        path: directory.to_path_buf(),
        value: rules.join(", "),
        cause,
    })
}

/// One rule in cgroup v1's notation: `c 1:3 rwm`, `b *:* m`, `a`; with `!` before it a denial of what earlier rules allow.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    /// 1 block, 2 character; `None`: both.
    kind: Option<i32>,
    major: Option<i32>,
    minor: Option<i32>,
    /// 1 mknod, 2 read, 4 write.
    access: i32,
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let (allow, text) = text.strip_prefix('!').map_or((true, text), |rest| (false, rest));
        let mut words = text.split_whitespace();
        let kind = match words.next()? {
            "a" => None,
            "b" => Some(1),
            "c" => Some(2),
            _ => return None,
        };
        let (major, minor) = words.next().unwrap_or("*:*").split_once(':')?;
        let number = |text: &str| {
            if text == "*" {
                Some(None)
            } else {
                text.parse().ok().map(Some)
            }
        };
        let access = words
            .next()
            .unwrap_or("rwm")
            .chars()
            .try_fold(0, |set, letter| match letter {
                'm' => Some(set | 1),
                'r' => Some(set | 2),
                'w' => Some(set | 4),
                _ => None,
            })?;
        Some(Self {
            allow,
            kind,
            major: number(major)?,
            minor: number(minor)?,
            access,
        })
    }
}

/// Registers: 0 the answer, 1 the context and then scratch, 2 access, 3 kind, 4 major, 5 minor.
fn compile(rules: &[Rule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx: access << 16 | kind, major, minor.
    let mut program = vec![
        load(2, 0),
        copy(3, 2),
        constant(AND, 3, 0xffff),
        constant(SHIFT_RIGHT, 2, 16),
        load(4, 4),
        load(5, 8),
    ];
    // The last rule that fits decides.
    for rule in rules.iter().rev() {
        let mut tests: Vec<Vec<Instruction>> = Vec::new();
        tests.extend(rule.kind.map(|kind| vec![unequal(3, kind)]));
        tests.push(if rule.allow {
            // Everything wanted must be allowed.
            vec![copy(1, 2), constant(AND, 1, !rule.access), unequal(1, 0)]
        } else {
            // Anything wanted that is denied is enough.
            vec![
                copy(1, 2),
                constant(AND, 1, rule.access),
                constant(JUMP_EQUAL, 1, 0),
            ]
        });
        tests.extend(rule.major.map(|major| vec![unequal(4, major)]));
        tests.extend(rule.minor.map(|minor| vec![unequal(5, minor)]));
        let mut body: Vec<Instruction> = tests.concat();
        body.extend([constant(SET, 0, i32::from(rule.allow)), EXIT]);
        let length = body.len();
        for (index, instruction) in body.iter_mut().enumerate() {
            if matches!(instruction.code, JUMP_UNEQUAL | JUMP_EQUAL) {
                instruction.offset =
                    i16::try_from(length - index - 1).expect("a rule has at most ten instructions");
            }
        }
        program.extend(body);
    }
    program.extend([constant(SET, 0, 0), EXIT]);
    program
}

// Operations (kernel documentation, bpf/standardization/instruction-set.rst).
const LOAD_WORD: u8 = 0x61;
const COPY_32: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const SET: u8 = 0xb7;
const JUMP_UNEQUAL: u8 = 0x55;
const JUMP_EQUAL: u8 = 0x15;
const EXIT: Instruction = Instruction {
    code: 0x95,
    registers: 0,
    offset: 0,
    constant: 0,
};

fn load(register: u8, offset: i16) -> Instruction {
    Instruction {
        code: LOAD_WORD,
        registers: register | 1 << 4,
        offset,
        constant: 0,
    }
}

fn copy(to: u8, from: u8) -> Instruction {
    Instruction {
        code: COPY_32,
        registers: to | from << 4,
        offset: 0,
        constant: 0,
    }
}

fn constant(code: u8, register: u8, constant: i32) -> Instruction {
    Instruction {
        code,
        registers: register,
        offset: 0,
        constant,
    }
}

/// Jumps to the next rule, whose distance is filled in later.
fn unequal(register: u8, value: i32) -> Instruction {
    constant(JUMP_UNEQUAL, register, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn rules_are_read() {
        let rule = |kind, major, minor, access| {
            Some(Rule {
                allow: true,
                kind,
                major,
                minor,
                access,
            })
        };
        assert_eq!(Rule::parse("c 1:3 rwm"), rule(Some(2), Some(1), Some(3), 7));
        assert_eq!(Rule::parse("b *:* m"), rule(Some(1), None, None, 1));
        assert_eq!(Rule::parse("a"), rule(None, None, None, 7));
        assert_eq!(Rule::parse("x 1:3 r"), None);
        assert_eq!(Rule::parse("c 1:3 q"), None);
    }

    /// The kernel itself judges the program, on the v2 tree that hybrid hosts have too.
    #[test]
    fn the_kernel_enforces_the_program() {
        let Ok(layout) = crate::cgroup::Layout::detect() else {
            return;
        };
        let Some(v2) = layout.v2 else {
            eprintln!("skipped: this host has no cgroup v2 tree");
            return;
        };
        let directory = v2
            .mount
            .join(format!("banyan-devices-test-{}", std::process::id()));
        if let Err(error) = std::fs::create_dir(&directory) {
            eprintln!("skipped: no cgroup can be made: {error}");
            return;
        }
        let rules = ["c 1:* rwm", "!c 1:9 rw", "c 1:3 rw"].map(str::to_owned);
        let result = attach(&directory, &rules);
        let script = "echo $$ > $1/cgroup.procs; for i in 'head -c1 /dev/zero' 'head -c1 /dev/urandom' 'head -c1 /dev/null'; do \
                      $i >/dev/null 2>&1 && echo yes || echo no; done";
        let shell = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&directory)
            .output();
        let removed = std::fs::remove_dir(&directory);
        result.unwrap();
        assert_eq!(String::from_utf8_lossy(&shell.unwrap().stdout), "yes\nno\nyes\n");
        removed.unwrap();
    }
}
