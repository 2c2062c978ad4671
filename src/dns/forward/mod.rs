//! The world outside: questions that are not ours go to the host's resolvers, or to a service's own servers.

mod provider;

use super::{answer::Query, server::bare, wire::Code};
use banyan_runtime::network::{HallSockets, resolv_conf::ResolvConf};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as ProtoQuery, ResponseCode},
    rr::{Name, RecordType},
};
use hickory_resolver::{
    Resolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError},
};
use provider::Provider;
use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

/// How long one server may take, and how often each is asked: docker gives each server four seconds.
const PATIENCE: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 2;
/// All attempts together; clients give up after five seconds and ask again.
const DEADLINE: Duration = Duration::from_secs(9);
/// Answers kept, and for how long at most: names outside change too.
const CACHE: u64 = 2048;
const LONGEST_CACHE: Duration = Duration::from_secs(300);
const LONGEST_NEGATIVE_CACHE: Duration = Duration::from_secs(5);
/// How often the host's `resolv.conf` is looked at.
const RECHECK: Duration = Duration::from_secs(1);
/// At most so many servers are asked, as the C library does.
const SERVERS: usize = 3;

type Upstream = Resolver<Provider>;

/// Forwards questions. Those for the host's resolvers leave from the namespace of the calling thread, so resolvers on
/// the host's loopback work; those for a service's own servers leave from the hall (see [`Forwarder::ask_from`]).
pub struct Forwarder {
    resolv_conf: PathBuf,
    /// Written by [`Forwarder::host`].
    host: Mutex<Option<Host>>,
    /// One per list of servers that some service names. Written by [`Forwarder::own`].
    own: Mutex<HashMap<Arc<[IpAddr]>, Arc<Upstream>>>,
    /// Where services' own servers are asked from. Written by [`Forwarder::ask_from`].
    hall: Mutex<Weak<HallSockets>>,
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder")
            .field("resolv_conf", &self.resolv_conf)
            .finish_non_exhaustive()
    }
}

/// The host's resolvers as last seen.
struct Host {
    checked: Instant,
    changed: Option<(SystemTime, u64)>,
    /// `None`: the host has none.
    upstream: Option<Arc<Upstream>>,
}

impl Forwarder {
    /// Forwards to the servers in `resolv_conf`, `/etc/resolv.conf` in real use; it is read again when it changes.
    pub fn new(resolv_conf: impl Into<PathBuf>) -> Self {
        Self {
            resolv_conf: resolv_conf.into(),
            host: Mutex::default(),
            own: Mutex::default(),
            hall: Mutex::default(),
        }
    }

    /// Asks services' own `dns:` servers from inside the hall of `sockets`, where containers of the project can be
    /// reached, for as long as these live.
    pub fn ask_from(&self, sockets: &Arc<HallSockets>) {
        *self.hall.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(sockets);
        self.own.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks, and puts the answer together for the client. Always gives an answer, if only that it failed.
    pub async fn answer(&self, query: &Query, message: &[u8]) -> Vec<u8> {
        let upstream = if query.servers.is_empty() {
            self.host()
        } else {
            self.own(&query.servers)
        };
        let name = query.question.text().and_then(|text| Name::from_ascii(text).ok());
        let (Some(upstream), Some(name)) = (upstream, name) else {
            return bare(query, message, Code::ServFail);
        };
        let kind = RecordType::from(query.question.kind);
        let answer = tokio::time::timeout(DEADLINE, upstream.lookup(name.clone(), kind)).await;
        let (code, answers, authorities) = match answer {
            Ok(Ok(found)) => (
                ResponseCode::NoError,
                found.answers().to_vec(),
                found.authorities().to_vec(),
            ),
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
                let soa = none
                    .soa
                    .map(|soa| soa.into_record_of_rdata())
                    .into_iter()
                    .collect();
                (none.response_code, Vec::new(), soa)
            }
            Ok(Err(NetError::Dns(DnsError::ResponseCode(code)))) => (code, Vec::new(), Vec::new()),
            Ok(Err(error)) => {
                tracing::debug!(%name, %error, "a name could not be resolved outside");
                return bare(query, message, Code::ServFail);
            }
            Err(_) => return bare(query, message, Code::ServFail),
        };
        let mut response = head(query, message, name, kind, code);
        response.add_answers(answers);
        response.add_authorities(authorities);
        encode(response, query, message)
    }

    /// The host's resolvers, read anew when the file has changed.
    fn host(&self) -> Option<Arc<Upstream>> {
        let now = Instant::now();
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = host.as_ref().filter(|h| now.duration_since(h.checked) < RECHECK) {
            return host.upstream.clone();
        }
        let metadata = fs_err::metadata(&self.resolv_conf).ok();
        let changed = metadata.and_then(|m| Some((m.modified().ok()?, m.len())));
        if let Some(host) = host
            .as_mut()
            .filter(|h| h.changed == changed && changed.is_some())
        {
            host.checked = now;
            return host.upstream.clone();
        }
        let text = fs_err::read_to_string(&self.resolv_conf).unwrap_or_default();
        let upstream = upstream(&ResolvConf::parse(&text).servers, Weak::new());
        *host = Some(Host {
            checked: now,
            changed,
            upstream: upstream.clone(),
        });
        upstream
    }

    /// A service's own servers.
    fn own(&self, servers: &Arc<[IpAddr]>) -> Option<Arc<Upstream>> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = own.get(servers) {
            return Some(Arc::clone(known));
        }
        let hall = self.hall.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let made = upstream(servers, hall)?;
        own.insert(Arc::clone(servers), Arc::clone(&made));
        Some(made)
    }
}

fn upstream(servers: &[IpAddr], hall: Weak<HallSockets>) -> Option<Arc<Upstream>> {
    let servers: Vec<_> = servers
        .iter()
        .take(SERVERS)
        .map(|ip| NameServerConfig::udp_and_tcp(*ip))
        .collect();
    if servers.is_empty() {
        return None;
    }
    let mut options = ResolverOpts::default();
    options.ndots = 0;
    options.timeout = PATIENCE;
    options.attempts = ATTEMPTS;
    options.cache_size = CACHE;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    options.positive_max_ttl = Some(LONGEST_CACHE);
    options.negative_max_ttl = Some(LONGEST_NEGATIVE_CACHE);
    let config = ResolverConfig::from_name_servers(servers);
    let built = Resolver::builder_with_config(config, Provider::new(hall))
        .with_options(options)
        .build();
    built
        .inspect_err(|error| tracing::warn!(%error, "the resolvers cannot be used"))
        .ok()
        .map(Arc::new)
}

/// The response without records.
fn head(query: &Query, message: &[u8], name: Name, kind: RecordType, code: ResponseCode) -> Message {
    let id = u16::from_be_bytes([message[0], message[1]]);
    let mut response = Message::new(id, MessageType::Response, OpCode::Query);
    response.metadata.recursion_desired = message[2] & 1 != 0;
    response.metadata.recursion_available = true;
    response.metadata.response_code = code;
    response.add_query(ProtoQuery::query(name, kind));
    if query.question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        response.set_edns(edns);
    }
    response
}

/// Bytes that fit the client: without records and marked truncated when they would not.
fn encode(response: Message, query: &Query, message: &[u8]) -> Vec<u8> {
    let encoded = response.to_vec().and_then(|bytes| {
        if bytes.len() <= query.limit {
            return Ok(bytes);
        }
        let mut short = response.truncate();
        short.metadata.truncation = true;
        short.to_vec()
    });
    let mut bytes = encoded.unwrap_or_else(|_| bare(query, message, Code::ServFail));
    // The question comes back exactly as it was asked, upper and lower case included: some clients compare.
    let question = 12..query.question.end;
    if let (Some(to), Some(from)) = (bytes.get_mut(question.clone()), message.get(question)) {
        to.copy_from_slice(from);
    }
    bytes
}
