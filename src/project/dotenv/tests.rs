use super::*;

fn read(text: &str) -> Result<Vec<(String, String)>, String> {
    let outer = BTreeMap::from([
        ("HOST".to_owned(), "h".to_owned()),
        ("EMPTY".to_owned(), String::new()),
    ]);
    parse(text, &outer)
        .map(|values| values.into_iter().collect())
        .map_err(|fault| fault.message)
}

#[test]
fn every_form_gives_its_value() {
    for (text, expected) in [
        ("", &[][..]),
        ("A=b", &[("A", "b")]),
        ("A = b ", &[("A", "b")]),
        ("A: b", &[("A", "b")]),
        ("A=", &[("A", "")]),
        ("export A=b", &[("A", "b")]),
        ("export\tA=b", &[("A", "b")]),
        ("HOST", &[("HOST", "h")]),
        ("HOST\nB=c", &[("B", "c"), ("HOST", "h")]),
        ("NOWHERE", &[]),
        ("# comment\n\n  A=b # comment\n", &[("A", "b")]),
        ("A=b#c", &[("A", "b#c")]),
        ("A='b # c'", &[("A", "b # c")]),
        ("A=\"b # c\" # d", &[("A", "b # c")]),
        ("A=\"b\nc\"\nD=e", &[("A", "b\nc"), ("D", "e")]),
        ("A='b\nc'", &[("A", "b\nc")]),
        ("A=\"b\\nc\"", &[("A", "b\nc")]),
        ("A='b\\nc'", &[("A", "b\\nc")]),
        ("A='it\\'s'", &[("A", "it's")]),
        ("A=\"say \\\"x\\\"\"", &[("A", "say \"x\"")]),
        ("A=\"\\$HOST\"", &[("A", "$HOST")]),
        ("A=\"$$HOST\"", &[("A", "$HOST")]),
        ("A=$HOST", &[("A", "h")]),
        ("A=\"${HOST}x\"", &[("A", "hx")]),
        ("A='$HOST'", &[("A", "$HOST")]),
        ("A=1\nB=$A$A", &[("A", "1"), ("B", "11")]),
        ("HOST=mine\nB=$HOST", &[("B", "h"), ("HOST", "mine")]),
        ("A=${NO:-d}", &[("A", "d")]),
        ("A=$NO.", &[("A", ".")]),
        ("A.b-c_d[0]=x", &[("A.b-c_d[0]", "x")]),
        ("\u{feff}A=b", &[("A", "b")]),
        ("A=b\r\nC=d\r\n", &[("A", "b"), ("C", "d")]),
        ("A=b=c", &[("A", "b=c")]),
        ("A=1\nA=2", &[("A", "2")]),
        ("1A=x\nB=y", &[("B", "y")]),
        ("A=\"\\0101\"", &[("A", "A")]),
        ("A=\"\\q\"", &[("A", "\\q")]),
        ("A={\"a\": \"b\"}", &[("A", "{\"a\": \"b\"}")]),
    ] {
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(read(text), Ok(expected), "{text:?}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    for (text, message) in [
        ("A B=c", "the variable name `A B` contains a space"),
        ("hello world", "the variable name `hello world` contains a space"),
        ("A!=c", "`!` is not allowed in a variable name"),
        ("$A=c", "`$` is not allowed in a variable name"),
        ("A=\"b", "the quote `\"` is never closed"),
        ("A='b\nc", "the quote `'` is never closed"),
        ("A=${", "a `${…}` in this value is not well formed"),
        ("A=${NO:?give it}", "the variable `NO` must be set: give it"),
    ] {
        assert_eq!(read(text), Err(message.to_owned()), "{text:?}");
    }
}

#[test]
fn raw_values_are_left_alone() {
    let values = parse_raw("A='x' # y\n# c\nB=$A\nC\n");
    assert_eq!(
        values.into_iter().collect::<Vec<_>>(),
        [("A".into(), "'x' # y".into()), ("B".into(), "$A".into())]
    );
}
