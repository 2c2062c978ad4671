//! Dockerfiles without `RUN`: the trees and configurations they give, and the errors they give instead.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use banyan_runtime::{
    build::{BuildError, BuildRequest, build, inputs_digest, stack::Stack},
    container::Launcher,
    image::{Digest, Event, Image, Progress, Silent, Store},
    registry::Credentials,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

struct Bench {
    temp: tempfile::TempDir,
    store: Store,
    launcher: Launcher,
    credentials: Credentials,
}

impl Bench {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("images")).unwrap();
        let context = temp.path().join("context");
        for (name, content) in [
            ("a.txt", "a"),
            ("b.txt", "b"),
            ("dir/c.txt", "c"),
            ("dir/sub/d.md", "d"),
            ("with space/e", "e"),
            ("ignored.log", "log"),
            (".dockerignore", "*.log\n**/secret\n!keep.log\n"),
            ("keep.log", "kept"),
            ("dir/secret", "secret"),
        ] {
            let path = context.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        std::os::unix::fs::symlink("a.txt", context.join("link")).unwrap();
        // No test here starts a container, so the program behind the launcher is never asked for anything.
        let launcher = Launcher::new(Path::new("/proc/self/exe")).unwrap();
        Self {
            temp,
            store,
            launcher,
            credentials: Credentials::none(),
        }
    }

    fn context(&self) -> PathBuf {
        self.temp.path().join("context")
    }

    fn request(&self, dockerfile: &str) -> BuildRequest<'_> {
        let mut request = BuildRequest::new(self.context(), &self.launcher, &self.credentials);
        request.inline = Some(dockerfile.to_owned());
        request.args.insert("GIVEN".into(), "given".into());
        request
    }

    fn build(&self, dockerfile: &str) -> Result<Image, BuildError> {
        build(&self.request(dockerfile), &self.store, &Silent)
    }
}

/// Files of an image as `path=content`, folders as `path/`, links as `path->target`.
fn tree(image: &Image) -> String {
    fn walk(stack: &Stack, node: &banyan_runtime::build::stack::Node, out: &mut Vec<String>) {
        for (_, child) in stack.list(node) {
            let metadata = child.metadata.clone().unwrap();
            let path = child.relative();
            if metadata.is_dir() {
                let before = out.len();
                walk(stack, &child, out);
                if out.len() == before {
                    out.push(format!("{path}/"));
                }
            } else if metadata.is_symlink() {
                out.push(format!(
                    "{path}->{}",
                    fs::read_link(child.place()).unwrap().display()
                ));
            } else {
                out.push(format!(
                    "{path}={}",
                    fs::read_to_string(child.place()).unwrap().trim_end()
                ));
            }
        }
    }
    let stack = Stack {
        layers: image.layers.clone(),
    };
    let mut out = Vec::new();
    walk(&stack, &stack.root(), &mut out);
    out.join(" ")
}

#[test]
fn copies_land_where_docker_puts_them() {
    let bench = Bench::new();
    for (dockerfile, expected) in [
        ("COPY a.txt /", "a.txt=a"),
        ("COPY a.txt /x", "x=a"),
        ("COPY a.txt /x/", "x/a.txt=a"),
        ("COPY a.txt b.txt /x/", "x/a.txt=a x/b.txt=b"),
        ("COPY *.txt /x/", "x/a.txt=a x/b.txt=b"),
        ("COPY ?.txt ./", "a.txt=a b.txt=b"),
        ("COPY dir /x", "x/c.txt=c x/sub/d.md=d"),
        ("COPY dir/ /x/", "x/c.txt=c x/sub/d.md=d"),
        ("COPY dir/sub /", "d.md=d"),
        ("COPY [\"with space/e\", \"/x y\"]", "x y=e"),
        ("COPY link /x", "x=a"),
        ("COPY *.log /", "keep.log=kept"),
        ("COPY **/*.md /x/", "x/d.md=d"),
        ("COPY --parents dir/sub/d.md /x/", "x/dir/sub/d.md=d"),
        ("COPY --parents dir/./sub/d.md /x/", "x/sub/d.md=d"),
        ("COPY --parents dir/sub /x/", "x/dir/sub/d.md=d"),
        ("COPY --exclude=**/*.md dir /x", "x/c.txt=c x/sub/"),
        ("WORKDIR /w\nCOPY a.txt .", "w/a.txt=a"),
        ("WORKDIR /w\nWORKDIR v\nCOPY a.txt ./n", "w/v/n=a"),
        ("WORKDIR /only", "only/"),
        ("COPY <<EOF /x\nhello $GIVEN ${NONE:-none}\nEOF", "x=hello  none"),
        ("ARG GIVEN\nCOPY <<EOF /x\nhello $GIVEN\nEOF", "x=hello given"),
        ("ARG GIVEN\nCOPY <<'EOF' /x\nhello $GIVEN\nEOF", "x=hello $GIVEN"),
        ("COPY <<a <<b /d/\n1\na\n2\nb", "d/a=1 d/b=2"),
        ("ARG F=a\nCOPY ${F}.txt /$F", "a=a"),
        ("ENV F=b\nCOPY $F.txt /x", "x=b"),
        ("COPY a.txt /x\nCOPY b.txt /x", "x=b"),
        ("COPY dir /x\nCOPY a.txt /x/c.txt", "x/c.txt=a x/sub/d.md=d"),
        ("COPY a.txt /deep/er/still/x", "deep/er/still/x=a"),
        ("COPY --link a.txt /x", "x=a"),
    ] {
        let image = bench.build(&format!("FROM scratch\n{dockerfile}\n"));
        let image = image.unwrap_or_else(|error| panic!("{dockerfile:?}: {error:?}"));
        assert_eq!(tree(&image), expected, "{dockerfile:?}");
    }
}

#[test]
fn stages_and_contexts_are_sources_too() {
    let bench = Bench::new();
    let dockerfile = "FROM scratch AS one\nCOPY dir /d\nCOPY --chown=7:8 --chmod=640 a.txt /owned\n\
        FROM scratch AS unused\nCOPY missing /\n\
        FROM scratch\nCOPY --from=one /d/sub /s\nCOPY --from=0 /owned /o\nCOPY --from=other x /x\n";
    let other = bench.temp.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("x"), "named").unwrap();
    let mut request = bench.request(dockerfile);
    request
        .contexts
        .insert("other".into(), other.display().to_string());
    let image = build(&request, &bench.store, &Silent).unwrap();
    assert_eq!(tree(&image), "o=a s/d.md=d x=named");
    let owned = Stack {
        layers: image.layers.clone(),
    }
    .find("/o", false)
    .unwrap()
    .metadata
    .unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((owned.uid(), owned.gid(), owned.mode() & 0o7777), (7, 8, 0o640));
    request.target = Some("one".into());
    assert_eq!(
        tree(&build(&request, &bench.store, &Silent).unwrap()),
        "d/c.txt=c d/sub/d.md=d owned=a"
    );
    request.target = Some("unused".into());
    assert!(build(&request, &bench.store, &Silent).is_err());
    request.target = Some("none".into());
    assert!(matches!(
        build(&request, &bench.store, &Silent),
        Err(BuildError::NoSuchStage { .. })
    ));
}

#[test]
fn configurations_follow_the_instructions() {
    let bench = Bench::new();
    let image = bench
        .build(
            "ARG TOP=top\nFROM scratch\nARG TOP\nARG GIVEN=default\nARG OTHER=other\n\
             ENV A=1 B=\"$A two\" C=$TOP-$GIVEN-$OTHER\nENV D=${A}x\nLABEL l.$A=\"v w\"\nEXPOSE 80 53/udp\nUSER u:g\n\
             VOLUME /data\nSTOPSIGNAL SIGINT\nSHELL [\"/bin/bash\", \"-c\"]\nCMD echo hi\nENTRYPOINT [\"/e\"]\nCMD run\n\
             HEALTHCHECK --interval=5s --retries=3 CMD true\nONBUILD COPY a.txt /trigger\nMAINTAINER me\n",
        )
        .unwrap();
    let config = &image.config;
    assert_eq!(config.env, ["A=1", "B= two", "C=top-given-other", "D=1x"]);
    assert_eq!(config.labels["l.1"], "v w");
    assert_eq!(
        config.exposed_ports.keys().collect::<Vec<_>>(),
        ["53/udp", "80/tcp"]
    );
    assert_eq!(
        (config.user.as_str(), config.stop_signal.as_deref()),
        ("u:g", Some("SIGINT"))
    );
    assert_eq!(config.entrypoint.as_deref().unwrap(), ["/e"]);
    assert_eq!(config.cmd.as_deref().unwrap(), ["/bin/bash", "-c", "run"]);
    assert_eq!(config.healthcheck.as_ref().unwrap().test, ["CMD-SHELL", "true"]);
    assert_eq!(image.document.author.as_deref(), Some("me"));
    // What ONBUILD says happens in the next build, once.
    bench.store.tag(image.id, &"base:1".parse().unwrap()).unwrap();
    let next = bench.build("FROM base:1\nCMD [\"x\"]\n").unwrap();
    assert_eq!(tree(&next), "trigger=a");
    assert!(next.config.on_build.is_empty());
    assert_eq!(next.config.env, config.env);
}

#[test]
fn failures_name_line_and_reason() {
    let bench = Bench::new();
    for (dockerfile, expected) in [
        (
            "FROM scratch\nCOPY nothing /",
            "Dockerfile:2: `COPY nothing /` failed: `nothing` is not in the build context",
        ),
        ("FROM scratch\n\nCOPY *.nothing /", "Dockerfile:3"),
        (
            "FROM scratch\nCOPY ignored.log /",
            "is not in the build context or is left out",
        ),
        (
            "FROM scratch\nCOPY dir/secret /",
            "is not in the build context or is left out",
        ),
        (
            "FROM scratch\nCOPY a.txt /a\nCOPY b.txt /a/b",
            "`/a` is not a directory",
        ),
        (
            "FROM scratch\nCOPY --chown=nobody a.txt /",
            "the image has no user `nobody`",
        ),
        (
            "FROM scratch\nCOPY --chown=99999999999 a.txt /",
            "the image has no user",
        ),
        (
            "FROM scratch\nCOPY --chmod=xyz a.txt /",
            "`--chmod=xyz` is no mode",
        ),
        ("FROM scratch\nENV A=${", "Dockerfile:2"),
        ("FROM scratch\nCOPY ${A:?missing} /", "`A`: missing"),
        ("FROM scratch\nEXPOSE 99999", "`99999` is not a port"),
        (
            "FROM scratch\nCOPY ../outside /",
            "`../outside` is not in the build context",
        ),
        ("FROM $NONE", "the image's name is empty"),
        ("FROM Upper/Case!", "is not an image name"),
        ("RUN x", "the first instruction must be `FROM`"),
        ("ARG A", "the Dockerfile has no `FROM`"),
        (
            "FROM scratch AS a\nFROM scratch AS a",
            "there are two stages named `a`",
        ),
        (
            "FROM scratch\nADD git@example.invalid:x.git /",
            "was given no agent",
        ),
        ("FROM scratch\nADD file:///srv/x.git /", "is on this machine"),
    ] {
        let error = bench.build(dockerfile).unwrap_err();
        let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let text = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        assert!(text.contains(expected), "{dockerfile:?} gives {text:?}");
    }
    let ingest = fs::read_dir(bench.store.dir().join("ingest")).unwrap().count();
    assert_eq!(ingest, 0, "failed builds leave nothing");
}

/// Counts steps that were done and steps from the cache.
#[derive(Default)]
struct Count {
    cached: AtomicUsize,
    done: AtomicUsize,
}

impl Progress for Count {
    fn event(&self, event: Event<'_>) {
        if let Event::StepDone { cached, .. } = event {
            let counter = if cached { &self.cached } else { &self.done };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn steps_are_cached_by_content_and_not_by_time() {
    let bench = Bench::new();
    let dockerfile = "FROM scratch\nCOPY a.txt /\nCOPY b.txt /\n";
    let run = || {
        let count = Count::default();
        let image = build(&bench.request(dockerfile), &bench.store, &count).unwrap();
        (image.id, count.done.into_inner())
    };
    let inputs = || inputs_digest(&bench.request(dockerfile), &bench.store).unwrap();
    let (first, done) = run();
    let before: Digest = inputs();
    assert_eq!(done, 2);
    assert_eq!(run(), (first, 0));
    let file = fs::File::options()
        .write(true)
        .open(bench.context().join("a.txt"))
        .unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(
        (run(), inputs()),
        ((first, 0), before),
        "a new time is no new content"
    );
    fs::write(bench.context().join("dir/c.txt"), "unused").unwrap();
    assert_eq!(
        inputs(),
        before,
        "a file that no instruction names does not count"
    );
    fs::write(bench.context().join("b.txt"), "changed").unwrap();
    let (second, done) = run();
    assert_eq!(done, 1, "the step before the change stays cached");
    assert!(second != first && inputs() != before);
}
