//! "Did you mean": the nearest of the names that would have been right.

/// The hint for `wrong` among `right`: the nearest name, or up to three when several are about as near, or the list
/// itself when it is short and nothing is near.
pub(crate) fn did_you_mean<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let right: Vec<&str> = right.into_iter().collect();
    let near = nearest(wrong, &right);
    match near.as_slice() {
        [] if right.is_empty() => None,
        [] if right.len() <= 6 => Some(format!("known here: {}", quoted(&right, "and"))),
        [] => None,
        near => Some(format!("did you mean {}?", quoted(near, "or"))),
    }
}

/// Up to three names at a small distance, nearest first.
fn nearest<'a>(wrong: &str, right: &[&'a str]) -> Vec<&'a str> {
    let simple = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let target = simple(wrong);
    let limit = (target.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = right
        .iter()
        .filter_map(|name| {
            let candidate = simple(name);
            let distance = distance(&target, &candidate, limit + 1);
            let prefix =
                target.len() >= 3 && (candidate.starts_with(&target) || target.starts_with(&candidate));
            match distance {
                d if d <= limit => Some((d, *name)),
                _ if prefix && candidate.len() >= 3 => Some((limit, *name)),
                _ => None,
            }
        })
        .collect();
    near.sort_unstable();
    let best = near.first().map_or(0, |(d, _)| *d);
    near.into_iter()
        .filter(|(d, _)| *d <= best + 1)
        .map(|(_, name)| name)
        .take(3)
        .collect()
}

/// Edits (insert, delete, replace, swap two neighbours) between `a` and `b`, or `cap` when there are more.
fn distance(a: &str, b: &str, cap: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    if a.len().abs_diff(b.len()) >= cap {
        return cap;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()].min(cap)
}

/// `` `a`, `b` or `c` ``.
pub(crate) fn quoted(names: &[&str], last: &str) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn nearest_names_come_first_and_far_ones_not_at_all() {
        let keys = [
            "ports",
            "profiles",
            "platform",
            "privileged",
            "volumes",
            "volumes_from",
            "environment",
        ];
        let hint = |wrong| did_you_mean(wrong, keys);
        assert_eq!(hint("prots").as_deref(), Some("did you mean `ports`?"));
        assert_eq!(hint("port").as_deref(), Some("did you mean `ports`?"));
        assert_eq!(hint("enviroment").as_deref(), Some("did you mean `environment`?"));
        assert_eq!(hint("Volumes").as_deref(), Some("did you mean `volumes`?"));
        assert_eq!(hint("priviledged").as_deref(), Some("did you mean `privileged`?"));
        assert_eq!(hint("zzzzzz"), None);
        assert_eq!(
            did_you_mean("x", ["web", "db"]).as_deref(),
            Some("known here: `web` and `db`")
        );
    }
}
