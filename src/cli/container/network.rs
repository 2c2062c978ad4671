//! The network of a single container: what the flags mean, and starting who holds it.

use super::{flags::Flags, refuse, registry::Registry};
use crate::{
    api::wire::{Level, Message},
    cli::{CommandError, Exit, drive},
    engine::alone::{self, ANNOTATION, BRIDGE, Errand, Wish},
    model::{Attachment, Protocol, PublishVia, PublishedPort},
    network::shared::SharedNetworks,
    project::published_ports,
};
use banyan_runtime::{
    container::{Container, ContainerDir, Created, Found, Settings, open},
    image::ImageConfig,
};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

/// How a container is connected.
pub(super) enum Mode {
    /// A namespace: `none`, `host`, `container:NAME`.
    Namespace(String),
    /// Networks.
    Networks(Wish),
}

/// What the flags ask for; nothing is changed on the machine but the network `bridge`, made when it is wanted first.
pub(super) fn mode(flags: &Flags, config: &ImageConfig, registry: &Registry) -> Result<Mode, CommandError> {
    let unnamed = if flags.rootfs.is_some() { "none" } else { BRIDGE };
    let named: Vec<&str> = match &flags.network[..] {
        // A port can be published of a container on a network only.
        [] if unnamed == "none" && !(flags.publish.is_empty() && flags.network_alias.is_empty()) => {
            vec![BRIDGE]
        }
        [] => vec![unnamed],
        list => list.iter().map(String::as_str).collect(),
    };
    let is_namespace = |word: &str| matches!(word, "none" | "host") || word.starts_with("container:");
    if let Some(word) = named.iter().find(|word| is_namespace(word)) {
        if named.len() > 1 {
            return Err(refuse(format!("`{word}` cannot be one network of several")));
        }
        if !flags.publish.is_empty() {
            return Err(refuse(format!("ports cannot be published with --network {word}"))
                .hint("leave out -p, or use a network"));
        }
        return Ok(Mode::Namespace((*word).to_owned()));
    }
    let store = SharedNetworks::new(&registry.roots);
    let mut wish = Wish {
        dns: addresses(&flags.dns)?,
        dns_search: flags.dns_search.clone(),
        dns_options: flags.dns_option.clone(),
        mac_address: flags.mac_address.clone(),
        ports: ports(flags, config)?,
        ..Wish::default()
    };
    for (number, text) in named.iter().enumerate() {
        let (name, mut attachment) = attachment(text, i64::try_from(named.len() - number).unwrap_or(0))?;
        attachment.aliases.extend(flags.network_alias.iter().cloned());
        if number == 0 {
            attachment.ipv4 = attachment.ipv4.or(flags.ip);
            attachment.ipv6 = attachment.ipv6.or(flags.ip6);
        }
        let known = match name.as_str() {
            BRIDGE => alone::ensure_bridge(&registry.roots).map(drop),
            _ => store.find(&name).map(drop),
        };
        known.map_err(|error| {
            let made = CommandError::caused(
                Exit::Status(125),
                format!("the container cannot be on network `{name}`"),
                &error,
            );
            match error.hint() {
                Some(hint) => made.hint(hint),
                None => made,
            }
        })?;
        if wish.networks.insert(name.clone(), attachment).is_some() {
            return Err(refuse(format!("network `{name}` is named twice")));
        }
    }
    Ok(Mode::Networks(wish))
}

/// `NAME`, or docker's long form `name=NAME,alias=…,ip=…,ip6=…,mac-address=…`.
fn attachment(text: &str, priority: i64) -> Result<(String, Attachment), CommandError> {
    let mut made = Attachment {
        priority,
        ..Attachment::default()
    };
    if !text.contains('=') {
        let name = if text == "default" { BRIDGE } else { text };
        return Ok((name.to_owned(), made));
    }
    let mut name = None;
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let wrong = |_| refuse(format!("`{value}` is no address"));
        match key {
            "name" => name = Some(value.to_owned()),
            "alias" => made.aliases.push(value.to_owned()),
            "ip" => made.ipv4 = Some(value.parse().map_err(wrong)?),
            "ip6" => made.ipv6 = Some(value.parse().map_err(wrong)?),
            "mac-address" => made.mac_address = Some(value.to_owned()),
            "gw-priority" => {
                made.gw_priority = value
                    .parse()
                    .map_err(|_| refuse(format!("`{value}` is no priority")))?;
            }
            _ => return Err(refuse(format!("`{key}` is not known in the network `{text}`"))),
        }
    }
    let name = name.ok_or_else(|| refuse(format!("the network `{text}` has no name=…")))?;
    Ok((name, made))
}

fn addresses(texts: &[String]) -> Result<Vec<std::net::IpAddr>, CommandError> {
    let parse = |text: &String| {
        text.parse()
            .map_err(|_| refuse(format!("`{text}` is no address of a name server")))
    };
    texts.iter().map(parse).collect()
}

fn ports(flags: &Flags, config: &ImageConfig) -> Result<Vec<PublishedPort>, CommandError> {
    let mut list = Vec::new();
    for text in &flags.publish {
        let made = published_ports(text).map_err(|(message, hint)| match hint {
            Some(hint) => refuse(message).hint(hint),
            None => refuse(message),
        })?;
        list.extend(made);
    }
    if flags.publish_all {
        for text in config.exposed_ports.keys() {
            let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let protocol = if protocol == "udp" {
                Protocol::Udp
            } else {
                Protocol::Tcp
            };
            let Ok(target) = port.parse() else { continue };
            if !list
                .iter()
                .any(|port| port.target == target && port.protocol == protocol)
            {
                list.push(PublishedPort {
                    host_ip: None,
                    published: None,
                    target,
                    protocol,
                    via: PublishVia::Relay,
                });
            }
        }
    }
    Ok(list)
}

/// Writes the wish into the settings. Their `/etc/hosts` is what its own addresses are added to.
pub(super) fn remember(
    mut wish: Wish,
    host_names: Vec<String>,
    settings: &mut Settings,
) -> Result<(), CommandError> {
    wish.hosts = settings.files.hosts.clone().unwrap_or_default();
    wish.host_names = host_names;
    let text = serde_json::to_string(&wish)
        .map_err(|error| CommandError::caused(Exit::Internal, "cannot write the networks", &error))?;
    settings.annotations.insert(ANNOTATION.to_owned(), text);
    Ok(())
}

/// Makes a container through its attendant; it stands at its barrier then, connected.
pub(super) fn create(
    settings: &Settings,
    dir: &ContainerDir,
    registry: &Registry,
) -> Result<Container<Created>, CommandError> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        let what = format!("cannot start container `{}`", settings.name);
        CommandError::caused(Exit::Status(125), what, error)
    };
    let log = fs_err::File::options()
        .create(true)
        .append(true)
        .open(dir.state.join("attendant.log"))
        .map_err(|error| failed(&error))?;
    // By its path: a process is shown by the name it was started by.
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let mut child = Command::new(program)
        .args(alone::arguments(&registry.roots, &settings.id, Errand::Launch))
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.into_parts().0)
        .spawn()
        .map_err(|error| failed(&error))?;
    let output = child.stdout.take().into_iter().map(BufReader::new);
    for line in output.flat_map(BufRead::lines).map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Message::Done) => {
                return match open(dir).map_err(|error| failed(&error))? {
                    Found::Created(container) => Ok(container),
                    _ => Err(refuse(format!(
                        "container `{}` ended before it began",
                        settings.name
                    ))),
                };
            }
            Ok(Message::Failed(failure)) => {
                // It gives back what it had, and ends.
                let _ = child.wait();
                let mut error = drive::failed(&failure);
                error.exit = Exit::Status(failure.status.unwrap_or(125));
                return Err(error);
            }
            Ok(Message::Note {
                level: Level::Warning,
                text,
                ..
            }) => {
                let _ = writeln!(std::io::stderr(), "warning: {text}");
            }
            _ => {}
        }
    }
    let _ = child.wait();
    let said = fs_err::read_to_string(dir.state.join("attendant.log")).unwrap_or_default();
    let mut error = refuse(format!("cannot start container `{}`", settings.name));
    error
        .because
        .push("the process that holds its network ended".to_owned());
    error.because.extend(said.lines().next_back().map(str::to_owned));
    Err(error)
}
