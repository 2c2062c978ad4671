//! Pushing to and pulling from a real registry server: Debian's `docker-registry`, started here on loopback; and from
//! servers that lie or cut. `slow` has servers that stall, `secure` has TLS and tokens, `network` what travels over a connection that is watched and cut.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod network;
mod secure;
mod server;
mod slow;
mod tokens;

use banyan_runtime::{
    image::{Digest, Platform, Reference, Silent, Store},
    registry::{Client, Credentials, RegistryError, credentials::Login, pull::pull, push::push},
};
use server::{registry, skip, store_with_image};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

#[test]
fn what_was_pushed_is_pulled_with_equal_digests() {
    let temp = tempfile::tempdir().unwrap();
    let Some(server) = registry(temp.path(), None) else {
        return;
    };
    let name: Reference = format!("localhost:{}/some/app:1", server.port).parse().unwrap();
    let (store, id) = store_with_image(&temp.path().join("one"), &name);
    let digest = push(&store, &name, &Credentials::none(), &Silent).unwrap();
    assert_eq!(
        push(&store, &name, &Credentials::none(), &Silent).unwrap(),
        digest,
        "a second push changes nothing"
    );
    let other = Store::open(&temp.path().join("two")).unwrap();
    let image = pull(&other, &name, &Platform::host(), &Credentials::none(), &Silent).unwrap();
    assert_eq!(image.id, id);
    let record = other.record(id).unwrap();
    assert_eq!(record.manifest, Some(digest));
    assert_eq!(record.layers, store.record(id).unwrap().layers);
    assert_eq!(fs::metadata(image.layers[0].join("data")).unwrap().len(), 400_000);
    let pinned = name.with_digest(digest);
    assert_eq!(other.find(&pinned).unwrap().unwrap().id, id);
    assert_eq!(
        pull(&other, &pinned, &Platform::host(), &Credentials::none(), &Silent)
            .unwrap()
            .id,
        id
    );

    let missing = name.with_tag("2").unwrap();
    let error = pull(&other, &missing, &Platform::host(), &Credentials::none(), &Silent).unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");
    let strange = "linux/s390x".parse().unwrap();
    // A manifest without an index is for whoever asks; the image itself says what it is.
    assert!(pull(&other, &name, &strange, &Credentials::none(), &Silent).is_ok());
}

#[test]
fn passwords_open_what_is_closed() {
    let temp = tempfile::tempdir().unwrap();
    let made = Command::new("htpasswd").args(["-Bbn", "me", "secret"]).output();
    let Some(passwords) = made.ok().filter(|output| output.status.success()) else {
        skip("htpasswd is not installed");
        return;
    };
    let file = temp.path().join("htpasswd");
    fs::write(&file, &passwords.stdout).unwrap();
    let Some(server) = registry(temp.path(), Some(&file)) else {
        return;
    };
    let host = format!("localhost:{}", server.port);
    let name: Reference = format!("{host}/app:1").parse().unwrap();
    let (store, _) = store_with_image(&temp.path().join("one"), &name);
    let error = push(&store, &name, &Credentials::none(), &Silent).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
    let mut credentials = Credentials::load(&temp.path().join("docker/config.json")).unwrap();
    for (password, is_right) in [("wrong", false), ("secret", true)] {
        credentials
            .store(
                &host,
                &Login {
                    user: "me".into(),
                    password: password.into(),
                },
            )
            .unwrap();
        assert_eq!(
            Client::new(&host, "", &credentials).check_login().is_ok(),
            is_right,
            "{password}"
        );
    }
    push(&store, &name, &credentials, &Silent).unwrap();
    let other = Store::open(&temp.path().join("two")).unwrap();
    pull(&other, &name, &Platform::host(), &credentials, &Silent).unwrap();
}

/// How a server misbehaves.
#[derive(Clone, Copy, PartialEq)]
enum Vice {
    /// Sends blobs in pieces and cuts the connection after each.
    Cuts,
    /// Changes one byte of each blob.
    Lies,
    /// Answers 503 twice before every answer.
    Stumbles,
    /// Sends more than it announced in the manifest.
    Overflows,
}

/// Serves one image from a store with a vice; counts requests for blobs.
fn vicious(store: Store, id: Digest, vice: Vice, blobs: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let record = store.record(id).unwrap();
    let manifest = store.read_blob(record.manifest.unwrap(), 1 << 20).unwrap();
    // It ends with the test's process.
    std::thread::spawn(move || {
        let stumbles = AtomicUsize::new(0);
        for stream in listener.incoming().flatten() {
            let _ = answer(&stream, &store, &manifest, vice, &blobs, &stumbles);
        }
    });
    port
}

fn answer(
    mut stream: &TcpStream,
    store: &Store,
    manifest: &[u8],
    vice: Vice,
    blobs: &AtomicUsize,
    stumbles: &AtomicUsize,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let mut from = 0;
    for line in lines {
        let line = line?.to_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap_or(0);
        }
        if line.is_empty() {
            break;
        }
    }
    if vice == Vice::Stumbles && !(stumbles.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(3) {
        return stream.write_all(b"HTTP/1.1 503 busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let path = request.split(' ').nth(1).unwrap_or("");
    let Some(digest) = path.rsplit('/').next().filter(|_| path.contains("/blobs/")) else {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let length = manifest.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )?;
        return stream.write_all(manifest);
    };
    blobs.fetch_add(1, Ordering::Relaxed);
    let mut bytes = Vec::new();
    store
        .open_blob(digest.parse().unwrap())
        .unwrap()
        .read_to_end(&mut bytes)?;
    match vice {
        Vice::Lies => *bytes.last_mut().unwrap() ^= 1,
        Vice::Overflows => bytes.push(0),
        _ => {}
    }
    let rest = &bytes[from.min(bytes.len())..];
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        rest.len()
    )?;
    let sent = if vice == Vice::Cuts {
        rest.len().min(100_000)
    } else {
        rest.len()
    };
    stream.write_all(&rest[..sent])
}

#[test]
fn bad_servers_never_give_wrong_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let Some(server) = registry(temp.path(), None) else {
        return;
    };
    let name: Reference = format!("localhost:{}/app:1", server.port).parse().unwrap();
    let (store, id) = store_with_image(&temp.path().join("one"), &name);
    push(&store, &name, &Credentials::none(), &Silent).unwrap();
    for (number, (vice, succeeds)) in [
        (Vice::Cuts, true),
        (Vice::Stumbles, true),
        (Vice::Lies, false),
        (Vice::Overflows, false),
    ]
    .into_iter()
    .enumerate()
    {
        let blobs = Arc::new(AtomicUsize::new(0));
        let port = vicious(store.clone(), id, vice, Arc::clone(&blobs));
        let name: Reference = format!("127.0.0.1:{port}/app:1").parse().unwrap();
        let folder = temp.path().join(format!("victim{number}"));
        let victim = Store::open(&folder).unwrap();
        let result = pull(&victim, &name, &Platform::host(), &Credentials::none(), &Silent);
        assert_eq!(result.is_ok(), succeeds, "{number}: {result:?}");
        if vice == Vice::Cuts {
            assert!(blobs.load(Ordering::Relaxed) >= 5, "the layer came in pieces");
        }
        let layers = fs::read_dir(folder.join("layers")).unwrap().count();
        assert_eq!(layers, usize::from(succeeds), "nothing partial is visible");
    }
}

#[test]
fn two_pulls_of_one_layer_download_it_once() {
    let temp = tempfile::tempdir().unwrap();
    let Some(server) = registry(temp.path(), None) else {
        return;
    };
    let name: Reference = format!("localhost:{}/app:1", server.port).parse().unwrap();
    let (store, id) = store_with_image(&temp.path().join("one"), &name);
    push(&store, &name, &Credentials::none(), &Silent).unwrap();
    let blobs = Arc::new(AtomicUsize::new(0));
    // The configuration was fetched before, so every request that is counted is for the layer.
    let port = vicious(store.clone(), id, Vice::Cuts, Arc::clone(&blobs));
    let name: Reference = format!("127.0.0.1:{port}/app:1").parse().unwrap();
    let both = Store::open(&temp.path().join("both")).unwrap();
    both.put_blob(&store.read_blob(id, 1 << 20).unwrap()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| pull(&both, &name, &Platform::host(), &Credentials::none(), &Silent).unwrap());
        }
    });
    let size = store.record(id).unwrap().layers[0].blob.as_ref().unwrap().size;
    assert_eq!(
        blobs.load(Ordering::Relaxed) as u64,
        size.div_ceil(100_000),
        "each piece came once"
    );
}

#[test]
fn a_closed_port_is_known_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let name: Reference = format!("localhost:{port}/app:1").parse().unwrap();
    let start = Instant::now();
    let error = pull(&store, &name, &Platform::host(), &Credentials::none(), &Silent).unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
