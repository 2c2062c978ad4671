//! Who has a port: proc_net_tcp in `/proc/net/tcp` names a socket's inode, `/proc/PID/fd` the process that holds it.

use crate::model::Protocol;
use fs_err as fs;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

/// `TCP_LISTEN` in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// The process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (process {})", self.name, self.pid)
    }
}

/// Finds out who has `address`; `None` when that cannot be seen, as for other users' processes.
pub(super) fn find(protocol: Protocol, address: SocketAddr) -> Option<Holder> {
    let files = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
    };
    let tables = files
        .iter()
        .filter_map(|f| fs::read_to_string(format!("/proc/thread-self/net/{f}")).ok());
    let inodes: Vec<u64> = tables.flat_map(|text| inodes(&text, protocol, address)).collect();
    let links: Vec<_> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    if links.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find_map(|pid: u32| {
            let directory = Path::new("/proc").join(pid.to_string());
            let mut descriptors = fs::read_dir(directory.join("fd")).ok()?.flatten();
            descriptors.find(|d| {
                fs::read_link(d.path()).is_ok_and(|to| links.iter().any(|l| to.as_os_str() == l.as_str()))
            })?;
            let name = fs::read_to_string(directory.join("comm")).ok()?;
            Some(Holder {
                pid,
                name: name.trim().to_owned(),
            })
        })
}

/// The inodes of sockets in a table that keep others from `address`.
fn inodes(table: &str, protocol: Protocol, address: SocketAddr) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (local, state, inode) = (*fields.get(1)?, *fields.get(3)?, fields.get(9)?.parse().ok()?);
            let (ip, port) = local.split_once(':')?;
            let same_port = u16::from_str_radix(port, 16).ok()? == address.port();
            let ip = read_ip(ip)?;
            let clash = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
            let active = protocol == Protocol::Udp || state == LISTENING;
            (same_port && clash && active).then_some(inode)
        })
        .collect()
}

/// Addresses are printed as words of four bytes in the machine's order.
fn read_ip(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (n, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(n * 8)?);
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
           0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
           1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
           2: 0100007F:0050 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 333 1\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn listeners_that_clash_are_found() {
        let found = |address: &str| inodes(TABLE, Protocol::Tcp, address.parse().unwrap());
        assert_eq!(found("127.0.0.1:8080"), [111]);
        assert_eq!(found("0.0.0.0:8080"), [111]);
        assert_eq!(found("192.0.2.1:8080"), [] as [u64; 0]);
        assert_eq!(
            found("192.0.2.1:80"),
            [222],
            "a wildcard listener; connections do not count"
        );
        assert_eq!(
            read_ip("00000000000000000000000001000000"),
            Some(Ipv6Addr::LOCALHOST.into())
        );
    }

    #[test]
    fn this_very_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = find(Protocol::Tcp, listener.local_addr().unwrap()).unwrap();
        assert_eq!(holder.pid, std::process::id());
    }
}
