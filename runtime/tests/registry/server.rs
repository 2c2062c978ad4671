//! A registry server on loopback, with one user, TLS or tokens, and a store with an image to push.

use banyan_runtime::image::{Digest, ImageConfig, Platform, Reference, Store};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A running registry; ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts a registry, with one user where a password file is given. `None`: it is not installed.
pub(crate) fn registry(folder: &Path, passwords: Option<&Path>) -> Option<Server> {
    let auth = passwords
        .map(|path| format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display()))
        .unwrap_or_default();
    start(folder, &auth, "")
}

/// Starts a registry with a section of its configuration and more settings of `http`.
pub(crate) fn start(folder: &Path, section: &str, http: &str) -> Option<Server> {
    let port = free_port();
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: '127.0.0.1:{port}'{http}}}\n{section}",
        folder.join("data").display()
    );
    fs::write(folder.join("config.yml"), config).unwrap();
    let child = Command::new("docker-registry")
        .arg("serve")
        .arg(folder.join("config.yml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = child else {
        skip("docker-registry is not installed");
        return None;
    };
    let server = Server { child, port };
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "the registry does not start");
        std::thread::yield_now();
    }
    Some(server)
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Says why a test does not run here, and whether it may be skipped.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("BANYAN_TESTS_MUST_RUN").is_none(),
        "this test must run, but: {reason}"
    );
    eprintln!("skipped: {reason}");
}

/// A store with one image of some size, under the given name.
pub(crate) fn store_with_image(folder: &Path, name: &Reference) -> (Store, Digest) {
    let store = Store::open(folder).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    let mut random = 1_u64;
    let content: Vec<u8> = (0..400_000)
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random.to_le_bytes()[7]
        })
        .collect();
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "data", content.as_slice())
        .unwrap();
    let archive = builder.into_inner().unwrap();
    let id = store
        .import(archive.as_slice(), ImageConfig::default(), "", &Platform::host())
        .unwrap();
    store.tag(id, name).unwrap();
    (store, id)
}
