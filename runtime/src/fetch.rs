//! HTTP, for registries and Debian mirrors: one client with bounds on every wait.
//!
//! TLS trusts the host's own authorities (`/etc/ssl/certs/ca-certificates.crt` and its relatives), so a company's or a
//! test's authority works; where the host has none, the list built into the program serves.

use std::{path::Path, sync::Arc, time::Duration};
use ureq::{
    Agent, Proxy,
    config::Config,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

/// Files in which systems keep their authorities, first match wins.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Bounds on waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a name to resolve and a connection to open.
    pub connect: Duration,
    /// For the answer to begin.
    pub answer: Duration,
    /// For the next bytes of a body.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        }
    }
}

/// Makes a client. `extra` holds more authorities in PEM form; `proxy` goes before the environment's.
pub fn agent(patience: Patience, extra: &[u8], proxy: Option<&str>) -> Agent {
    let config: Config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("banyan/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.answer))
        .timeout_per_read(Some(patience.stall))
        .timeout_per_write(Some(patience.stall))
        // Redirects are followed by whoever knows what may be sent where.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections_per_host(8)
        .proxy(proxy.map_or_else(Proxy::try_from_env, |proxy| Proxy::new(proxy).ok()))
        .tls_config(TlsConfig::builder().root_certs(roots(extra)).build())
        .build();
    config.new_agent()
}

fn roots(extra: &[u8]) -> RootCerts {
    let system = AUTHORITIES
        .iter()
        .find_map(|path| fs_err::read(Path::new(path)).ok())
        .unwrap_or_default();
    let certificates: Vec<Certificate<'static>> = [system.as_slice(), extra]
        .into_iter()
        .flat_map(parse_pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        RootCerts::WebPki
    } else {
        RootCerts::Specific(Arc::new(certificates))
    }
}
