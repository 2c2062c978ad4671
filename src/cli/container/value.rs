//! Values as `docker` users type them: sizes, signals, `key=value`.

/// `10`, `64m`, `1g`: bytes, powers of 1024.
pub(in crate::cli) fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let number_end = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(number_end);
    let shift = match unit.trim_end_matches('b').trim_end_matches('i').trim() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => {
            return Err(format!(
                "`{text}` is no size; write a number and one of b, k, m, g"
            ));
        }
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole
            .checked_mul(1 << shift)
            .ok_or_else(|| format!("`{text}` is too large"));
    }
    let fraction: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no size; write a number and one of b, k, m, g"))?;
    #[expect(clippy::cast_precision_loss, reason = "units are powers of two up to 2^40")]
    let value = fraction * (1_u64 << shift) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to lie in range"
    )]
    if (0.0..9e18).contains(&value) {
        Ok(value as u64)
    } else {
        Err(format!("`{text}` is too large"))
    }
}

/// A size, or −1 for no limit.
pub(super) fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    i64::try_from(bytes(text)?).map_err(|_| format!("`{text}` is too large"))
}

/// `1.5` processors as billionths of one.
pub(super) fn nano_cpus(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no number of processors; write for example 1.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| wrong())?
    };
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    whole
        .checked_mul(1_000_000_000)
        .and_then(|nano| nano.checked_add(fraction))
        .ok_or_else(wrong)
}

/// Signals by number, the same on all architectures we run on (signal(7)).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// `15`, `TERM`, `SIGTERM`, `RTMIN+3`.
pub(super) fn signal(text: &str) -> Result<i32, String> {
    const FIRST_REAL_TIME: i32 = 34;
    const LAST_REAL_TIME: i32 = 64;
    let wrong = || format!("`{text}` is no signal");
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=LAST_REAL_TIME).contains(&number) {
            Ok(number)
        } else {
            Err(wrong())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = SIGNALS.iter().position(|known| *known == name) {
        return i32::try_from(index + 1).map_err(|_| wrong());
    }
    let (base, offset) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(offset), _) => (FIRST_REAL_TIME, offset),
        (_, Some(offset)) => (LAST_REAL_TIME, offset),
        _ => return Err(wrong()),
    };
    let offset: i32 = if offset.is_empty() {
        0
    } else {
        offset.parse().map_err(|_| wrong())?
    };
    Some(base + offset)
        .filter(|number| (FIRST_REAL_TIME..=LAST_REAL_TIME).contains(number))
        .ok_or_else(wrong)
}

/// `KEY=VALUE`, or `KEY` alone with an empty value.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(format!("`{text}` has no name before `=`"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// `nofile=1024:2048`, `nofile=1024`, `core=-1`.
pub(super) fn ulimit(text: &str) -> Result<(String, (u64, u64)), String> {
    let wrong = || format!("`{text}` is no limit; write NAME=SOFT[:HARD]");
    let (name, values) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text => text.parse::<u64>().map_err(|_| wrong()),
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        return Err(format!("`{text}`: the soft limit is above the hard limit"));
    }
    Ok((name.to_ascii_lowercase(), (soft, hard)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("64m"), Ok(64 << 20));
        assert_eq!(bytes("1.5GB"), Ok(3 << 29));
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("2KiB"), Ok(2048));
        assert!(bytes("12q").unwrap_err().contains("`12q`"));
        assert!(bytes("99999999999t").is_err());
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
    }

    #[test]
    fn processors() {
        assert_eq!(nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(nano_cpus(".25"), Ok(250_000_000));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        assert!(nano_cpus("two").is_err());
    }

    #[test]
    fn signals() {
        assert_eq!(signal("SIGTERM"), Ok(15));
        assert_eq!(signal("usr1"), Ok(10));
        assert_eq!(signal("9"), Ok(9));
        assert_eq!(signal("RTMIN+3"), Ok(37));
        assert!(signal("0").is_err());
        assert!(signal("SIGNOPE").is_err());
    }

    #[test]
    fn limits() {
        assert_eq!(ulimit("nofile=10:20"), Ok(("nofile".into(), (10, 20))));
        assert_eq!(ulimit("core=-1"), Ok(("core".into(), (u64::MAX, u64::MAX))));
        assert!(ulimit("nofile=20:10").is_err());
    }
}
