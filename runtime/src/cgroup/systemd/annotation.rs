//! Properties of its unit that a bundle asks for: annotations `org.systemd.property.NAME`, whose values are written in
//! GVariant's text format, of which scalars and lists of texts are understood. The convention is runc's; Podman uses it.

use super::wire::{Property, Value};
use std::collections::BTreeMap;

const PREFIX: &str = "org.systemd.property.";

/// The properties asked for.
///
/// # Errors
/// Names an annotation that is not understood.
pub fn asked_properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>, String> {
    let asked = annotations
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)));
    asked.map(|(name, value)| property(name, value)).collect()
}

fn property(name: &str, written: &str) -> Result<Property, String> {
    let bad = |what: &str| format!("annotation `{PREFIX}{name}`: {what}");
    if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return Err(bad("that is not the name of a property"));
    }
    let value = value(written).ok_or_else(|| {
        bad(&format!(
            "`{written}` is not understood: write a number with its type (`uint64 5`), true, false, 'text' or ['text', 'text']"
        ))
    })?;
    // Times are documented in seconds and exist on D-Bus in microseconds only.
    let Some(stem) = name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')) else {
        return Ok((name.to_owned(), value));
    };
    let seconds = match value {
        Value::Int32(number) => u64::try_from(number).ok(),
        Value::Uint32(number) => Some(number.into()),
        Value::Int64(number) => u64::try_from(number).ok(),
        Value::Uint64(number) => Some(number),
        _ => None,
    };
    let microseconds = seconds.and_then(|seconds| seconds.checked_mul(1_000_000));
    let microseconds = microseconds.ok_or_else(|| bad("that is not a number of seconds"))?;
    Ok((format!("{stem}USec"), Value::Uint64(microseconds)))
}

fn value(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Some((kind, number)) = text.split_once(' ') {
        let number = number.trim();
        match kind {
            "int32" => return number.parse().ok().map(Value::Int32),
            "uint32" => return number.parse().ok().map(Value::Uint32),
            "int64" => return number.parse().ok().map(Value::Int64),
            "uint64" => return number.parse().ok().map(Value::Uint64),
            "boolean" => return number.parse().ok().map(Value::Bool),
            "string" => return quoted(number).map(Value::Text),
            _ => {}
        }
    }
    match text {
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        _ => {}
    }
    if let Some(list) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // No text of a unit's needs a comma inside.
        let texts = list.split(',').map(quoted).collect::<Option<_>>()?;
        return Some(Value::Texts(texts));
    }
    quoted(text)
        .map(Value::Text)
        // A number without a type is a signed one of 32 bits.
        .or_else(|| text.parse().ok().map(Value::Int32))
}

fn quoted(text: &str) -> Option<String> {
    let text = text.trim();
    let inside = ['\'', '"']
        .into_iter()
        .find_map(|mark| text.strip_prefix(mark)?.strip_suffix(mark))?;
    (!inside.contains(['\'', '"', '\\'])).then(|| inside.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_types_they_are_written_with() {
        for (name, written, expected) in [
            (
                "TimeoutStopUSec",
                "uint64 123",
                ("TimeoutStopUSec", Value::Uint64(123)),
            ),
            (
                "TimeoutStopSec",
                "uint64 2",
                ("TimeoutStopUSec", Value::Uint64(2_000_000)),
            ),
            ("KillSignal", "37", ("KillSignal", Value::Int32(37))),
            ("SendSIGHUP", "true", ("SendSIGHUP", Value::Bool(true))),
            (
                "CollectMode",
                "'inactive-or-failed'",
                ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
            ),
            (
                "After",
                "['a.service', \"b.service\"]",
                (
                    "After",
                    Value::Texts(vec!["a.service".to_owned(), "b.service".to_owned()]),
                ),
            ),
        ] {
            let annotations = [(format!("{PREFIX}{name}"), written.to_owned())].into();
            let expected = (expected.0.to_owned(), expected.1);
            assert_eq!(
                asked_properties(&annotations),
                Ok(vec![expected]),
                "{name} {written}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (name, written) in [
            ("X", ""),
            ("X", "uint64 -1"),
            ("X", "<'a'>"),
            ("X", "'it''s'"),
            ("TimeoutStopSec", "'soon'"),
            ("no name", "1"),
        ] {
            let annotations = [(format!("{PREFIX}{name}"), written.to_owned())].into();
            let error = asked_properties(&annotations).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
        let others = [("org.opencontainers.image.title".to_owned(), "x".to_owned())].into();
        assert_eq!(asked_properties(&others), Ok(vec![]));
    }
}
