use super::*;
use std::collections::BTreeMap;

fn run(text: &str) -> Result<String, FaultKind> {
    let set = [
        ("A", "a"),
        ("EMPTY", ""),
        ("_u1", "u"),
        ("MSG", "msg"),
        ("X", "$A"),
    ];
    let values: BTreeMap<String, String> = set.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    substitute(text, &values, &mut Vec::new())
        .map(Cow::into_owned)
        .map_err(|fault| fault.kind)
}

#[test]
fn every_form_gives_its_value() {
    for (text, value) in [
        ("plain", "plain"),
        ("$A", "a"),
        ("${A}", "a"),
        ("x$A-$A/y", "xa-a/y"),
        ("${A}b$_u1", "abu"),
        ("$Ab", ""),
        ("${Ab}", ""),
        ("$$A", "$A"),
        ("$$$A", "$a"),
        ("$$$$", "$$"),
        ("^REGEX$", "^REGEX$"),
        ("$}", "$}"),
        ("a $ b", "a $ b"),
        ("$1", "$1"),
        ("$", "$"),
        ("€$Aé", "€aé"),
        ("${A:-d}", "a"),
        ("${EMPTY:-d}", "d"),
        ("${NO:-d}", "d"),
        ("${A-d}", "a"),
        ("${EMPTY-d}", ""),
        ("${NO-d}", "d"),
        ("${NO:-}", ""),
        ("${NO-}", ""),
        ("${A:+v}", "v"),
        ("${EMPTY:+v}", ""),
        ("${NO:+v}", ""),
        ("${A+v}", "v"),
        ("${EMPTY+v}", "v"),
        ("${NO+v}", ""),
        ("${A:?e}", "a"),
        ("${A?e}", "a"),
        ("${EMPTY?e}", ""),
        ("${NO:-$A}", "a"),
        ("${NO:-${A}}", "a"),
        ("${NO:-${NO2:-deep}}", "deep"),
        ("${NO:-${NO2:-${A}}x}y", "axy"),
        ("${NO:-a:-b}", "a:-b"),
        ("${NO-a?b+c}", "a?b+c"),
        ("${NO:-{}}", "{}"),
        ("${NO:-{\"k\": [1]}}", "{\"k\": [1]}"),
        ("${A:+${NO:-x}}", "x"),
        ("${NO:-$$x}", "$x"),
        ("${NO:-http://h:80/?q=1}", "http://h:80/?q=1"),
        ("$X", "$A"),
        ("${NO:-line\nbreak}", "line\nbreak"),
    ] {
        assert_eq!(run(text).as_deref(), Ok(value), "{text}");
    }
}

#[test]
fn what_is_ill_formed_or_missing_is_refused() {
    let required = |name: &str, message: &str| FaultKind::Required {
        name: name.into(),
        message: message.into(),
    };
    for (text, kind) in [
        ("${", FaultKind::Unclosed),
        ("${A", FaultKind::Unclosed),
        ("${A:-{}", FaultKind::Unclosed),
        ("${}", FaultKind::Name),
        ("${ A}", FaultKind::Name),
        ("${1}", FaultKind::Name),
        ("${A!}", FaultKind::Operator("!".into())),
        ("${A }", FaultKind::Operator(" ".into())),
        ("${A:}", FaultKind::Operator(":".into())),
        ("${A.b}", FaultKind::Operator(".b".into())),
        ("${NO?}", required("NO", "")),
        ("${NO:?set it}", required("NO", "set it")),
        ("${EMPTY:?set it}", required("EMPTY", "set it")),
        ("${NO?${MSG} $A}", required("NO", "msg a")),
    ] {
        assert_eq!(run(text), Err(kind), "{text}");
    }
}

#[test]
fn unset_names_are_told_only_when_they_matter() {
    let values = BTreeMap::from([("A".to_owned(), "a".to_owned())]);
    let unset = |text: &str| {
        let mut unset = Vec::new();
        substitute(text, &values, &mut unset).expect("well formed");
        unset
    };
    assert_eq!(unset("a $B ${C}"), [("B".to_owned(), 2), ("C".to_owned(), 5)]);
    assert_eq!(unset("${A:-$B}${B:+$C}${D:-d}"), []);
    assert_eq!(unset("${X:-${B}}"), [("B".to_owned(), 5)]);
}

#[test]
fn variables_are_listed_with_their_defaults() {
    let mut found = Vec::new();
    variables("$A ${B:-x} $$C ${D?m} ${E:+y} ${", &mut found);
    let short: Vec<_> = found
        .iter()
        .map(|v| {
            (
                v.name.as_str(),
                v.default.as_str(),
                v.alternate.as_str(),
                v.required,
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            ("A", "", "", false),
            ("B", "x", "", false),
            ("D", "", "", true),
            ("E", "", "y", false)
        ]
    );
}

#[test]
fn nesting_has_a_bound() {
    let deep = format!("{}x{}", "${N:-".repeat(5000), "}".repeat(5000));
    assert_eq!(run(&deep), Err(FaultKind::Deep));
}
