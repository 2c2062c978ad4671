//! Registries that say nothing, stop, drip, or ask for patience: every wait is bounded, what came is not asked for again,
//! and what is told names the registry and how far it was.

use super::server::store_with_image;
use banyan_runtime::{
    fetch::Patience,
    image::{Digest, Image, Platform, Reference, Silent, Store},
    registry::{Credentials, RegistryError, pull::pull_with},
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What the server does with requests for the layer; everything else is answered at once.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Manner {
    /// Accepts connections and says nothing, to any request.
    Mute,
    /// Sends half of a layer and then nothing, with the connection open; goes on when it is asked for the rest.
    Pauses,
    /// The same, and says nothing to whoever asks for the rest.
    Dies,
    /// Sends the layer a byte at a time.
    Drips,
    /// Sends manifests a byte at a time.
    DripsManifests,
    /// Answers this status so many times, with the header, before the true answer.
    Busy(&'static str, usize, &'static str),
}

/// The image that the server has.
struct Exhibit {
    config: Vec<u8>,
    layer: Vec<u8>,
    manifest: Vec<u8>,
}

impl Exhibit {
    /// Of an image made of `store`'s only layer, as an uncompressed blob.
    fn new(store: &Store, id: Digest) -> Self {
        let mut saved = Vec::new();
        store
            .save(
                &[(id, Vec::new())],
                banyan_runtime::image::save::Form::Oci,
                &mut saved,
            )
            .unwrap();
        let diff_id = store.record(id).unwrap().layers[0].diff_id;
        let mut layer = Vec::new();
        for entry in tar::Archive::new(saved.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap().ends_with(diff_id.hex()) {
                entry.read_to_end(&mut layer).unwrap();
            }
        }
        let config = store.read_blob(id, 1 << 20).unwrap();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": id.to_string(), "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": diff_id.to_string(), "size": layer.len()}],
        });
        let manifest = manifest.to_string().into_bytes();
        Self {
            config,
            layer,
            manifest,
        }
    }
}

struct Server {
    port: u16,
    /// Requests for the layer.
    asked: Arc<AtomicUsize>,
}

/// Every connection has a thread of its own; they end with the test's process.
fn serve(exhibit: Arc<Exhibit>, manner: Manner) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let (counter, refused) = (Arc::clone(&asked), Arc::new(AtomicUsize::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (exhibit, counter, refused) =
                (Arc::clone(&exhibit), Arc::clone(&counter), Arc::clone(&refused));
            thread::spawn(move || answer(&stream, &exhibit, manner, &counter, &refused).ok());
        }
    });
    Server { port, asked }
}

fn answer(
    mut stream: &TcpStream,
    exhibit: &Exhibit,
    manner: Manner,
    asked: &AtomicUsize,
    refused: &AtomicUsize,
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
    if manner == Manner::Mute {
        return silence(stream);
    }
    if let Manner::Busy(status, times, header) = manner
        && refused.fetch_add(1, Ordering::Relaxed) < times
    {
        return write!(
            stream,
            "HTTP/1.1 {status}\r\n{header}content-length: 9\r\nconnection: close\r\n\r\nnot today"
        );
    }
    let path = request.split(' ').nth(1).unwrap_or("").to_owned();
    let is_layer = path.ends_with(&Digest::of(&exhibit.layer).to_string());
    let (bytes, kind) = if path.contains("/manifests/") {
        (&exhibit.manifest, "application/vnd.oci.image.manifest.v1+json")
    } else if is_layer {
        (&exhibit.layer, "application/octet-stream")
    } else {
        (&exhibit.config, "application/octet-stream")
    };
    let earlier = if is_layer {
        asked.fetch_add(1, Ordering::Relaxed)
    } else {
        0
    };
    if manner == Manner::Dies && earlier > 0 {
        return silence(stream);
    }
    let rest = &bytes[from..];
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        rest.len()
    )?;
    let drips = match manner {
        Manner::Drips => is_layer,
        Manner::DripsManifests => path.contains("/manifests/"),
        _ => false,
    };
    if drips {
        for byte in rest {
            stream.write_all(&[*byte])?;
            thread::sleep(Duration::from_millis(50));
        }
        return Ok(());
    }
    if is_layer && earlier == 0 && matches!(manner, Manner::Pauses | Manner::Dies) {
        stream.write_all(&rest[..rest.len() / 2])?;
        return silence(stream);
    }
    stream.write_all(rest)
}

/// Keeps a connection open until the other side gives up.
fn silence(mut stream: &TcpStream) -> std::io::Result<()> {
    while stream.read(&mut [0; 512])? > 0 {}
    Ok(())
}

/// Seconds instead of half minutes, so that the test is over soon.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(2),
    answer: Duration::from_millis(700),
    stall: Duration::from_millis(700),
    least: 1000,
};

struct Case {
    temp: tempfile::TempDir,
    exhibit: Arc<Exhibit>,
}

impl Case {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let name: Reference = "example/app:1".parse().unwrap();
        let (store, id) = store_with_image(&temp.path().join("exhibit"), &name);
        let exhibit = Arc::new(Exhibit::new(&store, id));
        Self { temp, exhibit }
    }

    /// Pulls from a server of that manner: the answer with its whole chain of causes, the time, requests for the layer.
    fn pull(&self, manner: Manner) -> (Result<Image, String>, Duration, usize) {
        let server = serve(Arc::clone(&self.exhibit), manner);
        let folder = self.temp.path().join(format!("store-{}", server.port));
        let store = Store::open(&folder).unwrap();
        let name: Reference = format!("127.0.0.1:{}/app:1", server.port).parse().unwrap();
        let start = Instant::now();
        let pulled = pull_with(
            &store,
            &name,
            &Platform::host(),
            &Credentials::none(),
            Some(PATIENCE),
            &Silent,
        );
        let took = start.elapsed();
        let result = pulled.map_err(|error: RegistryError| {
            let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        });
        let visible = fs::read_dir(folder.join("layers")).unwrap().count();
        assert_eq!(
            visible,
            usize::from(result.is_ok()),
            "{manner:?}: nothing partial is visible"
        );
        let left = fs::read_dir(folder.join("ingest")).unwrap().flatten();
        let left = left
            .filter(|entry| entry.path().extension().is_none_or(|end| end != "lock"))
            .count();
        assert_eq!(left, 0, "{manner:?}: nothing is left of it");
        (result, took, server.asked.load(Ordering::Relaxed))
    }
}

#[test]
fn a_registry_that_says_nothing_is_given_up_soon() {
    let case = Case::new();
    let (result, took, _) = case.pull(Manner::Mute);
    let said = result.unwrap_err();
    assert!(
        said.contains("does not answer") && said.contains("127.0.0.1:"),
        "{said}"
    );
    assert!(
        took >= PATIENCE.answer * 2,
        "it was given a second chance: {took:?}"
    );
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_download_that_stops_is_resumed_or_given_up() {
    let case = Case::new();
    let (result, took, asked) = case.pull(Manner::Pauses);
    let image = result.unwrap();
    assert_eq!(fs::metadata(image.layers[0].join("data")).unwrap().len(), 400_000);
    assert_eq!(asked, 2, "the second request is for the rest");
    assert!(took < Duration::from_secs(10), "{took:?}");

    let (result, took, _) = case.pull(Manner::Dies);
    let said = result.unwrap_err();
    let half = case.exhibit.layer.len() / 2;
    let expected = format!("gave {half} of {} bytes", case.exhibit.layer.len());
    assert!(said.contains(&expected) && said.contains("127.0.0.1:"), "{said}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_registry_that_drips_does_not_hold_us_for_ever() {
    let case = Case::new();
    let (result, took, asked) = case.pull(Manner::Drips);
    let said = result.unwrap_err();
    assert!(
        said.contains(" bytes came in ") && said.contains("in 3 tries"),
        "{said}"
    );
    assert_eq!(asked, 3);
    assert!(took < Duration::from_secs(15), "{took:?}");
    let (result, took, _) = case.pull(Manner::DripsManifests);
    let said = result.unwrap_err();
    assert!(said.contains("in the middle of `1`"), "{said}");
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn busy_registries_are_asked_again_when_they_say() {
    let case = Case::new();
    for (manner, least) in [
        (
            Manner::Busy("429 Too Many Requests", 1, "retry-after: 2\r\n"),
            2000,
        ),
        (Manner::Busy("429 Too Many Requests", 2, ""), 900),
        (Manner::Busy("503 Service Unavailable", 3, ""), 2100),
        (Manner::Busy("500 Internal Server Error", 1, ""), 300),
        (
            Manner::Busy(
                "502 Bad Gateway",
                1,
                "retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n",
            ),
            300,
        ),
    ] {
        let (result, took, asked) = case.pull(manner);
        assert!(result.is_ok(), "{manner:?}: {result:?}");
        assert_eq!(asked, 1, "{manner:?}");
        let expected = Duration::from_millis(least);
        assert!(took >= expected, "{manner:?}: after {took:?}, which is too soon");
        assert!(took < expected + Duration::from_secs(8), "{manner:?}: {took:?}");
    }
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let manner = Manner::Busy(status, usize::MAX, "retry-after: 0\r\n");
        let said = case.pull(manner).0.unwrap_err();
        assert!(
            said.contains(&format!("HTTP {}", &status[..3])) && said.contains("not today"),
            "{said}"
        );
    }
    // What will not change is not asked for again.
    let (result, took, _) = case.pull(Manner::Busy("404 Not Found", usize::MAX, ""));
    assert!(result.unwrap_err().contains("has no `app/manifests/1`"));
    assert!(took < Duration::from_secs(2), "{took:?}");
}
