//! Profiles in JSON: Docker's form (`includes`, `excludes`, a single `name`) and the OCI specification's.

use super::{Action, Condition, Operator, Profile, Rule};
use crate::confine::{Capabilities, capabilities};
use serde::Deserialize;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message is the documentation")]
pub enum ProfileError {
    #[error("the seccomp profile is no JSON of the expected form")]
    Form(#[from] serde_json::Error),
    #[error("the seccomp profile names the unknown action `{0}`")]
    Action(String),
    #[error("the seccomp profile names the unknown operator `{0}`")]
    Operator(String),
    #[error("the seccomp profile asks for the unknown flag `{0}`")]
    Flag(String),
    #[error("the seccomp profile asks for the unknown architecture `{0}`")]
    Architecture(String),
    #[error("the seccomp profile looks at argument {0} of a call; calls have arguments 0 to 5")]
    Index(u32),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<When>,
    #[serde(default)]
    excludes: Option<When>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct When {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

const ARCHES: &[&str] = if cfg!(target_arch = "x86_64") {
    &["amd64", "x86", "x32"]
} else {
    &["arm64", "arm"]
};

/// Reads a profile for a process with these capabilities.
pub(in crate::confine) fn parse(text: &str, sets: &Capabilities) -> Result<Profile, ProfileError> {
    let document: Document = serde_json::from_str(text)?;
    let default = action(&document.default_action, document.default_errno_ret)?;
    let mut rules = Vec::new();
    for group in document.syscalls {
        let has = |name: &String| capabilities::bit(name).is_some_and(|bit| sets.bounding & bit != 0);
        let here = |arch: &String| ARCHES.contains(&arch.as_str());
        let wanted = group.includes.as_ref().is_none_or(|when| {
            when.caps.iter().all(has) && (when.arches.is_empty() || when.arches.iter().any(here))
        });
        let refused = group
            .excludes
            .as_ref()
            .is_some_and(|when| when.caps.iter().any(has) || when.arches.iter().any(here));
        if !wanted || refused {
            continue;
        }
        let action = action(&group.action, group.errno_ret)?;
        let mut names = group.names;
        names.extend(group.name);
        let conditions = group
            .args
            .unwrap_or_default()
            .iter()
            .map(condition)
            .collect::<Result<Vec<_>, _>>()?;
        // libseccomp's rule: several conditions on one argument within a rule are alternatives of each other.
        let mut indices: Vec<u32> = conditions.iter().map(|condition| condition.index).collect();
        indices.sort_unstable();
        indices.dedup();
        if indices.len() < conditions.len() {
            for condition in conditions {
                rules.push(Rule {
                    names: names.clone(),
                    action,
                    conditions: vec![condition],
                });
            }
        } else {
            rules.push(Rule {
                names,
                action,
                conditions,
            });
        }
    }
    Ok(Profile { default, rules })
}

/// `SECCOMP_FILTER_FLAG_*` of a profile (seccomp(2)); architectures are checked on the way: a filter of ours always covers
/// all interfaces of this machine that it knows, and answers ENOSYS to others.
pub(in crate::confine) fn flags(text: &str) -> Result<u64, ProfileError> {
    let document: Document = serde_json::from_str(text)?;
    if let Some(unknown) = document
        .architectures
        .iter()
        .find(|name| !name.starts_with("SCMP_ARCH_"))
    {
        return Err(ProfileError::Architecture(unknown.clone()));
    }
    document.flags.iter().try_fold(0, |set, name| {
        Ok(set
            | match name.as_str() {
                "SECCOMP_FILTER_FLAG_TSYNC" => 1,
                "SECCOMP_FILTER_FLAG_LOG" => 1 << 1,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => 1 << 2,
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => 1 << 5,
                _ => return Err(ProfileError::Flag(name.clone())),
            })
    })
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, ProfileError> {
    const EPERM: u16 = 1;
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.unwrap_or(EPERM)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_TRACE" => Action::Trace(errno.unwrap_or(EPERM)),
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_NOTIFY" => Action::Notify,
        _ => return Err(ProfileError::Action(name.to_owned())),
    })
}

fn condition(argument: &Argument) -> Result<Condition, ProfileError> {
    if argument.index > 5 {
        return Err(ProfileError::Index(argument.index));
    }
    let (operator, value) = match argument.op.as_str() {
        "SCMP_CMP_EQ" => (Operator::Equal, argument.value),
        "SCMP_CMP_NE" => (Operator::NotEqual, argument.value),
        "SCMP_CMP_LT" => (Operator::Less, argument.value),
        "SCMP_CMP_LE" => (Operator::LessEqual, argument.value),
        "SCMP_CMP_GT" => (Operator::Greater, argument.value),
        "SCMP_CMP_GE" => (Operator::GreaterEqual, argument.value),
        // The mask comes first, what it must leave second.
        "SCMP_CMP_MASKED_EQ" => (Operator::MaskedEqual(argument.value), argument.value_two),
        _ => return Err(ProfileError::Operator(argument.op.clone())),
    };
    Ok(Condition {
        index: argument.index,
        operator,
        value,
    })
}
