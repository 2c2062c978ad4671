//! Builds whose steps run: mounts, secrets, agents, networks, here-documents, shells, users, and what they leave.

use crate::support::{Ran, Root, can_run_containers};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
};

/// A root and a build context.
struct Bench {
    root: Root,
}

impl Bench {
    /// `None` (with the reason printed) where containers cannot be made.
    fn new() -> Option<Self> {
        if !can_run_containers() {
            return None;
        }
        let bench = Self { root: Root::new() };
        for (name, content) in [
            ("a.txt", "a\n"),
            ("dir/b.txt", "b\n"),
            ("dir/c.log", "c\n"),
            ("secret.key", "k\n"),
        ] {
            bench.write(name, content);
        }
        Some(bench)
    }

    fn context(&self) -> PathBuf {
        self.root.path().join("context")
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.context().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Builds `dockerfile` as `built`.
    fn build(&self, dockerfile: &str, flags: &[&str]) -> Ran {
        self.write("Dockerfile", dockerfile);
        let context = self.context();
        let words = [
            &["image", "build", "-t", "built"],
            flags,
            &[context.to_str().unwrap()],
        ]
        .concat();
        let output = self
            .root
            .banyan()
            .args(&words)
            .env("FROM_ENVIRONMENT", "e-secret")
            .output();
        Ran::new(&words, output.unwrap())
    }

    #[track_caller]
    fn builds(&self, dockerfile: &str, flags: &[&str]) -> Ran {
        let ran = self.build(dockerfile, flags);
        assert_eq!(ran.code, 0, "{dockerfile}\n{}", ran.all());
        ran
    }

    #[track_caller]
    fn fails(&self, dockerfile: &str, flags: &[&str], texts: &[&str]) {
        let ran = self.build(dockerfile, flags);
        assert_eq!(ran.code, 1, "{dockerfile}\n{}", ran.all());
        for text in texts {
            assert!(
                ran.stderr.contains(text),
                "`{text}` is missing\n{dockerfile}\n{}",
                ran.all()
            );
        }
    }

    /// What a script prints in a container of what was built.
    #[track_caller]
    fn says(&self, script: &str) -> String {
        let words = ["container", "run", "--rm", "built", "sh", "-c", script];
        let ran = Ran::new(&words, self.root.banyan().args(words).output().unwrap());
        assert_eq!(ran.code, 0, "{script}\n{}", ran.all());
        ran.stdout
    }

    /// Files and folders of the topmost layer, whiteouts as `-path`.
    fn top_layer(&self) -> Vec<String> {
        fn walk(folder: &std::path::Path, path: &str, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let path = format!("{path}/{}", entry.file_name().into_string().unwrap());
                let metadata = entry.path().symlink_metadata().unwrap();
                if metadata.is_dir() {
                    found.push(format!("{path}/"));
                    walk(&entry.path(), &path, found);
                } else if metadata.rdev() == 0 && metadata.mode() & 0o170_000 == 0o020_000 {
                    found.push(format!("-{path}"));
                } else {
                    found.push(path);
                }
            }
        }
        let words = ["image", "inspect", "built"];
        let ran = Ran::new(&words, self.root.banyan().args(words).output().unwrap());
        let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let layers = value[0]["RootFS"]["Layers"].as_array().unwrap();
        let top = layers
            .last()
            .unwrap()
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:");
        let mut found = Vec::new();
        walk(
            &self.root.path().join("images/layers").join(top).join("fs"),
            "",
            &mut found,
        );
        found.sort();
        found
    }
}

#[test]
fn a_step_leaves_what_it_wrote_and_nothing_of_its_surroundings() {
    let Some(bench) = Bench::new() else { return };
    bench.builds(
        "FROM busybox\nRUN echo x > /out && rm /www/index.html && mkdir -p /new/dir && ln /out /same && rm -r /tmp && echo f > /tmp\n",
        &[],
    );
    assert_eq!(
        bench.top_layer(),
        [
            "-/www/index.html",
            "/new/",
            "/new/dir/",
            "/out",
            "/same",
            "/tmp",
            "/www/"
        ]
    );
    assert_eq!(bench.says("stat -c %h /out; cat /tmp; ls /www"), "2\nf\n");
    // Nothing written: an empty layer, not one with places for /proc, /dev, /sys and the files of /etc.
    bench.builds(
        "FROM busybox\nRUN cat /etc/hosts /etc/resolv.conf /proc/self/stat >/dev/null\n",
        &[],
    );
    assert_eq!(bench.top_layer(), Vec::<String>::new());
}

#[test]
fn bind_mounts_show_the_context_a_stage_or_an_image() {
    let Some(bench) = Bench::new() else { return };
    bench.write(".dockerignore", "*.key\n**/*.log\n");
    bench.builds(
        "FROM busybox AS base\nRUN echo lower > /etc/x && echo only > /only\n\
         FROM base AS source\nRUN echo upper > /etc/x\n\
         FROM busybox\n\
         RUN --mount=type=bind,source=a.txt,target=/in/file cat /in/file > /1 && ! echo x > /in/file\n\
         RUN --mount=target=/ctx ls -R /ctx > /2 && ! touch /ctx/new\n\
         RUN --mount=type=bind,target=/ctx,rw touch /ctx/new && rm /ctx/a.txt && ls /ctx > /3\n\
         RUN --mount=type=bind,target=/ctx,source=dir,readwrite=true echo x >> /ctx/b.txt && cat /ctx/b.txt > /4\n\
         RUN --mount=type=bind,from=source,target=/s cat /s/etc/x /s/only > /5\n\
         RUN --mount=type=bind,from=source,source=/etc,dst=s,rw echo mine > s/x && cat /s/x s/passwd > /6\n\
         ARG WHICH=dir\nWORKDIR /w\n\
         RUN --mount=type=bind,src=$WHICH/b.txt,target=rel cat rel > /7\n\
         RUN --mount=type=bind,from=busybox,source=/bin/busybox,target=/w/busybox /w/busybox echo tool > /8\n",
        &[],
    );
    assert_eq!(bench.says("cat /1"), "a\n");
    let listing = bench.says("cat /2");
    assert!(
        listing.contains("b.txt") && listing.contains("Dockerfile"),
        "{listing}"
    );
    assert!(
        !listing.contains("secret.key") && !listing.contains("c.log"),
        "ignored files are seen: {listing}"
    );
    assert_eq!(bench.says("cat /3"), "Dockerfile\ndir\nnew\n");
    assert_eq!(bench.says("cat /4"), "b\nx\n");
    assert_eq!(bench.says("cat /5"), "upper\nonly\n");
    assert!(bench.says("cat /6").starts_with("mine\nroot:"));
    assert_eq!(bench.says("cat /7 /8"), "b\ntool\n");
    // Writes went nowhere, and no mount left its place.
    assert_eq!(
        fs::read_to_string(bench.context().join("dir/b.txt")).unwrap(),
        "b\n"
    );
    assert!(bench.context().join("a.txt").exists() && !bench.context().join("new").exists());
    assert_eq!(bench.says("ls / | grep -x -e ctx -e in -e s || true; ls /w"), "");
    bench.fails(
        "FROM busybox\nRUN --mount=type=bind,source=nosuch,target=/x true\n",
        &[],
        &["Dockerfile:2", "`nosuch`"],
    );
    bench.fails(
        "FROM busybox\nRUN --mount=type=bind,source=secret.key,target=/x true\n",
        &[],
        &["`secret.key`"],
    );
}

#[test]
fn a_changed_file_of_a_bind_mount_runs_the_step_again() {
    let Some(bench) = Bench::new() else { return };
    let dockerfile = "FROM busybox\nRUN --mount=type=bind,source=a.txt,target=/a cp /a /seen\n";
    bench.builds(dockerfile, &[]);
    bench.write("dir/b.txt", "unrelated\n");
    let again = bench.builds(dockerfile, &[]);
    assert!(again.stderr.contains("#2/2 cached"), "{}", again.all());
    bench.write("a.txt", "changed\n");
    bench.builds(dockerfile, &[]);
    assert_eq!(bench.says("cat /seen"), "changed\n");
}

#[test]
fn cache_mounts_live_on_between_builds_and_reach_no_layer() {
    let Some(bench) = Bench::new() else { return };
    let step = |more: &str, script: &str| {
        format!("FROM busybox\nRUN --mount=type=cache,target=/cache{more} {script}\n")
    };
    bench.builds(&step("", "echo one >> /cache/log && cp /cache/log /seen"), &[]);
    bench.builds(&step("", "echo two >> /cache/log && cp /cache/log /seen"), &[]);
    assert_eq!(
        bench.says("cat /seen; ls -d /cache 2>/dev/null || true"),
        "one\ntwo\n"
    );
    assert_eq!(bench.top_layer(), ["/seen"]);
    // Another id is another cache; the same id at another place is the same one.
    bench.builds(
        &step(
            ",id=other,uid=1000,gid=7,mode=0711",
            "stat -c '%a %u:%g' /cache > /seen; touch /cache/o",
        ),
        &[],
    );
    assert_eq!(bench.says("cat /seen"), "711 1000:7\n");
    bench.builds(
        "FROM busybox\nRUN --mount=type=cache,id=other,target=/elsewhere ls /elsewhere > /seen\n",
        &[],
    );
    assert_eq!(bench.says("cat /seen"), "o\n");
    bench.builds(
        &step(",id=other,sharing=private", "ls /cache | wc -l > /seen"),
        &[],
    );
    assert_eq!(bench.says("cat /seen"), "0\n");
    bench.builds(&step(",id=other,ro", "ls /cache > /seen; ! touch /cache/x"), &[]);
    assert_eq!(bench.says("cat /seen"), "o\n");
    bench.builds(
        "FROM busybox AS start\nRUN mkdir /d && echo begun > /d/f\nFROM busybox\n\
         RUN --mount=type=cache,id=seeded,target=/c,from=start,source=/d cat /c/f > /seen\n",
        &[],
    );
    assert_eq!(bench.says("cat /seen"), "begun\n");
    // Locked: one step at a time, although both stages run at once.
    let locked = "RUN --mount=type=cache,id=lock,target=/c,sharing=locked \
                  test ! -e /c/busy && touch /c/busy && sleep 0.3 && rm /c/busy && touch /done\n";
    bench.builds(
        &format!("FROM busybox AS a\n{locked}FROM busybox AS b\nENV OTHER=1\n{locked}FROM busybox\nCOPY --from=a /done /a\nCOPY --from=b /done /b\n"),
        &[],
    );
}

#[test]
fn tmpfs_mounts_are_bounded_and_forgotten() {
    let Some(bench) = Bench::new() else { return };
    bench.builds(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/scratch,size=1m \
         grep ' /scratch tmpfs' /proc/mounts && ! dd if=/dev/zero of=/scratch/f bs=64k count=32 2>/dev/null && touch /ok\n\
         RUN --mount=type=tmpfs,target=/www ls -A /www | wc -l > /seen\n",
        &[],
    );
    assert_eq!(
        bench.says("cat /seen; cat /www/index.html; ls -d /scratch 2>/dev/null || true"),
        "0\nhello from busybox\n"
    );
}

#[test]
fn secrets_are_seen_by_their_step_alone() {
    let Some(bench) = Bench::new() else { return };
    let file = bench.context().join("secret.key");
    let given = [
        "--secret".to_owned(),
        format!("id=key,src={}", file.display()),
        "--secret".to_owned(),
        "id=FROM_ENVIRONMENT".to_owned(),
        "--secret".to_owned(),
        "type=env,id=named,env=FROM_ENVIRONMENT".to_owned(),
    ];
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    bench.builds(
        "FROM busybox\n\
         RUN --mount=type=secret,id=key cat /run/secrets/key > /1 && stat -c '%a %u:%g' /run/secrets/key > /2\n\
         RUN --mount=type=secret,id=key,target=/etc/deep/er/key,uid=1000,gid=7,mode=0444 stat -c '%a %u:%g' /etc/deep/er/key > /3\n\
         RUN --mount=type=secret,id=FROM_ENVIRONMENT cat /run/secrets/FROM_ENVIRONMENT > /4\n\
         RUN --mount=type=secret,id=named,env=TOKEN echo $TOKEN > /5 && ! test -e /run/secrets/named\n\
         RUN --mount=type=secret,id=key,env=BOTH,target=/both echo $BOTH > /6 && cat /both >> /6\n\
         RUN --mount=type=secret,id=absent ! test -e /run/secrets/absent\n\
         USER app\nRUN --mount=type=secret,id=key,uid=1000 cat /run/secrets/key > /tmp/7\n",
        &given,
    );
    assert_eq!(
        bench.says("cat /1 /2 /3 /4; echo; cat /5 /6 /tmp/7"),
        "k\n400 0:0\n444 1000:7\ne-secret\ne-secret\nk\nk\nk\n"
    );
    assert_eq!(
        bench.says("ls -d /run /etc/deep /both 2>/dev/null || true; env | grep -c -e TOKEN -e BOTH || true"),
        "0\n"
    );
    // A secret is no part of the cache's key: another value runs nothing again.
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=key cp /run/secrets/key /seen\n";
    bench.builds(dockerfile, &given);
    fs::write(&file, "other\n").unwrap();
    bench.builds(dockerfile, &given);
    assert_eq!(bench.says("cat /seen"), "k\n");
    bench.fails(
        "FROM busybox\n\nRUN --mount=type=secret,id=absent,required=true true\n",
        &given,
        &[
            "Dockerfile:3",
            "the secret `absent` is required and was not given",
        ],
    );
}

#[test]
fn an_agent_is_reached_through_a_socket_of_the_steps_user() {
    let Some(bench) = Bench::new() else { return };
    let socket = bench.root.path().join("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    let agent = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 8];
        stream.read_exact(&mut question).unwrap();
        stream.write_all(b"answer\n").unwrap();
        question
    });
    let probe = std::path::Path::new(env!("CARGO_BIN_EXE_banyan")).with_file_name("probe");
    let given = format!("default={}", socket.display());
    bench.builds(
        "FROM busybox\nUSER app\n\
         RUN --mount=type=ssh,uid=1000,mode=0600 test -S $SSH_AUTH_SOCK && stat -c '%a %u %n' $SSH_AUTH_SOCK > /tmp/1\n\
         RUN --mount=type=ssh,id=absent test -z \"$SSH_AUTH_SOCK\"\n\
         RUN --mount=type=ssh,target=/tmp/agent,mode=0666 echo $SSH_AUTH_SOCK > /tmp/2\n",
        &["--ssh", &given],
    );
    assert_eq!(
        bench.says("cat /tmp/1 /tmp/2"),
        "600 1000 /run/buildkit/ssh_agent.0\n/tmp/agent\n"
    );
    assert_eq!(bench.says("ls -d /run /tmp/agent 2>/dev/null || true"), "");
    bench.fails(
        "FROM busybox\nRUN --mount=type=ssh,id=absent,required true\n",
        &["--ssh", &given],
        &["`absent`"],
    );
    if probe.exists() {
        fs::copy(&probe, bench.context().join("probe")).unwrap();
        bench.builds(
            "FROM busybox\nUSER app\nCOPY probe /probe\n\
             RUN --mount=type=ssh,uid=1000 /probe unix-say $SSH_AUTH_SOCK question > /tmp/answer\n",
            &["--ssh", &given],
        );
        assert_eq!(bench.says("cat /tmp/answer"), "answer\n");
        assert_eq!(&agent.join().unwrap(), b"question");
    }
}

#[test]
fn networks_of_steps_are_what_was_asked_for() {
    let Some(bench) = Bench::new() else { return };
    let links = "ls /sys/class/net | tr '\\n' ' ' > /seen; readlink /proc/self/ns/net >> /seen";
    bench.builds(&format!("FROM busybox\nRUN --network=none {links}\n"), &[]);
    assert_eq!(
        bench.says("head -n 1 /seen"),
        "lo net:".split("net").next().unwrap().to_owned() + &bench.says("head -n 1 /seen")[3..]
    );
    let own = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert!(!bench.says("cat /seen").contains(&own));
    bench.builds(
        &format!("FROM busybox\nRUN {links}; ip route | grep -q ^default; cat /etc/resolv.conf >> /seen\n"),
        &[],
    );
    let seen = bench.says("cat /seen");
    assert!(seen.contains("eth0") && !seen.contains(&own), "{seen}");
    // The host's network must be allowed by who builds, not by the Dockerfile.
    bench.fails(
        &format!("FROM busybox\nRUN --network=host {links}\n"),
        &[],
        &["Dockerfile:2", "network.host"],
    );
    for flags in [&["--allow", "network.host"][..], &["--network", "host"]] {
        bench.builds(
            &format!("FROM busybox\nRUN --network=host {links}; : {flags:?}\n"),
            flags,
        );
        assert!(bench.says("cat /seen").contains(&own));
    }
    bench.builds(
        &format!("FROM busybox\nRUN {links}; : all none\n"),
        &["--network", "none"],
    );
    assert!(!bench.says("cat /seen").contains("eth0"));
    bench.builds(
        "FROM busybox\nRUN grep db /etc/hosts > /seen\n",
        &["--add-host", "db:10.1.2.3"],
    );
    assert_eq!(bench.says("cat /seen"), "10.1.2.3\tdb\n");
}

#[test]
fn privileges_must_be_allowed_by_who_builds() {
    let Some(bench) = Bench::new() else { return };
    let dockerfile = "FROM busybox\nRUN --security=insecure mount -t tmpfs none /www && grep CapEff /proc/self/status > /seen\n";
    bench.fails(dockerfile, &[], &["Dockerfile:2", "security.insecure"]);
    bench.builds(dockerfile, &["--allow", "security.insecure"]);
    bench.builds(
        "FROM busybox\nRUN --security=sandbox ! mount -t tmpfs none /www 2>/dev/null\n",
        &[],
    );
}

#[test]
fn here_documents_and_shells() {
    let Some(bench) = Bench::new() else { return };
    for (dockerfile, script, expected) in [
        (
            "RUN <<EOF\necho one > /1\ncd /tmp\npwd >> /1\nEOF\n",
            "cat /1",
            "one\n/tmp\n",
        ),
        (
            "RUN <<EOF\nfalse\necho goes on > /1\nEOF\n",
            "cat /1",
            "goes on\n",
        ),
        ("RUN <<-EOF\n\techo tabs > /1\n\tEOF\n", "cat /1", "tabs\n"),
        (
            "RUN <<'EOF'\necho $((1+2)) $HOME > /1\nEOF\n",
            "cat /1",
            "3 /root\n",
        ),
        ("ARG A=x\nRUN <<EOF\necho $A > /1\nEOF\n", "cat /1", "x\n"),
        ("RUN cat <<EOF > /1\ntext $HOME\nEOF\n", "cat /1", "text /root\n"),
        (
            "RUN cat <<'EOF' > /1\ntext $HOME\nEOF\n",
            "cat /1",
            "text $HOME\n",
        ),
        (
            "RUN cat <<A > /1 && cat <<B >> /1\na\nA\nb\nB\n",
            "cat /1",
            "a\nb\n",
        ),
        ("RUN sh -e <<EOF\necho piped > /1\nEOF\n", "cat /1", "piped\n"),
        (
            "RUN <<EOF\n#!/bin/cat\nEOF\n",
            "ls /run 2>/dev/null || echo clean",
            "clean\n",
        ),
        ("RUN <<EOF\n#!/bin/sh -e\necho own > /1\nEOF\n", "cat /1", "own\n"),
        (
            "COPY <<one <<two /d/\n1\none\n2\ntwo\nRUN cat /d/one /d/two > /1\n",
            "cat /1",
            "1\n2\n",
        ),
        (
            "COPY --chmod=755 <<EOF /run.sh\n#!/bin/sh\necho ran\nEOF\nRUN /run.sh > /1\n",
            "cat /1",
            "ran\n",
        ),
        (
            "SHELL [\"/bin/sh\", \"-ec\"]\nRUN echo a > /1; echo $0 >> /1\n",
            "cat /1",
            "a\n/bin/sh\n",
        ),
        (
            "SHELL [\"/bin/busybox\", \"echo\", \"shell:\"]\nRUN a b\nSHELL [\"/bin/sh\", \"-c\"]\nRUN echo back > /1\n",
            "cat /1",
            "back\n",
        ),
        (
            "RUN [\"/bin/sh\", \"-c\", \"echo $HOME exec > /1\"]\n",
            "cat /1",
            "/root exec\n",
        ),
        ("RUN echo a \\\n  # a remark\n  b > /1\n", "cat /1", "a b\n"),
        ("RUN echo \"a  b\" 'c $HOME' > /1\n", "cat /1", "a  b c $HOME\n"),
        (
            "ENV A=\"x y\"\nRUN echo \"$A\" ${A%% *} > /1\n",
            "cat /1",
            "x y x\n",
        ),
        ("ARG V=1\nENV V=2\nRUN echo $V > /1\n", "cat /1", "2\n"),
        (
            "ARG HTTP_PROXY\nRUN echo ${http_proxy:-none} > /1\n",
            "cat /1",
            "none\n",
        ),
        (
            "WORKDIR /made/here\nRUN pwd > /1\n",
            "cat /1; ls -d /made/here",
            "/made/here\n/made/here\n",
        ),
    ] {
        bench.builds(&format!("FROM busybox\n{dockerfile}"), &[]);
        assert_eq!(bench.says(script), expected, "{dockerfile}");
    }
}

#[test]
fn users_and_owners_by_name() {
    let Some(bench) = Bench::new() else { return };
    bench.builds(
        "FROM busybox\n\
         RUN echo 'web:x:33:44::/:/bin/sh' >> /etc/passwd && echo 'staff:x:50:' >> /etc/group && chmod 777 /www\n\
         COPY --chown=web a.txt /1\nCOPY --chown=web:staff a.txt /2\nCOPY --chown=:staff a.txt /3\nCOPY --chown=9 a.txt /4\n\
         COPY --chown=app --chmod=0750 dir /5\nADD --chown=0:staff a.txt /6\n\
         USER web\nWORKDIR /of-web\nRUN id -u > /www/7 && id -g >> /www/7 && touch /www/8\n\
         USER web:staff\nRUN id -g > /www/9\nUSER 1000:1\nRUN echo $(id -u):$(id -g) > /www/10\n\
         USER root\nRUN test -w /etc/passwd\n",
        &[],
    );
    let owners = "stat -c '%u:%g' /1 /2 /3 /4; stat -c '%a %u:%g' /5 /5/b.txt; stat -c '%u:%g' /6 /www/8";
    assert_eq!(
        bench.says(owners),
        "33:44\n33:50\n0:50\n9:9\n750 1000:1000\n750 1000:1000\n0:50\n33:44\n"
    );
    assert_eq!(bench.says("cat /www/7 /www/9 /www/10"), "33\n44\n50\n1000:1\n");
    bench.fails(
        "FROM busybox\nUSER nosuch\nRUN true\n",
        &[],
        &["Dockerfile:3", "nosuch"],
    );
    bench.fails(
        "FROM busybox\nCOPY --chown=nosuch a.txt /\n",
        &[],
        &["Dockerfile:2", "the image has no user `nosuch`"],
    );
}

#[test]
fn steps_that_fail_say_where_and_what() {
    let Some(bench) = Bench::new() else { return };
    for (dockerfile, texts) in [
        (
            "RUN echo before && exit 3",
            &["Dockerfile:2", "exit", "3", "before"][..],
        ),
        (
            "RUN true\n\nRUN nosuch-program",
            &["Dockerfile:4", "127", "nosuch-program"],
        ),
        ("RUN [\"nosuch\"]", &["Dockerfile:2", "nosuch"]),
        ("RUN sh -c 'kill -9 $$'; exit $?", &["Dockerfile:2", "137"]),
        ("RUN --mount=type=nonsense true", &["Dockerfile:2", "nonsense"]),
        ("RUN --mount=type=cache true", &["Dockerfile:2", "target"]),
        (
            "RUN --mount=type=tmpfs,target=/x,size=many true",
            &["Dockerfile:2", "many"],
        ),
        (
            "RUN --mount=type=bind,from=nosuchstage.example.invalid/x,target=/x true",
            &["Dockerfile:2"],
        ),
        ("RUN --network=sometimes true", &["Dockerfile:2", "sometimes"]),
        ("RUN --security=sometimes true", &["Dockerfile:2", "sometimes"]),
        (
            "RUN --mount=type=cache,target=/x,sharing=sometimes true",
            &["Dockerfile:2", "sometimes"],
        ),
        (
            "RUN --mount=type=cache,target=/x,colour=red true",
            &["Dockerfile:2", "colour"],
        ),
        ("SHELL /bin/sh", &["Dockerfile:2", "SHELL"]),
        ("RUN <<EOF\nnever ended", &["Dockerfile:2", "EOF"]),
    ] {
        bench.fails(&format!("FROM busybox\n{dockerfile}\n"), &[], texts);
    }
    let ingest = fs::read_dir(bench.root.path().join("images/ingest"))
        .unwrap()
        .count();
    assert_eq!(ingest, 0, "failed steps leave nothing");
}

#[test]
fn steps_are_cached_by_what_they_depend_on() {
    let Some(bench) = Bench::new() else { return };
    let dockerfile =
        "FROM busybox\nARG UNUSED\nARG USED=1\nENV E=1\nCOPY a.txt /a\nRUN echo $USED > /seen\nRUN cat /a\n";
    bench.builds(dockerfile, &[]);
    let cached = |ran: &Ran| {
        ran.stderr
            .lines()
            .filter(|line| line.ends_with(" cached"))
            .count()
    };
    let again = bench.builds(dockerfile, &[]);
    assert_eq!(cached(&again), 7, "{}", again.all());
    let same = bench.builds(&dockerfile.replace("cat /a\n", "cat /a # and a remark\n"), &[]);
    assert!(cached(&same) == 6, "{}", same.all());
    let used = bench.builds(dockerfile, &["--build-arg", "USED=2"]);
    assert_eq!(cached(&used), 5, "{}", used.all());
    assert_eq!(bench.says("cat /seen"), "2\n");
    let anew = bench.builds(dockerfile, &["--no-cache"]);
    assert_eq!(
        cached(&anew),
        4,
        "metadata and the base need no work: {}",
        anew.all()
    );
}
