//! One logical line becomes one instruction. Values are kept as written: variables are not known here.

use super::{
    ParseError,
    lines::{Heredoc, Line},
    words,
};
use crate::image::Healthcheck;
use std::collections::BTreeMap;

/// The two forms of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Text for the shell.
    Shell(String),
    /// Program and arguments.
    Exec(Vec<String>),
}

/// Flags of `RUN`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFlags {
    /// `--mount`.
    pub mounts: Vec<RunMount>,
    /// `--network`.
    pub network: Option<String>,
    /// `--security=insecure`.
    pub insecure: bool,
}

/// One `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// `bind`, `cache`, `tmpfs`, `secret`, `ssh`.
    pub kind: String,
    /// The other options; a flag without value is `true`.
    pub options: BTreeMap<String, String>,
}

/// Flags of `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyFlags {
    /// `--from`.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--exclude`, each.
    pub exclude: Vec<String>,
    /// `--parents`.
    pub parents: bool,
    /// `--link`: every copy makes a layer of its own here, so it is always fulfilled.
    pub link: bool,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--unpack`.
    pub unpack: Option<bool>,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the Dockerfile's own words")]
pub enum Instruction {
    From {
        image: String,
        platform: Option<String>,
        name: Option<String>,
    },
    Run {
        command: Command,
        flags: RunFlags,
        heredocs: Vec<Heredoc>,
    },
    Copy {
        add: bool,
        sources: Vec<String>,
        target: String,
        heredocs: Vec<Heredoc>,
        flags: CopyFlags,
    },
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Arg(Vec<(String, Option<String>)>),
    Cmd(Command),
    Entrypoint(Command),
    Shell(Vec<String>),
    Expose(Vec<String>),
    Volume(Vec<String>),
    User(String),
    Workdir(String),
    StopSignal(String),
    /// Times in nanoseconds; `["NONE"]` switches off.
    Healthcheck(Healthcheck),
    OnBuild(String),
    Maintainer(String),
}

/// The instructions' names.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Parses a logical line.
pub fn parse(line: &Line, escape: char) -> Result<Instruction, ParseError> {
    instruction(&line.text, &line.heredocs, escape).map_err(|reason| ParseError {
        line: line.number,
        reason,
    })
}

fn instruction(text: &str, heredocs: &[Heredoc], escape: char) -> Result<Instruction, String> {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let upper = name.to_uppercase();
    let (flags, rest) = flags(rest.trim(), &upper, escape)?;
    let need = |what: &str| {
        if rest.is_empty() {
            Err(format!("`{upper}` needs {what}"))
        } else {
            Ok(())
        }
    };
    let one = |what: &str| {
        need(what)?;
        if words::split(rest, escape).len() > 1 {
            Err(format!("`{upper}` takes {what} only"))
        } else {
            Ok(rest.to_owned())
        }
    };
    let heredocs = heredocs.to_vec();
    Ok(match upper.as_str() {
        "FROM" => from(rest, &flags)?,
        "RUN" => {
            need("a command")?;
            Instruction::Run {
                command: command(rest),
                flags: run_flags(&flags)?,
                heredocs,
            }
        }
        "COPY" | "ADD" => copy(upper == "ADD", rest, heredocs, copy_flags(&flags)?, escape)?,
        "ENV" => Instruction::Env(pairs(&upper, rest, escape)?),
        "LABEL" => Instruction::Label(pairs(&upper, rest, escape)?),
        "ARG" => {
            need("a name")?;
            Instruction::Arg(arguments(rest, escape)?)
        }
        "CMD" => Instruction::Cmd(command(rest)),
        "ENTRYPOINT" => Instruction::Entrypoint(command(rest)),
        "SHELL" => match json(rest) {
            Some(words) if !words.is_empty() => Instruction::Shell(words),
            _ => return Err("`SHELL` needs the JSON form: `SHELL [\"/bin/bash\", \"-c\"]`".into()),
        },
        "EXPOSE" => {
            need("a port")?;
            Instruction::Expose(words::split(rest, escape))
        }
        "VOLUME" => {
            need("a path")?;
            let paths = json(rest).unwrap_or_else(|| words::split(rest, escape));
            if paths.iter().any(String::is_empty) || paths.is_empty() {
                return Err("`VOLUME` needs a path".into());
            }
            Instruction::Volume(paths)
        }
        "USER" => Instruction::User(one("one user")?),
        "WORKDIR" => {
            need("one path")?;
            Instruction::Workdir(rest.to_owned())
        }
        "STOPSIGNAL" => Instruction::StopSignal(one("one signal")?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(rest, &flags)?),
        "ONBUILD" => {
            need("an instruction")?;
            let inner = rest.split_whitespace().next().unwrap_or("").to_uppercase();
            if matches!(inner.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
                return Err(format!("`{inner}` is not allowed in `ONBUILD`"));
            }
            // Its grammar is checked now, so that a mistake is found where it was made.
            instruction(rest, &heredocs, escape)?;
            let bodies: String = heredocs
                .iter()
                .map(|h| format!("\n{}{}", h.content, h.name))
                .collect();
            Instruction::OnBuild(format!("{rest}{bodies}"))
        }
        "MAINTAINER" => {
            need("a name")?;
            Instruction::Maintainer(rest.to_owned())
        }
        _ => return Err(unknown(name)),
    })
}

fn unknown(name: &str) -> String {
    let upper = name.to_uppercase();
    let near = NAMES.iter().find(|known| distance(known, &upper) <= 2);
    match near {
        Some(known) => format!("unknown instruction `{name}` (did you mean `{known}`?)"),
        None => format!("unknown instruction `{name}`"),
    }
}

/// Levenshtein's distance of two short words.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let next = (diagonal + usize::from(x != y))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

type Flags = Vec<(String, Option<String>)>;

/// Takes `--name[=value]` words off the front, where the instruction has such.
fn flags<'a>(mut rest: &'a str, name: &str, escape: char) -> Result<(Flags, &'a str), String> {
    let known: &[&str] = match name {
        "FROM" => &["platform"],
        "RUN" => &["mount", "network", "security"],
        "COPY" => &["from", "chown", "chmod", "link", "parents", "exclude"],
        "ADD" => &[
            "chown",
            "chmod",
            "link",
            "checksum",
            "keep-git-dir",
            "exclude",
            "unpack",
        ],
        "HEALTHCHECK" => &["interval", "timeout", "start-period", "start-interval", "retries"],
        _ => return Ok((Vec::new(), rest)),
    };
    let mut found = Flags::new();
    while let Some(after) = rest.strip_prefix("--") {
        let word = words::split(after, escape).into_iter().next().unwrap_or_default();
        // White space before it would be skipped: then `--` stands alone.
        if word.is_empty() || after.starts_with(char::is_whitespace) {
            rest = after.trim_start();
            break;
        }
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (word.clone(), None),
        };
        if !known.contains(&key.as_str()) {
            return Err(format!("`{name}` has no flag `--{key}` (it has {})", list(known)));
        }
        found.push((key, value));
        rest = after[word.len()..].trim_start();
    }
    Ok((found, rest))
}

fn list(known: &[&str]) -> String {
    known
        .iter()
        .map(|flag| format!("`--{flag}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn command(rest: &str) -> Command {
    match json(rest) {
        Some(words) => Command::Exec(words),
        None => Command::Shell(rest.to_owned()),
    }
}

fn json(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') {
        serde_json::from_str(text).ok()
    } else {
        None
    }
}

fn from(rest: &str, flags: &Flags) -> Result<Instruction, String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let platform = flags.iter().find_map(|(_, value)| value.clone());
    let (image, name) = match words.as_slice() {
        [image] => (*image, None),
        [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => (*image, Some(name.to_lowercase())),
        _ => return Err("`FROM` is `FROM image [AS name]`".into()),
    };
    if let Some(name) = &name {
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !is_name {
            return Err(format!(
                "`{name}` is not a name for a stage (letters, digits, `-`, `_`, `.`)"
            ));
        }
    }
    Ok(Instruction::From {
        image: image.to_owned(),
        platform,
        name,
    })
}

fn run_flags(flags: &Flags) -> Result<RunFlags, String> {
    let mut run = RunFlags::default();
    for (key, value) in flags {
        let value = value
            .as_deref()
            .ok_or_else(|| format!("`--{key}` needs a value"))?;
        match key.as_str() {
            "mount" => run.mounts.push(mount(value)?),
            "network" if matches!(value, "default" | "none" | "host") => run.network = Some(value.to_owned()),
            "network" => {
                return Err(format!(
                    "`--network` is `default`, `none` or `host`, not `{value}`"
                ));
            }
            _ if matches!(value, "sandbox" | "insecure") => run.insecure = value == "insecure",
            _ => return Err(format!("`--security` is `sandbox` or `insecure`, not `{value}`")),
        }
    }
    Ok(run)
}

fn mount(value: &str) -> Result<RunMount, String> {
    let mut options = BTreeMap::new();
    for part in value
        .trim_matches(['"', '\''])
        .split(',')
        .filter(|part| !part.is_empty())
    {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        let key = match key.to_lowercase().as_str() {
            "src" => "source".to_owned(),
            "dst" | "destination" => "target".to_owned(),
            "readwrite" => "rw".to_owned(),
            "ro" => "readonly".to_owned(),
            other => other.to_owned(),
        };
        options.insert(key, value.to_owned());
    }
    let kind = options.remove("type").unwrap_or_else(|| "bind".into());
    let known: &[&str] = match kind.as_str() {
        "bind" => &["from", "source", "target", "rw", "readonly"],
        "cache" => &[
            "id", "target", "sharing", "from", "source", "mode", "uid", "gid", "readonly", "rw",
        ],
        "tmpfs" => &["target", "size"],
        "secret" => &["id", "source", "target", "env", "required", "mode", "uid", "gid"],
        "ssh" => &["id", "target", "required", "mode", "uid", "gid"],
        other => {
            return Err(format!(
                "`{other}` is not a type of `--mount` (bind, cache, tmpfs, secret, ssh)"
            ));
        }
    };
    if let Some(key) = options.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("a `{kind}` mount has no option `{key}`"));
    }
    if let Some(sharing) = options.get("sharing")
        && !matches!(sharing.as_str(), "shared" | "private" | "locked")
    {
        return Err(format!(
            "`sharing` is `shared`, `private` or `locked`, not `{sharing}`"
        ));
    }
    if matches!(kind.as_str(), "bind" | "cache" | "tmpfs") && !options.contains_key("target") {
        return Err(format!("a `{kind}` mount needs `target=`"));
    }
    Ok(RunMount { kind, options })
}

fn copy_flags(flags: &Flags) -> Result<CopyFlags, String> {
    let mut copy = CopyFlags::default();
    for (key, value) in flags {
        let boolean = || match value.as_deref() {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(format!("`--{key}` is true or false, not `{other}`")),
        };
        let text = || {
            value
                .clone()
                .filter(|v| !v.is_empty())
                .ok_or_else(|| format!("`--{key}` needs a value"))
        };
        match key.as_str() {
            "from" => copy.from = Some(text()?),
            "chown" => copy.chown = Some(text()?),
            "chmod" => copy.chmod = Some(text()?),
            "exclude" => copy.exclude.push(text()?),
            "checksum" => copy.checksum = Some(text()?),
            "parents" => copy.parents = boolean()?,
            "link" => copy.link = boolean()?,
            "unpack" => copy.unpack = Some(boolean()?),
            "keep-git-dir" => copy.keep_git_dir = boolean()?,
            _ => {
                boolean()?;
            }
        }
    }
    Ok(copy)
}

fn copy(
    add: bool,
    rest: &str,
    heredocs: Vec<Heredoc>,
    flags: CopyFlags,
    escape: char,
) -> Result<Instruction, String> {
    let mut words = json(rest).unwrap_or_else(|| words::split(rest, escape));
    let name = if add { "ADD" } else { "COPY" };
    let target = words.pop().filter(|_| !words.is_empty());
    let target = target.ok_or_else(|| format!("`{name}` needs at least one source and a target"))?;
    if words.len() > 1 && !target.ends_with('/') && target != "." && !target.ends_with("/.") {
        return Err(format!(
            "with several sources, the target of `{name}` must end with `/`"
        ));
    }
    Ok(Instruction::Copy {
        add,
        sources: words,
        target,
        heredocs,
        flags,
    })
}

fn pairs(name: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let rest = rest.trim_start();
    let words = words::split(rest, escape);
    let first = words
        .first()
        .ok_or_else(|| format!("`{name}` needs `name=value`"))?;
    if !first.contains('=') {
        // The old form: `ENV name the whole rest`.
        let value = rest[first.len()..].trim();
        if value.is_empty() {
            return Err(format!("`{name} {first}` needs a value: `{name} {first}=value`"));
        }
        return Ok(vec![(first.clone(), value.to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(format!("`{word}` has no name before `=`")),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("`{word}` is not `name=value`")),
    };
    words.iter().map(pair).collect()
}

fn arguments(rest: &str, escape: char) -> Result<Vec<(String, Option<String>)>, String> {
    let argument = |word: String| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.clone(), None),
        };
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if is_name {
            Ok((name, value))
        } else {
            Err(format!("`{name}` is not a name for an argument"))
        }
    };
    words::split(rest, escape).into_iter().map(argument).collect()
}

fn healthcheck(rest: &str, flags: &Flags) -> Result<Healthcheck, String> {
    let (word, command_text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let mut check = Healthcheck::default();
    match word.to_uppercase().as_str() {
        "NONE" if command_text.is_empty() && flags.is_empty() => check.test = vec!["NONE".into()],
        "NONE" => return Err("`HEALTHCHECK NONE` takes nothing else".into()),
        "CMD" => {
            check.test = match command(command_text.trim()) {
                Command::Exec(words) if !words.is_empty() => [vec!["CMD".to_owned()], words].concat(),
                Command::Shell(text) if !text.is_empty() => vec!["CMD-SHELL".into(), text],
                _ => return Err("`HEALTHCHECK CMD` needs a command".into()),
            }
        }
        _ => return Err("`HEALTHCHECK` is `HEALTHCHECK [flags] CMD command` or `HEALTHCHECK NONE`".into()),
    }
    for (key, value) in flags {
        let value = value
            .as_deref()
            .ok_or_else(|| format!("`--{key}` needs a value"))?;
        match key.as_str() {
            "interval" => check.interval = duration(value)?,
            "timeout" => check.timeout = duration(value)?,
            "start-period" => check.start_period = duration(value)?,
            "start-interval" => check.start_interval = duration(value)?,
            _ => {
                let number: i64 = value
                    .parse()
                    .map_err(|_| format!("`--retries={value}` is no number"))?;
                check.retries = number;
            }
        }
    }
    Ok(check)
}

/// Go's durations: `1h30m`, `1.5s`, `100ms`, to nanoseconds.
fn duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is not a duration (such as `30s` or `1m30s`)");
    let mut rest = text;
    let mut total = 0_i128;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let unit = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |end| digits + end);
        let factor: i128 = match &rest[digits..unit] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        let (whole, fraction) = rest[..digits].split_once('.').unwrap_or((&rest[..digits], ""));
        let whole: i128 = if whole.is_empty() && !fraction.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| wrong())?
        };
        let part = whole.checked_mul(factor).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        if !fraction.is_empty() && fraction.len() <= 9 {
            let scale = 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(9));
            let part = fraction.parse::<i128>().map_err(|_| wrong())? * factor / scale;
            total = total.checked_add(part).ok_or_else(wrong)?;
        }
        rest = &rest[unit..];
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        i64::try_from(total).map_err(|_| wrong())
    }
}
