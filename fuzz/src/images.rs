//! Targets for the texts of images: names, manifests, Dockerfiles, `.dockerignore`.

use banyan_runtime::{
    build::{
        apply_changes,
        dockerfile::{self, words},
        ignore::Ignore,
    },
    image::{ConfigFile, ImageConfig, Platform, Reference, manifest::Document},
};

/// A name: what is taken is written back the same, and understood the same.
pub(crate) fn reference(text: &str) {
    let _ = text.parse::<Platform>();
    let Ok(name) = text.parse::<Reference>() else { return };
    let written = name.to_string();
    let again: Reference = written.parse().unwrap_or_else(|error| panic!("`{written}`: {error}"));
    assert_eq!(again, name);
    let familiar: Reference = name
        .familiar()
        .parse()
        .unwrap_or_else(|error| panic!("`{}`: {error}", name.familiar()));
    assert_eq!(familiar, name, "{}", name.familiar());
    let _ = (name.familiar_repository(), name.debian_suite());
    let _ = name.with_tag(text.get(..20).unwrap_or(text));
}

/// A manifest, an index, a configuration.
pub(crate) fn manifest(text: &str) {
    for declared in [
        None,
        Some("application/vnd.oci.image.manifest.v1+json"),
        Some("application/vnd.docker.distribution.manifest.list.v2+json; charset=utf-8"),
        Some("text/plain"),
    ] {
        if let Ok(Document::Index(index)) = Document::parse(text.as_bytes(), declared) {
            let _ = index.choose(&Platform::host());
        }
    }
    if let Ok(config) = serde_json::from_str::<ConfigFile>(text) {
        let written = serde_json::to_string(&config).expect("what was read can be written");
        let again: ConfigFile = serde_json::from_str(&written).expect("what was written can be read");
        assert_eq!(again, config);
    }
}

/// A Dockerfile, its words, and its instructions as changes of a configuration.
pub(crate) fn dockerfile(text: &str) {
    let lookup = |name: &str| match name {
        "A" => Some("a/b.c".to_owned()),
        "LONG" => Some("xy".repeat(2000)),
        _ => None,
    };
    for escape in ['\\', '`'] {
        let _ = words::expand(text, escape, &lookup);
        let _ = words::expand_raw(text, escape, &lookup);
        let _ = words::split(text, escape);
    }
    if let Ok(parsed) = dockerfile::parse(text) {
        let mut config = ImageConfig::default();
        for step in parsed.steps {
            assert!(step.line >= 1 && step.line <= text.lines().count() + 1, "{step:?}");
            let _ = apply_changes(&mut config, &[step.text]);
        }
    }
}

/// Patterns, and paths they are asked about.
pub(crate) fn dockerignore(text: &str) {
    let rules = Ignore::parse(text);
    let longest = "a/".repeat(60) + &"ab".repeat(60);
    for path in ["a", "a/b/c", ".git/HEAD", "x.log", "é/ü", "", "/", "a//b", &longest, text.lines().next().unwrap_or("")] {
        let _ = rules.excludes(path);
    }
}

/// Seeds out of a dictionary alone.
pub(crate) fn seeds(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) const REFERENCE: &[&str] = &[
    "busybox", "library/busybox", "docker.io/", "index.docker.io/", "localhost/", "localhost:5000/a", "[::1]:5000/a/b",
    "registry.example:443/team/app:1.2", "debian:bookworm-slim", ":latest", ":", "/", "//", "@", "@sha256:",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sha512:", "a__b", "a___b", "a--b", "a.-b", "UPPER",
    "-", "_", ".", "..", "é", "\0", " ", "127.0.0.1", "linux/amd64", "linux/arm64/v8", "x.y", "0", "65536",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "debian@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];

pub(crate) const IGNORE: &[&str] = &[
    "*", "**", "**/", "!", "!!", "#", "/", "../", "./", "?", "[a-z]", "[^a]", "[!a]", "[", "]", "[]", "[a-", "\\", "\\*", "\n",
    "\r\n", "*.log\n", "**/*.md\n", "!keep.log\n", "a/**/b\n", "a/b/c\n", "**/**/**/a", "a*b*c*d*e*f*", "{a,b}", "é", "\u{feff}",
    " ", "\t", "a", "aaaaaaaaaaaaaaaa", ".git\n",
];

pub(crate) const MANIFEST: &[&str] = &[
    "{", "}", "[", "]", ",", ":", "\"", "null", "true", "-1", "1e400", "18446744073709551616", "\"schemaVersion\":2,",
    "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",", "\"layers\":[", "\"manifests\":[", "\"config\":{", "\"size\":",
    "\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",", "\"platform\":{\"os\":\"linux\"},",
    "\"annotations\":{\"vnd.docker.reference.type\":\"x\"},", "\"urls\":[\"http://x\"],", "\\u0000", "\\ud800", "\"rootfs\":{",
    "\"diff_ids\":[", "\"history\":[{\"empty_layer\":true}],", "\"Healthcheck\":{\"Test\":[\"CMD\"],\"Interval\":1},", "\"Env\":null,",
];

/// Documents of every kind, whole.
pub(crate) fn manifests() -> Vec<String> {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let mut list = seeds(MANIFEST);
    list.push(format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":7}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{digest}","size":9,"annotations":{{"a":"b"}}}}]}}"#
    ));
    list.push(format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[{{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":"{digest}","size":1,"platform":{{"os":"linux","architecture":"amd64","variant":"v3"}}}},{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1,"annotations":{{"vnd.docker.reference.type":"attestation-manifest"}}}}]}}"#
    ));
    list.push(format!(
        r#"{{"created":"2026-01-02T03:04:05Z","architecture":"amd64","os":"linux","config":{{"User":"u","Env":["A=b"],"Cmd":null,"Entrypoint":["e"],"ExposedPorts":{{"80/tcp":{{}}}},"Volumes":null,"WorkingDir":"/","Labels":{{"a":"b"}},"OnBuild":["RUN x"]}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}},"history":[{{"created_by":"x","empty_layer":true}}]}}"#
    ));
    list
}

pub(crate) const DOCKERFILE: &[&str] = &[
    "FROM scratch\n", "FROM --platform=$BUILDPLATFORM a AS b\n", "ARG A=1\n", "ARG A B=\"c d\"\n", "ENV A=b C=\"d $A\"\n", "ENV A b c\n",
    "RUN echo hi\n", "RUN [\"a\", \"b\"]\n", "RUN --mount=type=cache,target=/c,id=$A,sharing=locked x\n", "RUN <<EOF\n", "EOF\n",
    "COPY <<-\"X\" <<Y /a/\n\tone\nX\ntwo\nY\n", "COPY --from=0 --chown=a:b --chmod=u+rw,go= --link a b /c/\n", "ADD --checksum=sha256: http://x/ /\n",
    "HEALTHCHECK --interval=1m30s --retries=3 CMD [\"x\"]\n", "HEALTHCHECK NONE\n", "ONBUILD ONBUILD RUN x\n", "SHELL [\"/bin/sh\", \"-c\"]\n",
    "EXPOSE 80 90-91/udp\n", "LABEL a.b=\"c\\\"d\" 'e'=f\n", "STOPSIGNAL RTMIN+3\n", "VOLUME [\"/a\"]\n", "WORKDIR ../x\n", "USER $A:$B\n", "MAINTAINER é\n",
    "# escape=`\n", "# syntax=docker/dockerfile:1\n", "# check=skip=all\n", "\\\n", "`\n", "\\", "$", "${", "}", "${A:-", "${A:+${B:?", "${A#", "${A##*/", "${A%",
    "${A%%*", "${A/", "${A//x/", "/", "*", "?", "\"", "'", "<<", "<<-", "<<~", "--", "--mount=", "=", ",", " ", "\t", "\r\n", "\n", "#", "[", "]", "\u{feff}", "\0", "é",
];

/// Whole files: every instruction once, and the dictionary.
pub(crate) fn dockerfiles() -> Vec<String> {
    let mut list = seeds(DOCKERFILE);
    list.push(DOCKERFILE[..25].concat());
    list.push(format!("# escape=`\n{}", DOCKERFILE[..10].concat().replace(' ', " `\n ")));
    list
}
