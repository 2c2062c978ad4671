//! `banyan system check`: whether this machine has what banyan needs, and whether what banyan keeps is whole.

use crate::{
    cli::{CommandError, Exit, Global, Outcome, context, print},
    engine::{networks::uplinks, record::Record},
    model::ProjectName,
    state::Roots,
};
use banyan_runtime::{
    cgroup::{Layout, systemd},
    container::{ContainerDir, Found},
    network::Hall,
};
use clap::Args;
use serde_json::json;
use std::{collections::BTreeSet, fs, path::Path};

/// `check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Put right what can be put right without losing anything that is in use
    #[arg(long)]
    repair: bool,
    /// Verify the digest of every stored blob and layer too (reads them all)
    #[arg(long)]
    full: bool,
    /// `text` or `json`: one object a line
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

/// What a look gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// Works, but not as well.
    Note,
    Wrong,
    Repaired,
}

struct Finding {
    verdict: Verdict,
    what: String,
    /// What to do about it.
    hint: Option<String>,
}

pub(super) struct Checker<'a> {
    pub(super) roots: &'a Roots,
    pub(super) repair: bool,
    found: Vec<Finding>,
}

impl Check {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let roots = context::roots(global);
        let mut checker = Checker {
            roots: &roots,
            repair: self.repair,
            found: Vec::new(),
        };
        checker.kernel();
        checker.records();
        checker.leftovers();
        checker.store(self.full);
        let mut text = String::new();
        for finding in &checker.found {
            let word = match finding.verdict {
                Verdict::Fine => "ok",
                Verdict::Note => "note",
                Verdict::Wrong => "wrong",
                Verdict::Repaired => "repaired",
            };
            if self.format == "json" {
                let line = json!({"Verdict": word, "What": finding.what, "Hint": finding.hint});
                text += &format!("{line}\n");
            } else {
                text += &format!("{word:<9} {}\n", finding.what);
                if let Some(hint) = &finding.hint {
                    text += &format!("{:<9} → {hint}\n", "");
                }
            }
        }
        print(&text);
        let wrong = checker
            .found
            .iter()
            .filter(|f| f.verdict == Verdict::Wrong)
            .count();
        if wrong == 0 {
            return Ok(Exit::Success);
        }
        let error = CommandError::new(Exit::Host, format!("{wrong} things are not as they should be"));
        Err(if self.repair {
            error
        } else {
            error.hint("`banyan system check --repair` puts right what it can")
        })
    }
}

impl Checker<'_> {
    pub(super) fn say(&mut self, verdict: Verdict, what: impl Into<String>, hint: Option<&str>) {
        self.found.push(Finding {
            verdict,
            what: what.into(),
            hint: hint.map(str::to_owned),
        });
    }

    fn kernel(&mut self) {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release
            .split(['.', '-'])
            .map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let release = release.trim();
        if version >= (5, 12) {
            self.say(Verdict::Fine, format!("kernel {release}"), None);
        } else {
            let what = format!("kernel {release} is old");
            self.say(Verdict::Wrong, what, Some("5.12 or newer is needed"));
        }
        if !banyan_runtime::sys::host::is_root() {
            let what = "not root: containers of projects need root for now";
            self.say(Verdict::Note, what, None);
        }
        for namespace in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
            if !Path::new("/proc/self/ns").join(namespace).exists() {
                let what = format!("the kernel has no {namespace} namespaces");
                self.say(Verdict::Wrong, what, Some("use a kernel with CONFIG_NAMESPACES"));
            }
        }
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if known.lines().any(|line| line.ends_with("\toverlay")) {
            self.say(Verdict::Fine, "overlay file system", None);
        } else {
            let what = "the kernel has no overlay file system";
            self.say(Verdict::Wrong, what, Some("`modprobe overlay`"));
        }
        match Layout::detect() {
            Ok(layout) => {
                let view = super::cgroups(&layout.view());
                self.say(Verdict::Fine, format!("cgroups: {view}"), None);
                self.scopes(&layout);
            }
            Err(error) => {
                let what = format!("cgroups cannot be used: {error}");
                self.say(Verdict::Wrong, what, Some("mount cgroup2 on /sys/fs/cgroup"));
            }
        }
        match Hall::create() {
            Ok(_) => self.say(Verdict::Fine, "network namespaces, bridges and nf_tables", None),
            Err(error) => {
                let hint = error.hint();
                let what = format!("a project's network cannot be made: {error}");
                self.say(Verdict::Wrong, what, hint.as_deref());
            }
        }
        let seccomp = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if !seccomp.contains("Seccomp:") {
            let what = "the kernel has no seccomp";
            self.say(
                Verdict::Wrong,
                what,
                Some("use a kernel with CONFIG_SECCOMP_FILTER"),
            );
        }
    }

    /// systemd, where it is the one who makes places for containers.
    fn scopes(&mut self, layout: &Layout) {
        match systemd::check(layout) {
            None => {}
            Some(Ok(())) => self.say(Verdict::Fine, "systemd makes scopes for containers", None),
            Some(Err(error)) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                let what = format!("systemd makes no scopes: {error}{}", cause.unwrap_or_default());
                self.say(
                    Verdict::Note,
                    what,
                    Some("containers go to the root of the cgroup tree then"),
                );
            }
        }
    }

    /// Records of containers and projects that cannot be read.
    fn records(&mut self) {
        let (mut whole, mut projects) = (0_usize, BTreeSet::new());
        for id in names(&self.roots.containers()) {
            match Record::read(self.roots, &id) {
                Ok(Some(record)) => {
                    whole += 1;
                    projects.insert(record.project);
                }
                Ok(None) => {}
                Err(error) => self.damaged(&id, &error),
            }
        }
        for name in names(&self.roots.projects()) {
            let Ok(project) = ProjectName::new(name.clone()) else {
                continue;
            };
            let path = self.roots.project_file(&project);
            if let Err(error) = crate::state::read_record::<crate::model::Project>(&path) {
                let hint = "`banyan up` where the project file is writes it anew";
                self.say(Verdict::Wrong, error.to_string(), Some(hint));
            }
        }
        let what = format!(
            "{whole} containers of {} projects have their records",
            projects.len()
        );
        self.say(Verdict::Fine, what, None);
    }

    /// A record is written anew where the rest of the container tells what was in it. A container that nobody can tell
    /// anything of is removed when it does not run.
    fn damaged(&mut self, id: &str, error: &std::io::Error) {
        let found = crate::engine::damaged::find(self.roots, id);
        let error = match &found {
            Some(damaged) => std::io::Error::other(format!("`{}`: {error}", damaged.name)),
            None => std::io::Error::other(error.to_string()),
        };
        if let Some(damaged) = &found {
            if !self.repair {
                let hint =
                    "`--repair` writes it anew from what else is kept; `banyan down` removes the container";
                self.say(Verdict::Wrong, error.to_string(), Some(hint));
                return;
            }
            match damaged.mend(self.roots) {
                Ok(()) => {
                    let what = format!("{error}; it is written anew");
                    self.say(Verdict::Repaired, what, None);
                    return;
                }
                Err(why) => self.say(
                    Verdict::Note,
                    format!("`{}` cannot be written anew: {why}", damaged.name),
                    None,
                ),
            }
        }
        let dir = ContainerDir::new(self.roots.container(id), self.roots.container_run(id));
        let runs = matches!(
            banyan_runtime::container::open(&dir),
            Ok(Found::Running(_) | Found::Orphaned { .. } | Found::Created(_))
        );
        if runs {
            let hint = format!("its files are safe: copy what you need, then `banyan container rm -f {id}`");
            self.say(
                Verdict::Wrong,
                format!("{error}; the container runs"),
                Some(&hint),
            );
        } else if self.repair {
            match banyan_runtime::container::remove(&dir, true) {
                Ok(()) => self.say(
                    Verdict::Repaired,
                    format!("{error}; its container is removed"),
                    None,
                ),
                Err(failed) => self.say(Verdict::Wrong, format!("{error}; {failed}"), None),
            }
        } else {
            let hint = "`--repair` removes the container, which does not run; volumes stay";
            self.say(Verdict::Wrong, error.to_string(), Some(hint));
        }
    }

    /// What a crash can leave: run folders without container, rules of the host without uplink.
    fn leftovers(&mut self) {
        let known: BTreeSet<String> = names(&self.roots.containers()).into_iter().collect();
        let run = self.roots.run.join("containers");
        let stale: Vec<_> = names(&run).into_iter().filter(|id| !known.contains(id)).collect();
        if stale.is_empty() {
            self.say(Verdict::Fine, "nothing left over of containers", None);
        } else if self.repair {
            for id in &stale {
                let _ = fs::remove_dir_all(run.join(id));
            }
            let what = format!("{} run folders of containers that are gone", stale.len());
            self.say(Verdict::Repaired, what, None);
        } else {
            let what = format!("{} run folders belong to no container", stale.len());
            self.say(Verdict::Wrong, what, Some("`--repair` removes them"));
        }
        if !self.repair {
            return;
        }
        // What no living hall needs goes; with a hall alive this only settles what is there.
        match banyan_runtime::network::sweep(uplinks()) {
            Ok(()) => self.say(
                Verdict::Fine,
                "the host's network rules fit the projects that run",
                None,
            ),
            Err(errors) => {
                for error in errors {
                    self.say(Verdict::Wrong, error.to_string(), None);
                }
            }
        }
    }
}

/// File names in a folder; none when it is not there.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}
