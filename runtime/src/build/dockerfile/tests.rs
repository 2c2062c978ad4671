use super::{words, *};

fn lookup(name: &str) -> Option<String> {
    match name {
        "A" => Some("apple".into()),
        "E" => Some(String::new()),
        "P" => Some("/usr/lib/x.tar.gz".into()),
        _ => None,
    }
}

#[test]
fn words_expand_as_in_buildkit() {
    for (text, expected) in [
        ("plain", "plain"),
        ("$A", "apple"),
        ("${A}s", "apples"),
        ("$Ab", ""),
        ("\"$A b\"", "apple b"),
        ("'$A'", "$A"),
        ("\\$A", "$A"),
        ("\"\\$A\"", "$A"),
        ("\"\\a\"", "\\a"),
        ("a\\ b", "a b"),
        ("${A:-x}", "apple"),
        ("${N:-x}", "x"),
        ("${E:-x}", "x"),
        ("${E-x}", ""),
        ("${N-x}", "x"),
        ("${A:+x}", "x"),
        ("${N:+x}", ""),
        ("${E:+x}", ""),
        ("${E+x}", "x"),
        ("${N:-${A}}", "apple"),
        ("${N:-\"a b\"}", "a b"),
        ("${P#*/}", "usr/lib/x.tar.gz"),
        ("${P##*/}", "x.tar.gz"),
        ("${P%.*}", "/usr/lib/x.tar"),
        ("${P%%.*}", "/usr/lib/x"),
        ("${P/lib/LIB}", "/usr/LIB/x.tar.gz"),
        ("${P//\\//_}", "_usr_lib_x.tar.gz"),
        ("${A/p}", "aple"),
        ("${A//?/-}", "-----"),
        ("$", "$"),
        ("a$", "a$"),
        ("$1", ""),
        ("é$A", "éapple"),
    ] {
        assert_eq!(
            words::expand(text, '\\', &lookup).as_deref(),
            Ok(expected),
            "{text}"
        );
    }
    for text in [
        "${A", "\"a", "'a", "${}", "${A:}", "${N:?no}", "${N?}", "${A!x}", "${A:#x}",
    ] {
        assert!(words::expand(text, '\\', &lookup).is_err(), "{text}");
    }
    let deep = "${N:-".repeat(100) + &"}".repeat(100);
    assert!(words::expand(&deep, '\\', &lookup).is_err());
}

/// What the instructions of a Dockerfile are, in Rust's own notation, or the error.
fn show(text: &str) -> String {
    match parse(text) {
        Ok(file) => file
            .steps
            .iter()
            .map(|step| format!("{}:{:?}\n", step.line, step.instruction))
            .collect(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn refuses_mistakes_with_their_line() {
    for (text, expected) in [
        ("", "1: the Dockerfile has no instructions"),
        ("# only\n", "1: the Dockerfile has no instructions"),
        ("FROM", "1: `FROM` is `FROM image [AS name]`"),
        ("FROM a b", "1: `FROM` is"),
        ("FROM a AS 1x", "1: `1x` is not a name"),
        (
            "FROM a\nRUNN x",
            "2: unknown instruction `RUNN` (did you mean `RUN`?)",
        ),
        (
            "FROM a\n\n\nWORKDIIR x",
            "4: unknown instruction `WORKDIIR` (did you mean `WORKDIR`?)",
        ),
        ("FROM a\nXYZZY", "2: unknown instruction `XYZZY`"),
        ("FROM a\nRUN", "2: `RUN` needs a command"),
        (
            "FROM a\nCOPY a",
            "2: `COPY` needs at least one source and a target",
        ),
        ("FROM a\nCOPY a b c", "2: with several sources"),
        ("FROM a\nCOPY --form=x a b", "2: `COPY` has no flag `--form`"),
        ("FROM a\nADD --from=x a b", "2: `ADD` has no flag `--from`"),
        ("FROM a\nENV A", "2: `ENV A` needs a value"),
        ("FROM a\nENV A=1 B", "2: `B` is not `name=value`"),
        ("FROM a\nENV =1", "2: `=1` has no name"),
        ("FROM a\nENV", "2: `ENV` needs `name=value`"),
        ("FROM a\nARG", "2: `ARG` needs a name"),
        ("FROM a\nARG a$b", "2: `a$b` is not a name for an argument"),
        ("FROM a\nSHELL /bin/sh", "2: `SHELL` needs the JSON form"),
        ("FROM a\nUSER a b", "2: `USER` takes one user only"),
        ("FROM a\nEXPOSE", "2: `EXPOSE` needs a port"),
        ("FROM a\nVOLUME", "2: `VOLUME` needs a path"),
        ("FROM a\nVOLUME [\"\"]", "2: `VOLUME` needs a path"),
        ("FROM a\nHEALTHCHECK", "2: `HEALTHCHECK` is"),
        (
            "FROM a\nHEALTHCHECK NONE x",
            "2: `HEALTHCHECK NONE` takes nothing else",
        ),
        (
            "FROM a\nHEALTHCHECK --interval=5 CMD x",
            "2: `5` is not a duration",
        ),
        (
            "FROM a\nHEALTHCHECK --retries=x CMD x",
            "2: `--retries=x` is no number",
        ),
        ("FROM a\nONBUILD FROM x", "2: `FROM` is not allowed in `ONBUILD`"),
        ("FROM a\nONBUILD ONBUILD RUN x", "2: `ONBUILD` is not allowed"),
        ("FROM a\nONBUILD COPY x", "2: `COPY` needs"),
        (
            "FROM a\nRUN --mount=type=bnd,target=/x y",
            "2: `bnd` is not a type",
        ),
        (
            "FROM a\nRUN --mount=type=cache x",
            "2: a `cache` mount needs `target=`",
        ),
        (
            "FROM a\nRUN --mount=type=tmpfs,target=/x,mode=1 y",
            "2: a `tmpfs` mount has no option `mode`",
        ),
        ("FROM a\nRUN --network=x y", "2: `--network` is"),
        ("FROM a\nRUN --security=x y", "2: `--security` is"),
        (
            "FROM a\nRUN <<EOF\nx\n",
            "the here-document `<<EOF` is not closed",
        ),
        ("# escape=x\nFROM a", "1: `escape` must be"),
        ("FROM a\nSTOPSIGNAL", "2: `STOPSIGNAL` needs one signal"),
        ("FROM a\nCOPY --chown= a b", "2: `--chown` needs a value"),
        ("FROM a\nCOPY --parents=x a b", "2: `--parents` is true or false"),
    ] {
        let shown = show(text);
        assert!(
            shown.starts_with("Dockerfile:") && shown.contains(expected),
            "{text:?} gives {shown:?}"
        );
    }
}

#[test]
fn reads_every_instruction() {
    for (text, expected) in [
        ("FROM a", "1:From { image: \"a\", platform: None, name: None }"),
        (
            "from --platform=linux/arm64 a As B",
            "platform: Some(\"linux/arm64\"), name: Some(\"b\")",
        ),
        (
            "FROM a\nRUN x \\\n  # note\n\n  && y",
            "2:Run { command: Shell(\"x   && y\")",
        ),
        ("# escape=`\nFROM a\nRUN x `\n  y", "Shell(\"x   y\")"),
        ("FROM a\nRUN [\"a\", \"b c\"]", "Exec([\"a\", \"b c\"])"),
        ("FROM a\nRUN [a", "Shell(\"[a\")"),
        ("FROM a\nRUN <<EOF\nx\n y\nEOF\nRUN z", "content: \"x\\n y\\n\""),
        (
            "FROM a\nRUN <<-'E' cat\n\tx\n\tE",
            "name: \"E\", expand: false, chomp: true, content: \"x\\n\"",
        ),
        (
            "FROM a\nRUN cat <<<x",
            "Shell(\"cat <<<x\"), flags: RunFlags { mounts: [], network: None, insecure: false }, heredocs: []",
        ),
        ("FROM a\nCOPY <<A <<B /t/\n1\nA\n2\nB", "content: \"1\\n\""),
        (
            "FROM a\nRUN --mount=type=cache,id=x,dst=/c --network=none y",
            "options: {\"id\": \"x\", \"target\": \"/c\"}",
        ),
        (
            "FROM a\nENV A=1 B=\"2 3\" C=d\\ e",
            "[(\"A\", \"1\"), (\"B\", \"\\\"2 3\\\"\"), (\"C\", \"d\\\\ e\")]",
        ),
        ("FROM a\nENV A the rest", "[(\"A\", \"the rest\")]"),
        ("FROM a\nRUN --\u{3000}x --é", "Shell(\"x --é\")"),
        (
            "ARG X=1 Y\nFROM a",
            "1:Arg([(\"X\", Some(\"1\")), (\"Y\", None)])",
        ),
        (
            "FROM a\nHEALTHCHECK --interval=1m30s --retries=2 CMD x y",
            "interval: 90000000000",
        ),
        (
            "FROM a\nHEALTHCHECK --timeout=1.5s CMD [\"x\"]",
            "test: [\"CMD\", \"x\"], interval: 0, timeout: 1500000000",
        ),
        ("FROM a\nVOLUME /a /b", "Volume([\"/a\", \"/b\"])"),
        ("FROM a\nVOLUME [\"/a b\"]", "Volume([\"/a b\"])"),
        ("FROM a\nONBUILD RUN x", "OnBuild(\"RUN x\")"),
        ("FROM a\nMAINTAINER me", "Maintainer(\"me\")"),
        (
            "FROM a\nADD --checksum=sha256:x --unpack=false https://x/y /z",
            "checksum: Some(\"sha256:x\"), unpack: Some(false)",
        ),
        (
            "FROM a\nCOPY --from=b --chown=1:2 --chmod=644 --exclude=x --exclude=y --link --parents a b/",
            "exclude: [\"x\", \"y\"], parents: true, link: true",
        ),
        (
            "FROM a\nCOPY [\"a b\", \"c\"]",
            "sources: [\"a b\"], target: \"c\"",
        ),
        ("\u{feff}FROM a\r\nRUN x\r\n", "2:Run { command: Shell(\"x\")"),
        ("# syntax=docker/dockerfile:1\n# check=skip=all\nFROM a", "3:From"),
        ("FROM a\nCMD", "Cmd(Shell(\"\"))"),
        ("FROM a\nENTRYPOINT []", "Entrypoint(Exec([]))"),
        (
            "FROM a\nSTOPSIGNAL 9\nEXPOSE 80 90/udp\nUSER a:b\nWORKDIR /a b",
            "Workdir(\"/a b\")",
        ),
    ] {
        let shown = show(text);
        assert!(shown.contains(expected), "{text:?} gives {shown}");
    }
}
