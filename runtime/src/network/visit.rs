//! A `GET` from inside a container's network, for readiness checks that need no program in the image.

use crate::sys::netns;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
    thread,
    time::{Duration, Instant},
};
use ureq::{Agent, config::Config, tls::TlsConfig};

/// A TLS handshake in a debug build needs more than the small stacks of the other threads.
const STACK: usize = 1 << 20;
/// Bytes of an answer's body that are kept.
const KEPT: u64 = 1024;

/// What is asked, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// Port.
    pub port: u16,
    /// Path with its query, from `/` on.
    pub path: &'a str,
    /// Whether TLS is spoken. Certificates are not judged.
    pub tls: bool,
    /// For everything together.
    pub timeout: Duration,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The beginning of the body, at most 1 KiB, as text.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// No thread, or the namespace cannot be entered.
    #[error("cannot enter the container's network")]
    Enter(#[source] io::Error),
    /// Nobody, or nothing that is HTTP, answers.
    #[error("{url}: {cause}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// What came instead.
        cause: String,
    },
}

/// Asks at each of `addresses` in turn, from inside the network namespace, until one answers.
///
/// # Errors
/// The first address's reason when none does.
pub fn visit(
    namespace: BorrowedFd<'_>,
    addresses: &[IpAddr],
    visit: Visit<'_>,
) -> Result<Answer, VisitError> {
    let deadline = Instant::now() + visit.timeout;
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("banyan-visit".into())
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                netns::enter(namespace).map_err(VisitError::Enter)?;
                let mut first = None;
                for address in addresses {
                    match ask(*address, visit, deadline) {
                        Ok(answer) => return Ok(answer),
                        Err(error) => first = first.or(Some(error)),
                    }
                }
                Err(first.unwrap_or_else(|| VisitError::NoAnswer {
                    url: visit.path.to_owned(),
                    cause: "there is no address to ask".into(),
                }))
            })
            .map_err(VisitError::Enter)?;
        thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    })?
}

fn ask(address: IpAddr, visit: Visit<'_>, deadline: Instant) -> Result<Answer, VisitError> {
    let scheme = if visit.tls { "https" } else { "http" };
    let url = format!(
        "{scheme}://{}{}",
        SocketAddr::new(address, visit.port),
        visit.path
    );
    let left = deadline.saturating_duration_since(Instant::now());
    let config: Config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("banyan/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(left.max(Duration::from_millis(1))))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .build();
    let no_answer = |error: ureq::Error| VisitError::NoAnswer {
        url: url.clone(),
        cause: error.to_string(),
    };
    let mut answer = config.new_agent().get(&url).call().map_err(no_answer)?;
    let status = answer.status().as_u16();
    // The status has been given; a body that cannot be read does not change it.
    let body = answer
        .body_mut()
        .with_config()
        .limit(KEPT)
        .lossy_utf8(true)
        .read_to_string()
        .unwrap_or_default();
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, Ipv6Addr, TcpListener},
        os::fd::AsFd,
    };

    #[test]
    fn the_first_address_that_answers_counts_and_status_and_body_are_kept() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 512];
            let length = stream.read(&mut asked).unwrap();
            stream
                .write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nwait")
                .unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let here = std::fs::File::open("/proc/self/ns/net").unwrap();
        let how = Visit {
            port,
            path: "/up?x=1",
            tls: false,
            timeout: Duration::from_secs(5),
        };
        let addresses = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        // Entering a network namespace, even one's own, takes a privilege.
        match visit(here.as_fd(), &addresses, how) {
            Ok(answer) => assert_eq!((answer.status, answer.body.as_str()), (503, "wait")),
            Err(VisitError::Enter(_)) => return,
            Err(error) => panic!("{error}"),
        }
        assert!(server.join().unwrap().starts_with("GET /up?x=1 HTTP/1.1\r\n"));
        let nobody = visit(here.as_fd(), &[Ipv4Addr::LOCALHOST.into()], how)
            .unwrap_err()
            .to_string();
        assert!(nobody.contains(&format!("127.0.0.1:{port}/up")), "{nobody}");
    }
}
