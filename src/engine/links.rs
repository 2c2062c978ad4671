//! The classic variables of links, which images of the fig and gaudi era read.
//!
//! For a link with alias NAME (upper case, everything but letters and digits as `_`): `NAME_PORT`, `NAME_NAME`,
//! `NAME_PORT_<n>_<PROTO>` with `_ADDR`, `_PORT`, `_PROTO`, and `NAME_ENV_<VAR>` for each variable of the target
//! except HOME and PATH (fig `docs/env.md`; moby `daemon/links/links.go`). Consecutive ports also give
//! `…_START`, `…_PORT_START`, `…_END`, `…_PORT_END`.

use crate::model::{Exposed, Protocol};
use std::{collections::BTreeMap, net::IpAddr};

/// A link's target as seen from the linking container.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The name it has here.
    pub alias: &'a str,
    /// Container name of the linking side, for `NAME_NAME`.
    pub from: &'a str,
    /// Its address on a network both share.
    pub address: IpAddr,
    /// Ports it announces: EXPOSE of the image, `expose`, container side of `ports`.
    pub ports: &'a [Exposed],
    /// Its environment.
    pub environment: &'a BTreeMap<String, String>,
}

/// The variables of one link.
pub fn variables(target: &Target<'_>) -> Vec<(String, String)> {
    let prefix: String = target
        .alias
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    let url = |port: &Exposed| {
        let host = if target.address.is_ipv6() {
            format!("[{}]", target.address)
        } else {
            target.address.to_string()
        };
        format!("{}://{host}:{}", port.protocol, port.port)
    };
    let mut ports = target.ports.to_vec();
    ports.sort_by_key(|port| (port.protocol == Protocol::Udp, port.port));
    ports.dedup();
    let mut variables = vec![(
        format!("{prefix}_NAME"),
        format!("/{}/{}", target.from, target.alias),
    )];
    if let Some(first) = ports.first() {
        variables.push((format!("{prefix}_PORT"), url(first)));
    }
    for run in ports.chunk_by(|a, b| a.protocol == b.protocol && b.port.checked_sub(1) == Some(a.port)) {
        if let [first, .., last] = run {
            let protocol = first.protocol.to_string().to_uppercase();
            let name = format!("{prefix}_PORT_{}_{protocol}", first.port);
            variables.push((format!("{name}_START"), url(first)));
            variables.push((format!("{name}_PORT_START"), first.port.to_string()));
            variables.push((format!("{name}_END"), url(last)));
            variables.push((format!("{name}_PORT_END"), last.port.to_string()));
        }
        for port in run {
            let name = format!(
                "{prefix}_PORT_{}_{}",
                port.port,
                port.protocol.to_string().to_uppercase()
            );
            variables.push((name.clone(), url(port)));
            variables.push((format!("{name}_ADDR"), target.address.to_string()));
            variables.push((format!("{name}_PORT"), port.port.to_string()));
            variables.push((format!("{name}_PROTO"), port.protocol.to_string()));
        }
    }
    for (name, value) in target.environment {
        if name != "HOME" && name != "PATH" {
            variables.push((format!("{prefix}_ENV_{name}"), value.clone()));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_gives_the_variables_that_fig_documents() {
        let environment = [("MYSQL_DATABASE", "app"), ("PATH", "/bin"), ("HOME", "/root")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let ports = [
            (53, Protocol::Udp),
            (8001, Protocol::Tcp),
            (3306, Protocol::Tcp),
            (8000, Protocol::Tcp),
        ]
        .map(|(port, protocol)| Exposed { port, protocol });
        let target = Target {
            alias: "my-db",
            from: "app-web-1",
            address: "172.18.0.2".parse().unwrap(),
            ports: &ports,
            environment: &environment,
        };
        let text: Vec<_> = variables(&target)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            text,
            [
                "MY_DB_NAME=/app-web-1/my-db",
                "MY_DB_PORT=tcp://172.18.0.2:3306",
                "MY_DB_PORT_3306_TCP=tcp://172.18.0.2:3306",
                "MY_DB_PORT_3306_TCP_ADDR=172.18.0.2",
                "MY_DB_PORT_3306_TCP_PORT=3306",
                "MY_DB_PORT_3306_TCP_PROTO=tcp",
                "MY_DB_PORT_8000_TCP_START=tcp://172.18.0.2:8000",
                "MY_DB_PORT_8000_TCP_PORT_START=8000",
                "MY_DB_PORT_8000_TCP_END=tcp://172.18.0.2:8001",
                "MY_DB_PORT_8000_TCP_PORT_END=8001",
                "MY_DB_PORT_8000_TCP=tcp://172.18.0.2:8000",
                "MY_DB_PORT_8000_TCP_ADDR=172.18.0.2",
                "MY_DB_PORT_8000_TCP_PORT=8000",
                "MY_DB_PORT_8000_TCP_PROTO=tcp",
                "MY_DB_PORT_8001_TCP=tcp://172.18.0.2:8001",
                "MY_DB_PORT_8001_TCP_ADDR=172.18.0.2",
                "MY_DB_PORT_8001_TCP_PORT=8001",
                "MY_DB_PORT_8001_TCP_PROTO=tcp",
                "MY_DB_PORT_53_UDP=udp://172.18.0.2:53",
                "MY_DB_PORT_53_UDP_ADDR=172.18.0.2",
                "MY_DB_PORT_53_UDP_PORT=53",
                "MY_DB_PORT_53_UDP_PROTO=udp",
                "MY_DB_ENV_MYSQL_DATABASE=app",
            ]
        );
    }
}
