//! HTTP, for registries and Debian mirrors: one client with bounds on every wait.
//!
//! TLS trusts the host's own authorities (`/etc/ssl/certs/ca-certificates.crt` and its relatives), so a company's or a
//! test's authority works; where the host has none, the list built into the program serves.

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
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
    /// For the next bytes of a body, and what a body is measured over that comes too slowly ([`Paced`]).
    pub stall: Duration,
    /// Bytes that have to come while [`Self::stall`] is waited for them.
    pub least: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            // Half a kibibyte a second: less than the slowest modem.
            least: 16 << 10,
        }
    }
}

/// A body that fails when it drips: a server that sends a byte now and then would hold us for ever.
///
/// Only time spent waiting counts, so whoever reads may take as long as it likes.
pub(crate) struct Paced<R> {
    inner: R,
    patience: Patience,
    waited: Duration,
    came: u64,
}

impl<R: Read> Paced<R> {
    pub(crate) fn new(inner: R, patience: Patience) -> Self {
        Self {
            inner,
            patience,
            waited: Duration::ZERO,
            came: 0,
        }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        let count = self.inner.read(buffer)?;
        self.waited += start.elapsed();
        self.came += count as u64;
        if self.waited < self.patience.stall || count == 0 {
            return Ok(count);
        }
        if self.came < self.patience.least {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "only {} bytes came in {} seconds",
                    self.came,
                    self.waited.as_secs()
                ),
            ));
        }
        (self.waited, self.came) = (Duration::ZERO, 0);
        Ok(count)
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
