//! A container's `resolv.conf`, and the host's: resolv.conf(5).

use std::{fmt::Write, net::IpAddr};

/// What a container's resolver is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers, in order.
    pub servers: Vec<IpAddr>,
    /// Domains tried for short names.
    pub search: Vec<String>,
    /// `options` words.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads what resolv.conf(5) describes; unknown lines and broken addresses are passed over, as the C library does.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                // A zone such as `fe80::1%eth0` means nothing in another namespace.
                Some("nameserver") => conf
                    .servers
                    .extend(words.next().and_then(|w| w.parse::<IpAddr>().ok())),
                // The last of `search` and `domain` wins.
                Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }

    /// For a container whose names are served by us: that server, the search domains and options wanted, and
    /// `ndots:0` unless an `ndots` is among them, so that a service's short name is asked for as it stands.
    #[must_use]
    pub fn for_project(server: IpAddr, search: &[String], options: &[String]) -> Self {
        let mut options = options.to_vec();
        if !options.iter().any(|o| o.starts_with("ndots:")) {
            options.push("ndots:0".into());
        }
        // `search .` is docker's way to say "none".
        let search = search.iter().filter(|s| *s != ".").cloned().collect();
        Self {
            servers: vec![server],
            search,
            options,
        }
    }

    /// For a container without a name server of ours (a build step): the host's servers that can be reached from
    /// another namespace. `None` when the host has only servers on its loopback (`127.0.0.53` and the like), which
    /// exist nowhere else.
    #[must_use]
    pub fn from_host(host: &Self) -> Option<Self> {
        let servers: Vec<_> = host
            .servers
            .iter()
            .copied()
            .filter(|s| !s.is_loopback() && !s.is_unspecified())
            .collect();
        (!servers.is_empty()).then(|| Self {
            servers,
            ..host.clone()
        })
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        for server in &self.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let conf = ResolvConf::for_project(
            "127.0.0.11".parse().unwrap(),
            &["example.com".into(), "lan".into()],
            &["timeout:1".into()],
        );
        assert_eq!(
            conf.render(),
            "nameserver 127.0.0.11\nsearch example.com lan\noptions timeout:1 ndots:0\n"
        );
        assert_eq!(ResolvConf::parse(&conf.render()), conf);
    }

    #[test]
    fn a_given_ndots_stays() {
        let conf = ResolvConf::for_project("10.0.0.1".parse().unwrap(), &[".".into()], &["ndots:2".into()]);
        assert_eq!(conf.render(), "nameserver 10.0.0.1\noptions ndots:2\n");
    }

    #[test]
    fn loopback_servers_of_the_host_are_of_no_use_elsewhere() {
        let host = ResolvConf::parse("# stub\nnameserver 127.0.0.53\noptions edns0\nsearch lan\n");
        assert_eq!(ResolvConf::from_host(&host), None);
        let host =
            ResolvConf::parse("nameserver 127.0.0.1\nnameserver 192.0.2.1\nnameserver nonsense\n; x\n");
        assert_eq!(
            ResolvConf::from_host(&host).unwrap().render(),
            "nameserver 192.0.2.1\n"
        );
    }
}
