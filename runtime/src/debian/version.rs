//! Which of two package versions is newer (deb-version(7), "Sorting algorithm").

use std::cmp::Ordering;

/// Compares two versions as dpkg does.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (epoch_a, rest_a) = epoch(a);
    let (epoch_b, rest_b) = epoch(b);
    let (upstream_a, revision_a) = rest_a.rsplit_once('-').unwrap_or((rest_a, ""));
    let (upstream_b, revision_b) = rest_b.rsplit_once('-').unwrap_or((rest_b, ""));
    epoch_a
        .cmp(&epoch_b)
        .then_with(|| part(upstream_a, upstream_b))
        .then_with(|| part(revision_a, revision_b))
}

fn epoch(version: &str) -> (u64, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    }
}

/// Compares turn by turn: a run of non-digits, then a run of digits as a number.
fn part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = split(a, |byte| !byte.is_ascii_digit());
        let (text_b, rest_b) = split(b, |byte| !byte.is_ascii_digit());
        let letters = (0..=text_a.len().max(text_b.len()))
            .map(|at| weight(text_a.as_bytes().get(at)).cmp(&weight(text_b.as_bytes().get(at))));
        let (digits_a, next_a) = split(rest_a, |byte| byte.is_ascii_digit());
        let (digits_b, next_b) = split(rest_b, |byte| byte.is_ascii_digit());
        let (number_a, number_b) = (digits_a.trim_start_matches('0'), digits_b.trim_start_matches('0'));
        let ordering = letters
            .fold(Ordering::Equal, Ordering::then)
            .then_with(|| number_a.len().cmp(&number_b.len()))
            .then_with(|| number_a.cmp(number_b));
        if ordering != Ordering::Equal {
            return ordering;
        }
        (a, b) = (next_a, next_b);
    }
    Ordering::Equal
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

fn split(text: &str, belongs: impl Fn(&u8) -> bool) -> (&str, &str) {
    let length = text.as_bytes().iter().take_while(|byte| belongs(byte)).count();
    // A run of non-digits may end inside no character: digits are ASCII.
    text.split_at(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_as_dpkg_does() {
        for (older, newer) in [
            ("1.0", "1.1"),
            ("1.0~rc1", "1.0"),
            ("1.0~~", "1.0~"),
            ("1.0", "1.0a"),
            ("1.0a", "1.0+"),
            ("9", "10"),
            ("2.36-9", "2.36-9+deb12u14"),
            ("1:0.1", "2:0.0"),
            ("99", "1:0"),
            ("1.0-1", "1.0-1.1"),
            ("12.4+deb12u9", "12.4+deb12u15"),
            ("1.2.3", "1.2.3-0.1"),
        ] {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} < {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} > {older}");
        }
        for (a, b) in [
            ("1.0", "1.0"),
            ("0:1", "1"),
            ("1.00", "1.0"),
            ("1-0", "1"),
            ("01", "1"),
        ] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} = {b}");
        }
    }
}
