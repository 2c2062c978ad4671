//! Instructions that change an image's configuration only.

use super::dockerfile::{Command, Instruction, ParseError, instruction, lines};
use crate::image::{ImageConfig, config::Empty};

/// Applies `--change` lines of `import` and `commit`.
pub fn apply_changes(config: &mut ImageConfig, changes: &[String]) -> Result<(), ParseError> {
    let mut own_command = false;
    for change in changes {
        let line = lines::Line {
            number: 1,
            text: change.trim().to_owned(),
            heredocs: Vec::new(),
        };
        let parsed = instruction::parse(&line, '\\')?;
        let env = config.env.clone();
        let lookup = |name: &str| {
            env.iter()
                .rev()
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
        };
        let expand = |text: &str| super::dockerfile::words::expand(text, '\\', &lookup);
        let applied = apply(config, &parsed, &mut own_command, &expand)
            .map_err(|reason| ParseError { line: 1, reason })?;
        if !applied {
            let reason = format!("`{}` is not possible in a change", change.trim());
            return Err(ParseError { line: 1, reason });
        }
    }
    Ok(())
}

/// Applies an instruction to a configuration. `false`: it does more than that.
///
/// `own_command` says whether this stage has set the command itself.
pub(super) fn apply(
    config: &mut ImageConfig,
    instruction: &Instruction,
    own_command: &mut bool,
    expand: &dyn Fn(&str) -> Result<String, String>,
) -> Result<bool, String> {
    match instruction {
        Instruction::Env(pairs) => {
            // All values are expanded with what was set before this line.
            let values: Vec<_> = pairs
                .iter()
                .map(|(_, value)| expand(value))
                .collect::<Result<_, _>>()?;
            for ((name, _), value) in pairs.iter().zip(values) {
                config.set_variable(&expand(name)?, &value);
            }
        }
        Instruction::Label(pairs) => {
            for (name, value) in pairs {
                config.labels.insert(expand(name)?, expand(value)?);
            }
        }
        Instruction::Cmd(command) => {
            config.cmd = words(command, config.shell.as_deref());
            *own_command = true;
        }
        Instruction::Entrypoint(command) => {
            config.entrypoint = words(command, config.shell.as_deref());
            // The base image's arguments belong to its own entry point (Dockerfile reference, "CMD and ENTRYPOINT").
            if !*own_command {
                config.cmd = None;
            }
        }
        Instruction::Shell(shell) => config.shell = Some(shell.clone()),
        Instruction::Expose(ports) => {
            for port in ports {
                for port in self::ports(&expand(port)?)? {
                    config.exposed_ports.insert(port, Empty {});
                }
            }
        }
        Instruction::Volume(paths) => {
            for path in paths {
                config.volumes.insert(expand(path)?, Empty {});
            }
        }
        Instruction::User(user) => config.user = expand(user)?,
        Instruction::Workdir(path) => config.working_dir = absolute(&config.working_dir, &expand(path)?),
        Instruction::StopSignal(signal) => config.stop_signal = Some(expand(signal)?),
        Instruction::Healthcheck(check) => config.healthcheck = Some(check.clone()),
        Instruction::OnBuild(text) => config.on_build.push(text.clone()),
        Instruction::Maintainer(_) => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// A command as the configuration has it; the shell form goes through the image's shell.
pub(super) fn words(command: &Command, shell: Option<&[String]>) -> Option<Vec<String>> {
    match command {
        Command::Exec(words) => Some(words.clone()),
        Command::Shell(text) if text.is_empty() => None,
        Command::Shell(text) => {
            let mut words = shell.map_or_else(|| vec!["/bin/sh".into(), "-c".into()], <[String]>::to_vec);
            words.push(text.clone());
            Some(words)
        }
    }
}

/// A path that starts at `base` unless it is absolute; `.` and `..` are worked out.
pub(super) fn absolute(base: &str, path: &str) -> String {
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{base}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `80`, `80/udp`, `8000-8010/tcp` → one entry each.
fn ports(text: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{text}` is not a port (such as `80`, `53/udp`, `8000-8010`)");
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(wrong());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (
        first.parse().map_err(|_| wrong())?,
        last.parse().map_err(|_| wrong())?,
    );
    if first == 0 || last < first {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_apply_in_order() {
        let mut config = ImageConfig {
            cmd: Some(vec!["old".into()]),
            working_dir: "/a".into(),
            ..ImageConfig::default()
        };
        let changes = [
            "ENV X=1 Y=\"$X 2\"",
            "ENV Z=${X}3",
            "ENTRYPOINT [\"e\"]",
            "WORKDIR b/../c",
            "EXPOSE 80 90-91/udp",
            "LABEL a=b c=\"d e\"",
            "USER u:g",
            "VOLUME /v",
            "STOPSIGNAL SIGQUIT",
            "SHELL [\"/bin/bash\", \"-c\"]",
            "CMD echo $X",
            "HEALTHCHECK NONE",
        ];
        apply_changes(&mut config, &changes.map(str::to_owned)).unwrap();
        assert_eq!(config.env, ["X=1", "Y= 2", "Z=13"]);
        assert_eq!(config.cmd.unwrap(), ["/bin/bash", "-c", "echo $X"]);
        assert_eq!(config.working_dir, "/a/c");
        assert_eq!(
            config.exposed_ports.keys().collect::<Vec<_>>(),
            ["80/tcp", "90/udp", "91/udp"]
        );
        // A command stays with the entry point that is set after it; the base image's does not.
        let both = |first: &str, second: &str| {
            let mut config = ImageConfig {
                cmd: Some(vec!["base".into()]),
                ..ImageConfig::default()
            };
            apply_changes(&mut config, &[first.to_owned(), second.to_owned()]).unwrap();
            config.cmd
        };
        assert_eq!(
            both("CMD [\"c\"]", "ENTRYPOINT [\"e\"]"),
            Some(vec!["c".to_owned()])
        );
        assert_eq!(both("USER u", "ENTRYPOINT [\"e\"]"), None);
        let mut config = ImageConfig::default();
        for wrong in [
            "RUN x",
            "EXPOSE 0",
            "EXPOSE x",
            "EXPOSE 9-8",
            "EXPOSE 1/x",
            "FROM a",
            "BAD",
        ] {
            assert!(
                apply_changes(&mut config, &[wrong.to_owned()]).is_err(),
                "{wrong}"
            );
        }
    }
}
