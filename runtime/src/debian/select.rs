//! Which packages make a minimal system: the required ones, apt, what was asked for, and all they depend on.

use super::{
    DebianError,
    index::{Index, Package},
};
use std::collections::{BTreeMap, VecDeque};

/// Chooses packages, sorted by name.
pub fn select<'a>(index: &'a Index, more: &[String]) -> Result<Vec<&'a Package>, DebianError> {
    let mut roots: Vec<(String, String)> = index
        .packages
        .values()
        .filter(|package| package.essential || package.priority == "required")
        .map(|package| (package.name.clone(), "a minimal system".to_owned()))
        .collect();
    // The index has no order of its own; a choice among alternatives must not depend on one.
    roots.sort();
    roots.push(("apt".into(), "a minimal system".into()));
    // Stands for "the links are there already" where others would ask for `usrmerge`, which makes them (with Perl).
    if index.packages.contains_key("usr-is-merged") {
        roots.push(("usr-is-merged".into(), "a minimal system".into()));
    }
    roots.extend(more.iter().map(|name| (name.clone(), "the request".to_owned())));
    let mut chosen: BTreeMap<String, &Package> = BTreeMap::new();
    let mut waiting: VecDeque<(Vec<String>, String)> =
        roots.into_iter().map(|(name, by)| (vec![name], by)).collect();
    let mut later: VecDeque<(Vec<String>, String)> = VecDeque::new();
    // Groups with one alternative first: they may satisfy the others.
    while let Some((group, by)) = waiting.pop_front().or_else(|| later.pop_front()) {
        if group.iter().any(|name| is_satisfied(index, &chosen, name)) {
            continue;
        }
        if group.len() > 1 && !waiting.is_empty() {
            later.push_back((group, by));
            continue;
        }
        let package = group.iter().find_map(|name| resolve(index, name));
        let Some(package) = package else {
            return Err(DebianError::MissingPackage {
                package: group.join(" | "),
                by,
            });
        };
        chosen.insert(package.name.clone(), package);
        waiting.extend(
            package
                .depends
                .iter()
                .map(|group| (group.clone(), format!("`{}`", package.name))),
        );
    }
    Ok(chosen.into_values().collect())
}

fn resolve<'a>(index: &'a Index, name: &str) -> Option<&'a Package> {
    let real = index.packages.get(name);
    real.or_else(|| {
        index
            .providers
            .get(name)?
            .first()
            .and_then(|provider| index.packages.get(provider))
    })
}

fn is_satisfied(index: &Index, chosen: &BTreeMap<String, &Package>, name: &str) -> bool {
    let provided = || {
        index
            .providers
            .get(name)
            .is_some_and(|names| names.iter().any(|n| chosen.contains_key(n)))
    };
    chosen.contains_key(name) || provided()
}
