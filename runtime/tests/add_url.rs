//! `ADD` of URLs: files, names, checksums, redirects, archives, and what is refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use banyan_runtime::{
    build::{BuildError, BuildRequest, build, stack::Stack},
    container::Launcher,
    image::{Digest, Image, Silent, Store},
    registry::Credentials,
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt,
    path::Path,
};

fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(5);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "inside/file", b"deep\n".as_slice())
        .unwrap();
    builder.into_inner().unwrap()
}

/// Serves until the test's process ends.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(&stream);
        }
    });
    port
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or("");
    let (status, extra, body) = match path.split('?').next().unwrap_or("") {
        "/plain.txt" => ("200 OK", String::new(), b"hello\n".to_vec()),
        "/a.tar" => ("200 OK", String::new(), archive()),
        "/large" => ("200 OK", String::new(), vec![9; 5 << 20]),
        "/moved" => {
            let host = format!("http://{}", stream.local_addr()?);
            ("302 Found", format!("location: {host}/plain.txt\r\n"), Vec::new())
        }
        "/loop" => {
            let host = format!("http://{}", stream.local_addr()?);
            ("302 Found", format!("location: {host}/loop\r\n"), Vec::new())
        }
        "/cut" => ("200 OK", String::new(), b"half".to_vec()),
        _ => ("404 Not Found", String::new(), Vec::new()),
    };
    let length = if path == "/cut" { 1000 } else { body.len() };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{extra}content-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

struct Bench {
    temp: tempfile::TempDir,
    store: Store,
    launcher: Launcher,
}

impl Bench {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("context")).unwrap();
        Self {
            store: Store::open(&temp.path().join("images")).unwrap(),
            launcher: Launcher::new(Path::new("/proc/self/exe")).unwrap(),
            temp,
        }
    }

    fn build(&self, lines: &str) -> Result<Image, BuildError> {
        let credentials = Credentials::none();
        let mut request = BuildRequest::new(self.temp.path().join("context"), &self.launcher, &credentials);
        request.inline = Some(format!("FROM scratch\n{lines}\n"));
        let built = build(&request, &self.store, &Silent);
        let left: Vec<_> = fs::read_dir(self.store.dir().join("ingest"))
            .unwrap()
            .flatten()
            .collect();
        assert!(left.is_empty(), "{lines}: {left:?}");
        built
    }
}

/// Content, mode and owner of a file in an image.
fn look(image: &Image, path: &str) -> Option<(Vec<u8>, u32, u32)> {
    let stack = Stack {
        layers: image.layers.clone(),
    };
    let node = stack.find(path, true)?;
    let metadata = node.metadata.clone()?;
    Some((
        fs::read(node.place()).ok()?,
        metadata.mode() & 0o777,
        metadata.uid(),
    ))
}

#[test]
fn urls_become_files_or_trees() {
    let bench = Bench::new();
    let url = format!("http://127.0.0.1:{}", serve());
    let (hello, sum) = (b"hello\n".as_slice(), Digest::of(b"hello\n"));
    for (line, path, content, mode) in [
        (format!("ADD {url}/plain.txt /"), "plain.txt", hello, 0o600),
        (format!("ADD {url}/plain.txt /a/b"), "a/b", hello, 0o600),
        (
            format!("ADD {url}/plain.txt?x=1 /a/"),
            "a/plain.txt",
            hello,
            0o600,
        ),
        (format!("ADD {url}/moved /there"), "there", hello, 0o600),
        (
            format!("ADD --chmod=644 {url}/plain.txt /"),
            "plain.txt",
            hello,
            0o644,
        ),
        (
            format!("ADD --checksum={sum} {url}/plain.txt /"),
            "plain.txt",
            hello,
            0o600,
        ),
        (
            format!("ADD {url}/plain.txt {url}/large /two/"),
            "two/plain.txt",
            hello,
            0o600,
        ),
        (
            format!("ADD --unpack {url}/a.tar /t/"),
            "t/inside/file",
            b"deep\n".as_slice(),
            0o644,
        ),
        (format!("ADD {url}/a.tar /t/"), "t/a.tar", &archive(), 0o600),
        (
            format!("ADD --unpack {url}/plain.txt /t/"),
            "t/plain.txt",
            hello,
            0o600,
        ),
    ] {
        let image = bench
            .build(&line)
            .unwrap_or_else(|error| panic!("{line}: {error:?}"));
        let (found, found_mode, uid) = look(&image, path).unwrap_or_else(|| panic!("{line}: no {path}"));
        assert!(found == content, "{line}");
        assert_eq!((found_mode, uid), (mode, 0), "{line}");
    }
    let image = bench.build(&format!("ADD {url}/large /")).unwrap();
    assert_eq!(look(&image, "large").unwrap().0.len(), 5 << 20);
}

#[test]
fn urls_that_give_nothing_good_fail_with_the_reason() {
    let bench = Bench::new();
    let url = format!("http://127.0.0.1:{}", serve());
    let other = Digest::of(b"other");
    for (line, expected) in [
        (format!("ADD {url}/none /"), "HTTP 404"),
        (format!("ADD {url}/loop /"), "too many redirects"),
        (format!("ADD {url}/cut /"), "cannot fetch"),
        (format!("ADD {url}/ /x/"), "no file name"),
        (
            format!("ADD --checksum={other} {url}/plain.txt /"),
            "its checksum is sha256:",
        ),
    ] {
        let error = bench.build(&line).unwrap_err();
        let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let said = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        assert!(
            said.contains("Dockerfile:2") && said.contains(expected),
            "{line}: {said}"
        );
    }
}
