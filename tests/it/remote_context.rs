//! Builds whose context is a git repository, an archive or a Dockerfile at a URL.

use crate::support::{Ran, Root, can_run_containers, skip};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

/// A repository that others fetch from.
#[derive(Debug)]
struct Repository {
    work: PathBuf,
    bare: PathBuf,
}

impl Repository {
    /// With a first commit; `None` with a reason where there is no git.
    fn new(folder: &Path) -> Option<Self> {
        if Command::new("git").arg("--version").output().is_err() {
            skip("git is not installed");
            return None;
        }
        let made = Self {
            work: folder.join("work"),
            bare: folder.join("app.git"),
        };
        fs::create_dir_all(&made.work).unwrap();
        made.git(&["init", "-q", "-b", "main"]);
        made.commit(
            "app/Dockerfile",
            "FROM busybox\nCOPY . /app\nCMD [\"cat\", \"/app/said\"]\n",
        );
        made.commit("app/said", "first\n");
        made.commit("Dockerfile", "FROM busybox\nCMD [\"echo\", \"the whole\"]\n");
        made.git(&["tag", "-m", "a release", "v1"]);
        let bare = made.bare.display().to_string();
        made.git(&["clone", "-q", "--bare", ".", &bare]);
        made.publish();
        Some(made)
    }

    fn git(&self, words: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=x", "-c", "user.email=x@example.com"])
            .args(words);
        let output = git.current_dir(&self.work).output().unwrap();
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn commit(&self, path: &str, text: &str) {
        let file = self.work.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", path]);
    }

    /// Brings everything to those who fetch, also over plain files.
    fn publish(&self) {
        let bare = self.bare.display().to_string();
        self.git(&["push", "-q", "--all", &bare]);
        self.git(&["--git-dir", &bare, "update-server-info"]);
    }

    fn url(&self) -> String {
        format!("file://{}", self.bare.display())
    }
}

fn build(root: &Root, context: &str, tag: &str) -> Ran {
    let words = ["image", "build", "-t", tag, context];
    Ran::new(&words, root.banyan().args(words).output().unwrap())
}

/// What a container of the image says.
#[track_caller]
fn says(root: &Root, image: &str) -> String {
    let words = ["container", "run", "--rm", image];
    let ran = Ran::new(&words, root.banyan().args(words).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.all());
    ran.stdout
}

#[test]
fn a_repository_is_built_at_a_branch_a_tag_or_a_commit_in_a_folder_of_it() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let Some(repository) = Repository::new(root.path()) else {
        return;
    };
    let first = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
    repository.git(&["switch", "-q", "-c", "feature/x"]);
    repository.commit("app/said", "of the branch\n");
    repository.publish();
    let url = repository.url();
    for (reference, expected) in [
        ("", "the whole\n"),
        ("#:app", "first\n"),
        ("#v1:app", "first\n"),
        ("#feature/x:app", "of the branch\n"),
        ("#refs/heads/feature/x:app/", "of the branch\n"),
        (&format!("#{first}:app"), "first\n"),
    ] {
        let ran = build(&root, &format!("{url}{reference}"), "app");
        assert_eq!(ran.code, 0, "{reference}: {}", ran.all());
        assert_eq!(says(&root, "app"), expected, "{reference}");
    }
    for (reference, expected) in [
        ("#nothing", "no branch, tag or commit `nothing`"),
        ("#v1:missing", "no folder `missing`"),
    ] {
        let ran = build(&root, &format!("{url}{reference}"), "app");
        assert!(ran.code == 1 && ran.stderr.contains(expected), "{}", ran.all());
    }
    // Nothing half fetched is left, and no history.
    let kept: Vec<PathBuf> = fs::read_dir(root.path().join("images/build/remote"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(
        kept.iter()
            .all(|folder| folder.join("app").is_dir() && !folder.join(".git").exists()),
        "{kept:?}"
    );
}

#[test]
fn up_builds_anew_when_the_branch_moves_and_goes_on_when_nobody_answers() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let Some(repository) = Repository::new(root.path()) else {
        return;
    };
    let file = format!(
        "services:\n  app: {{type: github, path: '{}#main:app', image: fetched}}\n",
        repository.url()
    );
    let project = root.project("app", &file);
    let up = || {
        let ran = project.run(&["up"]);
        assert_eq!(ran.code, 0, "{}", ran.all());
        ran.stdout
    };
    assert!(up().contains("first"));
    repository.commit("app/said", "second\n");
    assert!(up().contains("first"), "not pushed yet");
    repository.publish();
    assert!(up().contains("second"));
    let image = project.container("app")["Image"].clone();
    fs::rename(&repository.bare, root.path().join("away.git")).unwrap();
    assert!(up().contains("second"));
    assert_eq!(project.container("app")["Image"], image);
    let asked = project.run(&["build"]);
    assert!(
        asked.code == 1 && asked.stderr.contains("cannot fetch") && asked.stderr.contains("compose.yaml:2"),
        "{}",
        asked.all()
    );
}

#[test]
fn archives_and_dockerfiles_at_urls_are_contexts_fetched_once() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let folder = root.path().join("served");
    fs::create_dir_all(folder.join("in")).unwrap();
    fs::write(
        folder.join("in/Dockerfile"),
        "FROM busybox\nCOPY said /\nCMD [\"cat\", \"/said\"]\n",
    )
    .unwrap();
    fs::write(folder.join("in/said"), "packed\n").unwrap();
    fs::write(folder.join("recipe"), "FROM busybox\nCMD [\"echo\", \"alone\"]\n").unwrap();
    fs::write(folder.join("broken.tar.gz"), [0x1f, 0x8b, 8, 0, 1, 2, 3]).unwrap();
    let tar = Command::new("tar")
        .args(["-czf", "context.tar.gz", "-C", "in", "."])
        .current_dir(&folder)
        .status();
    assert!(tar.unwrap().success());
    let server = Server::new(folder);
    for expected in [vec![200], vec![200, 304]] {
        let ran = build(&root, &server.url("context.tar.gz"), "packed");
        assert_eq!(ran.code, 0, "{}", ran.all());
        assert_eq!(says(&root, "packed"), "packed\n");
        assert_eq!(server.answers(), expected);
    }
    let ran = build(&root, &server.url("recipe"), "alone");
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert_eq!(says(&root, "alone"), "alone\n");
    let ran = build(&root, &server.url("missing.tar"), "x");
    assert!(ran.code == 1 && ran.stderr.contains("HTTP 404"), "{}", ran.all());
    let ran = build(&root, &server.url("broken.tar.gz"), "x");
    assert!(
        ran.code == 1 && ran.stderr.contains("cannot unpack"),
        "{}",
        ran.all()
    );
}

#[test]
fn a_repository_is_fetched_from_a_server_of_plain_files() {
    if !can_run_containers() {
        return;
    }
    let root = Root::new();
    let Some(repository) = Repository::new(root.path()) else {
        return;
    };
    let server = Server::new(repository.bare.parent().unwrap().to_owned());
    let ran = build(&root, &format!("{}#v1:app", server.url("app.git")), "app");
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert_eq!(says(&root, "app"), "first\n");
}

#[test]
fn without_git_the_reason_is_told() {
    let root = Root::empty();
    let words = ["image", "build", "https://example.invalid/x.git"];
    let output = root
        .banyan()
        .args(words)
        .env("PATH", root.path())
        .output()
        .unwrap();
    let ran = Ran::new(&words, output);
    assert!(
        ran.code == 1 && ran.stderr.contains("there is no program `git`"),
        "{}",
        ran.all()
    );
    assert!(ran.stderr.contains("hint: install git"), "{}", ran.all());
}

/// A server of plain files on the loopback interface, with entity tags.
#[derive(Debug)]
struct Server {
    port: u16,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Server {
    fn new(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&answers);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let path = lines
                    .next()
                    .and_then(|line| Some(line.split(' ').nth(1)?.to_owned()))
                    .unwrap_or_default();
                let knows = lines
                    .take_while(|line| !line.is_empty())
                    .any(|line| line.to_lowercase().starts_with("if-none-match: \"one\""));
                let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
                let content = fs::read(folder.join(path));
                let (status, body) = match content {
                    Ok(_) if knows => (304, Vec::new()),
                    Ok(body) => (200, body),
                    Err(_) => (404, Vec::new()),
                };
                heard.lock().unwrap().push(status);
                let head = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nETag: \"one\"\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let mut stream = &stream;
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
                let _ = stream.read(&mut [0]);
            }
        });
        Self { port, answers }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    fn answers(&self) -> Vec<u16> {
        self.answers.lock().unwrap().clone()
    }
}
