//! Real sockets: this process's own loopback stands for the host, a hall for the project.
//!
//! Needs root; without it each test says so and passes, unless `BANYAN_TESTS_MUST_RUN` is set.

use super::*;
use banyan_runtime::network::Hall;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

const SOON: Duration = Duration::from_secs(10);

/// A hall whose own loopback stands for a container.
fn hall() -> Option<(Hall, Arc<HallSockets>)> {
    let hall = match Hall::create() {
        Ok(hall) => hall,
        Err(error) => {
            assert!(std::env::var_os("BANYAN_TESTS_MUST_RUN").is_none(), "{error}");
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let sockets = Arc::new(HallSockets::start(&hall).unwrap());
    Some((hall, sockets))
}

fn port(host: &str, published: Option<(u16, u16)>, protocol: Protocol) -> PublishedPort {
    PublishedPort {
        host_ip: host.parse().ok(),
        published,
        target: 80,
        protocol,
        via: crate::model::PublishVia::Relay,
    }
}

/// A listener inside the hall, at an ephemeral port of its loopback.
fn listen_inside(hall: &Hall) -> (TcpListener, SocketAddr) {
    let listener = hall
        .run(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (TcpListener::from_std(listener).unwrap(), address)
}

/// A published port that leads to `target`.
fn publish(sockets: &Arc<HallSockets>, target: Option<SocketAddr>) -> (Published, SocketAddr) {
    let published = reserve(&port("127.0.0.1", None, Protocol::Tcp))
        .unwrap()
        .serve(Arc::clone(sockets))
        .unwrap();
    published.retarget(target);
    let address = published.addresses()[0];
    (published, address)
}

async fn pair(listener: &TcpListener, address: SocketAddr) -> (TcpStream, TcpStream) {
    let client = timeout(SOON, TcpStream::connect(address)).await.unwrap().unwrap();
    let (server, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    (client, server)
}

#[tokio::test]
async fn a_taken_port_names_its_holder_and_a_range_goes_on_to_the_next() {
    let first = reserve(&port("127.0.0.1", None, Protocol::Tcp)).unwrap();
    let number = first.addresses()[0].port();
    let error = reserve(&port("127.0.0.1", Some((number, number)), Protocol::Tcp)).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with(&format!("port 127.0.0.1:{number}/tcp is in use by `")),
        "{message}"
    );
    assert!(
        message.contains(&format!("process {}", std::process::id())),
        "{message}"
    );
    let next = reserve(&port(
        "127.0.0.1",
        Some((number, number.saturating_add(20))),
        Protocol::Tcp,
    ))
    .unwrap();
    assert_ne!(next.addresses()[0].port(), number);
    drop(first);
    reserve(&port("127.0.0.1", Some((number, number)), Protocol::Tcp)).unwrap();
}

#[tokio::test]
async fn all_addresses_means_both_families_on_one_port() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let all = reserve(&port("all", None, protocol)).unwrap();
        let addresses = all.addresses();
        assert!(addresses[0].ip().is_ipv4() && addresses[0].ip().is_unspecified());
        if has_ipv6() {
            assert!(addresses[1].is_ipv6());
            assert_eq!(addresses[0].port(), addresses[1].port());
        }
    }
    let error = reserve(&port("192.0.2.77", Some((8080, 8080)), Protocol::Tcp)).unwrap_err();
    assert!(error.hint().unwrap().contains("is not an address of this host"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_half_closes_and_resets_are_passed_on() {
    let Some((hall, sockets)) = hall() else { return };
    let (listener, target) = listen_inside(&hall);
    let (published, address) = publish(&sockets, Some(target));

    // Much more than any buffer, then a half-close; the answer comes after it.
    let (mut client, mut server) = pair(&listener, address).await;
    let sent: Vec<u8> = (0..8_000_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 3])
        .collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let mut received = Vec::new();
    timeout(SOON, server.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert!(received == expected, "all bytes, in order");
    server.write_all(b"got it").await.unwrap();
    drop(server);
    assert_eq!(timeout(SOON, writer).await.unwrap().unwrap(), b"got it");

    // A reset by either end reaches the other as a reset.
    let (client, mut server) = pair(&listener, address).await;
    client.set_zero_linger().unwrap();
    drop(client);
    let error = timeout(SOON, server.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let (mut client, server) = pair(&listener, address).await;
    server.set_zero_linger().unwrap();
    drop(server);
    let error = timeout(SOON, client.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    // Nobody listens inside: the client is refused, not left hanging.
    drop(listener);
    let refused = async {
        // The reset may come before the connection is even seen to be made.
        TcpStream::connect(address).await?.read_u8().await
    };
    let error = timeout(SOON, refused).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    published.close().await;
    assert!(
        TcpStream::connect(address).await.is_err(),
        "closed ports are closed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_wait_for_a_container_that_is_made_anew() {
    let Some((hall, sockets)) = hall() else { return };
    let (published, address) = publish(&sockets, None);
    let mut early = TcpStream::connect(address).await.unwrap();
    early.write_all(b"?").await.unwrap();
    let (listener, target) = listen_inside(&hall);
    published.retarget(Some(target));
    let (mut first, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'?');
    // The next container; the connection to the first goes on.
    let (next_listener, next_target) = listen_inside(&hall);
    published.retarget(Some(next_target));
    let (_late, _second) = pair(&next_listener, address).await;
    first.write_all(b"!").await.unwrap();
    assert_eq!(timeout(SOON, early.read_u8()).await.unwrap().unwrap(), b'!');
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_find_their_way_back_to_each_client() {
    let Some((hall, sockets)) = hall() else { return };
    let inside = hall
        .run(|| std::net::UdpSocket::bind("127.0.0.1:0").unwrap())
        .unwrap();
    inside.set_nonblocking(true).unwrap();
    let target = inside.local_addr().unwrap();
    let inside = UdpSocket::from_std(inside).unwrap();
    let published = reserve(&port("127.0.0.1", None, Protocol::Udp))
        .unwrap()
        .serve(sockets)
        .unwrap();
    published.retarget(Some(target));
    let address = published.addresses()[0];
    let echo = tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = inside.recv_from(&mut buffer).await {
            let _ = inside.send_to(&buffer[..length], from).await;
        }
    });
    let mut clients = Vec::new();
    for number in 0..20_u8 {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client
            .send_to(&vec![number; 1 + usize::from(number) * 50], address)
            .await
            .unwrap();
        clients.push(client);
    }
    for (number, client) in clients.iter().enumerate() {
        let mut buffer = vec![0; 65_535];
        let (length, from) = timeout(SOON, client.recv_from(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((length, from), (1 + number * 50, address));
        assert!(buffer[..length].iter().all(|b| usize::from(*b) == number));
    }
    echo.abort();
}

/// `cargo test --release --lib -- --ignored --nocapture ten_thousand`; fewer where the limit of open files is low, since
/// client, relay and server are one process here and a connection has four ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; run it by name"]
async fn ten_thousand_connections_at_once() {
    let Some((hall, sockets)) = hall() else { return };
    let (listener, target) = listen_inside(&hall);
    let (_published, address) = publish(&sockets, Some(target));
    let server = tokio::spawn(async move {
        let mut echoes = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            echoes.spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let begin = std::time::Instant::now();
    let mut clients = Vec::new();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files")?.split_whitespace().next())
        .unwrap();
    let count = 10_000.min(files.parse::<u32>().unwrap_or(u32::MAX).saturating_sub(200) / 4);
    for number in 0..count {
        // Several source addresses, so that ports do not run out.
        let source = SocketAddr::from(([127, 0, 0, u8::try_from(1 + number % 4).unwrap()], 0));
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(source).unwrap();
        clients.push(timeout(SOON, socket.connect(address)).await.unwrap().unwrap());
    }
    println!("{count} connections made in {:?}", begin.elapsed());
    let begin = std::time::Instant::now();
    for (client, number) in clients.iter_mut().zip(0_u32..) {
        client.write_u32(number).await.unwrap();
    }
    for (client, number) in clients.iter_mut().zip(0_u32..) {
        assert_eq!(timeout(SOON, client.read_u32()).await.unwrap().unwrap(), number);
    }
    println!("{count} round trips in {:?}", begin.elapsed());
    server.abort();
}
