//! What travels between us and a real registry: a connection that is watched, and cut.

use super::server::{registry, store_with_image};
use banyan_runtime::{
    image::{Digest, Platform, Reference, Silent, Store},
    registry::{Credentials, pull::pull, push::push},
};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Passes connections on to a port of this machine, notes what is asked, and cuts what comes back.
pub(crate) struct Wire {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    /// Every connection ends after `most` bytes of answers. It ends with the test's process.
    pub(crate) fn new(to: u16, most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&asked);
        std::thread::spawn(move || {
            for inside in listener.incoming().flatten() {
                let Ok(outside) = TcpStream::connect(("127.0.0.1", to)) else {
                    return;
                };
                let (asking, answering) = (inside.try_clone().unwrap(), outside.try_clone().unwrap());
                let note = Arc::clone(&note);
                std::thread::spawn(move || {
                    pass(asking, outside, usize::MAX, |bytes| {
                        note.lock().unwrap().extend(bytes)
                    })
                });
                std::thread::spawn(move || pass(answering, inside, most, |_| ()));
            }
        });
        Self { port, asked }
    }

    /// How often something was asked for.
    pub(crate) fn count(&self, start: &str) -> usize {
        String::from_utf8_lossy(&self.asked.lock().unwrap())
            .matches(start)
            .count()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, most: usize, note: impl Fn(&[u8])) {
    let (mut buffer, mut left) = (vec![0; 16 << 10], most);
    while let Ok(count) = from.read(&mut buffer) {
        let count = count.min(left);
        note(&buffer[..count]);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
        left -= count;
    }
    // Both ends see it: a cut connection is cut in both directions.
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}

fn name(port: u16, path: &str) -> Reference {
    format!("localhost:{port}/{path}").parse().unwrap()
}

fn layer(store: &Store, id: Digest) -> Digest {
    store.record(id).unwrap().layers[0].blob.as_ref().unwrap().digest
}

#[test]
fn a_cut_download_goes_on_where_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let Some(server) = registry(temp.path(), None) else {
        return;
    };
    let (store, id) = store_with_image(&temp.path().join("one"), &name(server.port, "app:1"));
    push(&store, &name(server.port, "app:1"), &Credentials::none(), &Silent).unwrap();
    let wire = Wire::new(server.port, 150_000);
    let other = Store::open(&temp.path().join("two")).unwrap();
    let pulled = pull(
        &other,
        &name(wire.port, "app:1"),
        &Platform::host(),
        &Credentials::none(),
        &Silent,
    );
    assert_eq!(pulled.unwrap().id, id);
    let asked = wire.count(&format!("GET /v2/app/blobs/{}", layer(&store, id)));
    assert!(
        (3..=4).contains(&asked),
        "400 kB in pieces of 150 kB: asked {asked} times"
    );
    assert_eq!(
        wire.count("range: bytes=") + wire.count("Range: bytes="),
        asked - 1,
        "the rest only"
    );
    assert_eq!(
        std::fs::read(other.image(id).unwrap().layers[0].join("data")).unwrap(),
        std::fs::read(store.image(id).unwrap().layers[0].join("data")).unwrap()
    );
}

#[test]
fn processes_that_want_one_layer_download_it_once() {
    let temp = tempfile::tempdir().unwrap();
    let Some(server) = registry(temp.path(), None) else {
        return;
    };
    let (store, id) = store_with_image(&temp.path().join("one"), &name(server.port, "app:1"));
    for tag in ["app:1", "other:1"] {
        store.tag(id, &name(server.port, tag)).unwrap();
        push(&store, &name(server.port, tag), &Credentials::none(), &Silent).unwrap();
    }
    let wire = Wire::new(server.port, usize::MAX);
    let other = Store::open(&temp.path().join("two")).unwrap();
    std::thread::scope(|scope| {
        for tag in ["app:1", "other:1", "app:1"] {
            let (wire, other) = (&wire, &other);
            scope.spawn(move || {
                pull(
                    other,
                    &name(wire.port, tag),
                    &Platform::host(),
                    &Credentials::none(),
                    &Silent,
                )
                .unwrap();
            });
        }
    });
    let blob = layer(&store, id);
    let asked =
        wire.count(&format!("GET /v2/app/blobs/{blob}")) + wire.count(&format!("GET /v2/other/blobs/{blob}"));
    assert_eq!(asked, 1);
}

#[test]
fn what_the_registry_has_elsewhere_is_mounted_and_not_sent() {
    let temp = tempfile::tempdir().unwrap();
    let Some(server) = registry(temp.path(), None) else {
        return;
    };
    let wire = Wire::new(server.port, usize::MAX);
    let (store, id) = store_with_image(&temp.path().join("one"), &name(wire.port, "team/app:1"));
    push(
        &store,
        &name(wire.port, "team/app:1"),
        &Credentials::none(),
        &Silent,
    )
    .unwrap();
    assert_eq!(
        wire.count("PUT /v2/team/app/blobs/uploads/"),
        2,
        "layer and configuration"
    );
    let second = name(wire.port, "fork/app:1");
    store.tag(id, &second).unwrap();
    push(&store, &second, &Credentials::none(), &Silent).unwrap();
    assert_eq!(
        wire.count(&format!("mount={}&from=team/app", layer(&store, id))),
        1
    );
    assert_eq!(
        wire.count("PUT /v2/fork/app/blobs/uploads/"),
        1,
        "the configuration only"
    );
    let again = wire.count("POST ");
    push(&store, &second, &Credentials::none(), &Silent).unwrap();
    assert_eq!(wire.count("POST "), again, "a second push sends nothing");
    let other = Store::open(&temp.path().join("two")).unwrap();
    pull(&other, &second, &Platform::host(), &Credentials::none(), &Silent).unwrap();
}
