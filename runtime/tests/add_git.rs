//! `ADD` of git repositories: which commit, which files, from the cache or anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use banyan_runtime::{
    build::{BuildError, BuildRequest, build, stack::Stack},
    container::Launcher,
    image::{Event, Image, Progress, Store},
    registry::Credentials,
};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// A repository that git's own server gives out; ends with the test.
struct Served {
    child: Child,
    url: String,
    commits: Vec<String>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn git(folder: &Path, words: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=x", "-c", "user.email=x@example.com"]);
    let output = git.args(words).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Two commits, a tag on the first, and a branch `other`. `None`: there is no git here.
fn served(folder: &Path) -> Option<Served> {
    let found = Command::new("git").arg("--exec-path").output();
    let Some(found) = found.ok().filter(|output| output.status.success()) else {
        assert!(
            std::env::var_os("BANYAN_TESTS_MUST_RUN").is_none(),
            "git is not installed"
        );
        eprintln!("skipped: git is not installed");
        return None;
    };
    let work = folder.join("served/app.git");
    fs::create_dir_all(work.join("docs")).unwrap();
    git(&work, &["init", "-q", "-b", "main"]);
    git(&work, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let mut commits = Vec::new();
    for text in ["first", "second"] {
        fs::write(work.join("said"), text).unwrap();
        fs::write(work.join("docs/page.md"), text).unwrap();
        fs::write(work.join("kept.log"), text).unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", text]);
        commits.push(git(&work, &["rev-parse", "HEAD"]));
        if text == "first" {
            git(&work, &["tag", "-m", "a release", "v1"]);
        }
    }
    git(&work, &["branch", "other"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    // Straight, not through `git`, so that the process ended here is the server.
    let program = Path::new(String::from_utf8_lossy(&found.stdout).trim()).join("git-daemon");
    let child = Command::new(program)
        .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--base-path={}", folder.join("served").display()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let served = Served {
        child,
        url: format!("git://127.0.0.1:{port}/app.git"),
        commits,
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "git's server does not start");
        std::thread::yield_now();
    }
    Some(served)
}

#[derive(Default)]
struct Done(AtomicUsize);

impl Progress for Done {
    fn event(&self, event: Event<'_>) {
        if let Event::StepDone { cached: false, .. } = event {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Bench {
    temp: tempfile::TempDir,
    store: Store,
    launcher: Launcher,
}

impl Bench {
    /// The image, and how many steps were not cached.
    fn build(&self, lines: &str) -> Result<(Image, usize), BuildError> {
        let credentials = Credentials::none();
        let mut request = BuildRequest::new(self.temp.path().join("context"), &self.launcher, &credentials);
        request.inline = Some(format!("FROM scratch\n{lines}\n"));
        let done = Done::default();
        let image = build(&request, &self.store, &done)?;
        Ok((image, done.0.into_inner()))
    }
}

/// A file's text in an image.
fn text(image: &Image, path: &str) -> Option<String> {
    let stack = Stack {
        layers: image.layers.clone(),
    };
    fs::read_to_string(stack.find(path, true)?.place()).ok()
}

#[test]
fn repositories_are_added_by_reference_and_cached_by_commit() {
    let temp = tempfile::tempdir().unwrap();
    let Some(served) = served(temp.path()) else {
        return;
    };
    fs::create_dir(temp.path().join("context")).unwrap();
    // It is about the context, not about what a repository has.
    fs::write(temp.path().join("context/.dockerignore"), "*.log\n").unwrap();
    let bench = Bench {
        store: Store::open(&temp.path().join("images")).unwrap(),
        launcher: Launcher::new(Path::new("/proc/self/exe")).unwrap(),
        temp,
    };
    let url = &served.url;
    let (first, second) = (&served.commits[0], &served.commits[1]);
    for (line, path, expected) in [
        (format!("ADD {url} /app"), "app/said", Some("second")),
        (
            format!("ADD {url}#main /app/"),
            "app/docs/page.md",
            Some("second"),
        ),
        (format!("ADD {url} /app"), "app/kept.log", Some("second")),
        (format!("ADD {url} /app"), "app/.git/HEAD", None),
        (format!("ADD {url}#v1 /app"), "app/said", Some("first")),
        (format!("ADD {url}#other /app"), "app/said", Some("second")),
        (format!("ADD {url}#{first} /app"), "app/said", Some("first")),
        (format!("ADD {url}#v1:docs /app"), "app/page.md", Some("first")),
        (format!("ADD {url}#:docs /app"), "app/said", None),
        (format!("ARG REF=v1\nADD {url}#$REF /"), "said", Some("first")),
        (
            format!("ADD --checksum={} {url}#v1 /", &first[..12]),
            "said",
            Some("first"),
        ),
        (format!("ADD --exclude=docs {url} /"), "docs/page.md", None),
        (format!("WORKDIR /w\nADD {url} ."), "w/said", Some("second")),
        (
            format!("ADD {url} {url}#v1:docs /both/"),
            "both/page.md",
            Some("first"),
        ),
    ] {
        let (image, _) = bench
            .build(&line)
            .unwrap_or_else(|error| panic!("{line}: {error:?}"));
        assert_eq!(text(&image, path).as_deref(), expected, "{line}: {path}");
    }
    let (image, _) = bench
        .build(&format!("ADD --keep-git-dir=true {url}#v1 /app"))
        .unwrap();
    assert!(text(&image, "app/.git/config").unwrap().contains(url.as_str()));
    assert!(text(&image, "app/.git/HEAD").unwrap().contains(first.as_str()));

    let line = format!("ADD {url}#main /again");
    assert_eq!(bench.build(&line).unwrap().1, 1);
    assert_eq!(
        bench.build(&line).unwrap().1,
        0,
        "the same commit is the same step"
    );
    let work = bench.temp.path().join("served/app.git");
    fs::write(work.join("said"), "third").unwrap();
    git(&work, &["commit", "-q", "-a", "-m", "third"]);
    let (image, done) = bench.build(&line).unwrap();
    assert_eq!((text(&image, "again/said").as_deref(), done), (Some("third"), 1));

    for (line, expected) in [
        (format!("ADD {url}#none /"), "no branch, tag or commit `none`"),
        (format!("ADD {url}#v1:none /"), "has no folder `none`"),
        (format!("ADD --checksum={second} {url}#v1 /"), "its commit is"),
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
