//! `banyan watch` and `up --watch`: what changes in the project's folders goes into its containers (`develop.watch`).
//!
//! 1. Watch the folders of all rules; changes that come close together are one batch.
//! 2. [`Rule::wants`] says which rules a path concerns: `include`, `ignore`, the context's `.dockerignore`.
//! 3. A batch is done per service: one rebuild replaces everything else; files are synced first, then come restart and
//!    commands.

use super::{CommandError, Exit, Global, Outcome, context, drive, interrupt, ps, up};
use crate::{
    api::wire::{Request, Select},
    model::{Hook, Project, ServiceName, WatchAction, WatchRule},
    plan::Phase,
    state::Roots,
};
use banyan_runtime::{
    build::ignore::Ignore,
    container::{
        ContainerDir,
        files::{CopyOptions, FileTree, Scope, copy},
    },
    watch::TreeWatch,
};
use clap::Args;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// Changes that follow one another this closely are one batch.
const QUIET: Duration = Duration::from_millis(100);
/// A batch does not wait longer than this for quiet.
const LONGEST: Duration = Duration::from_secs(1);
/// How often it looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);
/// What editors and version control leave beside files.
const NEVER: &str =
    "**/.git\n**/.hg\n**/.svn\n**/*~\n**/.*.sw?\n**/.#*\n**/#*#\n**/4913\n**/.DS_Store\n**/___jb_*___";

/// Flags of `watch`.
#[derive(Debug, Clone, Args)]
pub struct Watch {
    /// Only these services
    services: Vec<String>,
    /// Do not bring the services up first
    #[arg(long)]
    no_up: bool,
    /// Show no output of builds
    #[arg(long)]
    quiet: bool,
    /// Accepted for compatibility: images that a rebuild replaces are kept until `image prune`
    #[arg(long, hide = true)]
    prune: bool,
}

/// Runs it until it is interrupted.
///
/// # Errors
/// No service that asks for it; folders that cannot be watched.
pub(super) fn run(global: &Global, args: &Watch) -> Outcome {
    let project = context::load(global, &args.services)?;
    let named = up::known(&project, &args.services)?;
    let mut session = Session::new(&up::quiet(global, args.quiet), &project, &named)?;
    if !args.no_up {
        let mut wanted = up::plain(global, project.clone());
        wanted.services = named;
        up::converge(&up::quiet(global, args.quiet), wanted)?;
    }
    let (send, signals) = mpsc::channel();
    interrupt::forward(send, || ())
        .map_err(|error| CommandError::caused(Exit::Host, "cannot listen for signals", &error))?;
    session.begin();
    while signals.try_recv().is_err() {
        session.step()?;
    }
    Ok(Exit::Success)
}

/// One rule with its patterns made ready.
struct Rule {
    service: ServiceName,
    rule: WatchRule,
    ignore: Ignore,
    include: Option<Ignore>,
    /// The build context and what its `.dockerignore` says.
    context: Option<(PathBuf, Ignore)>,
}

impl Rule {
    fn new(project: &Project, service: &ServiceName, rule: &WatchRule) -> Self {
        let build = project.services.get(service).and_then(|s| s.image.build.as_ref());
        let context = build.map(|build| PathBuf::from(&build.context));
        let context = context.filter(|path| path.is_dir()).map(|path| {
            let text = std::fs::read_to_string(path.join(".dockerignore")).unwrap_or_default();
            (path, Ignore::parse(&text))
        });
        Self {
            service: service.clone(),
            ignore: Ignore::parse(&format!("{NEVER}\n{}", rule.ignore.join("\n"))),
            include: (!rule.include.is_empty()).then(|| Ignore::parse(&rule.include.join("\n"))),
            rule: rule.clone(),
            context,
        }
    }

    /// Whether a change of `path` concerns it.
    fn wants(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.rule.path) else {
            return false;
        };
        let inside = inside.to_string_lossy();
        if inside.is_empty() {
            return true;
        }
        let ignored_by_context = self.context.as_ref().is_some_and(|(context, ignore)| {
            path.strip_prefix(context)
                .is_ok_and(|inside| ignore.excludes(&inside.to_string_lossy()))
        });
        !ignored_by_context
            && !self.ignore.excludes(&inside)
            // The pattern language of `.dockerignore` names what is meant, here to keep it.
            && self.include.as_ref().is_none_or(|include| include.excludes(&inside))
    }

    fn syncs(&self) -> bool {
        matches!(
            self.rule.action,
            WatchAction::Sync | WatchAction::SyncRestart | WatchAction::SyncExec
        )
    }

    /// Where a path goes in the container.
    fn destination(&self, path: &Path) -> Option<String> {
        let target = self.rule.target.as_deref()?.trim_end_matches('/');
        let inside = path
            .strip_prefix(&self.rule.path)
            .ok()?
            .to_string_lossy()
            .into_owned();
        Some(if inside.is_empty() {
            target.to_owned()
        } else {
            format!("{target}/{inside}")
        })
    }
}

/// A watch under way.
pub(super) struct Session {
    global: Global,
    project: Project,
    roots: Roots,
    rules: Vec<Rule>,
    trees: TreeWatch,
}

impl Session {
    /// Watches the folders of the chosen services (none named: of all) from now on.
    ///
    /// # Errors
    /// No service with rules; folders that cannot be watched.
    pub(super) fn new(
        global: &Global,
        project: &Project,
        named: &BTreeSet<ServiceName>,
    ) -> Result<Self, CommandError> {
        let mut rules = Vec::new();
        for service in project.services.values() {
            if named.is_empty() || named.contains(&service.name) {
                rules.extend(
                    service
                        .watch
                        .iter()
                        .map(|rule| Rule::new(project, &service.name, rule)),
                );
            }
        }
        if rules.is_empty() {
            let what = "no service says what to watch";
            return Err(CommandError::new(Exit::Failed, what)
                .hint("add `develop: {watch: [{path: ., action: sync, target: /app}]}` to a service"));
        }
        let never = Ignore::parse(NEVER);
        let mut trees = TreeWatch::new(move |path| {
            path.file_name()
                .is_some_and(|name| never.excludes(&name.to_string_lossy()))
        })
        .map_err(|error| CommandError::caused(Exit::Host, "cannot watch for changes", &error))?;
        for path in rules.iter().map(|rule| &rule.rule.path).collect::<BTreeSet<_>>() {
            trees.add(path).map_err(|error| {
                CommandError::caused(Exit::Failed, format!("cannot watch `{}`", path.display()), &error)
            })?;
        }
        Ok(Self {
            global: global.clone(),
            project: project.clone(),
            roots: context::roots(global),
            rules,
            trees,
        })
    }

    /// Says what is watched, and does the first syncs.
    pub(super) fn begin(&self) {
        for rule in self
            .rules
            .iter()
            .filter(|rule| rule.rule.initial_sync && rule.syncs())
        {
            let mut all = BTreeSet::new();
            files_below(&rule.rule.path, &mut all);
            all.retain(|path| rule.wants(path));
            self.sync(rule, &all);
        }
        let folders: BTreeSet<_> = self
            .rules
            .iter()
            .map(|rule| rule.rule.path.display().to_string())
            .collect();
        say(&format!(
            "watching {}",
            folders.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }

    /// Waits a moment for changes, and does what they ask for. What fails is said, and watching goes on.
    ///
    /// # Errors
    /// When the kernel tells no changes any more.
    pub(super) fn step(&mut self) -> Result<(), CommandError> {
        let fail = |error| CommandError::caused(Exit::Host, "cannot watch any longer", &error);
        let mut changed = self.trees.changes(LOOK).map_err(fail)?;
        if changed.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        while begun.elapsed() < LONGEST {
            let more = self.trees.changes(QUIET).map_err(fail)?;
            if more.is_empty() {
                break;
            }
            changed.extend(more);
        }
        self.batch(&changed);
        Ok(())
    }

    fn batch(&self, changed: &BTreeSet<PathBuf>) {
        let mut concerned: BTreeMap<&ServiceName, Vec<(&Rule, BTreeSet<PathBuf>)>> = BTreeMap::new();
        for rule in &self.rules {
            let paths: BTreeSet<PathBuf> = changed.iter().filter(|path| rule.wants(path)).cloned().collect();
            if !paths.is_empty() {
                concerned.entry(&rule.service).or_default().push((rule, paths));
            }
        }
        for (service, rules) in concerned {
            let has = |action: WatchAction| rules.iter().any(|(rule, _)| rule.rule.action == action);
            if has(WatchAction::Rebuild) {
                self.rebuild(service);
                continue;
            }
            for (rule, paths) in rules.iter().filter(|(rule, _)| rule.syncs()) {
                self.sync(rule, paths);
            }
            if has(WatchAction::Restart) || has(WatchAction::SyncRestart) {
                self.restart(service);
            }
            for (rule, _) in rules
                .iter()
                .filter(|(rule, _)| rule.rule.action == WatchAction::SyncExec)
            {
                if let Some(hook) = &rule.rule.exec {
                    self.exec(service, hook);
                }
            }
        }
    }

    fn running(&self, service: &ServiceName) -> Vec<(String, ContainerDir)> {
        let all = ps::list(&self.global, &self.project.name).unwrap_or_default();
        let running = all
            .into_iter()
            .filter(|c| c.slot.service == *service && !c.one_off && c.phase == Phase::Running);
        running
            .map(|c| {
                let dir = ContainerDir::new(self.roots.container(&c.id), self.roots.container_run(&c.id));
                (c.slot.to_string(), dir)
            })
            .collect()
    }

    fn sync(&self, rule: &Rule, paths: &BTreeSet<PathBuf>) {
        for (name, dir) in self.running(&rule.service) {
            let trees = FileTree::host().and_then(|host| Ok((host, dir.file_tree(Scope::Mounted)?)));
            let (host, tree) = match trees {
                Ok(trees) => trees,
                Err(error) => {
                    say(&format!("{name}: cannot reach its files: {error}"));
                    continue;
                }
            };
            let (mut copied, mut removed) = (0_usize, 0_usize);
            for path in paths {
                let Some(to) = rule.destination(path) else {
                    continue;
                };
                match put(&host, &tree, path, &to) {
                    Ok(Put::Copied) => copied += 1,
                    Ok(Put::Removed) => removed += 1,
                    Ok(Put::Nothing) => {}
                    Err(error) => say(&format!("{name}: {to}: {error}")),
                }
            }
            if copied + removed > 0 {
                let target = rule.rule.target.as_deref().unwrap_or_default();
                let gone = if removed > 0 {
                    format!(", {removed} removed")
                } else {
                    String::new()
                };
                say(&format!("{name}: {copied} synced to {target}{gone}"));
            }
        }
    }

    fn restart(&self, service: &ServiceName) {
        let request = Request::Restart(Select {
            services: [service.clone()].into(),
            timeout: None,
            no_deps: true,
        });
        let client = context::client(&self.global, &self.project.name);
        match drive::drive(&up::quiet(&self.global, true), &client, &request, |_| {}) {
            Ok(()) => say(&format!("{service}: restarted")),
            Err(error) => told(service, "cannot be restarted", &error),
        }
    }

    /// Builds and makes anew, from the project file as it is now.
    fn rebuild(&self, service: &ServiceName) {
        say(&format!("{service}: building"));
        let built = context::load(&self.global, &[]).and_then(|project| {
            let mut wanted = up::plain(&self.global, project);
            wanted.services = [service.clone()].into();
            wanted.no_deps = true;
            wanted.build = true;
            up::converge(&self.global, wanted)
        });
        match built {
            Ok(()) => say(&format!("{service}: rebuilt")),
            Err(error) => told(service, "cannot be rebuilt", &error),
        }
    }

    fn exec(&self, service: &ServiceName, hook: &Hook) {
        let mut command = Command::new("/proc/self/exe");
        if let Some(root) = &self.global.root {
            command.arg("--root").arg(root);
        }
        command.args(["-p", self.project.name.as_str(), "exec", "-T"]);
        for (flag, value) in [("-u", &hook.user), ("-w", &hook.working_dir)] {
            if let Some(value) = value {
                command.args([flag, value]);
            }
        }
        for (name, value) in &hook.environment {
            command.args(["-e", &format!("{name}={}", value.as_deref().unwrap_or_default())]);
        }
        if hook.privileged {
            command.arg("--privileged");
        }
        command
            .arg(service.as_str())
            .args(&hook.command)
            .stdin(Stdio::null());
        let shown = hook.command.join(" ");
        match command.status() {
            Ok(status) if status.success() => say(&format!("{service}: ran {shown}")),
            Ok(status) => say(&format!("{service}: {shown} failed ({status})")),
            Err(error) => say(&format!("{service}: {shown} cannot be run: {error}")),
        }
    }
}

enum Put {
    Copied,
    Removed,
    Nothing,
}

/// Brings one path of the container to the state it has on this machine.
fn put(
    host: &FileTree,
    tree: &FileTree,
    from: &Path,
    to: &str,
) -> Result<Put, banyan_runtime::container::files::CopyError> {
    let Ok(found) = from.symlink_metadata() else {
        return Ok(if tree.remove(to)? {
            Put::Removed
        } else {
            Put::Nothing
        });
    };
    if found.is_dir() {
        tree.make_directory(to)?;
        return Ok(Put::Nothing);
    }
    let above = to.rsplit_once('/').map_or("/", |(above, _)| above);
    if !above.is_empty() && tree.look(above).is_err() {
        tree.make_directory(above)?;
    }
    let options = CopyOptions {
        follow_link: false,
        archive: false,
    };
    copy(host, &from.to_string_lossy(), tree, to, options)?;
    Ok(Put::Copied)
}

/// Files and links at or below a path; folders only where they are empty.
fn files_below(path: &Path, found: &mut BTreeSet<PathBuf>) {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) if !path.is_symlink() => entries,
        _ => {
            found.insert(path.to_owned());
            return;
        }
    };
    for entry in entries.flatten() {
        files_below(&entry.path(), found);
    }
}

fn told(service: &ServiceName, what: &str, error: &CommandError) {
    let because = error.because.join(": ");
    say(&format!("{service}: {what}: {}: {because}", error.what));
    if let Some(details) = &error.details {
        let _ = write!(std::io::stderr(), "{details}");
    }
}

fn say(line: &str) {
    // Standard error may be closed.
    let _ = writeln!(std::io::stderr(), "watch: {line}");
}
