//! The short forms of ports and mounts.

use crate::model::{Protocol, PublishVia, PublishedPort};
use std::net::IpAddr;

/// One published port, as its long form says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// Host address as text; `::1` without brackets.
    pub(crate) host_ip: String,
    /// Host port or range as text; empty: any free port.
    pub(crate) published: String,
    pub(crate) target: u16,
    pub(crate) protocol: String,
}

/// Why a short form cannot be read, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong {
        message: message.into(),
        hint: Some(hint.into()),
    }
}

const PORT_HINT: &str = "ports are written `[ADDRESS:][HOST:]CONTAINER[/tcp|udp]`, for example `8080:80`";

/// Most ports that one range may name: all that exist.
const RANGE: u32 = 65_536;

/// Reads `[IP:][HOST|RANGE:]CONTAINER|RANGE[/protocol]` (the grammar of docker's `go-connections/nat`).
///
/// # Errors
/// What is wrong with it.
pub(crate) fn ports(text: &str) -> Result<Vec<Port>, Wrong> {
    let (spec, protocol) = match text.split_once('/') {
        Some((spec, protocol)) => (spec, protocol.to_ascii_lowercase()),
        None => (text, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(wrong(
            format!("`{protocol}` is not a protocol"),
            "write `/tcp` or `/udp` after the port",
        ));
    }
    let (rest, container) = spec.rsplit_once(':').unwrap_or(("", spec));
    let (ip, host) = if rest.is_empty() && !spec.starts_with(':') {
        ("", "")
    } else {
        match rest.rsplit_once(':') {
            Some((ip, host)) => (ip, host),
            // `[::1]:80` without a host port never occurs: the last colon is the container's.
            None => ("", rest),
        }
    };
    if container.is_empty() {
        return Err(wrong(format!("`{text}` names no container port"), PORT_HINT));
    }
    let ip = ip
        .strip_prefix('[')
        .map_or(ip, |ip| ip.strip_suffix(']').unwrap_or(ip));
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        return Err(wrong(
            format!("`{ip}` in `{text}` is not an IP address"),
            PORT_HINT,
        ));
    }
    let (first, last) = range(container, text)?;
    let count = u32::from(last - first) + 1;
    // Read once, not for each port: the text may be long (leading zeros), and a range has up to 65,536 ports.
    let hosts = if host.is_empty() {
        None
    } else {
        let (start, end) = range(host, text)?;
        let hosts = u32::from(end - start) + 1;
        // Several host ports for one container port: any of them.
        if hosts != count && count != 1 {
            return Err(wrong(
                format!("`{text}` maps {hosts} host ports to {count} container ports"),
                "give both ranges the same length",
            ));
        }
        Some((start, end))
    };
    let published = |i: u16| match hosts {
        None => String::new(),
        Some((start, end)) if count == 1 && start != end => format!("{start}-{end}"),
        Some((start, _)) => (start + i).to_string(),
    };
    debug_assert!(count <= RANGE);
    let mut list = Vec::with_capacity(count as usize);
    for (i, target) in (0..=u16::MAX).zip(first..=last) {
        let host_ip = ip.to_owned();
        list.push(Port {
            host_ip,
            published: published(i),
            target,
            protocol: protocol.clone(),
        });
    }
    // docker sorts the ports of one range as text.
    list.sort_by_cached_key(|port| port.target.to_string());
    Ok(list)
}

/// Published ports as `-p` of `container run` names them, in the form a project file has too.
///
/// # Errors
/// What is wrong with the text, and what to write instead.
pub fn published_ports(text: &str) -> Result<Vec<PublishedPort>, (String, Option<String>)> {
    let told = |wrong: Wrong| (wrong.message, wrong.hint);
    let lowered = |port: Port| {
        let published = match port.published.as_str() {
            "" => None,
            text => Some(range(text, text).map_err(told)?).filter(|range| *range != (0, 0)),
        };
        Ok(PublishedPort {
            host_ip: port.host_ip.parse().ok(),
            published,
            target: port.target,
            protocol: match port.protocol.as_str() {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                other => return Err((format!("the protocol `{other}` cannot be published"), None)),
            },
            via: PublishVia::Relay,
        })
    };
    ports(text).map_err(told)?.into_iter().map(lowered).collect()
}

/// `80` or `80-90`.
pub(crate) fn range(text: &str, whole: &str) -> Result<(u16, u16), Wrong> {
    let number = |part: &str| -> Result<u16, Wrong> {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits {
            return Err(wrong(format!("`{part}` in `{whole}` is not a port"), PORT_HINT));
        }
        part.parse().map_err(|_| {
            wrong(
                format!("`{part}` in `{whole}` is above 65535"),
                "ports go from 1 to 65535",
            )
        })
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if last < first {
        return Err(wrong(
            format!("the range `{text}` in `{whole}` runs backwards"),
            format!("write `{last}-{first}`"),
        ));
    }
    Ok((first, last))
}

/// One mount, as its long form says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Host path or volume; empty: anonymous.
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) bind: bool,
    pub(crate) nocopy: bool,
    /// `x-banyan.overlay`.
    pub(crate) overlay: bool,
    pub(crate) propagation: Option<String>,
    pub(crate) selinux: Option<String>,
    /// `cached`, `delegated`, `consistent`: for other platforms.
    pub(crate) consistency: Option<String>,
    /// Options that mean nothing.
    pub(crate) unknown: Vec<String>,
}

const MOUNT_HINT: &str = "mounts are written `[SOURCE:]TARGET[:ro]`, for example `./site:/var/www:ro`";

/// Reads `[SRC:]DST[:options]`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn mount(text: &str) -> Result<Mount, Wrong> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.contains(&"") {
        let message = if text.is_empty() {
            "a mount is empty".into()
        } else {
            format!("`{text}` has an empty part between colons")
        };
        return Err(wrong(message, MOUNT_HINT));
    }
    let mut mount = Mount::default();
    let options = match parts.as_slice() {
        [target] => {
            mount.target = (*target).to_owned();
            ""
        }
        [source, target, options @ ..] if options.len() <= 1 => {
            mount.source = (*source).to_owned();
            mount.target = (*target).to_owned();
            options.first().copied().unwrap_or("")
        }
        _ => return Err(wrong(format!("`{text}` has too many colons"), MOUNT_HINT)),
    };
    mount.bind = mount.source.starts_with(['.', '/', '~']);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" => mount.nocopy = true,
            "overlay" if mount.bind => mount.overlay = true,
            "z" | "Z" => mount.selinux = Some(option.into()),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                mount.propagation = Some(option.into());
            }
            "cached" | "delegated" | "consistent" => mount.consistency = Some(option.into()),
            _ => mount.unknown.push(option.into()),
        }
    }
    Ok(mount)
}

/// `path.Clean` of Go, for container paths.
pub(crate) fn clean(path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests;
