//! Profile to program.

use super::{Action, Condition, Operator, Profile, names};
use crate::sys::seccomp::Instruction;
use std::collections::BTreeMap;

/// A kernel interface: its audit number (linux/audit.h) and its calls.
struct Interface {
    audit: u32,
    names: &'static [(&'static str, u16)],
}

#[cfg(target_arch = "x86_64")]
const INTERFACES: &[Interface] = &[
    Interface {
        audit: 0xC000_003E,
        names: names::X86_64,
    },
    Interface {
        audit: 0x4000_0003,
        names: names::X86,
    },
];
#[cfg(target_arch = "aarch64")]
const INTERFACES: &[Interface] = &[Interface {
    audit: 0xC000_00B7,
    names: names::ARM64,
}];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the seccomp tables of this architecture are missing");

const UNKNOWN: Action = Action::Errno(38);

/// What is done with one number: rules in order, then the action when none holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    conditional: Vec<(Vec<Condition>, Action)>,
    otherwise: Action,
}

/// Compiles a profile for this machine's interfaces.
pub(in crate::confine) fn compile(profile: &Profile) -> Vec<Instruction> {
    // seccomp_data: number at 0, interface at 4, arguments from 16.
    let mut program = vec![load(4)];
    for interface in INTERFACES {
        let body = interface_body(profile, interface);
        let length = u32::try_from(body.len()).expect("programs are short");
        program.push(jump(JEQ, interface.audit, 1, 0));
        program.push(skip(length));
        program.extend(body);
    }
    program.push(answer(UNKNOWN));
    program
}

fn interface_body(profile: &Profile, interface: &Interface) -> Vec<Instruction> {
    let mut verdicts: BTreeMap<u16, Verdict> = BTreeMap::new();
    for rule in &profile.rules {
        for name in &rule.names {
            let Ok(index) = interface
                .names
                .binary_search_by(|(known, _)| (*known).cmp(name.as_str()))
            else {
                continue;
            };
            let verdict = verdicts
                .entry(interface.names[index].1)
                .or_insert_with(|| Verdict {
                    conditional: Vec::new(),
                    otherwise: profile.default,
                });
            if rule.conditions.is_empty() {
                verdict.otherwise = rule.action;
            } else {
                verdict.conditional.push((rule.conditions.clone(), rule.action));
            }
        }
    }
    let newest = interface
        .names
        .iter()
        .map(|(_, number)| *number)
        .max()
        .unwrap_or(0);
    let mut runs: Vec<(u32, Verdict)> = Vec::new();
    let plain = |action| Verdict {
        conditional: Vec::new(),
        otherwise: action,
    };
    for number in 0..=newest {
        let verdict = verdicts.remove(&number).unwrap_or_else(|| plain(profile.default));
        if runs.last().is_none_or(|(_, last)| *last != verdict) {
            runs.push((number.into(), verdict));
        }
    }
    runs.push((u32::from(newest) + 1, plain(UNKNOWN)));
    let mut body = vec![load(0)];
    search(&runs, &mut body);
    body
}

/// A binary search over runs; the number is in the accumulator.
fn search(runs: &[(u32, Verdict)], body: &mut Vec<Instruction>) {
    if let [(_, verdict)] = runs {
        return decide(verdict, body);
    }
    let (low, high) = runs.split_at(runs.len() / 2);
    let mut left = Vec::new();
    search(low, &mut left);
    // Conditional jumps reach 255 instructions, unconditional ones any distance.
    if let Ok(distance) = u8::try_from(left.len()) {
        body.push(jump(JGE, high[0].0, distance, 0));
    } else {
        body.push(jump(JGE, high[0].0, 0, 1));
        body.push(skip(u32::try_from(left.len()).expect("programs are short")));
    }
    body.extend(left);
    search(high, body);
}

fn decide(verdict: &Verdict, body: &mut Vec<Instruction>) {
    for (conditions, action) in &verdict.conditional {
        let tests: Vec<Vec<Instruction>> = conditions.iter().map(test).collect();
        // Each test falls through when it holds, and jumps to the end of this rule when it does not.
        let mut left: usize = tests.iter().map(Vec::len).sum::<usize>() + 1;
        for block in tests {
            for instruction in block {
                left -= 1;
                body.push(resolve(instruction, left));
            }
        }
        body.push(answer(*action));
    }
    body.push(answer(verdict.otherwise));
}

/// Stands for "jump to the end of the rule" until its distance is known.
const FAIL: u8 = u8::MAX;

fn resolve(mut instruction: Instruction, left: usize) -> Instruction {
    // `left` instructions of the rule follow this one, its answer included.
    let distance = u8::try_from(left).expect("a rule's conditions are few");
    if is_jump(&instruction) {
        for target in [&mut instruction.jump_true, &mut instruction.jump_false] {
            if *target == FAIL {
                *target = distance;
            }
        }
    }
    instruction
}

/// Instructions that compare one 64-bit argument, high half first (little endian).
fn test(condition: &Condition) -> Vec<Instruction> {
    let offset = 16 + 8 * condition.index;
    let (high, low) = (load(offset + 4), load(offset));
    let value = condition.value;
    let (value_high, value_low) = (halves(value).0, halves(value).1);
    match condition.operator {
        Operator::Equal => {
            vec![
                high,
                jump(JEQ, value_high, 0, FAIL),
                low,
                jump(JEQ, value_low, 0, FAIL),
            ]
        }
        Operator::NotEqual => {
            vec![
                high,
                jump(JEQ, value_high, 0, 2),
                low,
                jump(JEQ, value_low, FAIL, 0),
            ]
        }
        Operator::MaskedEqual(mask) => {
            let (mask_high, mask_low) = halves(mask);
            vec![
                high,
                and(mask_high),
                jump(JEQ, value_high, 0, FAIL),
                low,
                and(mask_low),
                jump(JEQ, value_low, 0, FAIL),
            ]
        }
        // Greater high half: true; smaller: false; equal: the low half decides.
        Operator::Greater => vec![
            high,
            jump(JGT, value_high, 3, 0),
            jump(JEQ, value_high, 0, FAIL),
            low,
            jump(JGT, value_low, 0, FAIL),
        ],
        Operator::GreaterEqual => vec![
            high,
            jump(JGT, value_high, 3, 0),
            jump(JEQ, value_high, 0, FAIL),
            low,
            jump(JGE, value_low, 0, FAIL),
        ],
        Operator::Less => vec![
            high,
            jump(JGT, value_high, FAIL, 0),
            jump(JEQ, value_high, 0, 2),
            low,
            jump(JGE, value_low, FAIL, 0),
        ],
        Operator::LessEqual => vec![
            high,
            jump(JGT, value_high, FAIL, 0),
            jump(JEQ, value_high, 0, 2),
            low,
            jump(JGT, value_low, FAIL, 0),
        ],
    }
}

fn halves(value: u64) -> (u32, u32) {
    let half = |part: u64| u32::try_from(part & 0xffff_ffff).expect("masked to 32 bits");
    (half(value >> 32), half(value))
}

// Operations of classic BPF (linux/bpf_common.h): class, size or source, and operator.
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JA: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RETURN: u16 = 0x06;

fn load(offset: u32) -> Instruction {
    Instruction {
        code: LOAD_WORD,
        jump_true: 0,
        jump_false: 0,
        operand: offset,
    }
}

fn and(mask: u32) -> Instruction {
    Instruction {
        code: AND,
        jump_true: 0,
        jump_false: 0,
        operand: mask,
    }
}

fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        operand,
    }
}

fn skip(count: u32) -> Instruction {
    Instruction {
        code: JA,
        jump_true: 0,
        jump_false: 0,
        operand: count,
    }
}

fn is_jump(instruction: &Instruction) -> bool {
    matches!(instruction.code, JEQ | JGT | JGE)
}

/// Return values of a filter (seccomp(2), "Filters").
fn answer(action: Action) -> Instruction {
    let operand = match action {
        Action::Allow => 0x7fff_0000,
        Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
        Action::KillThread => 0,
        Action::KillProcess => 0x8000_0000,
        Action::Trap => 0x0003_0000,
        Action::Trace(data) => 0x7ff0_0000 | u32::from(data),
        Action::Log => 0x7ffc_0000,
        Action::Notify => 0x7fc0_0000,
    };
    Instruction {
        code: RETURN,
        jump_true: 0,
        jump_false: 0,
        operand,
    }
}
