//! Durations and sizes, as text.

use std::time::Duration;

/// Reads a duration as Go's `time.ParseDuration` does: numbers with `ns`, `us`, `ms`, `s`, `m`, `h`, one after another
/// (`1h30m`, `1.5s`, `0`). Negative durations are refused.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(fixed(number, unit)?)?;
        rest = tail;
    }
    // Go's durations are signed 64-bit nanoseconds.
    let total = u64::try_from(total)
        .ok()
        .filter(|total| *total <= i64::MAX.unsigned_abs())?;
    Some(Duration::from_nanos(total))
}

/// A decimal number times `unit`, exactly, cut off below 1.
fn fixed(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 20 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits: String = fraction.chars().take(18).collect();
    let part = if digits.is_empty() {
        0
    } else {
        digits.parse::<u128>().ok()?
    };
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    whole
        .checked_mul(unit)?
        .checked_add(part.checked_mul(unit)? / scale)
}

/// Writes a duration as Go's `Duration.String` does: `1m30s`, `1.5s`, `100ms`, `0s`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    if nanos < 1_000_000_000 {
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return decimal(nanos, unit) + name;
    }
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// `value / unit` without trailing zeros.
fn decimal(value: u128, unit: u128) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.to_string().len() - 1;
    let digits = format!("{fraction:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// Reads a size as docker does (go-units `RAMInBytes`): a number, optionally with a fraction, and `b`, `k`, `m`, `g`, `t`,
/// `p`, each also as `kb` or `kib`, in any case. Units are powers of 1024.
pub(crate) fn bytes(text: &str) -> Option<i64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(&unit)
    {
        "" if unit != "ib" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    if number == "-1" && power == 0 {
        return Some(-1);
    }
    if number.starts_with('-') || number.is_empty() {
        return None;
    }
    i64::try_from(fixed(number, 1024_u128.pow(power))?).ok()
}

/// Reads the interval of `pull_policy: every_…`: a duration that may also use `d` and `w`.
pub(crate) fn pull_interval(text: &str) -> Option<Duration> {
    let days = |number: &str, days: u64| {
        Some(Duration::from_secs(
            number.parse::<u64>().ok()?.checked_mul(days * 86_400)?,
        ))
    };
    match (text.strip_suffix('w'), text.strip_suffix('d')) {
        (Some(weeks), _) => days(weeks, 7),
        (_, Some(number)) => days(number, 1),
        _ => duration(text).filter(|interval| !interval.is_zero()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanos, again) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("10s", 10_000_000_000, "10s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("90s", 90_000_000_000, "1m30s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("2h", 7_200_000_000_000, "2h0m0s"),
            ("100ms", 100_000_000, "100ms"),
            ("1.5ms", 1_500_000, "1.5ms"),
            ("40us", 40_000, "40µs"),
            ("7ns", 7, "7ns"),
            ("1h5m30s20ms", 3_930_020_000_000, "1h5m30.02s"),
            (".5s", 500_000_000, "500ms"),
        ] {
            let read = duration(text).expect(text);
            assert_eq!(read.as_nanos(), nanos, "{text}");
            assert_eq!(go_duration(read), again, "{text}");
        }
        for bad in [
            "",
            "10",
            "s",
            "1d",
            "1 s",
            "-1s",
            "1.2.3s",
            "1m30",
            ".",
            ".s",
            "99999999999h",
            "１s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, value) in [
            ("0", 0),
            ("1024", 1024),
            ("2b", 2),
            ("1k", 1024),
            ("1kb", 1024),
            ("1KiB", 1024),
            ("50M", 52_428_800),
            ("1.5g", 1_610_612_736),
            ("1 gb", 1_073_741_824),
            ("1t", 1_099_511_627_776),
            ("-1", -1),
        ] {
            assert_eq!(bytes(text), Some(value), "{text}");
        }
        for bad in [
            "",
            "k",
            "1x",
            "1mm",
            "-5",
            "1..5k",
            "5ib",
            "99999999999999999999g",
            "1e3",
        ] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
