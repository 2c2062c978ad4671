//! HTTP with a registry: tokens, redirects, retries.

use super::credentials::{Credentials, Login};
use crate::fetch::{Paced, Patience, agent};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use ureq::{
    Agent, Body,
    http::{Method, Request, Response, header},
};

/// Tries of one request that failed for a reason that may pass.
const TRIES: u32 = 5;
/// Tries of one request to which nothing was answered in time: each has cost a long wait.
const SILENCES: u32 = 2;
/// Redirects followed for one request.
const REDIRECTS: u32 = 5;

/// Why a registry did not give or take something.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answers there.
    #[error("the registry `{host}` does not answer")]
    Unreachable {
        /// Whom we asked.
        host: String,
        /// What happened.
        #[source]
        cause: Box<ureq::Error>,
    },
    /// It does not know us, or the name.
    #[error("the registry `{host}` refuses access to `{what}` (HTTP {status})")]
    Denied {
        /// Who.
        host: String,
        /// What was asked for.
        what: String,
        /// 401 or 403.
        status: u16,
    },
    /// It does not have it.
    #[error("the registry `{host}` has no `{what}`")]
    NotFound {
        /// Who.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// Another answer.
    #[error("the registry `{host}` answers HTTP {status} for `{what}`: {message}")]
    Status {
        /// Who.
        host: String,
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// The beginning of its explanation.
        message: String,
    },
    /// It lies, or something between us does.
    #[error("the registry `{host}` sent something wrong for `{what}`: {reason}")]
    Wrong {
        /// Who.
        host: String,
        /// What was asked for.
        what: String,
        /// How that shows.
        reason: String,
    },
    /// A document that began and did not end.
    #[error("the registry `{host}` stopped in the middle of `{what}`: {reason}")]
    Cut {
        /// Who.
        host: String,
        /// What was asked for.
        what: String,
        /// How that shows.
        reason: String,
    },
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] crate::image::manifest::ManifestError),
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::image::StoreError),
}

impl RegistryError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { host, .. } => Some(format!("`banyan login {host}`, or correct the image's name")),
            Self::NotFound { .. } => Some("correct the image's name or tag".into()),
            Self::Unreachable { .. } | Self::Cut { .. } => {
                Some("check the network, or load the image with `banyan image load`".into())
            }
            _ => None,
        }
    }
}

/// A connection to one registry for one repository.
pub struct Client {
    agent: Agent,
    patience: Patience,
    host: String,
    repository: String,
    base: String,
    login: Option<Login>,
    /// Authorization header by scope; filled as the registry asks.
    tokens: Mutex<HashMap<String, String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .field("repository", &self.repository)
            .finish_non_exhaustive()
    }
}

/// A request's body, which can be sent again.
pub(crate) enum Content<'a> {
    /// None.
    Empty,
    /// Bytes at hand.
    Bytes(&'a [u8]),
    /// A file, with its length.
    File(PathBuf, u64),
}

impl Client {
    /// Prepares to talk to `host` about `repository`; nothing is sent yet.
    pub fn new(host: &str, repository: &str, credentials: &Credentials) -> Self {
        let patience = Patience {
            connect: Duration::from_secs(3),
            ..Patience::default()
        };
        Self::with_patience(host, repository, credentials, patience)
    }

    /// The same, with other bounds on waiting.
    pub(crate) fn with_patience(
        host: &str,
        repository: &str,
        credentials: &Credentials,
        patience: Patience,
    ) -> Self {
        // Docker Hub's API has another name than its images (moby, registry/config.go).
        let api = if host == "docker.io" {
            "registry-1.docker.io"
        } else {
            host
        };
        let authorities = extra_authorities(host, credentials.folder());
        let scheme = if is_loopback(host) && authorities.is_empty() {
            "http"
        } else {
            "https"
        };
        Self {
            patience,
            agent: agent(patience, &authorities, None),
            host: host.to_owned(),
            repository: repository.to_owned(),
            base: format!("{scheme}://{api}"),
            login: credentials.find(host),
            tokens: Mutex::default(),
        }
    }

    /// The registry's name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the registry takes our login.
    pub fn check_login(&self) -> Result<(), RegistryError> {
        self.send(
            Method::GET,
            &format!("{}/v2/", self.base),
            &[],
            &Content::Empty,
            "",
            "/v2/",
        )
        .map(drop)
    }

    pub(crate) fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.base, self.repository)
    }

    /// An absolute address from a `Location` header.
    pub(crate) fn absolute(&self, location: &str) -> String {
        if location.starts_with('/') {
            format!("{}{location}", self.base)
        } else {
            location.to_owned()
        }
    }

    /// `repository:{repository}:pull`, or with `push`.
    pub(crate) fn scope(&self, push: bool) -> String {
        format!(
            "repository:{}:{}",
            self.repository,
            if push { "pull,push" } else { "pull" }
        )
    }

    /// Reads something from the repository.
    pub(crate) fn get(&self, rest: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, RegistryError> {
        self.send(
            Method::GET,
            &self.url(rest),
            headers,
            &Content::Empty,
            &self.scope(false),
            rest,
        )
    }

    /// An answer's body; one that drips fails.
    pub(crate) fn body(&self, response: Response<Body>) -> impl Read + Send + use<> {
        Paced::new(response.into_body().into_reader(), self.patience)
    }

    /// Sends a request, with authorization as the registry asks for it, following redirects, with retries.
    pub(crate) fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        content: &Content<'_>,
        scope: &str,
        what: &str,
    ) -> Result<Response<Body>, RegistryError> {
        let mut pause = Duration::from_millis(300);
        let mut asked = false;
        let (mut tries, mut silences) = (1, 0);
        loop {
            let result = self.once(&method, url, headers, content, scope);
            let wait = match &result {
                Ok(response) if response.status() == 401 && !asked => {
                    asked = true;
                    let challenge = text_header(response, "www-authenticate");
                    self.authorize(&challenge, scope)?;
                    continue;
                }
                Ok(response) if response.status() == 429 || response.status().is_server_error() => {
                    let after = text_header(response, "retry-after")
                        .parse()
                        .map_or(pause, Duration::from_secs);
                    after.min(Duration::from_secs(20))
                }
                Ok(response) => {
                    return if response.status().is_success() {
                        result.map_err(|cause| self.unreachable(cause))
                    } else {
                        Err(self.refusal(result, what))
                    };
                }
                // A name that does not resolve or a port nobody listens at will not change in seconds.
                Err(ureq::Error::HostNotFound | ureq::Error::ConnectionFailed) => TRIES_OVER,
                Err(ureq::Error::Io(error)) if is_final(error) => TRIES_OVER,
                Err(ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)) => TRIES_OVER,
                Err(ureq::Error::Timeout(_)) => {
                    silences += 1;
                    if silences == SILENCES { TRIES_OVER } else { pause }
                }
                Err(_) => pause,
            };
            if tries == TRIES || wait == TRIES_OVER {
                return match result {
                    Ok(_) => Err(self.refusal(result, what)),
                    Err(cause) => Err(self.unreachable(cause)),
                };
            }
            std::thread::sleep(wait);
            tries += 1;
            pause *= 2;
        }
    }

    fn once(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        content: &Content<'_>,
        scope: &str,
    ) -> Result<Response<Body>, ureq::Error> {
        let token = self
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(scope)
            .cloned();
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS {
            let mut request = Request::builder().method(method).uri(&url);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            // Only the registry itself gets our token, not whoever it redirects to.
            if let Some(token) = token
                .as_ref()
                .filter(|_| url.starts_with(&format!("{}/", self.base)))
            {
                request = request.header(header::AUTHORIZATION, token);
            }
            let response = match content {
                Content::Empty => self.agent.run(request.body(())?)?,
                Content::Bytes(bytes) => self.agent.run(request.body(*bytes)?)?,
                Content::File(path, length) => {
                    let file = std::fs::File::open(path)?;
                    self.agent
                        .run(request.header(header::CONTENT_LENGTH, *length).body(file)?)?
                }
            };
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let location = text_header(&response, "location");
            if !is_redirect || location.is_empty() || method != Method::GET && method != Method::HEAD {
                return Ok(response);
            }
            url = self.absolute(&location);
        }
        Err(ureq::Error::TooManyRedirects)
    }

    /// Answers a challenge (RFC 7235; distribution, "Token Authentication Specification").
    fn authorize(&self, challenge: &str, scope: &str) -> Result<(), RegistryError> {
        let denied = |status| RegistryError::Denied {
            host: self.host.clone(),
            what: self.repository.clone(),
            status,
        };
        let basic = |login: &Login| {
            format!(
                "Basic {}",
                STANDARD.encode(format!("{}:{}", login.user, login.password))
            )
        };
        let remember = |value: String| {
            self.tokens
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(scope.to_owned(), value);
        };
        let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            remember(basic(self.login.as_ref().ok_or_else(|| denied(401))?));
            return Ok(());
        }
        let parameters = parameters_of(parameters);
        let realm = parameters
            .get("realm")
            .filter(|_| scheme.eq_ignore_ascii_case("bearer"));
        let realm = realm.ok_or_else(|| denied(401))?;
        // A token service on plain HTTP would see the password in clear.
        let is_safe = realm.starts_with("https://") || self.base.starts_with("http://");
        if !is_safe {
            return Err(RegistryError::Wrong {
                host: self.host.clone(),
                what: "/token".into(),
                reason: "it wants our password over plain HTTP".into(),
            });
        }
        let service = parameters.get("service").map_or("", String::as_str);
        let mut request = self.agent.get(realm).query("service", service);
        // One parameter for each repository (distribution, "Token Scope Documentation").
        for scope in scope.split(' ').filter(|scope| !scope.is_empty()) {
            request = request.query("scope", scope);
        }
        if let Some(login) = &self.login {
            request = request
                .query("account", &login.user)
                .header(header::AUTHORIZATION, basic(login));
        }
        let mut response = request.call().map_err(|cause| self.unreachable(cause))?;
        if !response.status().is_success() {
            return Err(denied(response.status().as_u16()));
        }
        let text = response.body_mut().with_config().limit(1 << 20).read_to_string();
        let answer: Value = text
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or(Value::Null);
        let token = answer
            .get("token")
            .or(answer.get("access_token"))
            .and_then(Value::as_str);
        remember(format!("Bearer {}", token.ok_or_else(|| denied(401))?));
        Ok(())
    }

    fn unreachable(&self, cause: ureq::Error) -> RegistryError {
        RegistryError::Unreachable {
            host: self.host.clone(),
            cause: Box::new(cause),
        }
    }

    fn refusal(&self, result: Result<Response<Body>, ureq::Error>, what: &str) -> RegistryError {
        let (host, what) = (self.host.clone(), format!("{}/{what}", self.repository));
        match result {
            Err(cause) => self.unreachable(cause),
            Ok(response) => match response.status().as_u16() {
                status @ (401 | 403) => RegistryError::Denied { host, what, status },
                404 => RegistryError::NotFound { host, what },
                status => {
                    let mut message = String::new();
                    // What it says may be anything; the status alone serves too.
                    response
                        .into_body()
                        .into_reader()
                        .take(300)
                        .read_to_string(&mut message)
                        .ok();
                    RegistryError::Status {
                        host,
                        what,
                        status,
                        message: message.trim().to_owned(),
                    }
                }
            },
        }
    }
}

/// Whether asking again within seconds would fail in the same way.
fn is_final(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    // A failed look-up has no kind of its own in the standard library.
    matches!(
        error.kind(),
        ConnectionRefused | HostUnreachable | NetworkUnreachable
    ) || error.to_string().starts_with("failed to lookup address")
}

/// Stands for "do not try again".
const TRIES_OVER: Duration = Duration::MAX;

pub(crate) fn text_header(response: &Response<Body>, name: &str) -> String {
    response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
        .to_owned()
}

/// `a="b",c="d"`.
fn parameters_of(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        let name = name.trim_matches(|c: char| c == ',' || c.is_whitespace());
        found.insert(name.to_lowercase(), value.to_owned());
        rest = next;
    }
    found
}

/// Whether a registry is on this machine: only there plain HTTP is spoken.
fn is_loopback(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, _)| name)
        .trim_matches(['[', ']']);
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Authorities for one registry, in Docker's place (docs.docker.com, "Verify repository client with certificates").
///
/// Beside the logins (`~/.docker/certs.d`) is the place of those who may not write in `/etc`.
fn extra_authorities(host: &str, logins: Option<&Path>) -> Vec<u8> {
    let mut found = Vec::new();
    let bases = ["/etc/docker/certs.d", "/etc/containers/certs.d"].map(PathBuf::from);
    for base in bases
        .into_iter()
        .chain(logins.map(|folder| folder.join("certs.d")))
    {
        for entry in fs_err::read_dir(base.join(host)).into_iter().flatten().flatten() {
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "crt")
            {
                found.extend(fs_err::read(entry.path()).unwrap_or_default());
                found.push(b'\n');
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_challenges() {
        let found = parameters_of(
            r#"realm="https://a.example/token?x=1,2",service="s", scope="repository:a:pull,push""#,
        );
        assert_eq!(found["realm"], "https://a.example/token?x=1,2");
        assert_eq!(
            (found["service"].as_str(), found["scope"].as_str()),
            ("s", "repository:a:pull,push")
        );
    }

    #[test]
    fn speaks_plain_http_to_this_machine_only() {
        for (host, is_here) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("127.0.0.1.example", false),
            ("10.0.0.1:5000", false),
            ("localhost.example", false),
        ] {
            assert_eq!(is_loopback(host), is_here, "{host}");
        }
    }
}
